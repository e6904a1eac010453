"""What all tests share: no network, and comparison with the files in tests/golden."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: a new counter-example is found by raising max_examples at a desk.
settings.register_profile("symgraph", deadline=None, derandomize=True)
settings.load_profile("symgraph")

os.environ["SYMGRAPH_OFFLINE"] = "1"

GOLDEN = Path(__file__).with_name("golden")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker("golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: `text` is what tests/golden/`name` holds; `make golden` rewrites it."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != expected:
            lines = (expected.splitlines(), text.splitlines())
            pytest.fail(
                f"not what {path.relative_to(GOLDEN.parent)} holds (`make golden` rewrites it):\n"
                + "\n".join(difflib.unified_diff(*lines, "golden", "now", lineterm="")),
                pytrace=False,
            )

    return compare
