"""The examples in the README and in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import symgraph

ROOT = Path(__file__).parent.parent
COMPILED = {
    "native",
    "walk",
    "mathlib",
    "arithmetic",
    "codegen",
    "special",
    "microkernel",
    "blocks",
}


def examples(text: str) -> list[tuple[str, str]]:
    """Pairs of a python block and the text block that follows it directly."""
    pattern = r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?"
    return [(code, output or "") for code, output in re.findall(pattern, text, re.DOTALL)]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_examples_print_what_they_say(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = examples((ROOT / name).read_text(encoding="utf-8"))
    assert found, f"{name} holds no example"
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for code, output in found:
        exec(compile(code, name, "exec"), namespace)
        assert capsys.readouterr().out.strip() == output.strip()


def modules() -> list[str]:
    packages = pkgutil.walk_packages(symgraph.__path__, "symgraph.")
    return [m.name for m in packages if m.name.rsplit(".", 1)[-1] not in COMPILED]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200
