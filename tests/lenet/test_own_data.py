"""A user's own data: folders of pictures, IDX and npz of any shape; what of it is refused."""

from __future__ import annotations

import gzip
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenet import data
from lenet.data import DataError, channels_first, channels_last, formats
from lenet.data.pictures import read_picture
from tests.lenet.data_files import arrays, idx, write_idx

Image = pytest.importorskip("PIL.Image", reason="pictures need the extra lenet")

pytestmark = pytest.mark.usefixtures("home")

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder of the user's."""
    made = tmp_path / "own"
    made.mkdir()
    return made


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


SOME = pixels(9, 7, 3)


def save(path: Path, image: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def animals(root: Path, count: int = 6, shape: tuple[int, ...] = (5, 8)) -> Path:
    for name in ("cat", "dog"):
        for i in range(count):
            save(root / name / f"{i}.png", pixels(*shape))
    return root


# ---- pictures ----------------------------------------------------------------------------------


def test_folder_of_classes(folder: Path, capsys) -> None:
    animals(folder / "pets", 12)
    save(folder / "pets" / "dog" / "deeper" / "x.png", pixels(5, 8))
    (folder / "pets" / "cat" / ".DS_Store").write_bytes(b"left by a file manager")
    (folder / "pets" / "README.txt").write_text("beside the classes")
    pets = data.load(source=folder / "pets")
    assert pets.name == "pets" and pets.classes == ("cat", "dog") and not pets.verified
    assert pets.image_shape == (1, 5, 8) and pets.train.images.dtype == np.uint8
    counts = [list(np.bincount(part.labels)) for part in (pets.train, pets.valid, pets.test)]
    assert counts == [[8, 9], [2, 2], [2, 2]]  # 4 : 1 : 1 of each class
    assert capsys.readouterr().err == ""
    again = data.load(source=folder / "pets")
    assert np.array_equal(again.train.images, pets.train.images)
    other = data.load(source=folder / "pets", seed=1)
    assert not np.array_equal(other.train.images, pets.train.images)


def test_folders_of_parts(folder: Path) -> None:
    animals(folder / "train", 12)
    test = save(folder / "test" / "dog" / "1.png", pixels(5, 8))
    save(folder / "test" / "dog" / "2.png", pixels(5, 8))
    pets = data.load(source=folder)
    assert [len(part.labels) for part in (pets.train, pets.valid, pets.test)] == [20, 4, 2]
    assert list(pets.test.labels) == [1, 1]
    assert np.array_equal(pets.test.images[0, 0], np.asarray(Image.open(test)))
    assert set(pets.train.labels[:8]) == set(pets.valid.labels) == {0, 1}  # not class by class
    for i in range(2):
        save(folder / "val" / "cat" / f"{i}.png", pixels(5, 8))
    pets = data.load(source=folder)
    assert [len(part.labels) for part in (pets.train, pets.valid, pets.test)] == [24, 2, 2]
    with pytest.raises(DataError, match="data with their own validation part; expected none"):
        data.load(source=folder, validation=0.1)


def test_a_class_may_be_called_train(folder: Path) -> None:
    animals(folder)
    for i in range(6):
        save(folder / "train" / f"{i}.png", pixels(5, 8))
    assert data.load(source=folder).classes == ("cat", "dog", "train")


def test_numbers_as_classes_are_in_their_order(folder: Path) -> None:
    for name in ("10", "9", "1"):
        for i in range(3):
            save(folder / name / f"{i}.png", np.full((4, 4), int(name), np.uint8))
    found = data.load(source=folder)
    assert found.classes == ("1", "9", "10")
    assert all(
        int(found.classes[label]) == image[0, 0, 0]
        for image, label in zip(*found.train, strict=True)
    )


def test_grey_if_all_are_grey_else_colour(folder: Path) -> None:
    animals(folder)
    grey = np.repeat(pixels(5, 8)[:, :, None], 3, 2)
    save(folder / "cat" / "stored_as_colour.png", grey)
    assert data.load(source=folder).image_shape == (1, 5, 8)
    save(folder / "cat" / "colour.png", pixels(5, 8, 3))
    pets = data.load(source=folder)
    assert pets.image_shape == (3, 5, 8)
    everything = np.concatenate([part.images for part in (pets.train, pets.valid, pets.test)])
    assert any(np.array_equal(image, grey.transpose(2, 0, 1)) for image in everything)
    assert pets.train.images.flags.c_contiguous


def test_size(folder: Path) -> None:
    animals(folder, shape=(20, 30, 3))
    save(folder / "cat" / "large.jpg", np.full((200, 100, 3), (250, 120, 10), np.uint8))
    with pytest.raises(
        DataError,
        match=r"large.jpg: got an image of 200x100 pixels .*, while .*0.png has 20x30; "
        r"expected images of one size. Cure: .*size=\(20, 30\), or --size 20,30",
    ):
        data.load(source=folder)
    pets = data.load(source=folder, size=(10, 12))
    assert pets.image_shape == (3, 10, 12)
    assert data.load(source="sample", size=(32, 32)).image_shape == (1, 32, 32)
    for wrong in ((0, 5), (5, 5000), (5,), "large", (2.5, 3)):
        with pytest.raises(DataError, match=r"expected \(height, width\), each from 1 to 4096"):
            data.load(source="sample", size=wrong)


def test_pictures_of_every_mode(folder: Path) -> None:
    grey, colour = pixels(6, 7), pixels(6, 7, 3)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    deep.save(folder / "deep.png")
    assert np.array_equal(read_picture(folder / "deep.png"), grey)
    assert np.array_equal(read_picture(save(folder / "f.tiff", grey / np.float32(255))), grey)
    assert np.array_equal(read_picture(save(folder / "c.png", colour)), colour)
    bits = read_picture(save(folder / "b.png", grey, "1"))
    assert bits.dtype == np.uint8 and set(np.unique(bits)) == {0, 255}
    assert read_picture(save(folder / "p.png", colour, "P")).shape == (6, 7, 3)
    assert read_picture(save(folder / "k.jpg", colour, "CMYK")).shape == (6, 7, 3)
    clear = np.dstack([colour, np.zeros((6, 7), np.uint8)])
    assert np.all(read_picture(save(folder / "a.png", clear)) == 255)  # white shows through
    turned = Image.fromarray(grey)
    turned.save(folder / "t.png", exif=exif_of(6))
    assert np.array_equal(read_picture(folder / "t.png"), np.rot90(grey, -1))


def exif_of(orientation: int) -> Any:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@settings(max_examples=60)
@given(
    form=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4),
    cut=st.floats(0, 1),
)
def test_damaged_pictures_are_read_or_refused(
    form: str, flips: list[tuple[float, int]], cut: float
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(SOME).save(buffer, form)
    blob = bytearray(buffer.getvalue())
    for place, bits in flips:
        blob[int(place * len(blob))] ^= bits
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture")
        path.write_bytes(blob if flips else blob[: round(cut * len(blob))])
        try:
            assert read_picture(path).dtype == np.uint8
        except DataError as error:
            assert "Cure: " in str(error)


# ---- arrays ------------------------------------------------------------------------------------


def test_idx_of_any_name_and_shape(folder: Path) -> None:
    x, y = pixels(30, 9, 11), np.arange(30, dtype=np.uint8) % 3
    (folder / "letters-train-images-idx3-ubyte").write_bytes(idx(x))
    (folder / "letters-train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(y)))
    found = data.load(source=folder)
    assert found.image_shape == (1, 9, 11) and found.classes == ("0", "1", "2")
    assert [len(part.labels) for part in (found.train, found.valid, found.test)] == [18, 6, 6]
    (folder / "letters-test-images.idx3-ubyte").write_bytes(idx(x[:6]))
    (folder / "letters-test-labels.idx1-ubyte").write_bytes(idx(y[:6]))
    found = data.load(source=folder)
    assert [len(part.labels) for part in (found.train, found.valid, found.test)] == [25, 5, 6]
    assert np.array_equal(found.train.images[:, 0], x[:25])  # the order and the arrays are kept


def test_idx_of_colour_and_other_dtypes(folder: Path) -> None:
    x, y = pixels(12, 3, 8, 8), np.arange(12) % 2
    floats = np.ascontiguousarray(x / 255, ">f4")
    header = bytes((0, 0, 13, 4)) + np.asarray(x.shape, ">u4").tobytes()
    (folder / "train-images.idx").write_bytes(header + floats.tobytes())
    labels = bytes((0, 0, 12, 1)) + np.asarray(y.shape, ">u4").tobytes() + y.astype(">i4").tobytes()
    (folder / "train-labels.idx").write_bytes(labels)
    write_idx(folder / "mnist", arrays())
    found = data.load(source=folder)
    assert found.image_shape == (3, 8, 8) and found.train.labels.dtype == np.int32
    images = np.concatenate([part.images for part in (found.train, found.valid, found.test)])
    assert np.array_equal(np.sort(images, axis=0), np.sort(x, axis=0))


X, Y = pixels(24, 6, 7, 3), np.arange(24) % 4
TEST_X, TEST_Y = pixels(8, 6, 7, 3), np.arange(8) % 4
NPZ = {
    "keras": {"x_train": X, "y_train": Y, "x_test": TEST_X, "y_test": TEST_Y},
    "medmnist": {
        "train_images": X, "train_labels": Y[:, None], "test_images": TEST_X,
        "test_labels": TEST_Y[:, None], "note": np.array("a digit"),
    },
    "capitals": {"X_train": X, "Y_train": Y, "X_test": TEST_X, "Y_test": TEST_Y},
    "channels first": {
        "x_train": X.transpose(0, 3, 1, 2), "y_train": Y,
        "x_test": TEST_X.transpose(0, 3, 1, 2), "y_test": TEST_Y,
    },
    "floats to 1": {"x_train": X / 255, "y_train": Y, "x_test": TEST_X / 255, "y_test": TEST_Y},
    "floats to 255": {"x_train": X + 0.25, "y_train": Y, "x_test": TEST_X + 0.0, "y_test": TEST_Y},
    "int64": {"x_train": X + np.int64(0), "y_train": Y, "x_test": TEST_X, "y_test": TEST_Y},
}  # fmt: skip


@pytest.mark.parametrize("case", NPZ)
def test_npz(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lenet.data.arrays._CHUNK", 5 * X[0].size)
    np.savez(folder / "own.set.npz", **NPZ[case])
    content = dict(NPZ[case])
    if case == "floats to 255":  # 255.25 would be out of range
        content["x_train"] = np.minimum(content["x_train"], 255)
        np.savez(folder / "own.set.npz", **content)
    found = data.load(source=folder / "own.set.npz")
    assert found.name == "own.set" and found.classes == ("0", "1", "2", "3")
    images = np.concatenate([found.train.images, found.valid.images])
    assert np.array_equal(images, X.transpose(0, 3, 1, 2))
    assert np.array_equal(found.test.images, TEST_X.transpose(0, 3, 1, 2))
    assert list(found.train.labels) == list(Y[:20]) and images.flags.c_contiguous
    assert data.load(source=folder).name == folder.name  # the only one in the folder


@pytest.mark.parametrize("names", [("X", "y"), ("images", "labels"), ("data", "target")])
def test_npz_without_parts_and_with_names_of_classes(folder: Path, names: Any) -> None:
    labels = np.array(["pear", "apple", "fig"])[np.arange(30) % 3]
    np.savez(folder / "fruit.npz", **{names[0]: pixels(30, 4, 4) > 99, names[1]: labels})
    found = data.load(source=folder / "fruit.npz", validation=1 / 3)
    assert found.classes == ("apple", "fig", "pear")
    counts = [list(np.bincount(part.labels)) for part in (found.train, found.valid, found.test)]
    assert counts == [[5] * 3, [3] * 3, [2] * 3]
    assert set(np.unique(found.train.images)) == {0, 255}  # False and True


def test_rows_of_pixels_are_square_images(folder: Path) -> None:
    np.savez(folder / "rows.npz", x=pixels(30, 64), y=np.arange(30) % 3)
    assert data.load(source=folder / "rows.npz").image_shape == (1, 8, 8)


def test_missing_classes_are_named(folder: Path, capsys) -> None:
    np.savez(folder / "few.npz", x=pixels(20, 4, 4), y=np.arange(20) % 2 * 3)
    found = data.load(source=folder / "few.npz")
    assert found.classes == ("0", "1", "2", "3")
    assert "no training image of class 1, 2" in capsys.readouterr().err


def test_with_classes_of_a_model(folder: Path) -> None:
    for name in ("7", "3"):
        for i in range(6):
            save(folder / name / f"{i}.png", pixels(28, 28))
    found = data.load(source=folder)
    assert found.classes == ("3", "7")
    digits = found.with_classes(tuple("0123456789"))
    assert set(digits.train.labels) == set(digits.test.labels) == {3, 7}
    assert np.array_equal(digits.train.labels == 7, found.train.labels == 1)
    assert digits.classes[7] == "7" and not digits.train.labels.flags.writeable
    with pytest.raises(DataError, match="got images of class '7'; expected '3', '5'"):
        found.with_classes(("3", "5"))


def test_channels() -> None:
    first, last = pixels(4, 3, 8, 9), pixels(4, 8, 9, 3)
    assert channels_first(first) is first
    assert np.array_equal(channels_first(last), last.transpose(0, 3, 1, 2))
    assert np.shares_memory(channels_first(last), last)
    assert np.array_equal(channels_last(last), last)
    assert np.array_equal(channels_last(first), first.transpose(0, 2, 3, 1))
    assert channels_first(pixels(4, 8, 9)).shape == (4, 1, 8, 9)
    assert channels_last(pixels(4, 8, 9)).shape == (4, 8, 9, 1)
    assert channels_first(pixels(4, 3, 8, 3)).shape == (4, 3, 3, 8)  # could be either: the last
    for shape in ((4, 8), (4, 8, 9, 2), (2, 3, 4, 5, 6), ()):
        with pytest.raises(DataError, match=r"expected .n, height, width., .* 1 or 3 channels"):
            channels_first(pixels(*shape))


# ---- what is refused ---------------------------------------------------------------------------


def npz(**content: Any) -> Any:
    return lambda folder: np.savez(folder / "own.npz", **content)


def pets(change: Any) -> Any:
    def write(folder: Path) -> None:
        animals(folder)
        change(folder)

    return write


def parts(*names: str) -> Any:
    return lambda folder: [animals(folder / name) for name in names]


def idx_files(**files: np.ndarray) -> Any:
    def write(folder: Path) -> None:
        for name, array in files.items():
            (folder / f"{name}-idx-ubyte").write_bytes(idx(array))

    return write


ONES = np.ones(24, int)
BAD = {
    "empty folder": (lambda folder: None, "got an empty folder; expected IDX files of images"),
    "no classes": (
        lambda folder: save(folder / "a.png", pixels(4, 4)), "got a.png; expected IDX files"),
    "not an image": (
        pets(lambda f: (f / "cat" / "notes.txt").write_text("meow")),
        r"notes.txt: got a file that is not an image \(.*\); expected PNG, JPEG"),
    "cut image": (
        pets(lambda f: (f / "cat" / "9.png").write_bytes((f / "cat" / "1.png").read_bytes()[:70])),
        r"9.png: got a file that is not an image"),
    "empty class": (pets(lambda f: (f / "cow").mkdir()), "cow: got an empty folder; expected pic"),
    "one class": (
        lambda f: [save(f / "cat" / f"{i}.png", pixels(4, 4)) for i in range(5)],
        "one class only, 'cat'; expected at least two"),
    "two images": (lambda f: animals(f, 2), "got 2 images of class 'cat' for training and"),
    "unknown class": (
        lambda f: [parts("train", "test")(f), save(f / "test" / "eel" / "1.png", pixels(5, 8))],
        "the test label 'eel'; expected a class that has training images: 'cat', 'dog'"),
    "two tests": (parts("train", "test", "Testing"), "expected one folder with test images"),
    "no classes in train": (
        lambda f: save(f / "train" / "1.png", pixels(5, 8)), "train: got a folder without sub-f"),
    "sizes of parts": (
        npz(x_train=X, y_train=Y, x_test=TEST_X[:, 1:], y_test=TEST_Y),
        r"test images of shape \(8, 3, 5, 7\); expected \(n, 3, 6, 7\)"),
    "several files": (
        lambda f: [np.savez(f / n, x=X, y=Y) for n in ("a.npz", "b.npz")],
        "several files: a.npz, b.npz; expected one"),
    "nan": (npz(x=np.where(X > 250, np.nan, X / 255), y=Y), "float64 images from nan to nan"),
    "range": (npz(x=X / 127.5 - 1, y=Y), r"images from -1.0 to .*floats 0 to 1, none of them NaN"),
    "large": (npz(x=X.astype(int) * 9, y=Y), "int64 images from 0 to 2295; expected grey levels"),
    "channels": (npz(x=pixels(24, 5, 5, 2), y=Y), r"shape \(24, 5, 5, 2\); expected"),
    "no pixels": (npz(x=np.zeros((24, 0, 5)), y=Y), r"\(24, 1, 0, 5\); expected pixels in them"),
    "text": (npz(x=np.array(["a"] * 24), y=Y), "training images of dtype <U1; expected an array"),
    "counts": (npz(x=X, y=Y[1:]), "got 24 training images, 23 labels; expected as many"),
    "negative": (npz(x=X, y=Y - 1), "the training label -1; expected integers 0 to 999"),
    "labels": (npz(x=X, y=Y * 1000), "the training label 3000; expected integers 0 to 999"),
    "one-hot": (npz(x=X, y=np.eye(4)[Y]), r"labels of shape \(24, 4\); .*argmax"),
    "float labels": (npz(x=X, y=Y / 2), "training labels of dtype float64; expected integers"),
    "one label": (npz(x=X, y=ONES), "one class only, '1'"),
    "mixed": (
        npz(x_train=X, y_train=Y, x_test=X, y_test=Y.astype(str)), "labels of dtype <U"),
    "no labels": (npz(x_train=X), "got x_train; expected also y_train"),
    "only test": (npz(x_test=X, y_test=Y), "expected x_train, y_train, x_test and y_test, or x"),
    "nothing": (npz(), "got no arrays; expected x_train"),
    "idx alone": (
        idx_files(images=pixels(9, 4, 4)), "only images-idx-ubyte; expected also a file of train"),
    "idx twice": (
        idx_files(a=pixels(9, 4, 4), b=pixels(9, 4, 4), labels=pixels(9)),
        "a-idx-ubyte and b-idx-ubyte; expected one file of training images"),
    "idx test alone": (
        idx_files(test_images=pixels(9, 4, 4), test_labels=pixels(9)),
        "expected also a file of training images"),
    "idx of labels": (
        idx_files(images=pixels(9), labels=pixels(9)), "magic number 2049; expected 2051"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad(case: str, folder: Path) -> None:
    write, message = BAD[case]
    write(folder)
    with pytest.raises(DataError, match=f"(?s)(own|splitting).*{message}"):
        data.load(source=folder)


def test_bad_idx_dtype() -> None:
    with pytest.raises(DataError, match="got magic number 2563; expected 2051"):
        formats.parse_idx(bytes((0, 0, 10, 3)) + bytes(12), "file", (3, 4))


def test_unreadable_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    animals(folder)

    def refuse(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(DataError, match="got Permission denied; expected a readable folder"):
        data.load(source=folder)


def test_without_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    animals(folder)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"no Pillow to read images; .*symgraph\[lenet\]"):
        data.load(source=folder)
