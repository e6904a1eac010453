"""Rare uses, as Theano 1.0.5 answers them: values, dtypes and error classes are facts of its."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import config, function, grad, graph, scan, shared
from symgraph import tensor as T
from symgraph.errors import DisconnectedInputError, MissingInputError
from symgraph.gradient import DisconnectedType, Lop, Rop
from symgraph.graph import Apply, Constant, graph_inputs
from symgraph.ifelse import ifelse
from symgraph.ops.linalg import cov
from symgraph.rng_mrg import MRG_RandomStreams
from symgraph.tensor import random as philox
from symgraph.tensor.nnet import abstract_conv
from symgraph.tensor.raw_random import random_state_type, uniform
from symgraph.tensor.shared_randomstreams import RandomStreams
from symgraph.tensor.signal import pool
from symgraph.types import generic
from symgraph.userop import Op
from tests.under_alias import same

# ---- functions -----------------------------------------------------------------------------------


def test_givens_of_other_axes_without_rebuild_strict() -> None:
    x, v, s = T.dmatrix("x"), T.dvector("v"), T.dscalar("s")
    loose: Any = {"rebuild_strict": False}
    assert function([v], s * 2, givens={s: v}, **loose)([1, 2]).tolist() == [2, 4]
    assert function([v], (x + 1).sum(axis=1), givens={x: v}, **loose)([1, 2]).tolist() == [5]
    assert function([x], v, givens={v: x}, **loose)(np.ones((2, 3))).shape == (2, 3)
    assert function([], v + 1, givens={v: np.ones((2, 2))}, **loose)().shape == (2, 2)
    with pytest.raises(TypeError, match="cannot replace v"):
        function([x], v, givens={v: x})


def test_the_trace_of_a_tag() -> None:
    x = T.dvector("x")
    y = x * 2
    for variable in (x, y, y.owner):
        ((frame,),) = variable.tag.trace
        assert frame[0] == __file__ and frame[2] == "test_the_trace_of_a_tag"
    assert y.tag.trace[0][0][3] == "y = x * 2"


def test_errors_point_to_where_an_op_is_applied_and_not_into_its_make_node() -> None:
    class Checked(graph.Op):
        def make_node(self, x: Any) -> Apply:
            return Apply(self, [T.as_tensor_variable(x) + T.ones(3)], [x.type()])

        def infer_shape(self, node: Apply, ctx: Any) -> Any:
            return [ctx.shape(node.inputs[0])]

        def evaluate(self, node: Apply, *inputs: Any) -> Any:
            return inputs

    class Own(Op):
        __props__ = ()
        make_node, perform = Checked.make_node, None  # type: ignore[assignment]

    x = T.dvector("x")
    for y in (Checked()(x), Own()(x)):
        for variable in (y, y.owner.inputs[0]):
            assert variable.created.function.startswith("test_errors_point")
    with pytest.raises(ValueError, match="in test_errors_point"):
        function([x], Checked()(x))([1, 2])


def test_results_that_are_borrowed() -> None:
    x, s = T.dvector("x"), shared(np.ones(3))
    f = function([x], [symgraph.Out(x * 2, borrow=True), symgraph.Out(s, borrow=True)])
    assert [r.tolist() for r in f([1, 2])] == [[2, 4], [1, 1, 1]]


# ---- gradients -----------------------------------------------------------------------------------


def test_known_grads_stand_for_what_else_would_flow() -> None:
    x, g = T.dvector("x"), T.dvector("g")
    y = x**2
    z = T.exp(y)

    def of(*args: Any, **options: Any) -> Any:
        return function([x, g], grad(*args, **options), on_unused_input="ignore")([1, 0.5], [1, 2])

    for known in ([(y, g), (z, g)], [(z, g), (y, g)]):
        assert of(None, x, known_grads=OrderedDict(known)).tolist() == [2, 2]
    same(of(y.sum() * 3, x, known_grads={z: g}), [11.43656366, 5.56805083])
    assert of(z.sum() * 3, x, known_grads={y: g}).tolist() == [2, 2]
    assert of(z.sum() * 3, x, known_grads={x: g}).tolist() == [1, 2]


def test_known_grads_may_cut() -> None:
    x = T.dscalar("x")
    y, cut = x * 2, DisconnectedType()()
    assert grad(y + x, x, known_grads={y: cut}).eval({x: 2.0}) == 1
    for cost in (y + 1, None):
        with pytest.raises(DisconnectedInputError):
            grad(cost, x, known_grads={y: cut})
    kept: Any = {"disconnected_inputs": "ignore"}
    assert grad(None, x, known_grads={y: cut}, **kept).eval({x: 2.0}) == 0
    assert grad(None, x, known_grads={y: cut}, return_disconnected="None", **kept) is None


def test_lop_adds_what_comes_from_dependent_outputs() -> None:  # Theano forgets the second
    x = T.dscalar("x")
    y = x * 2
    by = Lop([y, y * 3], x, [T.constant(1.0), T.constant(1.0)])
    assert function([x], by, on_unused_input="ignore")(2) == 8


def test_rop_of_a_gradient_that_does_not_change() -> None:
    x, v, w = T.dmatrix("x"), T.dvector("v"), T.dvector("w")
    change = Rop(grad(T.dot(x, v).sum(), v), v, v)
    assert function([x, v], change)(np.ones((2, 3)), np.ones(3)).tolist() == [0, 0, 0]
    for f in (w, v.shape[0]):
        with pytest.raises(DisconnectedInputError):
            Rop(f, v, v)


def test_rop_of_an_op_that_has_none() -> None:
    class Mute(Op):
        __props__ = ()

        def make_node(self, x: Any) -> Apply:
            return Apply(self, [x], [x.type()])

        def R_op(self, inputs: Any, points: Any) -> list[Any]:
            return [None]

    v = T.dvector("v")
    with pytest.raises(DisconnectedInputError):
        Rop(Mute()(v), v, v)
    assert Rop(Mute()(v), v, v, "ignore", "None") is None


# ---- test values ---------------------------------------------------------------------------------


def test_gradients_of_loops_and_of_ops_from_graphs_need_no_inner_test_values() -> None:
    a = T.dvector("a")
    op = symgraph.OpFromGraph([a], [T.tanh(a) * 2])
    with config.change_flags(compute_test_value="raise"):
        x, w = T.dvector("x"), T.dscalar("w")
        x.tag.test_value, w.tag.test_value = np.ones(3), 2.0
        outs, _ = scan(
            lambda v, acc, w: acc * w * w + v, x, T.constant(0.0, dtype="float64"), non_sequences=w
        )
        by = grad(outs.sum(), [x, w])
        same(by[0].tag.test_value, [21, 5, 1])
        assert by[1].tag.test_value == 40
        assert grad(by[1], w).tag.test_value == 52
        same(Rop(outs, w, w).tag.test_value, [0, 8, 72])
        same(grad(op(x).sum(), x).tag.test_value, 2 - 2 * np.tanh(np.ones(3)) ** 2)


# ---- branches, copies ----------------------------------------------------------------------------


class Length(Op):
    __props__ = ()

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [x], [T.lscalar()])

    def perform(self, node: Apply, inputs: list[Any], outputs: list[list[Any]]) -> None:
        outputs[0][0] = np.asarray(len(inputs[0]))


def test_branches_that_are_no_arrays() -> None:
    a, b, c, x = generic("a"), generic("b"), T.bscalar("c"), T.dvector("x")
    chosen, y = ifelse(c, [a, x * 2], [b, x * 3])
    f = function([c, a, b, x], [Length()(chosen), y])
    assert [r.tolist() for r in f(1, "one", {}, [1])] == [3, [2]]
    assert [r.tolist() for r in f(0, "one", {}, [1])] == [0, [3]]
    with pytest.raises(TypeError, match=r"(?s)the output if\{\}\.0 is no array.*where:.*Generic"):
        function([c, a, b, x], chosen)


def test_clone_without_shared_inputs_keeps_what_it_is_given() -> None:  # Theano loses it
    x, y, w, s = T.dvector("x"), T.dvector("y"), T.dvector("w"), shared(np.ones(2), name="s")
    with pytest.warns(DeprecationWarning, match="copy_inputs"):
        new = symgraph.clone(x * s + y, replace={x: w * 5}, copy_inputs=False)
    leaves = [v for v in graph_inputs([new]) if not isinstance(v, Constant)]
    assert [str(v) for v in leaves] == ["w", "s", "y"]
    assert leaves[0] is w and leaves[1] is not s and leaves[2] is not y


# ---- random numbers ------------------------------------------------------------------------------


def test_a_random_state_as_input() -> None:
    r = random_state_type("r")
    after, sample = uniform(r, (2,), 0.0, 1.0)
    first, second = [0.5507979, 0.70814782], [0.29090474, 0.51082761]
    f, state = function([r], [sample, after]), np.random.RandomState(3)
    drawn, new = f(state)
    same(drawn, first)
    same(f(new)[0], second)
    same(state.rand(2), first)  # it is copied
    kept = symgraph.In(r, value=np.random.RandomState(3), update=after, mutable=True)
    g = function([kept], sample, accept_inplace=True)
    same(g(), first)
    for twin in (g, pickle.loads(pickle.dumps(g)), copy.deepcopy(g)):
        same(twin(), second)
    same(function([], sample, givens={r: shared(np.random.RandomState(3))})(), first)
    assert r.type == pickle.loads(pickle.dumps(r.type)) and str(r.type) == "RandomStateType"
    with pytest.raises(TypeError, match=r"(?s)takes a numpy\.random\.RandomState, got 3.*where:"):
        f(3)


@pytest.mark.parametrize("streams", [RandomStreams, MRG_RandomStreams])
def test_a_symbolic_size_of_another_length(streams: Any) -> None:
    size = T.lvector("size")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MRG: how many streams there are is not known
        f = function([size], streams(3).uniform(size=size, ndim=2))
    assert f([2, 3]).shape == (2, 3)
    for wrong in ([2], [2, 3, 4], np.zeros(0, "int64")):
        with pytest.raises(ValueError, match=r"(?s)another length.*where:.*size.*\(2,\)"):
            f(wrong)


def test_vectors_of_parameters_that_do_not_match_the_size() -> None:
    p, n = T.dvector("p"), T.lvector("n")
    for draw in (
        lambda s, size: s.uniform(size, p, p + 1),
        lambda s, size: s.normal(size, p),
        lambda s, size: s.binomial(size, 1, p),
        lambda s, size: s.binomial(size, n, p),
        lambda s, size: s.random_integers(size, n, n + 1),
        lambda s, size: s.poisson(size, p),
        lambda s, size: s.multinomial(size, 1, T.stack([p, 1 - p], axis=1)),
    ):
        for size in ((2,), (2, 2)):
            f = function([p, n], draw(RandomStreams(3), size), on_unused_input="ignore")
            with pytest.raises(ValueError, match="where:"):
                f([0.1, 0.2, 0.3], [2, 3, 4])


# ---- loops ---------------------------------------------------------------------------------------


def test_an_input_that_only_the_updates_of_a_step_need() -> None:
    count, x = shared(0.0), T.dscalar("x")
    outs, updates = scan(lambda: (T.zeros(()), {count: count + x}), n_steps=20)
    for kinds in ({"updates": updates}, {"outputs": outs}):
        with pytest.raises(MissingInputError, match=r"the graph needs x"):
            function([], **kinds)
    function([x], updates=updates)(2.0)
    assert count.get_value() == 40


def test_a_non_sequence_that_no_step_needs_is_an_input() -> None:
    x, y, zero = T.dvector("x"), T.dvector("y"), T.constant(0.0, dtype="float64")
    outs, _ = scan(lambda v, acc, y: acc + v, x, zero, non_sequences=y)
    f = function([x, y], outs)
    assert f([1, 2, 3], [0, 0]).tolist() == [1, 3, 6]
    with pytest.raises(DisconnectedInputError):
        grad(outs.sum(), y)


def test_what_is_connected_through_integers_has_gradient_zero() -> None:
    x, k, zero = T.dvector("x"), T.lscalar("k"), T.constant(0.0, dtype="float64")
    counts, _ = scan(lambda v, n: T.cast(v, "int64") + n, x, k)
    by = grad(T.cast(counts.sum(), "float64"), x)
    assert function([x, k], by, on_unused_input="ignore")([1, 2], 1).tolist() == [0, 0]
    outs, _ = scan(lambda v, n, acc: (T.cast(v * n, "int64"), acc * v + n), x, [k, zero])
    assert function([x, k], grad(outs[1].sum(), x))([1, 2, 3], 2).tolist() == [0, 8, 6]
    with pytest.raises(DisconnectedInputError):
        grad(scan(lambda v, n: n + 1, x, k)[0].sum(), x)


@pytest.mark.parametrize(("taps", "value", "slopes"),
                         [([-2, -1], 4.5, [1, 1, 0]), ([-3], 2.5, [1, 0, 0])])  # fmt: skip
def test_several_taps_and_a_single_step(taps: list[int], value: float, slopes: list[int]) -> None:
    x, h = T.dvector("x"), T.dvector("h")
    outs, _ = scan(lambda v, *past: sum(past) + v, x, dict(initial=h, taps=taps))
    f = function([x, h], [outs, *grad(outs.sum(), [x, h])])
    assert [r.tolist() for r in f([1.5], [1, 2, 3])] == [[value], [1], slopes]


def in_a_loop(mode: Any) -> Any:
    x, w = T.dvector("x"), shared(np.array(2.0), name="w")
    start = T.constant(0.0, dtype="float64")
    outs, _ = scan(lambda v, acc, w: acc * w + v, x, start, non_sequences=w)
    by = grad(outs[-1], w)
    return function([x], [outs, by], updates=[(w, w - 0.1 * by)], mode=mode)


def in_branches(mode: Any) -> Any:
    x = T.dvector("x")
    y = ifelse(x.sum() > 5, T.tanh(x), x[:2] * 2)
    start = T.constant(1.0, dtype="float64")
    outs, _ = scan(lambda v, acc: ifelse(v > 0, acc + v, acc * 2), x, start)
    return function([x], [y, outs], mode=mode)


def with_noise(kind: Any) -> Any:
    def made(mode: Any) -> Any:
        x, streams = T.dvector("x"), kind(3)
        outs, updates = scan(lambda v: v + streams.uniform(size=(2,)), x)
        return function([x], [outs, streams.normal(size=(2,))], updates=updates, mode=mode)

    return made


@pytest.mark.parametrize("mode", [None, "DebugMode"])
@pytest.mark.parametrize(
    "make",
    [in_a_loop, in_branches,
     *(with_noise(kind) for kind in (RandomStreams, MRG_RandomStreams, philox.RandomStreams))],
    ids=["loop", "branches", "mersenne", "mrg", "philox"],
)  # fmt: skip
def test_copies_of_functions_go_on_alike(make: Any, mode: Any) -> None:
    f, x = make(mode), np.array([1.0, -2.0, 3.0])
    f(x)
    twins = [pickle.loads(pickle.dumps(f)), copy.deepcopy(f)]
    for _ in range(2):
        expected = f(x)
        for twin in twins:
            for a, b in zip(twin(x), expected, strict=True):
                np.testing.assert_array_equal(a, b)


# ---- images, covariances -------------------------------------------------------------------------


def test_unshared_convolution_in_the_form_of_an_op() -> None:
    r, shapes = np.random.RandomState(0), dict(imshp=(1, 1, 4, 4), kshp=(2, 3, 3, 1, 2, 2))
    image, kernel, top = r.rand(1, 1, 4, 4), r.rand(2, 3, 3, 1, 2, 2), r.rand(1, 2, 3, 3)
    given: Any = {"unshared": True, **shapes}
    found = [
        abstract_conv.AbstractConv2d(**given)(image, kernel),
        abstract_conv.AbstractConv2d_gradInputs(**given)(kernel, top, [4, 4]),
        abstract_conv.AbstractConv2d_gradWeights(**given)(image, top, [2, 2]),
    ]
    hints: Any = {"input_shape": shapes["imshp"], "filter_shape": shapes["kshp"], "unshared": True}
    expected = [
        T.nnet.conv2d(image, kernel, **hints),
        abstract_conv.conv2d_grad_wrt_inputs(top, kernel, **hints),
        abstract_conv.conv2d_grad_wrt_weights(image, top, **hints),
    ]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.eval(), b.eval())
    with pytest.raises(ValueError, match="border"):
        abstract_conv.AbstractConv2d(border_mode="none")


def test_pooling_in_the_form_of_an_op() -> None:
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    assert pool.Pool(ignore_border=True)(x, (2, 2)).eval().tolist() == [[[[5, 7], [13, 15]]]]
    sums = pool.Pool(ignore_border=True, mode="sum", ndim=2)(x, (3, 3), (1, 1), (1, 1)).eval()
    assert sums[0, 0, 0].tolist() == [10, 18, 24, 18]
    means = pool.Pool(True, "average_exc_pad")(x, (3, 3), stride=(2, 2), pad=(1, 1))
    assert means.eval().tolist() == [[[[2.5, 4], [8.5, 10]]]]
    assert pool.Pool()(x, ws=(3, 3)).eval().tolist() == [[[[10, 11], [14, 15]]]]
    assert pool.Pool(ndim=3)(x, (1, 4, 4)).eval().tolist() == [[[[15]]]]
    with pytest.raises(ValueError, match="ndim is 1"):
        pool.Pool(ndim=1)


def test_covariances_with_weights() -> None:  # Theano takes the names, and raises
    x, a = T.dmatrix("x"), np.array([[1.0, 2, 4, 7], [3, 1, 0, 2]])
    often, much = np.array([1, 2, 1, 3]), np.array([0.5, 1, 2, 1])
    for weights in ({"fweights": often}, {"aweights": much}, {"fweights": often, "aweights": much}):
        for ddof in (None, 0, 1):
            given: Any = {"ddof": ddof, **weights}
            same(cov(x, **given).eval({x: a}), np.cov(a, **given))
    with pytest.raises(ValueError, match="weights are a vector"):
        cov(x, fweights=x)
