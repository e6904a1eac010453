"""Makers of variables: `scalar` to `tensor7`, the types `bscalar` to `dtensor7`, and plurals.

A name with a prefix is a type, and calling a type makes a variable: `dmatrix('x')`. b, w, i, l are
int8 to int64, f and d are float32 and float64; without prefix the dtype is `config.floatX` when the
name is called. Source: Theano, library/tensor/basic, Constructors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from symgraph.errors import explain
from symgraph.types import TensorType, check_dtype
from symgraph.variable import TensorVariable

PREFIXES = {"b": "int8", "w": "int16", "i": "int32", "l": "int64", "f": "float32", "d": "float64"}
Maker = Callable[..., Any]


def _types(shape: str, pattern: tuple[bool, ...]) -> tuple[TensorType, ...]:
    """The types of one shape, for every prefix."""
    return tuple(TensorType(dtype, pattern, prefix + shape) for prefix, dtype in PREFIXES.items())


class NoComplex:
    """Stands where Theano has a complex type; calling it raises TypeError."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError(
            explain(self.name, "complex variables are not supported",
                    cure="split complex numbers into real and imaginary parts")
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"{self.name} (not supported)"


def _complex(shape: str, plural: str) -> tuple[NoComplex, ...]:
    return tuple(NoComplex(prefix + name) for name in (shape, plural) for prefix in "cz")


def _plural(maker: Maker) -> Maker:
    def make(*names: Any, **options: Any) -> Any:
        """Several variables: of the names given, of the letters of one string, or n unnamed ones.

        `dmatrices('a', 'b')`, `scalars('xyz')`, `dmatrices(2)`; of one name it is one variable.
        """
        chosen: Any = names[0] if len(names) == 1 else names
        if isinstance(chosen, int):
            return [maker(**options) for _ in range(chosen)]
        if len(chosen) == 1:
            return maker(chosen[0], **options)
        return [maker(name, **options) for name in chosen]

    return make


def _plurals(*makers: Maker) -> tuple[Maker, ...]:
    return tuple(_plural(maker) for maker in makers)


def _function(shape: str, pattern: tuple[bool, ...]) -> Maker:
    def make(name: str | None = None, dtype: str | None = None) -> TensorVariable:
        return TensorType(check_dtype(dtype or "floatX"), pattern)(name)  # type: ignore[return-value]

    make.__name__ = make.__qualname__ = shape
    make.__doc__ = f"""A new variable of broadcast pattern {pattern}.

    `dtype`: by default `config.floatX`, as it is when this is called.
    Source: Theano, library/tensor/basic, {shape}.
    """
    return make


def tensor(
    dtype: str, broadcastable: tuple[bool, ...] | list[bool], name: str | None = None
) -> TensorVariable:
    """A new variable of any dtype and broadcast pattern. Source: Theano, `T.tensor`."""
    return TensorType(dtype, broadcastable)(name)  # type: ignore[return-value]


scalar = _function("scalar", ())
scalars = _plural(scalar)
bscalar, wscalar, iscalar, lscalar, fscalar, dscalar = _types("scalar", ())
bscalars, wscalars, iscalars, lscalars, fscalars, dscalars = _plurals(
    bscalar, wscalar, iscalar, lscalar, fscalar, dscalar
)
cscalar, zscalar, cscalars, zscalars = _complex("scalar", "scalars")

vector = _function("vector", (False,))
vectors = _plural(vector)
bvector, wvector, ivector, lvector, fvector, dvector = _types("vector", (False,))
bvectors, wvectors, ivectors, lvectors, fvectors, dvectors = _plurals(
    bvector, wvector, ivector, lvector, fvector, dvector
)
cvector, zvector, cvectors, zvectors = _complex("vector", "vectors")

matrix = _function("matrix", (False, False))
matrices = _plural(matrix)
bmatrix, wmatrix, imatrix, lmatrix, fmatrix, dmatrix = _types("matrix", (False, False))
bmatrices, wmatrices, imatrices, lmatrices, fmatrices, dmatrices = _plurals(
    bmatrix, wmatrix, imatrix, lmatrix, fmatrix, dmatrix
)
cmatrix, zmatrix, cmatrices, zmatrices = _complex("matrix", "matrices")

row = _function("row", (True, False))
rows = _plural(row)
brow, wrow, irow, lrow, frow, drow = _types("row", (True, False))
brows, wrows, irows, lrows, frows, drows = _plurals(brow, wrow, irow, lrow, frow, drow)
crow, zrow, crows, zrows = _complex("row", "rows")

col = _function("col", (False, True))
cols = _plural(col)
bcol, wcol, icol, lcol, fcol, dcol = _types("col", (False, True))
bcols, wcols, icols, lcols, fcols, dcols = _plurals(bcol, wcol, icol, lcol, fcol, dcol)
ccol, zcol, ccols, zcols = _complex("col", "cols")

tensor3 = _function("tensor3", (False,) * 3)
tensor3s = _plural(tensor3)
btensor3, wtensor3, itensor3, ltensor3, ftensor3, dtensor3 = _types("tensor3", (False,) * 3)
btensor3s, wtensor3s, itensor3s, ltensor3s, ftensor3s, dtensor3s = _plurals(
    btensor3, wtensor3, itensor3, ltensor3, ftensor3, dtensor3
)
ctensor3, ztensor3, ctensor3s, ztensor3s = _complex("tensor3", "tensor3s")

tensor4 = _function("tensor4", (False,) * 4)
tensor4s = _plural(tensor4)
btensor4, wtensor4, itensor4, ltensor4, ftensor4, dtensor4 = _types("tensor4", (False,) * 4)
btensor4s, wtensor4s, itensor4s, ltensor4s, ftensor4s, dtensor4s = _plurals(
    btensor4, wtensor4, itensor4, ltensor4, ftensor4, dtensor4
)
ctensor4, ztensor4, ctensor4s, ztensor4s = _complex("tensor4", "tensor4s")

tensor5 = _function("tensor5", (False,) * 5)
tensor5s = _plural(tensor5)
btensor5, wtensor5, itensor5, ltensor5, ftensor5, dtensor5 = _types("tensor5", (False,) * 5)
btensor5s, wtensor5s, itensor5s, ltensor5s, ftensor5s, dtensor5s = _plurals(
    btensor5, wtensor5, itensor5, ltensor5, ftensor5, dtensor5
)
ctensor5, ztensor5, ctensor5s, ztensor5s = _complex("tensor5", "tensor5s")

tensor6 = _function("tensor6", (False,) * 6)
tensor6s = _plural(tensor6)
btensor6, wtensor6, itensor6, ltensor6, ftensor6, dtensor6 = _types("tensor6", (False,) * 6)
btensor6s, wtensor6s, itensor6s, ltensor6s, ftensor6s, dtensor6s = _plurals(
    btensor6, wtensor6, itensor6, ltensor6, ftensor6, dtensor6
)
ctensor6, ztensor6, ctensor6s, ztensor6s = _complex("tensor6", "tensor6s")

tensor7 = _function("tensor7", (False,) * 7)
tensor7s = _plural(tensor7)
btensor7, wtensor7, itensor7, ltensor7, ftensor7, dtensor7 = _types("tensor7", (False,) * 7)
btensor7s, wtensor7s, itensor7s, ltensor7s, ftensor7s, dtensor7s = _plurals(
    btensor7, wtensor7, itensor7, ltensor7, ftensor7, dtensor7
)
ctensor7, ztensor7, ctensor7s, ztensor7s = _complex("tensor7", "tensor7s")

__all__ = [
    name
    for name, made in list(globals().items())
    if isinstance(made, (TensorType, NoComplex))
    or (getattr(made, "__module__", "") == __name__ and not name.startswith("_"))
]
