"""Errors: what users of Theano expect to catch, with texts that state five facts.

Every message says which op, where the user wrote it, what it got, what it expected, and the cure.
"""

from __future__ import annotations

import linecache
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple


class Trace(NamedTuple):
    """The place in the user's code that built a node."""

    filename: str
    lineno: int
    function: str

    def __str__(self) -> str:
        line = linecache.getline(self.filename, self.lineno).strip()
        place = f"{self.filename}:{self.lineno}, in {self.function}"
        return f"{place}: {line}" if line else place


def explain(
    op: object,
    problem: str,
    *,
    where: Trace | None = None,
    got: str = "",
    expected: str = "",
    cure: str = "",
) -> str:
    """One message with the five facts; facts that are empty are left out."""
    lines = [f"{op}: {problem}" if op else problem]
    facts = (("where", where), ("got", got), ("expected", expected), ("cure", cure))
    lines += [f"  {name + ':':<10}{fact}" for name, fact in facts if fact]
    return "\n".join(lines)


def warn_at(where: Trace | None, text: str, category: type[Warning] = UserWarning) -> None:
    """A warning that points at the user's line, however deep in symgraph it is found."""
    if where is None:
        warnings.warn(text, category, stacklevel=3)
    else:
        warnings.warn_explicit(text, category, where.filename, where.lineno)


def start_debugger(text: str) -> None:
    """Say why on stderr, and start pdb: for settings whose value is 'pdb'."""
    import pdb

    sys.stderr.write(text + "\n")
    pdb.set_trace()


class AsTensorError(TypeError):
    """A value that cannot become a tensor variable."""


class MissingInputError(Exception):
    """A graph needs a variable whose value nobody gives."""


class UnusedInputError(Exception):
    """An input that no output depends on, or that is listed twice."""


class DisconnectedInputError(ValueError):
    """`grad` with respect to a variable that the cost does not depend on."""


class NullTypeGradError(TypeError):
    """`grad` met a gradient that is mathematically undefined or not implemented."""


class ShapeError(ValueError):
    """Sizes that do not fit together, found when the graph is built or called."""


class NotConstantError(Exception):
    """A value was needed while building the graph, but it is symbolic."""


def retold(error: Exception, tell: Callable[[str], str]) -> Exception:
    """`error` itself, which says `tell(its text)` now; where it was raised it stays.

    An error that makes its text itself, such as one of a user's class, gets a note beside it (from
    Python 3.11 on), `tell` of its class's name.
    """
    first, *rest = error.args or (type(error).__name__,)
    shows_args = type(error).__str__ in (BaseException.__str__, KeyError.__str__)
    if shows_args and isinstance(first, str):
        error.args = (tell(first), *rest)
    elif hasattr(error, "add_note"):
        note = tell(type(error).__name__)
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    return error


def in_round(error: Exception, t: int, loop: object) -> Exception:
    """`error`, which also says in which step of a loop, counted from 0, it came up."""
    return retold(error, lambda text: f"{text}\n  in round {t} of {loop}")


class RewriteError(RuntimeError):
    """A rewrite rule failed or did not come to an end; the graph was not compiled."""
