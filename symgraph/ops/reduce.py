"""Reductions, one row each, and the functions that users call on them.

dtypes of results and accumulators: rules 5 to 7 of Theano's semantics; gradients at ties: rule 22
(every tied element of max and min gets the full gradient). Source: Theano, library/tensor/basic
(Reductions) and tensor/elemwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.graph import Constant, Variable
from symgraph.ops.core import (
    SECOND,
    SUM,
    Elemwise,
    Reduce,
    Reduction,
    dimshuffle,
    restore_axes,
    sum_dtypes,
    sum_to_pattern,
)
from symgraph.ops.elementwise import abs_, cast, eq, maximum, minimum, sqr, sqrt, switch, true_div
from symgraph.ops.structure import product_of, shape_i
from symgraph.types import DISCRETE, FLOATS, NullType, check_dtype, upcast
from symgraph.variable import as_tensor_variable

# ---- axes ----------------------------------------------------------------------------------------


def normalize_axes(name: str, x: Any, axis: Any) -> tuple[int, ...]:
    """`axis` (None: all; an integer; several; constants too) as a sorted tuple without negatives.

    TypeError for what is not an integer, ValueError for an axis that `x` lacks or that is named
    twice.
    """
    if axis is None:
        return tuple(range(x.ndim))
    if isinstance(axis, Constant):
        axis = axis.data.tolist()
    if isinstance(axis, np.ndarray):
        axis = axis.tolist()
    if not isinstance(axis, (tuple, list)):
        axis = (axis,)
    axes = []
    for item in axis:
        number = item.data if isinstance(item, Constant) else item
        if isinstance(number, np.ndarray) and number.ndim == 0:
            number = number[()]
        if isinstance(number, (bool, np.bool_)) or not isinstance(number, (int, np.integer)):
            cure = "axes are chosen when the graph is built" if isinstance(item, Variable) else ""
            raise TypeError(
                explain(name, f"an axis is a constant integer, got {item!r}", cure=cure)
            )
        number = int(number)
        if not -x.ndim <= number < x.ndim:
            raise ValueError(
                explain(name, f"Not enough dimensions on {x} to reduce on axis {number}",
                        got=f"{x} of {x.type}, axis={axis}", expected=f"axes below {x.ndim}")
            )  # fmt: skip
        axes.append(number % x.ndim)
    if len(set(axes)) != len(axes):
        raise ValueError(explain(name, f"an axis is named twice in {tuple(axis)}"))
    return tuple(sorted(axes))


def keep(result: Any, ndim: int, axes: Sequence[int], keepdims: bool) -> Any:
    """`result` with the reduced axes put back as axes of size 1, if `keepdims`."""
    return dimshuffle(result, restore_axes(ndim, axes)) if keepdims else result


def match_pattern(term: Any, x: Any) -> Any:
    """`term`, of x's shape, with x's broadcast pattern and dtype.

    A size that must be 1 may be known for one of them only.
    """
    term = sum_to_pattern(term, x)
    if term.broadcastable != x.broadcastable:
        term = Elemwise(SECOND)(x, term)
    return cast(term, x.dtype)


# ---- rows ----------------------------------------------------------------------------------------


def _own_dtype(dtype: str) -> tuple[str, str]:
    return dtype, "int8" if dtype == "bool" else dtype


def _boolean(dtype: str) -> tuple[str, str]:
    return "bool", "bool"


def _position(dtype: str) -> tuple[str, str]:
    return "int64", _own_dtype(dtype)[1]


def _extremum_gradient(g: Any, out: Any, x: Any, op: Reduce) -> Any:
    return switch(eq(out, x), g, 0)


def _prod_gradient(g: Any, out: Any, x: Any, op: Reduce) -> Any:
    """By cases: no zero, out / x; one zero, it alone gets the product of the others; more, 0."""
    is_zero = eq(x, 0)
    zeros = sum(is_zero, op.axis, keepdims=True)
    others = switch(is_zero, np.ones((), x.dtype), x)
    rest = Reduce(PROD_OF_OTHERS, op.axis, op.dtype, op.acc_dtype)(others)
    rest = dimshuffle(rest, restore_axes(x.ndim, op.axis))
    wanted = switch(is_zero, eq(zeros, 1), eq(zeros, 0))
    return switch(wanted, g * rest / others, 0)


def _prod_nonzero_gradient(g: Any, out: Any, x: Any, op: Reduce) -> Any:
    return g * out / x


def _prod_second_gradient(g: Any, out: Any, x: Any, op: Reduce) -> Any:
    # the cases do not hold their own derivative: at a zero it would come out wrong
    why = f"the second derivative of prod is not defined by cases ({op}); "
    return NullType(why + "use prod(..., no_zeros_in_input=True) if there are no zeros")()


PROD = Reduction("prod", "prod", np.prod, sum_dtypes, _prod_gradient)
PROD_NONZERO = Reduction("prod", "prod", np.prod, sum_dtypes, _prod_nonzero_gradient)
PROD_OF_OTHERS = Reduction("prod", "prod", np.prod, sum_dtypes, _prod_second_gradient)
MAX = Reduction("max", "max", np.max, _own_dtype, _extremum_gradient)
MIN = Reduction("min", "min", np.min, _own_dtype, _extremum_gradient)
ARGMAX = Reduction("argmax", "argmax", np.argmax, _position)
ARGMIN = Reduction("argmin", "argmin", np.argmin, _position)
ANY = Reduction("any", "any", np.any, _boolean)
ALL = Reduction("all", "all", np.all, _boolean)


def _reduce(row: Reduction, x: Any, axis: Any, keepdims: bool = False) -> Any:
    x = as_tensor_variable(x)
    axes = normalize_axes(row.name, x, axis)
    return keep(Reduce(row, axes, *row.dtypes(x.dtype))(x), x.ndim, axes, keepdims)


def _accumulate(
    row: Reduction, x: Any, axis: Any, dtype: str | None, keepdims: bool, acc_dtype: str | None
) -> Any:
    """A sum or product, whose dtypes may be chosen."""
    x = as_tensor_variable(x)
    axes = normalize_axes(row.name, x, axis)
    result, accumulator = row.dtypes(x.dtype)
    if dtype is not None:
        result = check_dtype(dtype)
        if result in FLOATS:
            accumulator = upcast(accumulator, result)
    if acc_dtype is not None:
        accumulator = check_dtype(acc_dtype)
        if upcast(x.dtype, accumulator) != accumulator and not (
            x.dtype in DISCRETE and accumulator in FLOATS
        ):
            raise TypeError(
                explain(row.name, f"Cannot build a reduction with input dtype {x.dtype} "
                        f"and acc_dtype {accumulator}, as precision would be lost",
                        got=f"{x} of {x.type}", expected=f"an acc_dtype that holds {x.dtype}",
                        cure="To correct this error, you can: a) leave acc_dtype away, "
                        "b) cast the input first")
            )  # fmt: skip
    return keep(Reduce(row, axes, result, accumulator)(x), x.ndim, axes, keepdims)


# ---- the names users call ------------------------------------------------------------------------


def sum(
    input: Any,
    axis: Any = None,
    dtype: str | None = None,
    keepdims: bool = False,
    acc_dtype: str | None = None,
) -> Any:
    """The sum along `axis` (None: all; an int or several; negative ones count from the end).

    bool and int8 to int64 give int64, unsigned ones uint64; floats keep their dtype, and float32
    adds up in float64, float16 in float32. The sum of nothing is 0. TypeError for an `acc_dtype`
    that does not hold the input's dtype, ValueError for an axis that the input lacks.
    Source: Theano, library/tensor/basic, sum.
    """
    return _accumulate(SUM, input, axis, dtype, keepdims, acc_dtype)


def prod(
    input: Any,
    axis: Any = None,
    dtype: str | None = None,
    keepdims: bool = False,
    acc_dtype: str | None = None,
    no_zeros_in_input: bool = False,
) -> Any:
    """The product along `axis`; dtypes, axes and errors as for `sum`. The product of nothing is 1.

    The gradient is right at zeros too; its own gradient raises NullTypeGradError, unless
    `no_zeros_in_input` promises that there are none. Source: Theano, library/tensor/basic, prod.
    """
    row = PROD_NONZERO if no_zeros_in_input else PROD
    return _accumulate(row, input, axis, dtype, keepdims, acc_dtype)


def _count(x: Any, axes: Sequence[int]) -> Any:
    """The number of elements along `axes`, an int64 scalar."""
    return product_of(shape_i(x, a) for a in axes)


def mean(
    input: Any,
    axis: Any = None,
    dtype: str | None = None,
    op: bool = False,
    keepdims: bool = False,
    acc_dtype: str | None = None,
) -> Any:
    """The arithmetic mean along `axis`: float32 for float32, float64 for bools and integers.

    `dtype` is that of the sum and of the result; `op` is accepted and means nothing. The mean of
    nothing is NaN. Errors as for `sum`. Source: Theano, library/tensor/basic, mean.
    """
    x = as_tensor_variable(input)
    axes = normalize_axes("mean", x, axis)
    wide = "float32" if dtype is None and x.dtype == "float16" else dtype
    total = sum(x, axes, wide, keepdims, acc_dtype)
    float_dtype = total.dtype if total.dtype in FLOATS else "float64"
    result = true_div(cast(total, float_dtype), cast(_count(x, axes), float_dtype))
    return cast(result, "float16") if dtype is None and x.dtype == "float16" else result


def var(
    input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False, corrected: bool = False
) -> Any:
    """The mean of the squared distances from the mean, with n - `ddof` in place of n.

    Computed in two passes; `corrected` subtracts what rounding of the mean adds (Chan, Golub and
    LeVeque, 1983). dtypes as for `mean`. Source: Theano, library/tensor/basic, var.
    """
    if isinstance(ddof, (bool, np.bool_)) or not isinstance(ddof, (int, np.integer)):
        raise ValueError(explain("var", "Parameter ddof must be an integer.", got=repr(ddof)))
    x = as_tensor_variable(input)
    axes = normalize_axes("var", x, axis)
    centered = x - mean(x, axes, keepdims=True)
    wide = "float32" if centered.dtype == "float16" else centered.dtype
    count = cast(_count(x, axes), wide)
    total = sum(sqr(cast(centered, wide)), axes, keepdims=keepdims)
    if corrected:
        total = total - true_div(sqr(sum(centered, axes, wide, keepdims)), count)
    return cast(true_div(total, count - int(ddof) if ddof else count), centered.dtype)


def std(
    input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False, corrected: bool = False
) -> Any:
    """The square root of `var`. Source: Theano, library/tensor/basic, std."""
    return sqrt(var(input, axis, ddof, keepdims, corrected))


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element along `axis`, in x's dtype; NaN if there is one.

    Every element that ties gets the full gradient. ValueError when called on nothing.
    Source: Theano, library/tensor/basic, max.
    """
    return _reduce(MAX, x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element along `axis`, in x's dtype; NaN if there is one.

    Every element that ties gets the full gradient. ValueError when called on nothing.
    Source: Theano, library/tensor/basic, min.
    """
    return _reduce(MIN, x, axis, keepdims)


def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The position of the first largest element along `axis`, int64.

    With several axes (None: all of them) it is a row-major position in them. The gradient is zero.
    ValueError when called on nothing. Source: Theano, library/tensor/basic, argmax.
    """
    return _reduce(ARGMAX, x, axis, keepdims)


def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The position of the first smallest element, as `argmax`."""
    return _reduce(ARGMIN, x, axis, keepdims)


def max_and_argmax(a: Any, axis: Any = None, keepdims: bool = False) -> list[Any]:
    """`[max(a, axis), argmax(a, axis)]`. Source: Theano, library/tensor/basic, max_and_argmax."""
    return [max(a, axis, keepdims), argmax(a, axis, keepdims)]


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether an element along `axis` is not zero, a bool. Source: Theano, library/tensor/basic."""
    return _reduce(ANY, x, axis, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether no element along `axis` is zero, a bool. Source: Theano, library/tensor/basic."""
    return _reduce(ALL, x, axis, keepdims)


def ptp(a: Any, axis: Any = None) -> Any:
    """max - min ("peak to peak"). Source: Theano, library/tensor/basic, ptp."""
    return max(a, axis) - min(a, axis)


def norm(x: Any, ord: float, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm sum(|x|**ord)**(1/ord) along `axis`.

    NotImplementedError for an order of 0 or infinity. Source: Theano, the method `norm`.
    """
    if isinstance(ord, (int, float)) and (ord == 0 or np.isinf(ord)):
        raise NotImplementedError(explain("norm", f"order {ord} is not implemented"))
    x = as_tensor_variable(x)
    if isinstance(ord, int) and ord == 1:
        return sum(abs_(x), axis, keepdims=keepdims)
    powers = abs_(x) ** ord
    return sum(powers, axis, keepdims=keepdims) ** (1.0 / ord)


def _fold_pairs(function: Callable[..., Any], items: Sequence[Any]) -> Any:
    result = as_tensor_variable(items[0])
    for item in items[1:]:
        result = function(result, item)
    return result


def largest(*args: Any) -> Any:
    """The elementwise maximum of the arguments; of one argument it is the argument."""
    return _fold_pairs(maximum, args)


def smallest(*args: Any) -> Any:
    """The elementwise minimum of the arguments; of one argument it is the argument."""
    return _fold_pairs(minimum, args)
