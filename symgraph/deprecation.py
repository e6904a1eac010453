"""Spellings of older versions of Theano: they work for ever, and say what the newer one is."""

from __future__ import annotations

import os
import sys
import warnings

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def warn_user(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost frame outside of symgraph: once for each line of the user's."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def former(where: str, old: str, new: str, what: str = "name") -> None:
    """Warn that `old` is the former name (or form) of `new`, by a DeprecationWarning."""
    warn_user(f"{where}: {old} is the former {what} of {new}", DeprecationWarning)
