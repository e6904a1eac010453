"""The guide, docs/lenet.md: its examples and commands run, and what it counts and names is so.

Commands of the README and of the help texts are read by the parser, and the values of their options
checked; those of the guide's blocks also run, one after the other, on the shipped sample.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lenet import data
from lenet.__main__ import main, parser
from lenet.commands.arguments import given
from lenet.commands.train import recipes
from lenet.models import MODELS, build
from lenet.options import Options, flag, rows
from tests.lenet.commands import save_picture
from tests.lenet.data_files import Arrays, write_idx
from tests.test_readme import examples

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "lenet.md").read_text(encoding="utf-8")
PROGRAM = "python -m lenet "


def commands(text: str) -> list[str]:
    """The lines of `text` that are commands, without the remarks and redirections behind them."""
    lines = re.findall(rf"^ *{PROGRAM}(.*)$", text, re.MULTILINE)
    return [re.split(r"  +| #| > ", line)[0] for line in lines]


def inline(text: str) -> list[str]:
    return re.findall(rf"`{PROGRAM}([^`]+)`", text)


def parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


def helped() -> list[str]:
    """The commands in the help texts of all commands."""
    texts = [f"{one.description}\n{one.epilog or ''}" for one in parsers(parser())]
    return [command for text in texts for command in commands(text)]


def read(command: str) -> argparse.Namespace:
    """What `command` asks for, if all its words and the values of its options are understood."""
    try:
        args = parser().parse_args(shlex.split(command.removesuffix(" --help")))
    except SystemExit:
        pytest.fail(f"not understood: {PROGRAM}{command}")
    Options.of(**given(args))
    return args


@pytest.mark.parametrize(
    ("found", "least"),
    [
        (commands((ROOT / "README.md").read_text(encoding="utf-8")), 5),
        (commands(GUIDE) + inline(GUIDE), 25),
        (helped(), 40),
    ],
    ids=["README", "guide", "help"],
)
def test_commands_are_understood(found: list[str], least: int) -> None:
    assert len(found) >= least
    for command in found:
        read(command)


def test_recipes_are_understood() -> None:
    text = re.sub(r"\n {12}", " ", recipes())
    found = re.findall(r"^  (\w+) +(--.*)$", text, re.MULTILINE)
    assert [name for name, _ in found] == list(MODELS)
    for name, options in found:
        asked = given(read(f"train --model {name} {options}"))
        assert asked == {"model": name, **MODELS[name].recipe}


def test_the_guide_names_every_option_of_training() -> None:
    named = set(re.findall(r"`(--[a-z-0-9]+)[` ]", GUIDE)) - {"--help"}
    own = {flag(row.name) for row in rows()}
    assert named - own == set() == own - named


def table(title: str) -> list[list[str]]:
    """The rows of the guide's table whose head begins with `title`."""
    body = GUIDE.split(f"\n| {title} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in body]


def test_the_guide_counts_right() -> None:
    models = {
        name: build(Options.of(model=name), (1, 28, 28), tuple("0123456789")) for name in MODELS
    }
    assert [[f"`{name}`", f"{model.parameters:,}"] for name, model in models.items()] == [
        [row[0], row[2]] for row in table("`--model`")
    ]
    layers = {layer.name: layer for layer in models["lenet5"].layers}
    head, *counts = re.findall(r"^\|(.*)\|$", GUIDE.split("counted from the graph:")[1], re.M)[:4]
    names = head.split("|")[1:]
    for row, attribute in ((counts[1], "parameters"), (counts[2], "connections")):
        for name, number in zip(names, row.split("|")[1:], strict=True):
            assert f"{getattr(layers[name.strip()], attribute):,}" == number.strip()


def test_pictures_of_the_guide() -> None:
    from PIL import Image

    names = re.findall(r"(pictures/[\w-]+\.\w+)", GUIDE)
    assert sorted(names) == sorted(
        f"pictures/{path.name}" for path in (ROOT / "docs" / "pictures").glob("lenet-*")
    )
    for name in names:
        path = ROOT / "docs" / name
        assert path.stat().st_size < 100_000, name
        with Image.open(path) as image:
            assert image.format == "PNG" and min(image.size) > 100


def test_examples_print_what_they_say(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = examples(GUIDE)
    assert found
    for code, output in found:
        exec(compile(code, "docs/lenet.md", "exec"), {})
        assert capsys.readouterr().out.strip() == output.strip()


# ---- the guide's commands ------------------------------------------------------------------------


@pytest.fixture
def desk(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the guide takes for granted: a photograph, pictures by class, garments."""
    sample = data.load(source="sample").train
    images = sample.images[:, 0]
    save_picture(home / "seven.png", 255 - np.kron(images[0], np.ones((5, 5), np.uint8)))
    for number, image in enumerate(images[:60]):
        folder = home / "pictures" / f"class {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        save_picture(folder / f"{number}.png", image)
    garments = Arrays(images[:900], sample.labels[:900].astype(np.uint8),
                      images[900:950], sample.labels[900:950].astype(np.uint8))  # fmt: skip
    write_idx(home / "data" / "fashion-mnist", garments)
    monkeypatch.setenv("SYMGRAPH_DATA", str(home / "data"))
    return home


def shorter(command: str) -> list[str]:
    """The words of `command`, with as few epochs and images as show that it works."""
    words = shlex.split(command)
    if words[0] != "train":
        return [*words, "--entries", "2"] if words[0] == "check" else words
    if "--resume" in words:
        return [*words, "--epochs", "2"]
    limit = [] if "pictures" in words else ["--limit", "300"]
    return [*words, "--epochs", "1", *limit]


def test_the_guide_from_start_to_end(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(GUIDE):
        status = main(shorter(command))
        said = capsys.readouterr()
        assert status == 0, f"{command}: {said.err}"
    made = {path.relative_to(desk).as_posix() for path in desk.rglob("*") if path.is_file()}
    trained = ("pytorch", "custom", "lenet5", "fashion", "pictures")
    drawn = ("features", "saliency", "maximise", "worst", "confusion", "histograms", "filters")
    assert made >= {
        *(f"runs/{name}/{file}" for name in trained for file in ("best.npz", "result.json")),
        *(f"{name}.png" for name in (*drawn, "curves", "examples", "seven.png.features")),
        "runs/pytorch/report.html", "lenet.safetensors", "runs/again/best.npz",
        "lenet5_layers.png",
    }  # fmt: skip
