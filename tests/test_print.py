"""`Print`: shows values when they are computed, and changes nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import function, grad
from symgraph import tensor as T
from symgraph.compile.mode import Options
from symgraph.printing import Print

MODES = [Options("cpu", "fast_run"), Options("cpu", "fast_compile"), Options("python", "none")]


def normal(text: str) -> list[str]:
    """The lines with single blanks: NumPy's own text changed between versions."""
    return [" ".join(line.replace("[ ", "[").split()) for line in text.splitlines()]


@pytest.mark.parametrize("mode", MODES, ids=lambda m: f"{m.target}-{m.rewrites}")
def test_the_value_is_printed_and_passed_on(mode: Options, capsys: Any) -> None:
    x = T.dvector("x")
    printed = Print("this is a very important value")(x)
    f, g = function([x], x * 5, mode=mode), function([x], printed * 5, mode=mode)
    assert f([1, 2, 3]).tolist() == g([1, 2, 3]).tolist() == [5, 10, 15]
    assert normal(capsys.readouterr().out) == [
        "this is a very important value __str__ = [1. 2. 3.]"
    ]


def test_attributes_and_methods(capsys: Any) -> None:
    x = T.fmatrix("x")
    f = function([x], Print("x", attrs=["shape", "dtype", "min", "max"])(x).sum())
    f(np.arange(6, dtype="f").reshape(2, 3))
    assert normal(capsys.readouterr().out) == [
        "x shape = (2, 3)", "x dtype = float32", "x min = 0.0", "x max = 5.0",
    ]  # fmt: skip


def test_each_print_shows_once_per_call_in_order(capsys: Any) -> None:
    """Equal prints are not merged, results used twice are printed once, unused ones never."""
    x = T.dscalar("x")
    first = Print("first")(x * 2)
    second = Print("second")(first + 1)
    Print("unused")(x)
    f = function([x], [first * second, Print("third")(second) + second, Print("third")(second)])
    for _ in range(2):
        assert [float(v) for v in f(1.0)] == [6, 6, 3]
    lines = [line.split()[0] for line in normal(capsys.readouterr().out)]
    assert lines == ["first", "second", "third", "third"] * 2


def test_gradients_pass_through(capsys: Any) -> None:
    x, w = T.dmatrix("x"), symgraph.shared(np.ones((3, 2)), "w")
    h = Print("hidden", attrs=["shape"])(T.dot(x, w))
    f = function([x], grad((h**2).sum(), w), updates=[(w, w - grad(h.sum(), w))])
    assert f(np.ones((4, 3))).tolist() == [[24.0] * 2] * 3
    assert capsys.readouterr().out == "hidden shape = (4, 2)\n"
    assert w.get_value().tolist() == [[-3.0] * 2] * 3


def test_a_print_keeps_its_place_in_a_stable_expression() -> None:
    """What is behind a Print is computed as written: rules do not see through."""
    seen: list[float] = []
    x = T.dscalar("x")
    watched = Print(global_fn=lambda op, value: seen.append(float(value)))(T.exp(x))
    f = function([x], T.log(watched))
    assert f(1.0) == pytest.approx(1.0)
    assert seen == [pytest.approx(np.e)]


def test_constants_and_shapes(capsys: Any) -> None:
    """A constant is printed at each call, not when it is folded; a size needs no value."""
    f = function([], Print("c")(T.constant(3)) * 2)
    assert capsys.readouterr().out == ""
    assert f() == f() == 6
    assert capsys.readouterr().out == "c __str__ = 3\n" * 2
    x = T.dvector("x")
    assert function([x], Print("x")(x).shape[0])([1, 2]) == 2


def test_what_it_looks_like() -> None:
    x = T.dvector("x")
    y = Print("look", attrs=["min"])(x)
    assert str(y) == "Print{message='look', attrs=('min',)}.0"
    assert Print("a") == Print("a") and hash(Print("a")) == hash(Print("a"))
    assert Print("a") != Print("b")
    assert y.type == x.type
