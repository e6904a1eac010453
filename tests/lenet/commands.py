"""Running `python -m lenet` in tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lenet.__main__ import main


def done(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What the command of `words`, which must succeed, writes on standard output."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The line with which the command of `words` refuses."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("lenet: ") and "Cure: " in line
    return line


def save_picture(path: Path, pixels: np.ndarray, mode: str = "L", **options: object) -> Path:
    """Write `pixels`, uint8, as a picture of that mode, in the format of the suffix."""
    from PIL import Image

    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path
