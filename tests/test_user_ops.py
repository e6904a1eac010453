"""Users' own ops, the Theano way: `symgraph.Op` with perform, and `as_op`.

After extending/extending_theano and extending/op of Theano's documents.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import Apply, Op, as_op, function, grad, shared
from symgraph import tensor as T
from symgraph.compile.pipeline import Options
from symgraph.errors import DisconnectedInputError, NullTypeGradError
from symgraph.gradient import DisconnectedType, grad_undefined
from symgraph.types import Generic

X, Y = T.dvectors("x", "y")
M = T.dmatrix("m")


class Double(Op):
    """2 x, with all that an op may have."""

    __props__ = ()

    def make_node(self, x: Any) -> Apply:
        x = T.as_tensor_variable(x)
        return Apply(self, [x], [x.type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = inputs[0] * 2

    def infer_shape(self, node: Any, i0_shapes: Any) -> Any:
        return i0_shapes

    def grad(self, inputs: Any, output_grads: Any) -> Any:
        return [output_grads[0] * 2]

    def R_op(self, inputs: Any, eval_points: Any) -> Any:
        return self.grad(inputs, eval_points)


class Affine(Op):
    """a x + b."""

    __props__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [x], [x.type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = inputs[0] * self.a + self.b


class SumAndDifference(Op):
    """Two inputs, two outputs; types by the class attributes."""

    __props__ = ()
    itypes = [T.dvector, T.dvector]  # noqa: RUF012 - as in the documents
    otypes = [T.dvector, T.dvector]  # noqa: RUF012

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        x, y = inputs
        output_storage[0][0], output_storage[1][0] = x + y, x - y

    def L_op(self, inputs: Any, outputs: Any, output_grads: Any) -> Any:
        s, d = output_grads
        return [s + d, s - d]


# ---- computing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE", Options("python")])
def test_an_op_between_native_stretches(mode: Any) -> None:
    z = T.exp(Double()(M + 1)).sum(axis=0)
    a = np.random.RandomState(0).rand(3, 4)
    f = function([M], [z, grad(z.sum(), M)], mode=mode)
    value, slope = f(a)
    np.testing.assert_allclose(value, np.exp(2 * (a + 1)).sum(axis=0))
    np.testing.assert_allclose(slope, 2 * np.exp(2 * (a + 1)))
    assert f(a[:2])[1].shape == (2, 4)


def test_gradients_by_differences_and_along() -> None:
    rng = np.random.RandomState(3)
    a, b = rng.rand(2, 4)
    T.verify_grad(Double(), [rng.rand(3, 2)], rng=rng)
    T.verify_grad(lambda x, y: SumAndDifference()(x, y)[1] * x, [a, b], rng=rng)
    along = T.Rop(Double()(X) ** 2, X, Y)
    np.testing.assert_allclose(function([X, Y], along)(a, b), 8 * a * b)
    along = T.Rop(SumAndDifference()(X, X * Y)[1], [X], [Y])  # no R_op: by its gradient's
    np.testing.assert_allclose(function([X, Y], along)(a, b), b - b * b)


def test_r_op_is_what_rop_uses() -> None:
    class Odd(Double):
        __props__ = ()

        def R_op(self, inputs: Any, eval_points: Any) -> Any:
            return [eval_points[0] * 5]

    for z in (T.Rop(Odd()(X + Y), [X], [Y]), T.Rop(Odd()(X) + Odd()(Y), [Y], [Y])):
        assert z.eval({X: [1], Y: [3]}).tolist() == [15]

    class Short(Double):
        __props__ = ()

        def R_op(self, inputs: Any, eval_points: Any) -> Any:
            return []

    with pytest.raises(TypeError, match="one term for each output"):
        T.Rop(Short()(X), X, Y)

    class Flat(Double):
        __props__ = ()

        def R_op(self, inputs: Any, eval_points: Any) -> Any:
            return [None]

    with pytest.raises(DisconnectedInputError):
        T.Rop(T.exp(Flat()(X)).sum(), X, Y)
    assert T.Rop(Flat()(X) + X, X, Y).eval({X: [1], Y: [3]}).tolist() == [3]


def test_two_inputs_two_outputs() -> None:
    s, d = SumAndDifference()(X, Y)
    f = function([X, Y], [s * d, *grad((s * d).sum(), [X, Y])])
    assert [v.tolist() for v in f([3, 4], [1, 2])] == [[8, 12], [6, 8], [-2, -4]]
    only = function([X, Y], grad(d.sum(), [X, Y]))  # the other output's gradient is zeros
    assert [v.tolist() for v in only([3], [1])] == [[1], [-1]]
    with pytest.raises(ValueError, match="We expected 2 inputs but got 1"):
        SumAndDifference()(X)
    with pytest.raises(TypeError, match=r"m of TensorType\(float64, matrix\)") as error:
        SumAndDifference()(X, M)  # here
    assert "# here" in str(error.value)


def test_calls() -> None:
    op = SumAndDifference()
    assert isinstance(op(X, Y), list) and isinstance(Double()(X, return_list=True), list)

    class First(SumAndDifference):
        __props__ = ()
        default_output = 0

    assert First()(X, Y).index == 0
    assert len(First()(X, Y, return_list=True)) == 1

    class Optioned(Op):
        __props__ = ()

        def make_node(self, x: Any, twice: bool = False) -> Apply:
            return Apply(self, [x + x if twice else x], [x.type()])

    assert str(Optioned()(X, twice=True).owner.inputs[0].owner.op).startswith("Elemwise{add")

    class Bare(Op):
        __props__ = ()

    with pytest.raises(NotImplementedError, match="define make_node, or itypes and otypes"):
        Bare()(X)


def test_generic_values() -> None:
    class Lookup(Op):
        __props__ = ()

        def make_node(self, table: Any, key: Any) -> Apply:
            return Apply(self, [table, key], [T.dvector()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            table, key = inputs
            output_storage[0][0] = np.array(table[int(key)])

    class Table(Op):
        __props__ = ()

        def make_node(self, x: Any) -> Apply:
            return Apply(self, [x], [Generic()()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            output_storage[0][0] = {0: inputs[0], 1: -inputs[0]}

    key, table = T.lscalar("key"), Generic()("table")
    f = function([table, key], Lookup()(table, key) * 2)
    assert f({3: [1.0, 2.0]}, 3).tolist() == [2, 4]
    held = shared([[1.0], [2.0, 3.0]])
    f = function([key], Lookup()(held, key) + 1)
    assert f(1).tolist() == [3, 4] and f(0).tolist() == [2]
    f = function([X, key], Lookup()(Table()(X), key))
    assert f([5], 1).tolist() == [-5]


def test_integers_and_numbers_without_axes() -> None:
    class Length(Op):
        __props__ = ()

        def make_node(self, x: Any) -> Apply:
            return Apply(self, [x], [T.lscalar(), T.dscalar()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            output_storage[0][0] = len(inputs[0])  # Python numbers will do
            output_storage[1][0] = np.float32(0.5)

    n, half = Length()(X)
    f = function([X], [T.arange(n) * half, n])
    value, count = f([7, 7, 7])
    assert value.tolist() == [0, 0.5, 1] and count == 3 and count.dtype == "int64"


# ---- sizes ---------------------------------------------------------------------------------------


def staged(f: Any) -> bool:
    """Whether sizes are read from results on the way."""
    plan = f._compiled.plan
    return bool(plan.late or plan.unsized)


def test_infer_shape_tells_sizes_before_the_op_runs() -> None:
    class Stretch(Op):
        __props__ = ("shapes",)

        def __init__(self, shapes: Any) -> None:
            self.shapes = shapes

        def make_node(self, x: Any, n: Any) -> Apply:
            return Apply(self, [x, n], [T.dmatrix()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            x, n = inputs
            output_storage[0][0] = np.tile(x, (int(n), 2))

        def infer_shape(self, node: Any, input_shapes: Any) -> Any:
            return self.shapes(node, input_shapes)

    n = T.lscalar("n")
    a = np.array([1.0, 2.0, 3.0])
    known: list[Any] = [
        lambda node, shapes: [(node.inputs[1], shapes[0][0] * 2)],
        lambda node, shapes: [[node.inputs[1], shapes[0][0] + node.inputs[0].shape[0]]],
        lambda node, shapes: [(node.inputs[1] + 0, T.maximum(6, 2 * shapes[0][0]))],
        lambda node, shapes: [(node.inputs[1], T.concatenate([node.inputs[0]] * 2).shape[0])],
        lambda node, shapes: [(T.cast(node.inputs[1], "int32"), T.join(0, *[X] * 2).shape[0])],
    ]
    for shapes in known[:4]:
        f = function([X, n], Stretch(shapes)(X * 2, n).sum(axis=0))
        assert not staged(f)
        assert f(a, 2).tolist() == (4 * np.tile(a, 2)).tolist()
    unknown: list[Any] = [
        known[4],  # depends on what is no input of the node
        lambda node, shapes: [None],
        lambda node, shapes: [(node.inputs[1], T.cast(node.inputs[0].sum(), "int64"))],
    ]
    for shapes in unknown:
        f = function([X, n], Stretch(shapes)(X * 2, n).sum(axis=0))
        assert staged(f)
        assert f(a, 2).tolist() == (4 * np.tile(a, 2)).tolist()
    wrong = [
        (lambda node, shapes: [], "1 shapes"),
        (lambda node, shapes: [(1,)], "2 integers"),
        (lambda node, shapes: [(1, 2.5)], "2 integers"),
    ]
    for shapes, words in wrong:
        with pytest.raises(ValueError, match=words):
            function([X, n], Stretch(shapes)(X * 2, n))
    f = function([X, n], Stretch(lambda node, shapes: [(3, 3)])(X * 2, n))
    with pytest.raises(ValueError, match="infer_shape"):
        f(a, 2)


def test_infer_shape_can_be_called_by_hand_and_inherited() -> None:
    class Child(Double):
        __props__ = ()

        def infer_shape(self, node: Any, i0_shapes: Any) -> Any:
            return super().infer_shape(node, i0_shapes)

    node = Child().make_node(X)
    assert Child().infer_shape(node, [(3,)]) == [(3,)]
    f = function([X], Child()(X) + 1)
    assert f([1, 2]).tolist() == [3, 5] and not staged(f)


# ---- identity ------------------------------------------------------------------------------------


def test_props_make_equality_hash_and_text() -> None:
    assert Affine(2, 3) == Affine(2, 3) != Affine(2, 4)
    assert hash(Affine(2, 3)) == hash(Affine(2, 3))
    assert str(Affine(2, "b")) == "Affine{a=2, b='b'}" and str(Double()) == "Double"
    assert Affine(2, 3)._props_dict() == {"a": 2, "b": 3}

    class Child(Affine):
        pass

    assert Child(2, 3) == Child(2, 3) != Affine(2, 3)

    class Own(Op):
        """No __props__: every instance is an op of its own."""

    assert Own() != Own() and len({Own(), Own()}) == 2 and str(Own()) == "Own"
    with pytest.raises(TypeError, match="tuple of strings"):
        type("Bad", (Op,), {"__props__": ["a"]})
    with pytest.raises(TypeError, match="keep a tuple"):
        hash(Affine([1], 2))


def test_equal_ops_on_equal_inputs_run_once() -> None:
    calls = []

    class Noted(Affine):
        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            calls.append(1)
            super().perform(node, inputs, output_storage)

    f = function([X], Noted(2, 1)(X) + Noted(2, 1)(X) * Noted(2, 0)(X))
    assert f([3]).tolist() == [7 + 7 * 6] and len(calls) == 2


def test_copies_and_pickles() -> None:
    op = Affine(2, 3)
    for twin in (copy.copy(op), copy.deepcopy(op), pickle.loads(pickle.dumps(op))):
        assert twin == op and twin is not op


# ---- gradients -----------------------------------------------------------------------------------


def test_ops_without_a_gradient() -> None:
    with pytest.raises(NullTypeGradError, match="no gradient"):
        grad(Affine(1, 2)(X).sum(), X)

    class Undefined(Affine):
        def grad(self, inputs: Any, output_grads: Any) -> Any:
            return [grad_undefined(self, 0, inputs[0], "For a reason.")]

    with pytest.raises(NullTypeGradError, match="For a reason"):
        grad(Undefined(1, 2)(X).sum(), X)
    with pytest.raises(NullTypeGradError, match="For a reason"):
        T.Rop(Undefined(1, 2)(X) * 2, X, Y)


def test_connection_pattern() -> None:
    class OnlyFirst(SumAndDifference):
        __props__ = ()

        def connection_pattern(self, node: Any) -> Any:
            return [[True, True], [False, False]]

        def grad(self, inputs: Any, output_grads: Any) -> Any:
            return [output_grads[0] + output_grads[1], DisconnectedType()()]

        def L_op(self, inputs: Any, outputs: Any, output_grads: Any) -> Any:
            return self.grad(inputs, output_grads)

    s, _ = OnlyFirst()(X, Y)
    assert function([X, Y], grad(s.sum(), X), on_unused_input="ignore")([1], [2]).tolist() == [1]
    with pytest.raises(DisconnectedInputError):
        grad(s.sum(), Y)


def test_integer_terms_become_floating() -> None:
    class Rounds(Double):
        __props__ = ()

        def grad(self, inputs: Any, output_grads: Any) -> Any:
            return [T.zeros_like(inputs[0])]

    i = T.ivector("i")
    assert grad(Rounds()(i).sum() * 0.5, i).dtype == symgraph.config.floatX


# ---- memory --------------------------------------------------------------------------------------


def test_destroyed_inputs_are_copies() -> None:
    class InPlace(Op):
        __props__ = ()
        destroy_map = {0: [0]}  # noqa: RUF012 - as in the documents

        def make_node(self, x: Any) -> Apply:
            return Apply(self, [x], [x.type()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            inputs[0] += 1
            output_storage[0][0] = inputs[0]

    w, a = shared(np.zeros(2), "w"), np.array([1.0, 2.0])
    f = function([X], [InPlace()(X), X * 2, InPlace()(w), InPlace()(X * 2) + X * 2])
    for _ in range(2):
        assert [v.tolist() for v in f(a)] == [[2, 3], [2, 4], [1, 1], [5, 9]]
    assert a.tolist() == [1, 2] and w.get_value().tolist() == [0, 0]


def test_results_may_share_memory_with_inputs() -> None:
    class View(Op):
        __props__ = ()
        view_map = {0: [0]}  # noqa: RUF012

        def make_node(self, x: Any) -> Apply:
            return Apply(self, [x], [x.type()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            output_storage[0][0] = inputs[0][::-1]

    w, a = shared(np.arange(3.0), "w"), np.arange(3.0)
    f = function([X], [View()(X), View()(w), View()(X + 1)], updates=[(w, View()(w) + 10)])
    first = f(a)
    assert [v.tolist() for v in first] == [[2, 1, 0], [2, 1, 0], [3, 2, 1]]
    assert f(a)[1].tolist() == [10, 11, 12] and first[1].tolist() == [2, 1, 0]
    first[0][:] = 7
    assert a.tolist() == [0, 1, 2]


# ---- errors --------------------------------------------------------------------------------------


class Failing(Op):
    """Raises what it is told to."""

    __props__ = ()

    def __init__(self, error: Exception) -> None:
        self.error = error

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [x], [x.type()])

    def get_params(self, node: Any) -> Any:
        return self.error

    def perform(self, node: Any, inputs: Any, output_storage: Any, params: Any) -> None:
        raise params


@pytest.mark.parametrize("error", [ValueError("too odd"), KeyError("odd"), ArithmeticError()])
def test_errors_of_perform_point_at_the_op_and_the_line(error: Exception) -> None:
    words = [str(a) for a in error.args]
    w = shared(1.0, "w")
    y = Failing(error)(X * 2)  # here
    f = function([X], y.sum() + 1, updates=[(w, w + 1)])
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            f([1, 2])
        text = str(caught.value)
        assert "Failing" in text and text.count("# here") == 1 and "shape (2,)" in text
        assert all(word in text for word in words) and w.get_value() == 1


def test_wrong_results_are_refused() -> None:
    class Stores(Op):
        itypes = otypes = [T.dvector]  # noqa: RUF012 - as in the documents

        def __init__(self, value: Any) -> None:
            self.value = value

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            output_storage[0][0] = self.value

    cases: list[tuple[Any, str]] = [
        (np.zeros(2, "f"), "dtype float32"),
        (np.zeros((2, 2)), "expected 1, got 2"),
        (None, "left empty"),
        ("abc", "'abc'"),
        (np.zeros(2, int), "dtype int64"),
    ]
    for value, words in cases:
        z = Stores(value)(X)  # here
        with pytest.raises(TypeError, match=words) as error:
            function([X], z * 2)([1, 2])
        assert "# here" in str(error.value) and "output 0" in str(error.value)

    class Silent(Op):
        __props__ = ()
        itypes = otypes = [T.dvector]  # noqa: RUF012

    with pytest.raises(NotImplementedError, match="define perform"):
        function([X], Silent()(X))([1])


def test_ops_inside_gradients_show_the_line_of_the_forward_pass() -> None:
    class Slope(Op):
        __props__ = ()
        itypes, otypes = [T.dvector, T.dvector], [T.dvector]

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            raise FloatingPointError("steep")

    class Cube(Op):
        __props__ = ()
        itypes, otypes = [T.dvector], [T.dvector]

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            output_storage[0][0] = inputs[0] ** 3

        def grad(self, inputs: Any, output_grads: Any) -> Any:
            return [Slope()(inputs[0], output_grads[0])]

    z = Cube()(X).sum()  # here
    with pytest.raises(FloatingPointError, match="steep") as error:
        function([X], grad(z, X))([1])
    assert "# here" in str(error.value)


# ---- as_op ---------------------------------------------------------------------------------------


@as_op(itypes=[T.dmatrix, T.dmatrix], otypes=[T.dmatrix])
def matrix_product(a: Any, b: Any) -> Any:
    """The product."""
    return np.dot(a, b)


def outer_shape(node: Any, input_shapes: Any) -> Any:
    (a,), (b,) = input_shapes
    return [(a, b), ()]


@as_op([T.dvector, T.dvector], [T.dmatrix, T.dscalar], infer_shape=outer_shape)
def outer_and_inner(a: Any, b: Any) -> Any:
    return np.outer(a, b), np.dot(a, b)


def test_functions_as_ops() -> None:
    f = function([M], matrix_product(M, M.T) * 2)
    a = np.arange(6.0).reshape(2, 3)
    assert f(a).tolist() == (2 * a @ a.T).tolist()
    assert str(matrix_product) == "FromFunctionOp{matrix_product}"
    assert matrix_product.__doc__ == "The product."
    product, dot = outer_and_inner(X, Y)
    f = function([X, Y], product * dot)
    assert not staged(f) and f([1, 2], [3, 4]).tolist() == [[33, 44], [66, 88]]
    with pytest.raises(NullTypeGradError):
        grad(matrix_product(M, M).sum(), M)
    with pytest.raises(TypeError, match=r"TensorType\(float64, vector\)"):
        matrix_product(X, M)


def test_functions_as_ops_pickle_by_name() -> None:
    assert pickle.loads(pickle.dumps(matrix_product)) is matrix_product
    assert copy.deepcopy(matrix_product) is matrix_product

    @as_op(T.dvector, T.dvector)
    def local(x: Any) -> Any:
        return x

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def test_functions_as_ops_refuse() -> None:
    for arguments, words in (
        (([3], [T.dvector]), "itypes has to be a list of Theano types"),
        (([T.dvector], [T.dvector()]), "otypes has to be"),
        ((T.dvector, T.dvector, 3), "infer_shape needs to be a callable"),
    ):
        with pytest.raises(TypeError, match=words):
            as_op(*arguments)  # type: ignore[arg-type]

    @as_op(T.dvector, [T.dvector, T.dvector])
    def one(x: Any) -> Any:
        return x

    with pytest.raises(ValueError, match="1 values for 2 outputs"):
        function([X], one(X))([1])
