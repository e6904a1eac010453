"""Networks as text: INPUT -> [[CONV -> activation]*N -> POOL?]*M -> [FC -> activation]*K -> FC.

    [conv 32 3 same, relu]*2, max 2, conv 64 3, norm, relu, max 2, fc 128, relu, dropout 0.5

Steps are joined by commas or arrows; brackets and a number repeat steps. An activation directly
behind `conv`, `fc`, `subsample` or `norm` becomes that layer's own. `USAGE` says what steps there
are. The input and, unless the text ends in `fc` without an activation, the output are understood.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from lenet.activations import ACTIVATIONS
from lenet.errors import RunError
from lenet.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Pad,
    Pool2D,
    Rescale,
    Subsampling,
)
from lenet.layers.units import MAXOUT

USAGE = {
    "conv": "conv FILTERS SIZE [stride N] [pad N | same | valid]",
    "max": "max SIZE [stride N]",
    "mean": "mean SIZE [stride N]",
    "subsample": "subsample SIZE",
    "fc": "fc [UNITS]",
    "norm": "norm",
    "dropout": "dropout RATE",
    "pad": "pad N [VALUE]",
    "rescale": "rescale LOW HIGH",
    "flatten": "flatten",
    MAXOUT: "maxout K",
    **{name: name for name in ACTIVATIONS if name != "linear"},
}
MOST = 1000  # steps, so that a slip in a number does not fill the memory
_Value = TypeVar("_Value")
_TOKEN = re.compile(r"\s*(?:(?P<mark>->|[,\[\]*])|(?P<word>(?:(?!->)[^\s,\[\]*])+))")


def parse(text: str, classes: int) -> list[Layer]:
    """The layers that `text` describes, the output for so many classes being the last of them.

    Raises RunError that says where in the text something is not understood, and what is expected.
    """
    reader = _Reader(text)
    layers: list[Layer] = []
    for clause in reader.all():
        layer = clause.layer(classes)
        last = layers[-1] if layers else None
        if (
            isinstance(layer, Activation)
            and isinstance(last, (Conv2D, Dense, Subsampling, BatchNormalization))
            and last.activation == "linear"
        ):
            layers[-1] = replace(last, activation=layer.of)
        else:
            layers.append(layer)
    return layers


class _Token(NamedTuple):
    text: str
    column: int  # from 1 on


class _Reader:
    """The text as tokens, and what its grammar makes of them."""

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self.tokens = [
            _Token(found.group().strip(), found.end() - len(found.group().strip()) + 1)
            for found in _TOKEN.finditer(self.text)
        ]
        self.at = 0

    def all(self) -> list[_Clause]:
        clauses = self._steps()
        if self.at < len(self.tokens):
            raise self.error("a comma, an arrow or the end")
        return clauses

    def _steps(self) -> list[_Clause]:
        clauses = self._step()
        while self._next() in (",", "->"):
            self.at += 1
            clauses += self._step()
            if len(clauses) > MOST:
                raise self.error(f"at most {MOST} layers", f"{len(clauses)} layers")
        return clauses

    def _step(self) -> list[_Clause]:
        if self._next() != "[":
            return [self._clause()]
        self.at += 1
        clauses = self._steps()
        if self._next() != "]":
            raise self.error("a comma, an arrow or ]")
        self.at += 1
        if self._next() != "*":
            return clauses
        self.at += 1
        times = self._next()
        if not (times.isdecimal() and 1 <= int(times) <= MOST):
            raise self.error(f"a number of repetitions from 1 to {MOST}")
        if len(clauses) * int(times) > MOST:
            raise self.error(f"at most {MOST} layers", f"{len(clauses) * int(times)} layers")
        self.at += 1
        return clauses * int(times)

    def _clause(self) -> _Clause:
        words = []
        while self._next() not in ("", ",", "->", "[", "]", "*"):
            words.append(self.tokens[self.at])
            self.at += 1
        if not words or words[0].text not in USAGE:
            self.at -= len(words)
            raise self.error(f"one of {', '.join(USAGE)}")
        return _Clause(words, self)

    def _next(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def error(self, expected: str, got: str | None = None, at: _Token | None = None) -> RunError:
        token = at or (self.tokens[self.at] if self.at < len(self.tokens) else None)
        if token is None:
            here = "its end"
            got = got or "nothing more"
        else:
            here = f"column {token.column}"
            got = got or repr(token.text)
        return RunError(
            f"--network {self.text!r}, {here}",
            got,
            expected,
            "write it as 'conv 6 5, relu, max 2, fc 84, relu'",
        )


@dataclass
class _Clause:
    """One step: a word, and what stands behind it, read from left to right."""

    words: Sequence[_Token]
    reader: _Reader

    def layer(self, classes: int) -> Layer:
        self.at = 1
        name = self.words[0].text
        made = _MAKERS[name](self, classes) if name in _MAKERS else Activation(name)
        if self.at < len(self.words):
            raise self.error()
        return made

    def next(self) -> str:
        return self.words[self.at].text if self.at < len(self.words) else ""

    def takes(self, *words: str) -> str:
        """The next word, if it is one of `words`; else an empty one."""
        if (word := self.next()) not in words:
            return ""
        self.at += 1
        return word

    def whole(self) -> int:
        """The next word as a whole number."""
        return self._read(r"\d{1,9}", int)

    def sizes(self) -> int | tuple[int, int]:
        """The next word as one whole number or, as 5x3, two."""
        text = self._read(r"\d{1,9}(x\d{1,9})?", str)
        sizes = [int(part) for part in text.split("x")]
        return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])

    def number(self) -> float:
        value = self._read(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", float)
        if not math.isfinite(value):
            self.at -= 1
            raise self.error()
        return value

    def error(self) -> RunError:
        token = self.words[self.at] if self.at < len(self.words) else None
        got = f"{' '.join(word.text for word in self.words)!r}, which ends there"
        expected = USAGE[self.words[0].text]
        if token is None:
            return self.reader.error(expected, got, self.words[-1])
        return self.reader.error(expected, at=token)

    def _read(self, pattern: str, kind: Callable[[str], _Value]) -> _Value:
        if not re.fullmatch(pattern, self.next()):
            raise self.error()
        self.at += 1
        return kind(self.words[self.at - 1].text)


def _conv(clause: _Clause, classes: int) -> Layer:
    filters, size = clause.whole(), clause.sizes()
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] | str = 0
    while word := clause.takes("stride", "pad", "same", "valid"):
        if word == "stride":
            stride = clause.sizes()
        else:
            padding = clause.sizes() if word == "pad" else word
    return Conv2D(filters, size, stride=stride, padding=padding)


def _pool(clause: _Clause, classes: int) -> Layer:
    mode = "max" if clause.words[0].text == "max" else "average"
    size = clause.sizes()
    return Pool2D(size, stride=clause.sizes() if clause.takes("stride") else None, mode=mode)


def _fc(clause: _Clause, classes: int) -> Layer:
    return Dense(clause.whole() if clause.next() else classes)


def _pad(clause: _Clause, classes: int) -> Layer:
    size = clause.sizes()
    return Pad(size, value=clause.number() if clause.next() else 0.0)


_MAKERS: dict[str, Callable[[_Clause, int], Layer]] = {
    "conv": _conv,
    "max": _pool,
    "mean": _pool,
    "subsample": lambda clause, classes: Subsampling(clause.sizes(), activation="linear"),
    "fc": _fc,
    "norm": lambda clause, classes: BatchNormalization(),
    "dropout": lambda clause, classes: Dropout(clause.number()),
    "pad": _pad,
    "rescale": lambda clause, classes: Rescale(clause.number(), clause.number()),
    "flatten": lambda clause, classes: Flatten(),
    MAXOUT: lambda clause, classes: Activation(f"{MAXOUT}:{clause.whole()}"),
}
