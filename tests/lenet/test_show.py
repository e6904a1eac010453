"""`python -m lenet show` and `report`: every picture, and every way to be told what is wrong."""

from __future__ import annotations

import base64
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lenet import data
from lenet.__main__ import main
from lenet.classifier import Classifier
from lenet.report import report
from tests.lenet.shown import HISTORY, colour_data, small, write_run

TUTORIAL = {"model": "tutorial", "nkerns": (2, 3), "hidden": 12}
COLOUR = {"model": "custom", "network": "conv 2 3, relu, max 2, fc 6, tanh", "preprocess": "mean"}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("show") / "grey", **TUTORIAL)


@pytest.fixture(scope="module")
def colour_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    return write_run(folder / "colour", source=str(colour_data(folder / "own.npz")), **COLOUR)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shape_of(path: str | Path) -> tuple[int, ...]:
    from PIL import Image

    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("lenet: ") and "Cure: " in line
    return line


@pytest.mark.parametrize(
    "words",
    [
        "features", "features --layer layer1 --index 3", "filters", "filters --layer layer2",
        "histograms --images 20", "confusion", "confusion --split valid", "worst --count 3",
        "saliency", "saliency --index 5 1", "maximise --steps 3 --unit 0 2", "curves",
        "maximise --steps 2 --layer layer0 --seed 1 --rate 0.2 --blur 0 --decay 0",
    ],
)  # fmt: skip
def test_show(words: str, run_folder: Path, capsys) -> None:
    what, *options = words.split()
    assert main(["show", what, str(run_folder), *options]) == 0
    assert capsys.readouterr().out == f"{what}.png\n"
    assert min(shape_of(f"{what}.png")) > 100


@pytest.mark.parametrize(
    "words", ["features", "filters", "histograms", "confusion", "worst", "saliency", "maximise"]
)
def test_show_colour(words: str, colour_folder: Path) -> None:
    assert main(["show", words, str(colour_folder), "--out", "new/one.PNG"]) == 0
    assert min(shape_of("new/one.PNG")) > 100


def test_show_a_photograph(run_folder: Path, colour_folder: Path) -> None:
    from PIL import Image

    digit = 255 - np.kron(data.load(source="sample").test.images[0, 0], np.ones((5, 5), np.uint8))
    Image.fromarray(digit).save("digit.png")
    for folder in (run_folder, colour_folder):
        for what in ("features", "saliency"):
            assert main(["show", what, str(folder), "--image", "digit.png"]) == 0
            shape_of(f"{what}.png")


def test_curves_of_several_runs(run_folder: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "grey", HISTORY[:2], **TUTORIAL)
    assert main(["show", "curves", str(run_folder), str(other / "best.npz")]) == 0
    shape_of("curves.png")


def test_the_latest_run_is_the_default(tmp_path: Path, capsys) -> None:
    assert "no trained model" in refused(capsys, "show", "filters")
    assert "no trained model" in refused(capsys, "show", "curves")
    write_run(tmp_path / "runs" / "one", **TUTORIAL)
    assert main(["show", "filters"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "features --layer C9",
            "'C9': got a name that no layer has; expected one of layer0, layer1",
        ),
        ("features --index 371", "--index: got 371; expected 0 to 370"),
        ("features --index -1", "--index: got -1"),
        ("features --image none.png", "none.png: got no such file"),
        ("features --image text.png", "text.png: got a file that is not an image"),
        ("filters --layer nix", "a name that no layer has"),
        ("histograms --images 0", "--images: got 0; expected a number from 1 on"),
        ("worst --count -2", "--count: got -2"),
        ("confusion --source own.npz", "images of 3x12x12; expected 1x28x28, as the model"),
        (
            "maximise --unit 10",
            "unit 10 of layer layer3: got a number that no unit has; expected 0",
        ),
        ("maximise --layer nix", "a name that no layer has"),
        ("maximise --steps 0", "--steps: got 0"),
        ("maximise --rate nan", "--rate: got nan"),
        ("filters --out filters.jpg", "--out: got filters.jpg; expected a name that ends in .png"),
        ("filters --out text.png/x.png", "a folder that can be written"),
    ],
)
def test_show_refuses(words: str, told: str, run_folder: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "text.png").write_text("no picture")
    colour_data(tmp_path / "own.npz")
    what, *options = words.split()
    assert told in refused(capsys, "show", what, run_folder, *options)


def test_show_refuses_layers_without_filters(colour_folder: Path, capsys) -> None:
    told = refused(capsys, "show", "filters", colour_folder, "--layer", "max1")
    assert "a name that no layer has" in told or "a layer without filters" in told
    pool = next(one.name for one in Classifier(colour_folder / "best.npz").model.layers
                if "pooling" in one.kind)  # fmt: skip
    told = refused(capsys, "show", "filters", colour_folder, "--layer", pool)
    assert "a layer without filters" in told


def test_runs_without_an_epoch_have_no_curve(tmp_path: Path, capsys) -> None:
    write_run(tmp_path / "new", [], **TUTORIAL)
    assert "a run without an epoch" in refused(capsys, "show", "curves", tmp_path / "new")


@pytest.mark.parametrize("words", [["show", "filters"], ["report"]])
def test_without_matplotlib(words: list[str], run_folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    told = refused(capsys, *words, run_folder)
    assert "no matplotlib.figure; expected matplotlib" in told and "symgraph[lenet]" in told


@pytest.mark.parametrize("words", [["show"], ["show", "features"], ["report"], ["check"]])
def test_help_teaches(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert len(words) == 2 or "examples:\n  python -m lenet " in said


# ---- report --------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The elements of a page, which must be closed as they were opened, and its text."""

    VOID = frozenset({"meta", "img", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, text: str) -> None:
        self.text += text


def check_page(text: str) -> Page:
    """The page, if it is sound and needs nothing from elsewhere."""
    page = Page(text)
    assert not page.open and len(set(page.ids)) == len(page.ids)
    assert text.startswith("<!DOCTYPE html>") and len(text) < 5_000_000
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,")), tag
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in page.ids
    assert "@import" not in text and "url(http" not in text
    return page


def test_report(run_folder: Path, capsys) -> None:
    assert main(["report", str(run_folder)]) == 0
    path = run_folder / "report.html"
    assert capsys.readouterr().out == f"{path}\n"
    page = check_page(path.read_text())
    images = [a for tag, a in page.tags if tag == "img"]
    assert [a["alt"] for a in images] == [
        "learning curves", "confusion matrix", "the most wrong test images", "filters of layer0",
        "feature maps", "histograms of the outputs of layers", "saliency",
        "pictures that maximise the classes' scores",
    ]  # fmt: skip
    for attributes in images:
        code = attributes["src"].partition(",")[2]
        assert min(shape_of(io.BytesIO(base64.b64decode(code)))) > 100
    for words in (
        "tutorial on mnist", "convolution 5x5, max pooling 2x2, tanh", "--learning-rate", "numba",
        "371 images", "the small sample, not the full set",
    ):  # fmt: skip
        assert words in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    rows = re.findall(r"<tr class=best><td>3</td>", path.read_text())
    assert len(rows) == 1  # the best epoch


def test_report_escapes_what_people_name(colour_folder: Path) -> None:
    assert main(["report", str(colour_folder), "--out", "page.html"]) == 0
    text = Path("page.html").read_text()
    page = check_page(text)
    assert "<b>" not in text and "<b>left</b>" in page.text and "right & wrong" in page.text


def test_report_of_an_unfinished_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "new", [], **TUTORIAL)
    (folder / "result.json").write_text("[1, damaged")
    classifier = Classifier(folder / "last.npz")
    page = check_page(report(classifier, small(data.load(source="sample"))))
    assert "No epoch was finished" in page.text and "of 60 images" in page.text


def test_report_refuses(run_folder: Path, tmp_path: Path, capsys) -> None:
    assert "no trained model" in refused(capsys, "report")
    assert "nothing there" in refused(capsys, "report", "none")
    assert "ends in .html" in refused(capsys, "report", run_folder, "--out", "report.pdf")
    colour_data(tmp_path / "own.npz")
    told = refused(capsys, "report", run_folder, "--source", "own.npz")
    assert "images of 3x12x12; expected 1x28x28" in told
