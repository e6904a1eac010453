"""Pictures become images: digits on paper under bad light as MNIST's, other things scaled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lenet import data
from lenet.data.pictures import resized
from lenet.errors import RunError
from lenet.photograph import for_model, like_data, like_mnist, read_image
from tests.lenet.commands import save_picture

MNIST = {"name": "mnist", "image_shape": [1, 28, 28]}


def digits(count: int) -> np.ndarray:
    return data.load(source="sample").test.images[:count, 0]


def nearest(images: np.ndarray) -> np.ndarray:
    """The labels that the nearest training digits have."""
    known, labels = data.load(source="sample").train
    x, y = (a.reshape(len(a), -1).astype(np.float32) for a in (images, known))
    return labels[np.argmin(-2 * x @ y.T + (y**2).sum(1), axis=1)]


def photographed(
    path: Path, digit: np.ndarray, rng: np.random.Generator, light: bool, breadth: int = 0
) -> Path:
    """A JPEG of the digit on paper or slate: turned, off the centre, half in shadow, noisy.

    `breadth` pixels are taken from its strokes on each side.
    """
    from PIL import Image
    from scipy import ndimage

    large = np.asarray(Image.fromarray(digit).resize((224, 224), Image.Resampling.BICUBIC))
    if breadth:
        large = ndimage.grey_erosion(large, (2 * breadth + 1, 2 * breadth + 1))
    turned = ndimage.rotate(large / 255.0, rng.uniform(-5, 5), reshape=False, order=1)
    ink = np.zeros((360, 480))
    top, left = rng.integers(10, 120), rng.integers(10, 240)
    ink[top : top + 224, left : left + 224] = turned
    y, x = np.mgrid[0:1:360j, 0:1:480j]
    lamp = 0.75 + 0.3 * (x - 0.5) * rng.choice([-1, 1]) + 0.2 * (y - 0.5) - 0.3 * (x - 0.5) ** 2
    shadow = ndimage.gaussian_filter((x + 0.3 * y > rng.uniform(0.4, 0.9)).astype(float), 8)
    paper, pen = ([40, 48, 60], [235, 235, 225]) if light else ([235, 228, 210], [40, 45, 110])
    colours = np.array(paper) + ink[..., None] * (np.array(pen) - np.array(paper))
    texture = ndimage.gaussian_filter(rng.normal(0, 12, ink.shape), 1.5)
    seen = colours * (lamp * (1 - 0.35 * shadow))[..., None] + texture[..., None]
    seen += rng.normal(0, 6, seen.shape)
    return save_picture(path, seen.clip(0, 255).astype(np.uint8), "RGB", quality=60)


@pytest.mark.parametrize("breadth", [0, 2])
@pytest.mark.parametrize("light", [False, True])
def test_photographs_are_read_as_well_as_the_digits(
    light: bool, breadth: int, tmp_path: Path
) -> None:
    images, labels = digits(25), data.load(source="sample").test.labels[:25]
    rng = np.random.default_rng(0)
    seen = np.stack([
        like_mnist(read_image(photographed(tmp_path / "photo.jpg", one, rng, light, breadth)))
        for one in images
    ])  # fmt: skip
    direct, photo = (int(np.sum(nearest(one) != labels)) for one in (images, seen))
    assert photo <= direct + 2


def test_mnists_own_images_stay_as_they_are() -> None:
    images = digits(100)
    for made in (np.stack([like_mnist(one) for one in images]),
                 np.stack([like_mnist(255 - one) for one in images])):  # fmt: skip
        assert np.median(np.abs(made - images.astype(float)).mean(axis=(1, 2))) < 1
        assert np.mean(nearest(made) == nearest(images)) >= 0.98


def test_a_small_digit_in_a_large_picture() -> None:
    digit = digits(1)[0].repeat(8, 0).repeat(8, 1)
    large = np.full((1500, 2000), 250, np.uint8)
    large[900:1124, 1300:1524] -= (0.9 * digit).astype(np.uint8)
    made = like_mnist(large)
    assert np.corrcoef(made.ravel(), digits(1)[0].ravel())[0, 1] > 0.9


def test_a_digit_is_told_by_its_colour_alone() -> None:
    digit = digits(1)[0].repeat(6, 0).repeat(6, 1) / 255.0
    green, red = np.array([60, 130, 60]), np.array([200, 64, 60])  # of one luminance
    made = like_mnist(green + digit[..., None] * (red - green))
    assert np.corrcoef(made.ravel(), digits(1)[0].ravel())[0, 1] > 0.9


def test_a_thin_line_gets_a_stroke_of_mnists() -> None:
    thin = np.full((300, 300), 255.0)
    thin[50:250, 149:151] = 0
    made = like_mnist(thin)
    assert made[:, 12:16].max() == 255 and (made > 0).any(1).sum() == 20
    assert 2 <= np.median((made > 64).sum(1)[5:-5][made[5:-5].any(1)]) <= 4


def test_specks_and_what_comes_in_from_the_border_are_left_out() -> None:
    image = np.full((200, 200), 240.0)
    image[60:140, 95:110] = 20
    alone = like_mnist(image)
    image[20:23, 30:33] = 0
    image[:15, 150:] = 60
    assert np.array_equal(like_mnist(image), alone)


@pytest.mark.parametrize("noise", [0, 6])
def test_a_picture_of_nothing_is_refused(noise: float) -> None:
    blank = np.random.default_rng(0).normal(120, noise, (300, 400)) if noise else np.ones((9, 9))
    with pytest.raises(RunError, match=r"blank\.png: got a picture without a digit"):
        like_mnist(blank, "blank.png")


def test_transparency(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((40, 40, 4), np.uint8)
    for ink, name in ((0, "dark.png"), (255, "light.png")):
        pixels[..., :3] = ink
        pixels[10:30, 18:22, 3] = 255
        Image.fromarray(pixels).save(tmp_path / name)
        seen = read_image(tmp_path / name)
        assert seen.shape == (40, 40, 3) and np.all(np.abs(seen[20, 20] - seen[0, 0]) == 255)
        Image.fromarray(pixels).convert("LA").save(tmp_path / name)
        assert read_image(tmp_path / name).shape == (40, 40)


def test_photographs_are_upright(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((20, 30), np.uint8)
    pixels[:, :5] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    seen = read_image(save_picture(tmp_path / "turned.jpg", pixels, exif=exif))
    assert seen.shape == (30, 20) and seen[:4].mean() > 150 > seen[10:].max()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_modes(mode: str, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((20, 30), np.uint8)
    pixels[:, 10:] = 255
    path = tmp_path / ("seen.tif" if mode == "CMYK" else "seen.png")
    if mode == "I;16":
        Image.fromarray(pixels.astype(np.uint16) * 257).save(path)
    else:
        save_picture(path, pixels, mode)
    seen = read_image(path)
    assert seen.dtype == np.float32 and seen.shape[:2] == (20, 30)
    assert seen[:, :9].max() < 5 and seen[:, 11:].min() > 250


def test_read_image_refuses(tmp_path: Path, monkeypatch) -> None:
    from PIL import Image

    fine = save_picture(
        tmp_path / "fine.png", np.tile(np.arange(0, 250, 5, dtype=np.uint8), (50, 1))
    )
    (tmp_path / "cut.png").write_bytes(fine.read_bytes()[:60])
    (tmp_path / "text.png").write_text("not a picture")
    save_picture(tmp_path / "lab.tif", np.zeros((5, 5, 3), np.uint8), "LAB")
    for name, words in (
        ("cut.png", "a file that is not an image"),
        ("text.png", "a file that is not an image"),
        ("lab.tif", "an image of 3 channels, LAB; expected grey or colour"),
        ("none.png", "no such file"),
        ("", "got a folder; expected a picture"),
    ):
        with pytest.raises(RunError, match=words) as refused:
            read_image(tmp_path / name)
        assert name in str(refused.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # 2500 are a warning, 4000 an error
    assert read_image(fine).shape == (50, 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(RunError, match="more pixels than a photograph has"):
        read_image(fine)


def test_like_data() -> None:
    halves = np.zeros((40, 60, 3), np.uint8)
    halves[:, 30:] = [255, 0, 0]
    colour = like_data(halves, (3, 8, 12))
    assert colour.shape == (3, 8, 12) and colour.dtype == np.uint8
    assert np.all(colour[0, :, 7:] == 255) and not colour[1:].any() and not colour[:, :, :5].any()
    grey = like_data(halves, (1, 8, 12), invert=True)
    assert np.all(grey[0, :, 7:] == 255 - 76) and np.all(grey[0, :, :5] == 255)
    assert like_data(halves[..., 0], (3, 100, 100)).shape == (3, 100, 100)
    with pytest.raises(RunError, match="images of 2 channels; expected 1 or 3"):
        like_data(halves, (2, 8, 12))


def test_styles(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "seven.png", 255 - np.pad(digits(1)[0], 40))
    assert np.array_equal(for_model(path, MNIST)[0], like_mnist(read_image(path)))
    own = {"name": "own", "image_shape": [1, 54, 54]}
    assert for_model(path, own).mean() > 200
    assert for_model(path, {**own, "name": "fashion-mnist"}).mean() < 55
    assert for_model(path, {**MNIST, "name": "own"}, "mnist").max() == 255
    with pytest.raises(RunError, match="--style mnist: got a model of images of 3x54x54"):
        for_model(path, {**own, "image_shape": [3, 54, 54]}, "mnist")


def test_models_of_mnist_in_another_size(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "seven.png", 255 - np.pad(digits(1)[0], 40))
    seen = for_model(path, {"name": "mnist", "image_shape": [1, 32, 32]})
    expected = resized(like_mnist(read_image(path))[None, None], (32, 32))[0]
    assert seen.shape == (1, 32, 32) and np.array_equal(seen, expected)


def test_pictures_are_seen_as_they_were_in_training(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(6):
        for name in ("a", "b"):
            path = tmp_path / "own" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == "a":  # 16 bits, of low contrast
                deep = rng.integers(20_000, 30_000, (40, 50)).astype(np.uint16)
                Image.fromarray(deep).save(path)
            else:  # light ink on nothing
                clear = rng.integers(200, 256, (40, 50, 4)).astype(np.uint8)
                clear[:, :25, 3] = 0
                Image.fromarray(clear, "RGBA").save(path)
    own = data.load(source=tmp_path / "own", size=(16, 20))
    described = {"name": own.name, "image_shape": list(own.image_shape)}
    trained = {image.tobytes() for part in (own.train, own.valid, own.test) for image in part[0]}
    for path in (tmp_path / "own").glob("*/*.png"):
        assert for_model(path, described).tobytes() in trained
