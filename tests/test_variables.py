"""What variables are and can do: identity, truth, operators, methods."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.configuration import config
from symgraph.errors import AsTensorError, NotConstantError
from symgraph.graph import toposort
from symgraph.ops import methods
from symgraph.ops.index import Subtensor
from symgraph.types import TensorType
from symgraph.variable import TensorVariable, as_tensor_variable, constant
from tests.oracle import evaluate

A = np.random.RandomState(7).uniform(0.1, 0.9, (3, 4))
B = np.random.RandomState(8).uniform(0.1, 0.9, (3, 4))
INTS = np.array([[7, -3, 2, 5], [1, 4, -6, 8], [3, 3, -2, 9]])
MORE = np.array([[2, 5, -2, 3], [1, -3, 4, 2], [5, 1, 3, -7]])


def variable(ndim: int = 2, dtype: str = "float64", name: str = "x") -> Any:
    return TensorType(dtype, (False,) * ndim)(name)


def value(expression: Any, *pairs: tuple[Any, Any]) -> Any:
    return evaluate([expression], dict(pairs))[0]


# ---- operators -----------------------------------------------------------------------------------

ARITHMETIC = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
    operator.pow, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip
BITWISE = [operator.and_, operator.or_, operator.xor, operator.floordiv, operator.mod]


@pytest.mark.parametrize("function", ARITHMETIC, ids=lambda f: f.__name__)
def test_operators_on_floats(function: Callable[..., Any]) -> None:
    x, y = variable(), variable(name="y")
    pairs = (x, A), (y, B)
    np.testing.assert_allclose(value(function(x, y), *pairs), function(A, B))
    np.testing.assert_allclose(value(function(x, B), *pairs), function(A, B))
    np.testing.assert_allclose(value(function(A, y), *pairs), function(A, B))
    np.testing.assert_allclose(value(function(x, 2), *pairs), function(A, 2))
    np.testing.assert_allclose(value(function(0.5, x), *pairs), function(0.5, A))
    np.testing.assert_allclose(value(function(np.float64(0.5), x), *pairs), function(0.5, A))


@pytest.mark.parametrize("function", BITWISE, ids=lambda f: f.__name__)
def test_operators_on_integers(function: Callable[..., Any]) -> None:
    x, y = variable(dtype="int64"), variable(dtype="int64", name="y")
    pairs = (x, INTS), (y, MORE)
    for expression, expected in (
        (function(x, y), function(INTS, MORE)),
        (function(x, 3), function(INTS, 3)),
        (function(100, y), function(100, MORE)),
    ):
        assert expression.dtype == "int64"
        np.testing.assert_array_equal(value(expression, *pairs), expected)


def test_unary_operators() -> None:
    x, i = variable(), variable(dtype="int64")
    np.testing.assert_array_equal(value(-x, (x, A)), -A)
    np.testing.assert_array_equal(value(abs(-x), (x, A)), A)
    np.testing.assert_array_equal(value(~i, (i, INTS)), ~INTS)
    assert +x is x


def test_power_with_modulo_and_divmod() -> None:
    i = variable(dtype="int64")
    np.testing.assert_array_equal(value(pow(i, 2, 5), (i, INTS)), INTS**2 % 5)
    quotient, rest = divmod(i, 3)
    np.testing.assert_array_equal(value(quotient, (i, INTS)), INTS // 3)
    np.testing.assert_array_equal(value(rest, (i, INTS)), INTS % 3)
    quotient, rest = divmod(20, i)
    np.testing.assert_array_equal(value(quotient, (i, INTS)), 20 // INTS)


@pytest.mark.parametrize(
    "left, right",
    [
        ((4,), (4,)), ((3, 4), (4,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
        ((5, 2, 3), (3,)), ((2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)),
    ],
)  # fmt: skip
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.RandomState(0)
    a, b = rng.rand(*left), rng.rand(*right)
    x, y = variable(len(left)), variable(len(right), name="y")
    np.testing.assert_allclose(value(x @ y, (x, a), (y, b)), a @ b)
    np.testing.assert_allclose(value(a @ y, (y, b)), a @ b)


def test_matmul_refuses_scalars_and_deep_batches() -> None:
    with pytest.raises(ValueError, match="no axes"):
        variable(0) @ variable(2)
    with pytest.raises(NotImplementedError, match="batched_tensordot"):
        variable(4) @ variable(4)


def test_integer_division_gives_floatX() -> None:
    x = variable(dtype="int32")
    for dtype in ("float32", "float64"):
        with config.change_flags(floatX=dtype):
            assert (x / x).dtype == dtype
            assert (1 / x).dtype == dtype


def test_foreign_operands_are_asked_themselves() -> None:
    class Other:
        def __radd__(self, other: Any) -> str:
            return "radd"

        def __rmatmul__(self, other: Any) -> str:
            return "rmatmul"

    x = variable()
    assert x + Other() == "radd"
    assert x @ Other() == "rmatmul"
    for function in (operator.add, operator.mul, operator.lt, operator.pow):
        with pytest.raises(TypeError):
            function(x, object())
        with pytest.raises(TypeError):
            function("text", x)


@pytest.mark.parametrize("boolean", [True, False])
def test_python_booleans_are_refused(boolean: bool) -> None:
    x = variable()
    with pytest.raises(AsTensorError):
        x + boolean
    with pytest.raises(TypeError):
        boolean + x
    with pytest.raises(TypeError):
        _ = x < boolean


def test_augmented_assignment_makes_a_new_variable() -> None:
    x = variable()
    y = x
    y *= 2
    assert y is not x and x.owner is None


# ---- identity and truth --------------------------------------------------------------------------


def test_equality_is_identity() -> None:
    x = variable()
    one, two = x + 1, x + 1
    assert (one == two) is False and (one != two) is True
    assert one == one
    assert {one: "a", two: "b"}[two] == "b"
    assert two in [one, two]


def test_truth() -> None:
    x = variable(0)
    assert x and x + 1
    with pytest.raises(TypeError, match="boolean operations"):
        bool(x < 1)
    with pytest.raises(TypeError, match="boolean operations"):
        _ = 0 < x < 1


def test_no_iteration_no_length() -> None:
    for ndim in (0, 1, 2):
        with pytest.raises(TypeError, match="does not support iteration"):
            iter(variable(ndim))
    rows, columns = variable(2).shape  # of a known length
    assert rows.ndim == columns.ndim == 0
    assert [int(v.eval()) for v in T.constant([3, 4])] == [3, 4]
    with pytest.raises(TypeError, match="symbolic"):
        len(variable(1))
    with pytest.raises(TypeError, match="set_subtensor"):
        variable(1)[0] = 1


# ---- methods -------------------------------------------------------------------------------------

METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "T": (lambda x: x.T, lambda x: x.T),
    "shape": (lambda x: x.shape, lambda x: np.array(x.shape)),
    "size": (lambda x: x.size, lambda x: np.array(x.size)),
    "real": (lambda x: x.real, lambda x: x),
    "reshape": (lambda x: x.reshape((2, -1)), lambda x: x.reshape(2, -1)),
    "dimshuffle": (lambda x: x.dimshuffle(1, "x", 0), lambda x: x.T[:, None]),
    "dimshuffle_tuple": (lambda x: x.dimshuffle((1, 0)), lambda x: x.T),
    "flatten": (lambda x: x.flatten(), lambda x: x.ravel()),
    "flatten_2": (lambda x: x.flatten(2), lambda x: x),
    "ravel": (lambda x: x.ravel(), lambda x: x.ravel()),
    "transpose": (lambda x: x.transpose(), lambda x: x.T),
    "transpose_axes": (lambda x: x.transpose(1, 0), lambda x: x.T),
    "transpose_tuple": (lambda x: x.transpose((0, 1)), lambda x: x),
    "swapaxes": (lambda x: x.swapaxes(0, 1), lambda x: x.T),
    "squeeze": (lambda x: x.dimshuffle(0, "x", 1).squeeze(), lambda x: x),
    "diagonal": (lambda x: x.diagonal(), lambda x: x.diagonal()),
    "repeat": (lambda x: x.repeat(2, axis=1), lambda x: x.repeat(2, axis=1)),
    "sum": (lambda x: x.sum(axis=0), lambda x: x.sum(0)),
    "sum_keepdims": (lambda x: x.sum(1, keepdims=True), lambda x: x.sum(1, keepdims=True)),
    "prod": (lambda x: x.prod(), lambda x: x.prod()),
    "mean": (lambda x: x.mean(axis=1), lambda x: x.mean(1)),
    "mean_positional": (lambda x: x.mean(1, "float64", True), lambda x: x.mean(1, keepdims=True)),
    "var": (lambda x: x.var(axis=0), lambda x: x.var(0)),
    "std": (lambda x: x.std(axis=0), lambda x: x.std(0)),
    "max": (lambda x: x.max(axis=-1), lambda x: x.max(-1)),
    "min": (lambda x: x.min(), lambda x: x.min()),
    "argmax": (lambda x: x.argmax(axis=1), lambda x: x.argmax(1)),
    "argmin": (lambda x: x.argmin(), lambda x: x.argmin()),
    "any": (lambda x: (x > 0.5).any(axis=0), lambda x: (x > 0.5).any(0)),
    "all": (lambda x: (x > 0.5).all(), lambda x: (x > 0.5).all()),
    "ptp": (lambda x: x.ptp(axis=0), lambda x: np.ptp(x, 0)),
    "norm": (lambda x: x.norm(2, axis=1), lambda x: np.linalg.norm(x, 2, 1)),
    "dot": (lambda x: x.dot(x.T), lambda x: x.dot(x.T)),
    "clip": (lambda x: x.clip(0.3, 0.6), lambda x: x.clip(0.3, 0.6)),
    "astype": (lambda x: x.astype("int8"), lambda x: x.astype("int8")),
    "copy": (lambda x: x.copy(), lambda x: x),
    "round": (lambda x: x.round(), lambda x: x.round()),
    "sort": (lambda x: x.sort(), lambda x: np.sort(x)),
    "argsort": (lambda x: x.argsort(axis=0), lambda x: x.argsort(0)),
    "cumsum": (lambda x: x.cumsum(axis=0), lambda x: x.cumsum(0)),
    "cumprod": (lambda x: x.cumprod(), lambda x: x.cumprod()),
    "nonzero": (lambda x: (x > 0.5).nonzero()[1], lambda x: (x > 0.5).nonzero()[1]),
    "nonzero_matrix": (
        lambda x: (x > 0.5).nonzero(return_matrix=True), lambda x: np.array((x > 0.5).nonzero())
    ),
    "take": (lambda x: x.take([0, 5]), lambda x: x.take([0, 5])),
    "choose": (lambda x: (x > 0.5).choose([x, -x]), lambda x: np.where(x > 0.5, -x, x)),
    "compress": (lambda x: np_mask().compress(x, axis=0), lambda x: x[[0, 2]]),
    "fill": (lambda x: x.fill(np.float64(3)), lambda x: np.full_like(x, 3)),
    "conj": (lambda x: x.conj(), lambda x: x),
    "zeros_like": (lambda x: x.zeros_like(), np.zeros_like),
    "zeros_like_int": (lambda x: x.zeros_like("int8"), lambda x: np.zeros(x.shape, "int8")),
    "ones_like": (lambda x: x.ones_like(dtype="float32"), lambda x: np.ones(x.shape, "float32")),
    "transfer": (lambda x: x.transfer("cpu"), lambda x: x),
    "set_subtensor": (lambda x: x[0].set_subtensor(1), lambda x: np.vstack([np.ones(4), x[1:]])),
    "inc_subtensor": (lambda x: x[:].inc_subtensor(1), lambda x: x + 1),
}  # fmt: skip


def np_mask() -> Any:
    return as_tensor_variable(np.array([True, False, True]))


@pytest.mark.parametrize("name", METHODS)
def test_method(name: str) -> None:
    build, expect = METHODS[name]
    x = variable()
    expression, expected = build(x), np.asarray(expect(A))
    got = value(expression, (x, A))
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype == expression.dtype
    np.testing.assert_allclose(got, expected)


UNARY = (
    "exp exp2 expm1 log log2 log10 log1p sqrt ceil floor trunc sin cos tan arcsin arccos arctan "
    "sinh cosh tanh arcsinh arctanh deg2rad rad2deg isnan isinf"
).split()


@pytest.mark.parametrize("name", UNARY)
def test_unary_method(name: str) -> None:
    x = variable()
    np.testing.assert_allclose(value(getattr(x, name)(), (x, A)), getattr(np, name)(A))


def test_every_attached_name_is_callable_or_a_property() -> None:
    for name in methods.FUNCTIONS:
        assert callable(getattr(TensorVariable, name)), name
    assert TensorVariable.__hash__ is object.__hash__ and TensorVariable.__eq__ is object.__eq__


def test_names() -> None:
    x = variable()
    assert x.copy(name="again").name == "again"
    assert x.astype("float64") is x
    assert x.transfer("cuda").type == x.type
    for unknown in ("cuda1", "auto"):
        with pytest.raises(ValueError, match="'cuda' or 'cpu'"):
            x.transfer(unknown)


def test_sizes_are_integers_for_the_host() -> None:
    x = variable(3)
    size = x.shape[1]
    assert isinstance(size.owner.op, Subtensor) and size.type == TensorType("int64", ())
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 3"):
        x.shape[3]


def test_scalar_constant_value() -> None:
    assert constant(3).get_scalar_constant_value() == 3
    two = (constant(1.5) * 2 - 1).get_scalar_constant_value()
    assert two.shape == () and two == 2
    assert (variable(2).shape.shape[0]).get_scalar_constant_value() == 2
    for symbolic in (variable(0), variable(0) + 1, variable(1).shape[0]):
        with pytest.raises(NotConstantError):
            symbolic.get_scalar_constant_value()
    with pytest.raises(NotConstantError, match=r"shape \(2,\)"):
        constant(np.ones(2)).get_scalar_constant_value()


def test_an_index_knows_the_line_that_wrote_it() -> None:
    x = variable(1)
    y = x[1:]
    (node,) = toposort([y])
    assert node.trace is not None
    assert node.trace.function == "test_an_index_knows_the_line_that_wrote_it"


# ---- NumPy's functions, copies and pickles -------------------------------------------------------


def test_numpys_functions_build_graphs() -> None:
    x, data = T.dvector("x"), np.array([0.5, 1.5])
    for function in (np.exp, np.tanh, np.sqrt, np.log1p, np.negative):
        np.testing.assert_allclose(function(x).eval({x: data}), function(data))
    np.testing.assert_allclose((data * x - np.float64(2)).eval({x: data}), data * data - 2)
    np.testing.assert_allclose(np.maximum(data[::-1], x).eval({x: data}), [1.5, 1.5])
    with pytest.raises(TypeError):
        np.add.reduce(x)


def test_expressions_can_be_copied_and_pickled() -> None:
    w = symgraph.shared(np.arange(6.0).reshape(2, 3), name="w")
    x = T.dmatrix("x")
    p = T.nnet.softmax(T.dot(x, w).max(axis=0).dimshuffle("x", 0)[:, ::-1] + 1.5)
    data = np.ones((4, 2))
    expected = p.eval({x: data})
    for again in (pickle.loads(pickle.dumps([x, p, w])), copy.deepcopy([x, p, w])):
        new_x, new_p, new_w = again
        np.testing.assert_array_equal(new_p.eval({new_x: data}), expected)
        assert new_w.name == "w" and new_w.container is not w.container
        assert new_w in symgraph.function([new_x], new_p).get_shared()
        assert new_p.owner.op == p.owner.op


def test_covariances() -> None:
    m, v = T.dmatrix("m"), T.dvector("v")
    data, other = np.random.RandomState(0).rand(3, 5), np.arange(5.0) ** 2
    np.testing.assert_allclose(T.cov(m).eval({m: data}), np.cov(data))
    np.testing.assert_allclose(T.cov(m, v, ddof=2).eval({m: data, v: other}),
                               np.cov(data, other, ddof=2))  # fmt: skip
    np.testing.assert_allclose(T.cov(m, rowvar=False, bias=True).eval({m: data}),
                               np.cov(data, rowvar=False, bias=True))  # fmt: skip
    np.testing.assert_allclose(T.cov(v).eval({v: other}), np.cov(other))


def test_parts_of_real_numbers() -> None:
    x, data = T.dvector("x"), np.array([-1.5, 0, 2])
    np.testing.assert_array_equal(T.imag(x).eval({x: data}), np.imag(data))
    np.testing.assert_array_equal(T.angle(x).eval({x: data}), np.angle(data))
    np.testing.assert_array_equal(x.imag.eval({x: data}), np.imag(data))
