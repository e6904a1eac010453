"""What tests of Theano's documents and of code written for Theano share.

Modules imported for a while with `import theano` as symgraph; comparisons of arrays.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph.theano_shim import FINDER, uninstall


@contextlib.contextmanager
def alias() -> Iterator[None]:
    """`import theano` means symgraph inside."""
    outermost = FINDER not in sys.meta_path
    symgraph.install_as_theano()
    try:
        yield
    finally:
        if outermost:
            uninstall()


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    """For each test of a module that imports this: the alias, and kernels unjitted.

    The zoo of ops crosses sizes and layouts with every target.
    """
    with alias(), symgraph.config.change_flags(target="python"):
        yield


def same(found: Any, expected: Any, **options: Any) -> None:
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-6, "atol": 1e-12, **options})


def counted(*shape: int) -> Any:
    """1.0, 2.0, ... in an array of `shape`."""
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


def imported(*names: str) -> list[Any]:
    """The modules that `import` of these names of Theano's gives."""
    with alias():
        return [importlib.import_module(name) for name in names]


@contextlib.contextmanager
def modules_of(folder: Path, floatX: str = "float32") -> Iterator[Callable[[str], Any]]:
    """A function that imports the module of a name from `folder`; undone at the end.

    Settings that the code changes (`theano.config.floatX = ...`) are as before at the end.
    """
    names = {path.stem for path in folder.glob("*.py")}
    path, device = sys.path[:], symgraph.config.device
    sys.path.insert(0, str(folder))
    symgraph.install_as_theano()
    try:
        with symgraph.config.change_flags(floatX=floatX):
            yield importlib.import_module
    finally:
        sys.path[:], symgraph.config.device = path, device
        uninstall()
        for name in names & sys.modules.keys():
            del sys.modules[name]


def logistic_regression(points: int = 400, features: int = 784) -> Any:
    """The model of several of Theano's pages: its data, variables, expressions and gradients."""
    theano, T = imported("theano", "theano.tensor")
    rng, floatX = np.random.RandomState(0), theano.config.floatX
    x, y = T.matrix("x"), T.vector("y")
    w = theano.shared(rng.randn(features).astype(floatX), name="w")
    b = theano.shared(np.asarray(0.0, dtype=floatX), name="b")
    data = (
        rng.randn(points, features).astype(floatX),
        rng.randint(size=points, low=0, high=2).astype(floatX),
    )
    p_1 = 1 / (1 + T.exp(-T.dot(x, w) - b))
    prediction = p_1 > 0.5
    xent = -y * T.log(p_1) - (1 - y) * T.log(1 - p_1)
    cost = xent.mean() + 0.01 * (w**2).sum()
    gw, gb = T.grad(cost, [w, b])
    return SimpleNamespace(**locals())


def numbers_of(text: str) -> str:
    """`text` as today's NumPy would print it, without spaces in and points after numbers."""
    text = re.sub(r"(?<=[\d)])\.(?!\d)|(?<=\d)\.0+(?!\d)", "", text)
    return re.sub(r" +", " ", re.sub(r"\[ +", "[", text))
