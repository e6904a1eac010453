"""The operators and methods of tensor variables: each hands on to the function of the same name.

Importing this module attaches them. A variable's `==` and `!=` stay identity, so that variables are
keys of dicts; the elementwise ones are `eq` and `neq`. Source: Theano, tensor/var.py
(_tensor_py_operators) and library/tensor/basic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from symgraph.errors import AsTensorError, NotConstantError, explain
from symgraph.flags import DEVICES
from symgraph.graph import Constant, toposort
from symgraph.ops import (
    advanced,
    alloc,
    core,
    elementwise,
    linalg,
    passing,
    reduce,
    shape,
    sizes,
    sort,
    structure,
)
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.index import inc_subtensor, set_subtensor
from symgraph.variable import TensorOperators, as_tensor_variable

# ---- NumPy's functions ---------------------------------------------------------------------------


def _array_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """np.exp(x), and arithmetic that starts with an array, build a graph as x.exp() does."""
    function = matmul if ufunc is np.matmul else elementwise.UFUNCS.get(ufunc)
    if method != "__call__" or options or function is None:
        return NotImplemented
    return function(*map(as_tensor_variable, inputs))


TensorOperators.__array_ufunc__ = _array_ufunc  # type: ignore[attr-defined]

# ---- operators -----------------------------------------------------------------------------------


def _tensor(other: Any) -> Any:
    """`other` as a variable; NotImplemented for what is no number, so that Python asks it too.

    Python's booleans are refused aloud (AsTensorError, a TypeError): adding one is a mistake.
    """
    if isinstance(other, bool):
        return as_tensor_variable(other)
    try:
        return as_tensor_variable(other)
    except AsTensorError:
        return NotImplemented


def _binary(function: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The operator method of `function` and its reflection."""

    def operator(self: Any, other: Any) -> Any:
        other = _tensor(other)
        return other if other is NotImplemented else function(self, other)

    def reflected(self: Any, other: Any) -> Any:
        other = _tensor(other)
        return other if other is NotImplemented else function(other, self)

    return operator, reflected


def matmul(a: Any, b: Any) -> Any:
    """a @ b by NumPy's rules: matrices are the last two axes, the axes before them are a batch.

    Two batches must have as many axes, namely one. ValueError for 0-d operands,
    NotImplementedError for other batches. Source: NumPy, `matmul`.
    """
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            explain("a @ b", "an operand has no axes", got=describe([a, b]),
                    expected="vectors, matrices or batches of matrices", cure="use a * b")
        )  # fmt: skip
    if b.ndim <= 2:
        return linalg.dot(a, b)
    if a.ndim <= 2:  # dot puts the rows of a in front of the batch
        rows = a.ndim - 1
        product = linalg.dot(a, b)
        last = product.ndim - 1
        return dimshuffle(product, (*range(rows, last), *range(rows), last))
    if a.ndim == b.ndim == 3:
        return linalg.batched_dot(a, b)
    raise NotImplementedError(
        explain("a @ b", "both operands are batches, and one of more than one axis",
                got=describe([a, b]), cure="reshape both to 3 axes, or use batched_tensordot")
    )  # fmt: skip


def _divmod(a: Any, b: Any) -> tuple[Any, Any]:
    return elementwise.int_div(a, b), elementwise.mod(a, b)


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": elementwise.add, "sub": elementwise.sub, "mul": elementwise.mul,
    "truediv": elementwise.true_div, "floordiv": elementwise.int_div, "mod": elementwise.mod,
    "pow": elementwise.pow, "and": elementwise.and_, "or": elementwise.or_,
    "xor": elementwise.xor, "matmul": matmul, "divmod": _divmod,
}  # fmt: skip
COMPARISONS: dict[str, Callable[..., Any]] = {
    "lt": elementwise.lt, "le": elementwise.le, "gt": elementwise.gt, "ge": elementwise.ge,
}  # fmt: skip


def _power(self: Any, exponent: Any, modulo: Any = None) -> Any:
    """x ** y, and pow(x, y, m), which is x ** y % m."""
    exponent = _tensor(exponent)
    if exponent is NotImplemented:
        return exponent
    result = elementwise.pow(self, exponent)
    return result if modulo is None else elementwise.mod(result, modulo)


# ---- methods whose arguments are not those of the function ---------------------------------------


class Methods:
    """Methods and properties of every tensor variable; see `FUNCTIONS` for the plain ones."""

    ndim: int

    __getitem__ = advanced.subscript
    __abs__ = elementwise.abs_
    __neg__ = elementwise.neg
    __invert__ = elementwise.invert
    __pow__ = _power

    def __pos__(self) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        # `batch, steps, features = x.shape`: a vector whose length is known can be unpacked.
        length = sizes.known_length(self) if self.ndim == 1 else None  # type: ignore[arg-type]
        if length is None:
            raise TypeError(
                "TensorType does not support iteration. Maybe you are using builtin.sum instead of "
                "symgraph.tensor.sum? (Maybe .max?)"
            )
        return iter([self[i] for i in range(length)])

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            explain("x[...] = y", "variables are never changed", got=describe([self]),  # type: ignore[list-item]
                    cure="new = symgraph.tensor.set_subtensor(x[...], y)")
        )  # fmt: skip

    @property
    def T(self) -> Any:
        """The axes in reverse order."""
        return dimshuffle(self, tuple(reversed(range(self.ndim))))

    @property
    def shape(self) -> Any:
        """The sizes, an int64 vector."""
        return structure.shape(self)

    @property
    def size(self) -> Any:
        """The number of elements, a 0-d int64."""
        return structure.size(self)

    @property
    def imag(self) -> Any:
        """The imaginary part, zeros."""
        return elementwise.imag(self)

    @property
    def real(self) -> Any:
        """The variable itself: there are no complex ones."""
        return self

    def transpose(self, *axes: Any) -> Any:
        """The axes in the order of `axes` (integers or one sequence), reversed if none is given."""
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (list, tuple))):
            return shape.transpose(self, axes[0])
        return shape.transpose(self, axes or None)

    def mean(
        self, axis: Any = None, dtype: str | None = None, keepdims: bool = False,
        acc_dtype: str | None = None,
    ) -> Any:  # fmt: skip
        """See `symgraph.tensor.mean`."""
        return reduce.mean(self, axis=axis, dtype=dtype, keepdims=keepdims, acc_dtype=acc_dtype)

    def clip(self, a_min: Any, a_max: Any) -> Any:
        """Limited to [a_min, a_max]; see `symgraph.tensor.clip`."""
        return elementwise.clip(self, a_min, a_max)

    def norm(self, L: float, axis: Any = None, keepdims: bool = False) -> Any:
        """sum(|x|**L)**(1/L) along `axis`; see `symgraph.tensor.norm`."""
        return reduce.norm(self, L, axis, keepdims)

    def copy(self, name: str | None = None) -> Any:
        """A new variable of the same value."""
        copied = elementwise.tensor_copy(self)
        copied.name = name
        return copied

    def get_scalar_constant_value(self) -> np.ndarray:
        """The value, a 0-d array, if it follows from constants alone, else NotConstantError."""
        return get_scalar_constant_value(self)

    def transfer(self, target: str) -> Any:
        """The variable on `target`: 'cuda' (also 'cuda0' and 'gpu') or 'cpu'; else ValueError.

        As a result of a function, `y.transfer('cuda')` is given as an array on the device, which is
        copied to the host when it is looked at; such a function runs on the device as a whole.
        Source: Theano, `TensorVariable.transfer`.
        """
        device = DEVICES.get(target)
        if device is None or device == "auto":
            raise ValueError(
                explain("transfer", f"target {target!r} is not known", got=describe([self]),  # type: ignore[list-item]
                        expected="'cuda' or 'cpu'")
            )  # fmt: skip
        return passing.transfer(self, device)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(module, name)
    for module, names in (
        (core, "dimshuffle"),
        (elementwise, "conj round fill exp exp2 expm1 log log2 log10 log1p sqrt sqr inv sgn ceil "
                      "floor trunc sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh "
                      "arccosh arctanh deg2rad rad2deg sigmoid erf erfc erfinv isnan isinf"),
        (reduce, "sum prod var std max min argmax argmin any all ptp"),
        (linalg, "dot trace"),
        (alloc, "zeros_like ones_like"),
        (shape, "reshape flatten ravel swapaxes squeeze diagonal repeat"),
        (sort, "sort argsort cumsum cumprod searchsorted"),
        (advanced, "take choose nonzero nonzero_values compress"),
    )
    for name in names.split()
}  # fmt: skip
"""Functions whose first argument is the variable, attached as they are."""


def get_scalar_constant_value(
    x: Any, elemwise: bool = True, only_process_constants: bool = False
) -> np.ndarray:
    """The value of the 0-d `x`, computed while the graph is built, if it follows from constants.

    Sizes that types and shapes of constants fix count as constants. `elemwise` and
    `only_process_constants` are accepted and mean nothing here. Raises NotConstantError.
    Source: Theano, `get_scalar_constant_value`.
    """
    x = as_tensor_variable(x)
    if x.ndim == 0 and "int" in x.dtype:
        known = sizes.known_integer(x)
        if known is not None:
            return np.asarray(known, x.dtype)
    env: dict[Any, Any] = {}

    def read(variable: Any) -> Any:
        if variable not in env:
            if not isinstance(variable, Constant):
                raise NotConstantError(
                    explain("get_scalar_constant_value", f"{x} depends on {variable}",
                            got=describe([x]), expected="an expression of constants")
                )  # fmt: skip
            env[variable] = variable.data
        return env[variable]

    for node in toposort([x]):
        values = node.op.evaluate(node, *(read(v) for v in node.inputs))
        env.update(zip(node.outputs, values, strict=True))
    value = np.asarray(read(x))
    if value.size != 1:
        raise NotConstantError(
            explain(
                "get_scalar_constant_value", f"{x} has shape {value.shape}", expected="a scalar"
            )
        )
    return value.reshape(())


def _attach() -> None:
    methods: dict[str, Any] = {
        **FUNCTIONS,
        "astype": elementwise.cast,
        "conjugate": elementwise.conj,
    }
    for name, function in OPERATORS.items():
        methods[f"__{name}__"], methods[f"__r{name}__"] = _binary(function)
    for name, function in COMPARISONS.items():
        methods[f"__{name}__"] = _binary(function)[0]
    own = {name: value for name, value in vars(Methods).items() if name not in vars(_Empty)}
    methods |= own | {"set_subtensor": set_subtensor, "inc_subtensor": inc_subtensor}
    for name, value in methods.items():
        setattr(TensorOperators, name, value)


class _Empty:
    """What every class has."""

    ndim: int


_attach()
