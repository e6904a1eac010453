"""Rules 20 to 30 of Theano's semantics, each clause of each: gradients, and nnet's functions.

The numbers are those of the project's list of rules; values were recorded from Theano 1.0.5, except
where a clause says that an evident mistake of Theano's is not copied.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import config, function, grad, shared
from symgraph import tensor as T
from symgraph.errors import DisconnectedInputError, NullTypeGradError
from symgraph.gradient import DisconnectedType
from symgraph.graph import Apply
from symgraph.types import NullType, TensorType
from symgraph.userop import Op


def slope(cost: Any, wrt: Any, values: dict[Any, Any]) -> Any:
    """The value of d cost / d wrt, where `values` gives those of the inputs."""
    f = function(list(values), grad(cost, wrt), on_unused_input="ignore")
    return f(*values.values())


def derivative(of: Any, at: Any, dtype: str = "float64") -> Any:
    """d sum(of(x)) / dx at an array or a number."""
    x = TensorType(dtype, (False,) * np.ndim(at))("x")
    return slope(of(x).sum(), x, {x: np.asarray(at, dtype)}).tolist()


# ---- rule 20: disconnected inputs ----------------------------------------------------------------


def test_rule_20_an_unconnected_variable_is_an_error_with_its_full_text() -> None:
    x, y = T.dvector("x"), T.dvector("y")
    with pytest.raises(DisconnectedInputError) as error:
        grad(x.sum(), y)
    text = str(error.value)
    assert isinstance(error.value, ValueError)
    assert (
        "grad method was asked to compute the gradient with respect to a variable that is not part "
        "of the computational graph of the cost, or is used only by a non-differentiable operator"
    ) in text
    for fact in ("\n  where:    ", "\n  got:      y (TensorType(float64, vector))",
                 "\n  expected: ", "\n  cure:     ", "disconnected_inputs='ignore'"):  # fmt: skip
        assert fact in text
    assert __file__ in text


def test_rule_20_what_to_do_about_it() -> None:
    x, y = T.fvector("x"), T.fvector("y")
    zeros = grad(x.sum(), y, disconnected_inputs="ignore")
    assert zeros.dtype == "float32" and zeros.eval({y: np.ones(3, "f")}).tolist() == [0, 0, 0]
    with pytest.warns(UserWarning, match="not part of the computational graph"):
        grad(x.sum(), y, disconnected_inputs="warn")
    with pytest.raises(ValueError, match="raise, warn, ignore"):
        grad(x.sum(), y, disconnected_inputs="no")


@pytest.mark.parametrize(
    "cost",
    [
        lambda x: x.shape[0] * 1.0,
        lambda x: x.shape.sum() + 0.0,
        lambda x: T.ones_like(x).sum(),
        lambda x: T.zeros_like(x).sum(),
        lambda x: T.alloc(1.0, x.shape[0]).sum(),
    ],
)
def test_rule_20_the_shape_alone_does_not_connect(cost: Any) -> None:
    x = T.dvector("x")
    with pytest.raises(DisconnectedInputError):
        grad(cost(x), x)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: T.cast(x > 0, "float64"),
        lambda x: T.cast(T.eq(x, 1), "float64") * 2.0,
        lambda x: T.floor(x), lambda x: T.ceil(x), lambda x: T.round(x, mode="half_to_even"),
        lambda x: T.sgn(x), lambda x: T.trunc(x),
        lambda x: T.cast(T.cast(x, "int32"), "float64"),
        lambda x: x // 2,
        lambda x: T.argmax(x) * 1.0,
        lambda x: T.isnan(x) * 1.0,
    ],
)  # fmt: skip
def test_rule_20_steps_give_zeros_and_connect(step: Any) -> None:
    x = T.dvector("x")
    g = grad(step(x).sum(), x)
    assert g.dtype == "float64" and g.eval({x: [0.5, -1.0, 1.0]}).tolist() == [0, 0, 0]


def test_rule_20_argmax_times_the_variable_has_the_other_factors_gradient() -> None:
    x, y = T.dvector("x"), T.dscalar("y")
    assert slope(T.argmax(x) * y, [x, y], {x: [1, 5], y: 2.0})[0].tolist() == [0, 0]
    assert slope(T.argmax(x) * y, y, {x: [1, 5], y: 2.0}) == 1


def test_rule_20_indices_are_disconnected() -> None:
    x, i = T.dvector("x"), T.lscalar("i")
    k = T.lvector("k")
    with pytest.raises(DisconnectedInputError):
        grad(x[i], i)
    with pytest.raises(DisconnectedInputError):
        grad(x[k].sum(), k)
    with pytest.raises(DisconnectedInputError):
        grad(x[:i].sum(), i)


# ---- rule 21: dtypes -----------------------------------------------------------------------------


def test_rule_21_gradients_are_floats_also_by_integers() -> None:
    """The value is that of the same computation in floats."""
    for dtype in ("int8", "int32", "int64", "uint8", "bool"):
        n, x = TensorType(dtype, (False,))("n"), T.dvector("x")
        cost = ((n * x) ** 2).sum()
        g = grad(cost, n)
        assert g.dtype == "float64"  # as what reaches it
        found = function([n, x], g)(np.array([1, 0], dtype), [3.0, 4.0])
        assert found.tolist() == [18.0, 0.0]
        if dtype == "int8":
            assert grad((n * T.fvector("y")).sum(), n).dtype == "float32"
        with config.change_flags(floatX="float32"):
            assert grad((n * 1).sum(), n).dtype == "float32"  # there is nothing else to go by


def test_rule_21_through_integer_results_as_through_floats() -> None:
    """test_grad_int of Theano: W int, b float, x float; the gradient by W is that of floats."""
    for dtype in ("int8", "int64", "float64"):
        w, x = TensorType(dtype, (False, False))("w"), TensorType(dtype, (False, False))("x")
        b = T.dvector("b")
        y = T.cast(T.nnet.sigmoid(T.dot(x, w) + b), "float64")
        g = grad(T.sqr(y).sum(), [w, b], disconnected_inputs="ignore")
        values = [np.array(v, dtype) for v in ([[1, 2], [0, 1]], [[1, 0], [1, 1]])]
        by_w, by_b = function([w, x, b], g)(*values, [0.5, -1.0])
        if dtype == "int8":
            first = by_w, by_b
        np.testing.assert_allclose(by_w, first[0], rtol=1e-6)
        np.testing.assert_allclose(by_b, first[1], rtol=1e-6)
        assert np.abs(by_w).min() > 0


def test_rule_21_an_integer_cost_has_gradient_zero() -> None:
    x, n = T.dvector("x"), T.lvector("n")
    assert slope(T.cast(x, "int64").sum(), x, {x: [1.5, 2.0]}).tolist() == [0, 0]
    g = grad(n.sum(), n)
    assert g.dtype == config.floatX


def test_rule_21_the_gradient_has_the_dtype_of_the_variable() -> None:
    x, w = T.dvector("x"), shared(np.ones(3, "f"), "w")
    cost = (x * w).sum()
    assert cost.dtype == "float64" and grad(cost, w).dtype == "float32"
    f = function([x], [], updates=[(w, w - np.float32(1) * grad(cost, w))])
    f([1.0, 2, 3])
    assert w.get_value().tolist() == [0, -1, -2]


def test_rule_21_output_gradients_are_cast_to_the_outputs_dtype() -> None:
    seen: list[str] = []

    class Single(Op):
        __props__ = ()

        def make_node(self, x: Any) -> Apply:
            return Apply(self, [x], [T.fvector()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            output_storage[0][0] = inputs[0].astype("float32")

        def grad(self, inputs: Any, output_gradients: Any) -> Any:
            seen.append(output_gradients[0].dtype)
            return output_gradients

    x = T.dvector("x")
    g = grad((Single()(x) * np.float64(0.1)).sum(), x)
    assert seen == ["float32"] and g.dtype == "float64"


# ---- rule 22: ties -------------------------------------------------------------------------------


def test_rule_22_ties_of_max_and_min_give_every_element_the_full_gradient() -> None:
    for reduce in (T.max, T.min):
        assert derivative(reduce, [2.0, 2.0, 2.0]) == [1, 1, 1]
    assert derivative(lambda x: x.max(axis=1), [[1.0, 3, 3], [0, 0, -1]]) == [[0, 1, 1], [1, 1, 0]]
    assert derivative(lambda x: x.max(axis=0), [[1.0, 3], [1, 0]]) == [[1, 1], [1, 0]]
    assert derivative(lambda x: T.max_and_argmax(x, axis=0)[0], [5.0, 5.0]) == [1, 1]


def test_rule_22_ties_of_max_pooling_and_overlapping_windows() -> None:
    def pooled(size: Any, stride: Any) -> Any:
        return lambda x: T.signal.pool.pool_2d(x, size, ignore_border=True, stride=stride)

    assert derivative(pooled((2, 2), None), np.ones((2, 2))) == [[1, 1], [1, 1]]
    image = [[0.0, 0, 0], [0, 9, 0], [0, 0, 0]]
    assert derivative(pooled((2, 2), (1, 1)), image)[1][1] == 4
    assert derivative(pooled((1, 2), (1, 1)), [[1.0, 1, 1]]) == [[1, 2, 1]]


def test_ties_of_max_pooling_go_to_the_first_if_asked() -> None:
    def pooled(size: Any, stride: Any) -> Any:
        return lambda x: T.signal.pool.pool_2d(
            x, size, ignore_border=True, stride=stride, ties="first"
        )

    assert derivative(pooled((2, 2), None), np.ones((2, 2))) == [[1, 0], [0, 0]]
    assert derivative(pooled((2, 2), None), [[0.0, 1], [1, 1]]) == [[0, 1], [0, 0]]
    image = [[0.0, 0, 0], [0, 9, 0], [0, 0, 0]]
    assert derivative(pooled((2, 2), (1, 1)), image)[1][1] == 4
    assert derivative(pooled((1, 2), (1, 1)), [[1.0, 1, 1]]) == [[1, 1, 0]]


def test_rule_22_ties_of_maximum_and_minimum_go_to_the_first() -> None:
    x, y = T.dscalar("x"), T.dscalar("y")
    for f in (T.maximum, T.minimum):
        assert [float(g) for g in slope(f(x, y), [x, y], {x: 3.0, y: 3.0})] == [1, 0]
    assert derivative(lambda x: T.maximum(x, 0.0), 0.0) == 1
    assert derivative(lambda x: T.maximum(0.0, x), 0.0) == 0


def test_rule_22_ties_of_relu_switch_and_abs() -> None:
    assert derivative(T.nnet.relu, 0.0) == 0.5
    assert derivative(T.nnet.relu, [-1.0, 2.0]) == [0, 1]
    assert derivative(lambda x: T.nnet.relu(x, 0.5), 0.0) == 0.75
    assert derivative(lambda x: T.switch(x > 0, x, 0), 0.0) == 0
    assert derivative(abs, [0.0, -2.0, 3.0]) == [0, -1, 1]


# ---- rule 23: clip, pow, mod, prod, switch -------------------------------------------------------


def test_rule_23_clip_is_inclusive_and_passes_to_the_bounds() -> None:
    x, low, high = T.dvector("x"), T.dscalar("low"), T.dscalar("high")
    values = {x: [-2.0, -1.0, 0.0, 1.0, 5.0], low: -1.0, high: 1.0}
    by_x, by_low, by_high = slope(T.clip(x, low, high).sum(), [x, low, high], values)
    assert by_x.tolist() == [0, 1, 1, 1, 0] and (by_low, by_high) == (1, 1)


def test_rule_23_clip_with_crossed_bounds_takes_the_lower_first() -> None:
    x = T.dvector("x")
    assert T.clip(x, 3, 1).eval({x: [0.0, 2.0, 5.0]}).tolist() == [3, 3, 1]


def test_rule_23_pow() -> None:
    x, y = T.dscalar("x"), T.dscalar("y")
    by_x, by_y = slope(x**y, [x, y], {x: 2.0, y: 3.0})
    np.testing.assert_allclose([by_x, by_y], [12, 8 * np.log(2)])
    by_x, by_y = slope(x**y, [x, y], {x: 0.0, y: 2.0})
    assert (by_x, by_y) == (0, 0)
    by_x, by_y = slope(x**y, [x, y], {x: 0.0, y: 0.0})
    assert np.isnan(by_x) and by_y == 0  # 0 * 0 ** -1


def test_rule_23_mod() -> None:
    x, y = T.dvector("x"), T.dvector("y")
    by_x, by_y = slope((x % y).sum(), [x, y], {x: [7.0, -7.0], y: [3.0, 3.0]})
    assert by_x.tolist() == [1, 1] and by_y.tolist() == [-2, 3]


def test_rule_23_prod_by_cases_of_zeros() -> None:
    assert derivative(T.prod, [2.0, 3.0, 4.0]) == [12, 8, 6]
    assert derivative(T.prod, [2.0, 0.0, 4.0]) == [0, 8, 0]
    assert derivative(T.prod, [2.0, 0.0, 0.0]) == [0, 0, 0]
    rows = [[2.0, 3.0], [0.0, 3.0], [0.0, 0.0]]
    assert derivative(lambda x: T.prod(x, axis=1), rows) == [[3, 2], [3, 0], [0, 0]]
    assert derivative(lambda x: T.prod(x, no_zeros_in_input=True), [2.0, 5.0]) == [5, 2]


def test_rule_23_switch() -> None:
    c, x, y = T.dvector("c"), T.dvector("x"), T.dscalar("y")
    values = {c: [1.0, 0.0, 2.0], x: [1.0, 2.0, 3.0], y: 5.0}
    by_c, by_x, by_y = slope(T.switch(c, x, y).sum(), [c, x, y], values)
    assert by_c.tolist() == [0, 0, 0] and by_x.tolist() == [1, 0, 1] and by_y == 1


# ---- rule 24 -------------------------------------------------------------------------------------


def test_rule_24_int_div_has_gradient_zero_for_floats_too() -> None:
    x, y = T.dvector("x"), T.dscalar("y")
    by_x, by_y = slope((x // y).sum(), [x, y], {x: [7.5, -2.0], y: 2.0})
    assert by_x.tolist() == [0, 0] and by_y == 0
    w, n = T.dmatrix("w"), T.lscalar("n")  # cA's contraction term
    cost = (w * 3).sum() + T.sum(w**2) // n
    assert slope(cost, w, {w: np.ones((2, 2)), n: 2}).tolist() == [[3, 3], [3, 3]]


# ---- rule 25: broadcasting -----------------------------------------------------------------------


def test_rule_25_the_gradient_is_summed_over_broadcast_axes() -> None:
    row, col, m, s = T.drow("r"), T.dcol("c"), T.dmatrix("m"), T.dscalar("s")
    values = {row: [[1.0, 2, 3]], col: [[1.0], [2]], m: np.ones((2, 3)), s: 2.0}
    by = slope((row * col * m * s).sum(), [row, col, m, s], values)
    assert by[0].tolist() == [[6, 6, 6]] and by[1].tolist() == [[12], [12]]
    assert by[2].tolist() == [[2, 4, 6], [4, 8, 12]] and by[3] == 18


def test_rule_25_the_pattern_decides_and_not_the_size() -> None:
    x, y = T.dmatrix("x"), T.dmatrix("y")
    gx, _ = grad((x + y).sum(), [x, y])
    assert gx.broadcastable == (False, False)
    assert gx.eval({x: np.ones((1, 3)), y: np.ones((1, 3))}).shape == (1, 3)
    with pytest.raises(ValueError, match="mis-match"):
        function([x, y], (x + y).sum())(np.ones((1, 3)), np.ones((2, 3)))
    vector, wide = T.dvector("v"), T.dtensor3("t")
    g = slope((vector * wide).sum(), vector, {vector: np.ones(3), wide: np.ones((2, 4, 3))})
    assert g.tolist() == [8, 8, 8]


# ---- rule 26: subtensors -------------------------------------------------------------------------


def test_rule_26_set_subtensor() -> None:
    x, y = T.dvector("x"), T.dvector("y")
    weights = np.arange(1.0, 6)
    by_x, by_y = slope((T.set_subtensor(x[1:3], y) * weights).sum(), [x, y],
                       {x: np.zeros(5), y: np.zeros(2)})  # fmt: skip
    assert by_x.tolist() == [1, 0, 0, 4, 5] and by_y.tolist() == [2, 3]


def test_rule_26_inc_subtensor() -> None:
    x, y = T.dvector("x"), T.dvector("y")
    weights = np.arange(1.0, 6)
    by_x, by_y = slope((T.inc_subtensor(x[1:3], y) * weights).sum(), [x, y],
                       {x: np.zeros(5), y: np.zeros(2)})  # fmt: skip
    assert by_x.tolist() == [1, 2, 3, 4, 5] and by_y.tolist() == [2, 3]


def test_rule_26_the_value_is_summed_over_its_broadcast_axes() -> None:
    x, s, row = T.dmatrix("x"), T.dscalar("s"), T.drow("row")
    weights = np.arange(6.0).reshape(2, 3)
    cost = (T.set_subtensor(x[:, 1:], s) * weights).sum()
    assert slope(cost, s, {x: np.zeros((2, 3)), s: 1.0}) == 1 + 2 + 4 + 5
    cost = (T.inc_subtensor(x[:], row) * weights).sum()
    assert slope(cost, row, {x: np.zeros((2, 3)), row: np.ones((1, 3))}).tolist() == [[3, 5, 7]]


def test_rule_26_repeated_indices_add_and_the_last_one_wins() -> None:
    x, i = T.dvector("x"), T.lvector("i")
    assert slope(x[i].sum(), x, {x: np.ones(3), i: [0, 2, 2]}).tolist() == [1, 0, 2]
    y = T.dvector("y")
    out = T.set_subtensor(x[i], y)
    assert out.eval({x: np.zeros(3), i: [1, 1], y: [5.0, 7.0]}).tolist() == [0, 7, 0]
    out = T.inc_subtensor(x[i], y)
    assert out.eval({x: np.zeros(3), i: [1, 1], y: [5.0, 7.0]}).tolist() == [0, 12, 0]


def test_rule_26_the_first_argument_is_the_direct_result_of_indexing() -> None:
    x, m, i = T.dvector("x"), T.dmatrix("m"), T.lvector("i")
    with pytest.raises(TypeError, match="x must be the result of a subtensor operation"):
        T.set_subtensor(x, 1)
    with pytest.raises(TypeError, match="x must be the result of a subtensor operation"):
        T.inc_subtensor(x[1:] * 1.0, 1)
    with pytest.raises(TypeError):  # more axes than the region
        T.set_subtensor(x[1:], m)
    through = T.inc_subtensor(m[i].dimshuffle(1, 0), 1.0)  # of advanced indexing, seen through
    assert through.eval({m: np.zeros((2, 2)), i: [1]}).sum() == 2


def test_rule_26_the_result_is_a_new_full_tensor() -> None:
    x = shared(np.zeros(3), "x")
    out = function([], T.set_subtensor(x[1], 5.0))()
    assert out.tolist() == [0, 5, 0] and x.get_value().tolist() == [0, 0, 0]


def test_rule_26_a_float64_value_is_cast_to_a_float32_target() -> None:
    x, y = T.fvector("x"), T.dvector("y")
    out = T.set_subtensor(x[:2], y)
    assert out.dtype == "float32"
    assert out.eval({x: np.zeros(3, "f"), y: [1.5, 2.5]}).tolist() == [1.5, 2.5, 0]


# ---- rule 27: grad's arguments -------------------------------------------------------------------


def test_rule_27_consider_constant_blocks_paths() -> None:
    x = T.dscalar("x")
    v = x**2
    assert slope(v * x, x, {x: 3.0}) == 27
    g = grad(v * x, x, consider_constant=[v])
    assert function([x], g)(3.0) == 9
    with pytest.raises(DisconnectedInputError):
        grad(v * 2, x, consider_constant=[v])


def test_rule_27_known_grads() -> None:
    x = T.dvector("x")
    y = x * 3
    g = grad(None, x, known_grads={y: T.constant(np.array([1.0, 2.0]))})
    assert g.eval().tolist() == [3, 6]
    z = x + 1
    known = OrderedDict([(y, T.ones_like(y)), (z, T.ones_like(z))])
    assert grad(None, x, known_grads=known).eval({x: [0.0]}).tolist() == [4]
    with pytest.raises(ValueError, match="nothing to differentiate"):
        grad(None, x)


def test_rule_27_the_form_of_wrt_is_that_of_the_result() -> None:
    x, y = T.dscalar("x"), T.dscalar("y")
    assert isinstance(grad(x * y, [x, y]), list) and isinstance(grad(x * y, (x, y)), tuple)
    assert grad(x * y, [x])[0].type == grad(x * y, x).type
    with pytest.raises(TypeError, match="set"):
        grad(x * y, {x, y})
    with pytest.raises(TypeError, match=r"cost must be a scalar\."):
        grad(T.dvector("v"), x)


def test_rule_27_none_only_if_asked_for() -> None:
    x, y = T.dscalar("x"), T.dscalar("y")
    assert grad(x * 2, y, disconnected_inputs="ignore") is not None
    options: dict[str, Any] = {"disconnected_inputs": "ignore"}
    assert grad(x * 2, [x, y], return_disconnected="None", **options)[1] is None
    found = grad(x * 2, y, return_disconnected="Disconnected", **options)
    assert isinstance(found.type, DisconnectedType)
    zero = grad(x * 2, y, return_disconnected="zero", **options)
    assert zero.eval({y: 1.0}) == 0


def test_rule_27_names_and_gradients_that_do_not_exist() -> None:
    x = T.dscalar("x")
    y = x**2
    y.name = "cost"
    assert grad(y, x).name == "(dcost/dx)"
    assert grad(y, x, add_names=False).name is None
    p = T.dvector("p")
    second = grad(grad(T.prod(p), p)[0], p, null_gradients="return")
    assert isinstance(second.type, NullType)
    with pytest.raises(NullTypeGradError, match="second derivative of prod"):
        grad(grad(T.prod(p), p)[0], p)
    with pytest.raises(NullTypeGradError):
        grad(_NoGradient()(p).sum(), p)


class _NoGradient(Op):
    __props__ = ()

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [x], [x.type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = inputs[0].copy()


# ---- rule 28: softmax ----------------------------------------------------------------------------


def test_rule_28_softmax_is_stable() -> None:
    m = T.dmatrix("m")
    big = T.nnet.softmax(m).eval({m: [[1e4, 0.0], [-1e4, -1e4]]})
    assert big.tolist() == [[1, 0], [0.5, 0.5]]
    assert T.nnet.softmax(m).eval({m: [[1.0, 2.0]]}).sum() == pytest.approx(1)


def test_rule_28_a_vector_gives_a_row_and_a_warning() -> None:
    v = T.dvector("v")
    with pytest.warns(UserWarning):
        p = T.nnet.softmax(v)
    assert p.ndim == 2 and p.broadcastable == (True, False)
    np.testing.assert_allclose(p.eval({v: [0.0, 0.0]}), [[0.5, 0.5]])


def test_rule_28_other_inputs_are_refused() -> None:
    for x in (T.dtensor3(), T.dtensor4(), T.dscalar()):
        with pytest.raises(ValueError):
            T.nnet.softmax(x)
    for x in (T.lmatrix(), T.bmatrix()):
        with pytest.raises(ValueError, match="1-d or 2-d"):
            T.nnet.softmax(x)


def test_rule_28_a_broadcastable_last_axis_warns() -> None:
    with pytest.warns(UserWarning):
        out = T.nnet.softmax(T.dcol("c"))
    assert out.broadcastable == (False, True)


# ---- rule 29: sigmoid and softplus ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE"])
def test_rule_29_log_sigmoid_stays_finite(dtype: str, mode: str) -> None:
    x = TensorType(dtype, (False,))("x")
    values = np.array([-1000.0, -100, -20, 0, 20, 100, 1000], dtype)
    y = T.log(T.nnet.sigmoid(x))
    f = function([x], [y, grad(y.sum(), x), T.log(1 - T.nnet.sigmoid(x))], mode=mode)
    out, gradient, other = f(values)
    exact = -np.logaddexp(0, -values.astype("float64"))
    np.testing.assert_allclose(out, exact, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(other, -np.logaddexp(0, values.astype("float64")), rtol=1e-6,
                               atol=1e-12)  # fmt: skip
    assert np.isfinite(gradient).all() and gradient[0] == 1


def test_rule_29_values_near_and_far() -> None:
    x = T.dvector("x")
    values = np.array([-800.0, -40, -1, 0, 1, 40, 800])
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(
            T.nnet.sigmoid(x).eval({x: values}), 1 / (1 + np.exp(-values)), rtol=1e-12, atol=1e-300
        )
    np.testing.assert_allclose(
        T.nnet.softplus(x).eval({x: values}), np.logaddexp(0, values), rtol=1e-12, atol=1e-300
    )


# ---- rule 30: cross-entropies --------------------------------------------------------------------


def test_rule_30_categorical_crossentropy_of_labels() -> None:
    p = T.dmatrix("p")
    for labels in (T.ivector("y"), T.lvector("y")):
        out = T.nnet.categorical_crossentropy(p, labels)
        assert out.ndim == 1
        found = out.eval({p: [[0.5, 0.5], [0.25, 0.75]], labels: np.array([0, 1], labels.dtype)})
        np.testing.assert_allclose(found, -np.log([0.5, 0.75]))
    for labels in (T.bvector("y"), T.wvector("y")):
        with pytest.raises(TypeError):
            T.nnet.categorical_crossentropy(p, labels)
    with pytest.raises(TypeError):
        T.nnet.categorical_crossentropy(p, T.dvector("y"))
    soft = T.dmatrix("soft")
    assert T.nnet.categorical_crossentropy(p, soft).ndim == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE"])
def test_rule_30_big_logits_are_exact(dtype: str, mode: str) -> None:
    """test_asymptotic_32 of Theano: logits grow until only differences of them are left."""
    x, y = TensorType(dtype, (False, False))("x"), T.lvector("y")
    cost = T.sum(-T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y])
    f, number = function([x, y], [cost, grad(cost, x)], mode=mode), np.dtype(dtype).type
    values, labels = np.zeros((5, 5), dtype), np.arange(5)
    for _ in range(100):  # the right way: cost and gradient fall to 0
        value, gradient = f(values, labels)
        values -= number(100.3) * gradient
    assert value == 0 and np.abs(gradient).max() < 1e-40
    values = np.zeros((5, 5), dtype)
    for _ in range(100):  # the wrong way: the cost grows as the logits do
        value, gradient = f(values, labels)
        values += number(100000.3) * gradient
    assert value > 61750000
    assert gradient[0].tolist() == [-1.0, 0.25, 0.25, 0.25, 0.25]


def test_rule_30_the_gradient_is_p_minus_one_hot() -> None:
    x, y = T.dmatrix("x"), T.ivector("y")
    for cost in (
        T.nnet.categorical_crossentropy(T.nnet.softmax(x), y).sum(),
        -T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y].sum(),
    ):
        data = np.array([[1.0, 2.0, 3.0], [1e3, 0.0, -1e3]])
        found = slope(cost, x, {x: data, y: [2, 1]})
        p = np.exp(data - data.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        np.testing.assert_allclose(found, p - np.eye(3)[[2, 1]], atol=1e-12)


def test_no_rule_warns_where_it_should_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert symgraph.config.floatX == "float64"
        T.nnet.softmax(T.dmatrix())
