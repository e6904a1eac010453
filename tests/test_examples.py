"""The programs of examples/, each run on something small, and what it says and writes."""

from __future__ import annotations

import ast
import io
import runpy
import struct
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, signal

import symgraph
from lenet.data import DataError

EXAMPLES = Path(__file__).parent.parent / "examples"
PNG = b"\x89PNG"


def example(name: str) -> Any:
    """The program's names, as attributes."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / name)))


def test_each_example_is_tested_and_listed() -> None:
    """A new example needs a test and a place in the README of the folder."""
    here = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in here, path.name
        assert f"python examples/{path.name}" in listed, path.name


def test_the_pictures_of_the_readme_are_there_and_small() -> None:
    lines = (EXAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    pictures = [line.split("](")[1].rstrip(")") for line in lines if line.startswith("![")]
    assert len(pictures) >= 3
    for name in pictures:
        path = EXAMPLES / name
        assert path.read_bytes().startswith(PNG) and path.stat().st_size < 150_000, name


def refused(main: Any, *words: object, capsys: pytest.CaptureFixture[str]) -> str:
    """The line with which the program refuses `words`."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    said = capsys.readouterr().err
    assert end.value.code in (1, 2) and "Traceback" not in said
    return said.splitlines()[-1]


@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*.py"))])
def test_help_teaches(name: str, monkeypatch, capsys) -> None:
    """`--help` holds the text at the top of the file."""
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    said = capsys.readouterr().out
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8")), clean=False)
    assert end.value.code == 0 and text is not None and text.strip() in said
    assert f"python examples/{name}" in text


@pytest.mark.parametrize("name", ["filters_on_photo.py", "echo.py"])
def test_without_scipy_nothing_is_compared(name: str, tmp_path: Path, monkeypatch, capsys) -> None:
    main = example(name).main
    monkeypatch.setitem(sys.modules, "scipy", None)
    main(["--out", str(tmp_path / "out.png")])  # a folder to echo.py
    assert "not compared: SciPy is missing (pip install scipy)" in capsys.readouterr().out


# ---- those of the Theano tutorial --------------------------------------------------------------


def test_max_pooling_prints_the_tutorials_arrays(capsys) -> None:
    with np.printoptions():
        example("max_pooling.py").main()
    said = " ".join(capsys.readouterr().out.split())
    assert "[[ 0.72032449 0.39676747] [ 0.6852195 0.87811744]]" in said
    assert (
        "[[ 0.67883553 0.58930554 0.69975836] [ 0.66379465 0.94459476 0.58655504] "
        "[ 0.90340192 0.80739129 0.39767684]]"
    ) in said
    assert "[[ 4.17022005e-01 7.20324493e-01 1.14374817e-04 3.02332573e-01 1.46755891e-01]" in said


def test_random_filters(tmp_path: Path, capsys) -> None:
    example("random_filters.py").main(str(tmp_path / "photo.png"))
    said = capsys.readouterr().out
    assert "photograph 600x512, filtered (1, 2, 592, 504)" in said
    assert "map 0: mean 0.413559, min 0.315338, max 0.508580" in said
    assert "map 1: mean 0.519152, min 0.363327, max 0.633159" in said
    assert (tmp_path / "photo.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("words", "cause"),
    [(["OUT", "none.png"], "none.png"), (["OUT", "text.png"], "text.png"), (["no/x.png"], "no")],
)
def test_random_filters_refuse(words, cause, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    program = str(EXAMPLES / "random_filters.py")
    monkeypatch.setattr("sys.argv", [program, *words])
    said = refused(lambda _: runpy.run_path(program, run_name="__main__"), capsys=capsys)
    assert said.startswith("random_filters.py: ") and cause in said


def test_residual_network(capsys) -> None:
    assert example("residual_network.py").main(["--layers", "11", "--batch", "1"]) > 0
    said = capsys.readouterr().out
    assert said.startswith("11 layers: ") and float(said.split("cost ")[1]) == pytest.approx(
        2.216, abs=0.001
    )


# ---- filters on a photograph -------------------------------------------------------------------


@pytest.fixture(scope="module")
def filters() -> Any:
    return example("filters_on_photo.py")


@pytest.fixture(scope="module")
def convolve(filters: Any) -> Any:
    return filters.convolution()


def test_gaussian_blur(filters: Any, convolve: Any) -> None:
    weights = filters.gaussian(1.3)
    assert weights.shape == (9, 9) and weights.sum() == pytest.approx(1)
    images = np.random.RandomState(0).rand(3, 17, 12)
    expected = [ndimage.gaussian_filter(x, 1.3, mode="nearest", radius=4) for x in images]
    np.testing.assert_allclose(convolve(images, weights), expected, rtol=1e-12)


def test_sobel_edges_have_scipys_sign(filters: Any, convolve: Any) -> None:
    """scipy.ndimage.sobel correlates with the mirror image of what convolution flips."""
    images = np.random.RandomState(1).rand(1, 9, 14)
    for weights, axis in ((filters.SOBEL_X, 1), (filters.SOBEL_Y, 0)):
        expected = ndimage.sobel(images[0], axis=axis, mode="nearest")
        np.testing.assert_allclose(convolve(images, weights)[0], expected, atol=1e-14)
    ramp = np.broadcast_to(np.arange(6.0), (1, 5, 6))  # each column brighter by 1 than the last
    assert (convolve(ramp, filters.SOBEL_X)[0, :, 1:-1] == 8).all()
    assert (convolve(ramp, filters.SOBEL_Y) == 0).all()


def test_sharpening_adds_what_the_blur_takes_away(filters: Any, convolve: Any) -> None:
    weights = filters.sharpening(1.0, 1.5)
    assert weights.sum() == pytest.approx(1)
    images = np.random.RandomState(2).rand(2, 8, 8)
    expected = images + 1.5 * (images - convolve(images, filters.gaussian(1.0)))
    np.testing.assert_allclose(convolve(images, weights), expected, rtol=1e-12)
    flat = np.full((1, 4, 5), 0.25)
    np.testing.assert_allclose(convolve(flat, weights), flat, rtol=1e-12)


@pytest.mark.parametrize("floatX", ["float32", "float64"])
@pytest.mark.parametrize("grey", [False, True])
def test_filters_on_photo(filters: Any, grey: bool, floatX: str, tmp_path: Path, capsys) -> None:
    source, out = tmp_path / "photo.png", tmp_path / "out.png"
    pixels = np.random.RandomState(3).randint(0, 256, (20, 30, 3)).astype("uint8")
    Image.fromarray(pixels).save(source)
    with symgraph.config.change_flags(floatX=floatX):
        filters.main([str(source), "--out", str(out), "--sigma", "1", *["--grey"] * grey])
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("20 rows, 30 columns") and said[-1] == f"wrote {out}"
    assert [line.split(":")[0].split()[-3] for line in said[1:5]] == ["7x7", "5x5", "3x3", "3x3"]
    assert all(("grey" if grey else "colour") in line for line in said[1:3])
    differences = [float(line.split()[-1]) for line in said[1:5]]
    assert max(differences) < (3e-6 if floatX == "float32" else 1e-14)
    assert out.read_bytes().startswith(PNG)


def test_filters_on_photo_by_default(filters: Any, tmp_path: Path, capsys) -> None:
    filters.main(["--out", str(tmp_path / "out.png")])
    assert "grace_hopper.jpg: 600 rows, 512 columns" in capsys.readouterr().out


def test_photographs_of_other_kinds(filters: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((2, 3), 51, "uint8")).save(path)  # grey
    np.testing.assert_allclose(filters.read_photo(path), np.full((2, 3, 3), 0.2))
    Image.new("RGBA", (3, 2), (0, 0, 0, 0)).save(path)  # nothing to be seen: the white ground
    assert (filters.read_photo(path) == 1).all()
    tags = Image.Exif()
    tags[0x0112] = 6  # the camera was turned by 90 degrees
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=tags)
    assert filters.read_photo(tmp_path / "turned.jpg").shape == (30, 20, 3)


def test_filters_on_photo_refuses(filters: Any, tmp_path: Path, capsys) -> None:
    def says(*words: object) -> str:
        return refused(filters.main, *words, capsys=capsys)

    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.zeros((4, 4), "uint16")).save(tmp_path / "deep.png")
    assert "got no such file" in says(tmp_path / "none.png")
    assert "got a file that is not an image" in says(tmp_path / "text.png")
    assert "pixels of more than 8 bits" in says(tmp_path / "deep.png")
    assert "expected a number above 0, at most 50" in says("--sigma", "0")
    assert "expected a number above 0, at most 50" in says("--amount", "nan")
    assert "text.png" in says("--out", tmp_path / "text.png" / "out.png")


# ---- an echo -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def echo() -> Any:
    return example("echo.py")


def chirp(echo: Any, channels: int, width: int = 2, rate: int = 1000) -> Any:
    time = np.arange(rate // 2) / rate
    samples = [0.7 * signal.chirp(time, 20 * k, 0.5, 200 * k) for k in range(1, channels + 1)]
    return echo.Sound(np.array(samples), rate, width)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_there_and_back(echo: Any, width: int, channels: int, tmp_path: Path) -> None:
    sound = chirp(echo, channels, width)
    echo.write_wav(tmp_path / "a.wav", sound)
    again = echo.read_wav(tmp_path / "a.wav")
    assert (again.rate, again.width, again.samples.shape) == (1000, width, (channels, 500))
    np.testing.assert_allclose(again.samples, sound.samples, atol=0.5001 / 2 ** (8 * width - 1))


def test_pcm_samples_by_hand(echo: Any) -> None:
    assert echo.decoded(bytes([0, 128, 192]), 1).tolist() == [-1, 0, 0.5]
    assert echo.decoded(struct.pack("<3h", -32768, 1, 16384), 2).tolist() == [-1, 2**-15, 0.5]
    assert echo.decoded(b"\x00\x00\x80\x01\x00\x00", 3).tolist() == [-1, 2**-23]
    for width in (1, 2, 3, 4):
        lowest, highest = echo.decoded(echo.encoded(np.array([-1.5, 1.5]), width), width)
        assert lowest == -1 and highest == 1 - 2.0 ** (1 - 8 * width)


def test_the_filter_with_holes_is_the_dense_one(echo: Any) -> None:
    """By hand, and against SciPy; channels do not mix."""
    response = echo.Response(np.array([1.0, 0.5, 0.25]), 2)
    assert response.dense().tolist() == [1, 0, 0.5, 0, 0.25]
    samples = np.array([[1.0, 2.0, 3.0], [0.0, 4.0, 0.0]])
    out = echo.convolution(2)(samples, response.taps)
    assert out.tolist() == [[1, 2, 3.5, 1, 1.75, 0.5, 0.75], [0, 4, 0, 2, 0, 1, 0]]
    np.testing.assert_allclose(echo.convolution(1)(samples, response.dense()), out, atol=1e-15)


def test_a_long_filter(echo: Any) -> None:
    sound, response = chirp(echo, 2), echo.room(1.5, 1000)
    assert len(response.taps) == 1500 > sound.samples.shape[1]
    expected = signal.fftconvolve(sound.samples, response.taps[np.newaxis], axes=1)
    out = echo.convolution(1)(sound.samples, response.taps)
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_the_responses(echo: Any) -> None:
    wall = echo.wall(0.25, 0.5, 3, rate=100)
    assert wall.spacing == 25 and wall.taps.tolist() == [1, 0.5, 0.25, 0.125]
    taps = echo.room(2.0, 1000).taps
    assert len(taps) == 2000 and taps[0] == 1
    assert np.square(taps[1:]).sum() == pytest.approx(1)
    early, late = (np.square(part).mean() for part in (taps[1:100], taps[-100:]))
    assert 10 * np.log10(early / late) == pytest.approx(57, abs=2)  # 60 dB less what is averaged


def test_a_plucked_string_has_its_pitch(echo: Any) -> None:
    note = echo.pluck(220.0, 0.5, 22050, np.random.RandomState(0))
    assert note.shape == (11025,)
    spectrum = np.abs(np.fft.rfft(note * np.hanning(len(note))))
    assert 2.0 * spectrum.argmax() % 220 == pytest.approx(0, abs=4)  # bins of 2 Hz
    assert spectrum.argmax() > 0
    early, late = (np.abs(np.fft.rfft(part)) ** 2 for part in (note[:2205], note[-2205:]))
    assert late.sum() < early.sum() / 3
    high = slice(100, None)  # from 1 kHz: what the averages take away first
    assert late[high].sum() / late.sum() < early[high].sum() / early.sum() / 10


def test_the_melody_is_the_same_every_time(echo: Any) -> None:
    one, other = echo.melody(8000), echo.melody(8000)
    assert (one.samples == other.samples).all() and np.abs(one.samples).max() == pytest.approx(0.8)
    assert one.seconds == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("words", "louder"),
    [([], False), (["--room", "0.1"], True), (["--delay", "0.01", "--decay", "1"], True)],
)
def test_echo(echo: Any, words: list[str], louder: bool, tmp_path: Path, capsys) -> None:
    echo.main([*words, "--out", str(tmp_path / "new" / "folder")])
    said = capsys.readouterr().out
    assert "a melody of plucked strings: 0.90 s at 22,050 Hz, channels: 1" in said
    assert float(said.split("largest difference to SciPy ")[1].split()[0]) < 1e-13
    assert ("louder than a WAV file can hold" in said) == louder
    folder = tmp_path / "new" / "folder"
    assert {path.name for path in folder.iterdir()} == {"in.wav", "out.wav", "echo.png"}
    before, after = echo.read_wav(folder / "in.wav"), echo.read_wav(folder / "out.wav")
    assert after.seconds > before.seconds and np.abs(after.samples).max() > 0.5
    assert (folder / "echo.png").read_bytes().startswith(PNG)


def test_echo_of_a_stereo_file(echo: Any, tmp_path: Path, capsys) -> None:
    echo.write_wav(tmp_path / "mine.wav", chirp(echo, 2, 3))
    echo.main([str(tmp_path / "mine.wav"), "--delay", "0.6", "--decay", "0.5", "--repeats", "1",
               "--out", str(tmp_path / "out")])  # fmt: skip
    assert "mine.wav: 0.50 s at 1,000 Hz, channels: 2" in capsys.readouterr().out
    assert not (tmp_path / "out" / "in.wav").exists()
    after = echo.read_wav(tmp_path / "out" / "out.wav")
    assert (after.width, after.rate, after.samples.shape) == (3, 1000, (2, 1100))
    before = echo.read_wav(tmp_path / "mine.wav").samples
    np.testing.assert_allclose(after.samples[:, :500], before, atol=2**-22)
    np.testing.assert_allclose(after.samples[:, 600:], before / 2, atol=2**-22)
    assert (after.samples[:, 500:600] == 0).all()


def wav_bytes(kind: int, bits: int, content: bytes, promised: int | None = None) -> bytes:
    """A mono WAV file of format `kind`; its header may promise other than `content`."""
    promised = len(content) if promised is None else promised
    head = struct.pack("<HHIIHH", kind, 1, 8000, 8000 * bits // 8, bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", promised)
    return b"RIFF" + struct.pack("<I", len(body) + promised) + body + content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty or cut file"),
        (b"RIFF", "an empty or cut file"),
        (b"ID3" + bytes(100), "not WAV"),
        (wav_bytes(1, 16, b""), "no samples"),
        (wav_bytes(3, 32, bytes(40)), r"in floats .* \(unknown format: 3\)"),
        (wav_bytes(2, 4, bytes(40)), r"compressed, .* \(unknown format: 2\)"),  # ADPCM
        (wav_bytes(1, 16, bytes(39), 40), "39 of 40 bytes"),
        (wav_bytes(1, 16, bytes(12), 40), "12 of 40 bytes"),
        (wav_bytes(1, 64, bytes(40)), "samples of 64 bits"),
    ],
)
def test_files_that_are_no_sound(echo: Any, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        echo.read_wav(path)
    assert "x.wav" in str(error.value) and "Cure: " in str(error.value)


def test_echo_refuses(echo: Any, tmp_path: Path, capsys) -> None:
    def says(*words: object) -> str:
        return refused(echo.main, "--out", tmp_path / "out", *words, capsys=capsys)

    assert "got no such file" in says(tmp_path / "none.wav")
    assert "a file that can be read" in says(tmp_path)
    for words in (["--delay", "0"], ["--delay", "nan"], ["--delay", "40"], ["--room", "-1"],
                  ["--room", "inf"], ["--decay", "2"], ["--decay", "nan"],
                  ["--repeats", "0"]):  # fmt: skip
        assert f"echo.py: {words[0]}: got {words[1]}" in says(*words)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").touch()
    assert str(tmp_path / "out") in says("--repeats", "1")


def test_a_failed_write_leaves_the_old_sound(echo: Any, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "out.wav"
    echo.write_wav(path, chirp(echo, 1))
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(DataError, match="full"):
        echo.write_wav(path, chirp(echo, 2))
    assert path.read_bytes() == before
    with wave.open(io.BytesIO(before)) as file:
        assert file.getnframes() == 500
    assert [p.name for p in tmp_path.iterdir()] == ["out.wav"]
