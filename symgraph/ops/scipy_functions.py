"""Special functions that SciPy computes: Bessel's, incomplete gamma functions, scaled erfc.

They run as Python steps, since each would want approximations of its own and they are rare in
models; SciPy's loops are compiled. Without SciPy building the expression raises ImportError.
Source: Theano, scalar/basic_scipy.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from symgraph.errors import explain
from symgraph.graph import Apply
from symgraph.ops.core import Elemwise, ScalarOp
from symgraph.ops.elementwise import exp, gamma
from symgraph.types import NullType, float_of, upcast

__all__ = [
    "chi2sf", "erfcx", "gammainc", "gammaincc", "gammal", "gammau", "i0", "i1", "iv", "j0", "j1",
    "jv",
]  # fmt: skip


@dataclass(frozen=True)
class ScipyElemwise(Elemwise):
    """A function of numbers that SciPy computes, of every element, with broadcasting.

    `undefined` are the positions of arguments by which the gradient is not implemented.
    """

    undefined: tuple[int, ...] = ()
    compute = None  # type: ignore[assignment]

    def make_node(self, *inputs: Any) -> Apply:
        if importlib.util.find_spec("scipy") is None:
            raise ImportError(
                explain(self, "SciPy computes this function, and it is not installed",
                        cure="pip install scipy")
            )  # fmt: skip
        return super().make_node(*inputs)

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> list[Any]:
        terms = super().L_op(inputs, outputs, output_gradients)
        for position in self.undefined:
            why = f"the gradient of {self.scalar_op} by argument {position} is not implemented"
            terms[position] = NullType(why)()
        return terms

    def __str__(self) -> str:
        return f"Elemwise{{{self.scalar_op}}}"


def _floating(*dtypes: str) -> str:
    return upcast(*map(float_of, dtypes))


def _of_scipy(name: str) -> Callable[..., Any]:
    def apply(*args: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*args)

    return apply


def _times_gamma(name: str) -> Callable[..., Any]:
    return lambda k, x: _of_scipy(name)(k, x) * _of_scipy("gamma")(k)


def _chi2sf(x: Any, k: Any) -> Any:
    return _of_scipy("chdtrc")(k, x)


def _density(x: Any, k: Any) -> Any:
    """What the integrals of the incomplete gamma functions run over."""
    return exp(-x) * x ** (k - 1)


def _function(row: ScalarOp, doc: str, undefined: tuple[int, ...] = ()) -> Callable[..., Any]:
    op = ScipyElemwise(row, undefined)

    def function(*args: Any) -> Any:
        return op(*args)

    function.__name__ = function.__qualname__ = row.name
    function.__doc__ = f"{doc}\n\nElementwise, by SciPy. Source: Theano, library/tensor/basic."
    return function


erfcx: Callable[..., Any] = _function(
    ScalarOp("erfcx", 1, _floating, _of_scipy("erfcx"), "",
             lambda g, out, x: (g * (2 * x * out - 2 / math.sqrt(math.pi)),)),
    "exp(x**2) * erfc(x), which stays above 0 for large x.",
)  # fmt: skip
j0: Callable[..., Any] = _function(
    ScalarOp("j0", 1, _floating, _of_scipy("j0"), "", lambda g, out, x: (-g * j1(x),)),
    "The Bessel function of the first kind of order 0.",
)
j1: Callable[..., Any] = _function(
    ScalarOp("j1", 1, _floating, _of_scipy("j1"), "",
             lambda g, out, x: (g * (j0(x) - jv(2, x)) / 2,)),
    "The Bessel function of the first kind of order 1.",
)  # fmt: skip
jv: Callable[..., Any] = _function(
    ScalarOp("jv", 2, _floating, _of_scipy("jv"), "",
             lambda g, out, v, x: (None, g * (jv(v - 1, x) - jv(v + 1, x)) / 2)),
    "The Bessel function of the first kind of real order v at x; no gradient by v.", (0,),
)  # fmt: skip
i0: Callable[..., Any] = _function(
    ScalarOp("i0", 1, _floating, _of_scipy("i0"), "", lambda g, out, x: (g * i1(x),)),
    "The modified Bessel function of the first kind of order 0.",
)
i1: Callable[..., Any] = _function(
    ScalarOp("i1", 1, _floating, _of_scipy("i1"), "",
             lambda g, out, x: (g * (i0(x) + iv(2, x)) / 2,)),
    "The modified Bessel function of the first kind of order 1.",
)  # fmt: skip
iv: Callable[..., Any] = _function(
    ScalarOp("iv", 2, _floating, _of_scipy("iv"), "",
             lambda g, out, v, x: (None, g * (iv(v - 1, x) + iv(v + 1, x)) / 2)),
    "The modified Bessel function of the first kind of real order v at x; no gradient by v.", (0,),
)  # fmt: skip
gammainc: Callable[..., Any] = _function(
    ScalarOp("gammainc", 2, _floating, _of_scipy("gammainc"), "",
             lambda g, out, k, x: (None, g * _density(x, k) / gamma(k))),
    "The regularised lower incomplete gamma function of k at x; no gradient by k.", (0,),
)  # fmt: skip
gammaincc: Callable[..., Any] = _function(
    ScalarOp("gammaincc", 2, _floating, _of_scipy("gammaincc"), "",
             lambda g, out, k, x: (None, -g * _density(x, k) / gamma(k))),
    "The regularised upper incomplete gamma function of k at x; no gradient by k.", (0,),
)  # fmt: skip
gammal: Callable[..., Any] = _function(
    ScalarOp("gammal", 2, _floating, _times_gamma("gammainc"), "",
             lambda g, out, k, x: (None, g * _density(x, k))),
    "The lower incomplete gamma function of k at x; no gradient by k.", (0,),
)  # fmt: skip
gammau: Callable[..., Any] = _function(
    ScalarOp("gammau", 2, _floating, _times_gamma("gammaincc"), "",
             lambda g, out, k, x: (None, -g * _density(x, k))),
    "The upper incomplete gamma function of k at x; no gradient by k.", (0,),
)  # fmt: skip
chi2sf: Callable[..., Any] = _function(
    ScalarOp("chi2sf", 2, lambda *dtypes: "float64", _chi2sf, "",
             lambda g, out, x, k: (-g * _density(x / 2, k / 2) / (2 * gamma(k / 2)), None)),
    "1 less the chi squared distribution with k degrees of freedom at x, float64; no gradient by "
    "k.", (1,),
)  # fmt: skip
