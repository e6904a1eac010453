"""DebugMode, NanGuardMode and MonitorMode: what they find, what they say, what they leave alone."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import config, function, grad, shared
from symgraph import expr as E
from symgraph import tensor as T
from symgraph.compile import rules
from symgraph.compile.comparison import differences, is_mended, is_rounding
from symgraph.compile.debugmode import (
    BadDestroyMap,
    BadOptimization,
    BadThunkOutput,
    BadViewMap,
    DebugMode,
    DebugModeError,
    InvalidValueError,
)
from symgraph.compile.mode import Mode, get_mode
from symgraph.compile.monitormode import MonitorMode, detect_nan
from symgraph.compile.nanguardmode import NanGuardMode
from symgraph.compile.nodewise import Thunk, WatchedMode
from symgraph.expr import Expr
from symgraph.graph import Apply, Op
from symgraph.ops import elementwise as el
from symgraph.rewrite import Matcher, Rule, Wild, table_of
from symgraph.userop import Op as UserOp

LOG = Matcher(el.LOG)


def model() -> tuple[list[Any], list[Any], list[Any], list[Any], list[Any]]:
    """Inputs, outputs, updates, arguments, parameters: a network with most kinds of op."""
    rng = np.random.RandomState(1)
    x, y = T.ftensor4("x"), T.ivector("y")
    filters = shared(rng.randn(2, 1, 3, 3).astype("f"), "filters")
    w = shared(rng.randn(8, 3).astype("f"), "w")
    b = shared(np.zeros(3, "f"), "b")
    h = T.tanh(T.signal.pool.pool_2d(T.nnet.conv2d(x, filters), (2, 2), ignore_border=True))
    p = T.nnet.softmax(T.dot(h.flatten(2), w) + b)
    cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])
    params = [filters, w, b]
    steps = [(v, v - T.cast(0.1, "float32") * grad(cost, v)) for v in params]
    error = T.mean(T.neq(T.argmax(p, axis=1), y))
    values = [rng.randn(5, 1, 6, 6).astype("f"), np.array([0, 1, 2, 0, 1], "int32")]
    return [x, y], [cost, error, h.shape], steps, values, params


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    """What three plain calls give, and the parameters then."""
    inputs, outputs, steps, values, params = model()
    f = function(inputs, outputs, updates=steps)
    return [[f(*values) for _ in range(3)], [v.get_value() for v in params]]


@pytest.mark.parametrize(
    "mode",
    [WatchedMode(), NanGuardMode(), MonitorMode(), DebugMode(), DebugMode("fast_compile"),
     "DebugMode", "DEBUG_MODE", "NanGuardMode"],
    ids=str,
)  # fmt: skip
def test_modes_compute_what_functions_compute(mode: Any, expected: list[Any]) -> None:
    inputs, outputs, steps, values, params = model()
    f = function(inputs, outputs, updates=steps, mode=mode)
    for want in expected[0]:
        for a, b in zip(f(*values), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    for v, want in zip(params, expected[1], strict=True):
        np.testing.assert_allclose(v.get_value(), want, rtol=1e-4, atol=1e-6)
    f.free()
    f(*values)
    assert f.get_shared() and f.maker.fgraph.toposort() and f.kernels()
    assert all(node.trace.filename == __file__ for node in f.maker.fgraph.toposort())


@pytest.mark.parametrize("mode", [WatchedMode(), DebugMode()], ids=str)
def test_forms_of_results_and_arguments(mode: Mode) -> None:
    x, k = T.dvector("x"), T.lscalar("k")
    s = shared(np.zeros(2), "s")
    assert function([x], {"b": x, "a": x.sum()}, mode=mode)([1, 2])["a"] == 3
    assert function([x], [], mode=mode, on_unused_input="ignore")([1]) == []
    assert function([x], [x, x], mode=mode)([1.0])[0].tolist() == [1]
    assert function([], T.constant(7), mode=mode)() == 7
    found = function([x], x.nonzero()[0], mode=mode)([0.0, 3.0, 4.0])
    assert found.tolist() == [1, 2]  # its size is known when it is there
    f = function([symgraph.In(k, value=2), x], T.zeros((k,)) + x[:k], mode=mode)
    assert f(x=[1.0, 2, 3]).tolist() == [1, 2] and f(1, [5.0, 6]).tolist() == [5]
    swap, other = shared(np.ones(2), "t"), None
    g = function([], s, updates=[(s, swap), (swap, s)], mode=mode)
    other = g()
    assert (other.tolist(), s.get_value().tolist(), swap.get_value().tolist()) == (
        [0, 0], [1, 1], [0, 0],
    )  # fmt: skip
    other[:] = 9
    assert swap.get_value().tolist() == [0, 0]
    with pytest.raises(TypeError, match="Bad input argument"):
        f(1, np.ones((2, 2)))
    with pytest.raises(ValueError, match="mis-match"):
        function([x], x + s, mode=mode)([1.0, 2, 3])


def loop() -> Any:
    """A loop, its gradient and an update; a random stream of each kind; a lazy branch."""
    from symgraph.rng_mrg import MRG_RandomStreams
    from symgraph.tensor import random, shared_randomstreams

    x, w = T.dmatrix("x"), shared(np.eye(3) * 0.5, "w")
    h, updates = symgraph.scan(
        lambda a, h: T.tanh(a + T.dot(h, w)), sequences=x, outputs_info=T.zeros((3,))
    )
    streams = (MRG_RandomStreams(1), random.RandomStreams(2), shared_randomstreams.RandomStreams(3))
    noise = sum(s.uniform((2,)).sum() for s in streams)
    branch = symgraph.ifelse.ifelse(T.gt(x.sum(), 0), h.sum(), T.log(x).sum())
    cost = branch + noise
    return [x], [cost, h], [*updates.items(), (w, w - 0.1 * grad(cost, w))], w


@pytest.mark.parametrize("mode", ["NanGuardMode", "DebugMode"])
def test_loops_branches_and_random_streams(mode: str) -> None:
    found = []
    for each in (None, mode):
        inputs, outputs, updates, w = loop()
        f = function(inputs, outputs, updates=updates, mode=each)
        found.append([[f(np.ones((4, 3))) for _ in range(2)], w.get_value()])
    for a, b in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(a[0], b[0], rtol=1e-10)
        np.testing.assert_allclose(a[1], b[1], rtol=1e-10)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-10)


@pytest.mark.parametrize("mode", ["NanGuardMode", "DebugMode"])
def test_nodes_whose_sizes_follow_from_vectors(mode: str) -> None:
    """Parts of a join, a shape computed from sizes, pairs of indices."""
    x, y = T.dmatrix("x"), T.dmatrix("y")
    both = T.concatenate([x, y]) ** 2
    size = T.stack([x.shape[0] + y.shape[0], x.shape[1]])
    outputs = [grad(both.sum(), [x, y])[1], both.reshape(size, ndim=2), T.zeros(size, dtype="int8"),
               both[T.arange(3), T.arange(3) * 0], T.roll(both, x.shape[0], axis=0)]  # fmt: skip
    values = np.ones((2, 3)), np.full((4, 3), 2.0)
    plain, watched = function([x, y], outputs)(*values), function([x, y], outputs, mode=mode)
    for a, b in zip(plain, watched(*values), strict=True):
        np.testing.assert_array_equal(a, b)


def test_modes_are_values_that_tags_and_pickles_keep() -> None:
    mode = DebugMode(check_isfinite=False).excluding("algebra")
    assert isinstance(mode, DebugMode) and not mode.check_isfinite
    assert mode.options.excluding == {"algebra"} and DebugMode() == DebugMode() != mode
    calm = NanGuardMode(big_is_error=False).including("fast_run")
    x = T.dvector("x")
    f = function([x], T.log(x), mode=calm)
    for each in (f, pickle.loads(pickle.dumps(f)), copy.deepcopy(f), f.copy()):
        assert each([1e20]) == pytest.approx(np.log(1e20))
        with pytest.raises(AssertionError, match="Inf detected"):
            each([0.0])
    with config.change_flags(target="python"):
        for kind in (NanGuardMode(), DebugMode()):
            assert function([x], T.exp(x).sum(), mode=kind)([0.0, 0.0]) == 2


# ---- NanGuardMode --------------------------------------------------------------------------------


def guarded(**options: Any) -> tuple[Any, Any]:
    x, w = T.dvector("x"), shared(np.ones(2), "w")
    y = T.log(x)  # here
    return function([x], y * w, updates=[(w, w + x)], mode=NanGuardMode(**options)), w


@pytest.mark.parametrize(
    "values, words",
    [
        ([1.0, 0.0], ["Inf detected", "output of a node", "log", "# here", "output[0]"]),
        ([-1.0, 1.0], ["NaN detected", "output of a node", "# here", "1 NaN"]),
        ([np.inf, 1.0], ["Inf detected", "in an input of the graph", "x (TensorType"]),
        ([np.nan, 1.0], ["NaN detected", "in an input of the graph"]),
        ([1e11, 1.0], ["Big value detected", "in an input of the graph", "1e+11"]),
        ([-1e11, 1.0], ["Big value detected", "in an input of the graph"]),
    ],
)
def test_nan_guard_finds_and_says_where(values: list[float], words: list[str]) -> None:
    f, w = guarded(nan_is_error=True, inf_is_error=True, big_is_error=True)
    np.testing.assert_allclose(f([1.0, np.e]), [0, 1])
    before = w.get_value()
    with pytest.raises(AssertionError) as error:
        f(values)
    for word in words:
        assert word in str(error.value)
    np.testing.assert_array_equal(w.get_value(), before)


def test_nan_guard_looks_for_what_it_is_told() -> None:
    calm, _ = guarded(nan_is_error=True, inf_is_error=False, big_is_error=False)
    assert calm([0.0, 1e12])[0] == -np.inf
    with pytest.raises(AssertionError):
        calm([-1.0, 1.0])
    with pytest.raises(ValueError, match="nothing"):
        guarded(nan_is_error=False, inf_is_error=False, big_is_error=False)
    with config.change_flags(NanGuardMode__inf_is_error=False, NanGuardMode__big_is_error=False):
        by_flags, _ = guarded()
    assert by_flags([0.0, 1e12])[0] == -np.inf


def test_nan_guard_may_warn_and_leave_out() -> None:
    f, w = guarded()
    with config.change_flags(NanGuardMode__action="warn"):
        with pytest.warns(RuntimeWarning, match="Inf detected"):
            assert f([0.0, 1.0])[0] == -np.inf
    assert w.get_value().tolist() == [1, 2]
    x = T.dvector("x")
    x.tag.nan_guard_mode_check = False
    y = -abs(x)
    y.tag.nan_guard_mode_check = y.owner.inputs[0].tag.nan_guard_mode_check = False
    g = function([x], [T.exp(y), T.exp(y + y)], mode=NanGuardMode())
    with pytest.raises(AssertionError, match="sub"):  # -|x| - |x|
        g([np.inf, 0])
    h = function([x], T.exp(y), mode=NanGuardMode())
    assert h([np.inf, 0]).tolist() == [0, 1]


def test_nan_guard_looks_at_shared_variables_constants_and_integers() -> None:
    w = shared(np.array([np.nan]), "w")
    with pytest.raises(AssertionError, match=r"(?s)NaN detected.*input of the graph.*w "):
        function([], w[0] * 2, mode="NanGuardMode")()
    x = T.dvector("x")
    with pytest.raises(AssertionError, match="Inf detected"):
        function([x], x * np.array([np.inf, 1]), mode=NanGuardMode())([0.0, 1.0])
    n = T.lvector("n")
    with pytest.raises(AssertionError, match="Big"):
        function([n], n * 2, mode=NanGuardMode())([10**11])
    assert function([n], n > 1, mode=NanGuardMode())([5]).tolist() == [True]


# ---- MonitorMode ---------------------------------------------------------------------------------


def test_monitor_sees_each_node_before_and_after() -> None:
    seen: list[str] = []

    def before(i: int, node: Apply, fn: Thunk) -> None:
        assert [cell[0].shape for cell in fn.inputs] and len(fn.outputs) == 1
        seen.append(f"{i} {node} input(s) value(s): {[float(cell[0]) for cell in fn.inputs]}")

    def after(i: int, node: Apply, fn: Thunk) -> None:
        seen.append(f"output(s) value(s): {[float(cell[0]) for cell in fn.outputs]}")

    x = T.dscalar("x")
    f = function([x], [5 * x], mode=MonitorMode(pre_func=before, post_func=after))
    assert f(10) == [50]
    line = "0 Elemwise{mul,no_inplace}(TensorConstant{5}, x) input(s) value(s): [5.0, 10.0]"
    assert seen == [line, "output(s) value(s): [50.0]"]


def test_a_monitor_may_change_values_and_raise() -> None:
    x, w = T.dscalar("x"), shared(1.0, "w")

    def double(i: int, node: Apply, fn: Thunk) -> None:
        fn.outputs[0][0] = fn.outputs[0][0] * 2

    assert function([x], T.exp(x), mode=MonitorMode(post_func=double))(0.0) == 2

    def stop(i: int, node: Apply, fn: Thunk) -> None:
        raise RuntimeError("seen enough")

    f = function([x], [], updates=[(w, w + x)], mode=MonitorMode(stop))
    with pytest.raises(RuntimeError, match="seen enough"):
        f(1.0)
    assert w.get_value() == 1
    with pytest.raises(ValueError, match="linker"):
        MonitorMode(linker="py")


def test_detect_nan_prints_the_node(capsys: Any) -> None:
    x = T.dscalar("x")
    f = function([x], [T.log(x) * x], mode=MonitorMode(post_func=detect_nan))
    assert np.isnan(f(0.0)[0])
    text = capsys.readouterr().out
    assert text.count("*** NaN detected ***") == 1
    assert "Elemwise{mul,no_inplace} [id A] ''" in text and " |x [id C]" in text
    assert "Inputs : [array(-inf), array(0.)]\nOutputs: [array(nan)]" in text


# ---- DebugMode: kernels --------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong(Op):
    """x, but for the kernel, which adds `error`: always, or only where it is fused."""

    error: float
    only_fused: bool = False

    def output_types(self, x: Any) -> Any:
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Any) -> Any:
        return [ctx.shape(node.inputs[0])]

    def compute(self, node: Apply, indices: Any, ctx: Any) -> Expr:
        x = node.inputs[0]
        error = 0.0 if self.only_fused and x.owner is None else self.error
        value, dtype = E.load(x, indices), x.type.dtype
        return el.ADD.apply([value, E.const(error, dtype)], dtype)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Any:
        return [inputs[0].copy()]


def test_a_wrong_kernel_is_bad_thunk_output() -> None:
    x, w = T.dvector("x"), shared(np.ones(3), "w")
    y = Wrong(0.25)(x)  # here
    f = function([x], y * 2, updates=[(w, w + y)], mode=DebugMode())
    with pytest.raises(BadThunkOutput) as error:
        f([1, 2, 3])
    text = str(error.value)
    for word in ("Wrong{", "# here", "3 of 3 elements differ, by at most 0.25", "x = array(["):
        assert word in text
    assert w.get_value().tolist() == [1, 1, 1]
    assert issubclass(BadThunkOutput, DebugModeError)


def test_a_kernel_that_is_wrong_when_fused() -> None:
    """It is named: of several, the first with a wrong result."""
    x, w = T.dmatrix("x"), shared(np.ones((3, 3)), "w")
    y = T.exp(T.dot(x, w))
    z = Wrong(0.25, only_fused=True)(y).sum(axis=0)  # here
    f = function([x], T.dot(z, w) + 1, updates=[(w, w + z)], mode=DebugMode())
    with pytest.raises(BadThunkOutput) as error:
        f(np.ones((2, 3)))
    text = str(error.value)
    assert "fused kernels" in text and "# here" in text and "by at most 0.5" in text
    named = re.search(r"kernel(\d+) of function\.kernels\(\): .*Wrong", text)
    assert named and "Wrong" in f.kernels()[int(named[1])].doc
    assert w.get_value().tolist() == [[1.0] * 3] * 3


def test_kernels_may_be_left_out() -> None:
    x = T.dvector("x")
    mode = DebugMode(check_c_code=False)
    with pytest.raises(BadThunkOutput, match="fused kernels"):
        function([x], Wrong(0.25)(x) * 2, mode=mode)([1, 2, 3])


# ---- DebugMode: rules ----------------------------------------------------------------------------


@pytest.fixture
def with_rule(monkeypatch: Any) -> Iterator[Callable[[Rule], None]]:
    """Makes a rule the only one of FAST_RUN."""

    def install(rule: Rule) -> None:
        monkeypatch.setitem(rules.LEVELS, "fast_run", table_of([rule]))
        monkeypatch.setitem(rules.RULES, "algebra", [rule])
        rules._selected.cache_clear()

    yield install
    rules._selected.cache_clear()


def test_a_wrong_rule_is_bad_optimization(with_rule: Any) -> None:
    with_rule(Rule("log(x) -> x - 1", LOG(Wild("x")), lambda x: x - 1))
    x, w = T.dvector("x"), shared(np.ones(2), "w")
    y = T.log(x)  # here
    f = function([x], y + w, updates=[(w, w * y)], mode=DebugMode())
    assert f([1, 1]).tolist() == [1, 1]  # where the rule happens to be right
    before = w.get_value()
    with pytest.raises(BadOptimization) as error:
        f([1, 3])
    text = str(error.value)
    for word in ("rule:     log(x) -> x - 1", "# here", "1 of 2 elements", "old:", "new:",
                 "Elemwise{log", "Elemwise{sub"):  # fmt: skip
        assert word in text
    np.testing.assert_array_equal(w.get_value(), before)


def test_only_stabilising_rules_may_make_infinite_finite(with_rule: Any) -> None:
    x = T.dvector("x")
    good = function([x], T.log(1 + T.exp(x)), mode=DebugMode())
    assert good([1000.0, -1000.0]).tolist() == [1000, 0]
    with_rule(Rule("log(x) -> about", LOG(Wild("x")), lambda x: T.log2(x + 1e-300) * np.log(2)))
    bad = function([x], T.log(x), mode=DebugMode(check_isfinite=False))
    np.testing.assert_allclose(bad([2.0]), [np.log(2)])
    with pytest.raises(BadOptimization, match="about"):
        bad([0.0])


def test_rounding_is_no_error() -> None:
    """The user's form has lost nearly all digits, the rewritten one none."""
    x = T.dvector("x")
    y = T.log(1 - T.nnet.sigmoid(x))
    f = function([x], y, mode=DebugMode())
    exact = np.array([-36.0, -30.5, -1.0 - np.log(1 + np.exp(-1.0))])
    np.testing.assert_allclose(f([36.0, 30.5, 1.0]), exact, rtol=1e-9)
    plain = function([x], y, mode=Mode(optimizer="None"))  # keeps what keeps results right
    np.testing.assert_allclose(plain([36.0]), -36)
    m = T.fmatrix("m")
    g = function([m], grad(-T.log(T.nnet.softmax(m))[0, 0], m), mode=DebugMode())
    assert g(np.array([[1e4, -1e4, 3]], "f")).tolist() == [[0, 0, 0]]


def test_what_counts_as_a_difference() -> None:
    a = np.array([1.0, np.nan, np.inf, 0.0])
    assert differences(a, a * (1 + 1e-12)) is None
    assert differences(a, a.astype("f")).all()  # type: ignore[union-attr]
    assert differences(np.array([1, 2]), np.array([1, 3])).tolist() == [False, True]  # type: ignore[union-attr]
    bad = differences(a, np.array([1.0, 5.0, np.inf, 0.1]))
    assert bad is not None and bad.tolist() == [False, True, False, True]
    assert is_mended(np.array([True]), np.array([np.inf]), np.array([7.0]))
    assert not is_mended(np.array([True]), np.array([7.0]), np.array([np.inf]))
    one = np.array([True])
    assert is_rounding(one, np.array([1.0]), np.array([1.5]), [np.array([1.1])])
    assert not is_rounding(one, np.array([1.0]), np.array([3.0]), [np.array([1.1])])
    assert not is_rounding(one, np.array([np.inf]), np.array([3.0]), [np.array([np.inf])])


# ---- DebugMode: users' ops -----------------------------------------------------------------------


class Users(UserOp):
    """y = x + 1, with a way of doing it."""

    def __init__(self, way: Callable[[np.ndarray], Any], **facts: Any) -> None:
        self.way = way
        vars(self).update(facts)

    itypes = otypes = (T.dvector,)

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = self.way(inputs[0])


def _in_place(x: np.ndarray) -> np.ndarray:
    x += 1
    return x


def _destroys(x: np.ndarray) -> np.ndarray:
    x += 1
    return x.copy()


@pytest.mark.parametrize(
    "op, error, word",
    [
        (Users(_destroys), BadDestroyMap, "destroy_map = {0: [0]}"),
        (Users(lambda x: x[:]), BadViewMap, "view_map = {0: [0]}"),
        (Users(lambda x: x.astype("float32")), InvalidValueError, "float32 of shape (2,)"),
        (Users(lambda x: x[None]), InvalidValueError, "shape (1, 2)"),
    ],
)
def test_users_ops_that_break_their_word(op: Op, error: Any, word: str) -> None:
    x, w = T.dvector("x"), shared(np.ones(2), "w")
    y = op(x * 1)  # here
    f = function([x], [], updates=[(w, w + y)], mode=DebugMode())
    with pytest.raises((error, TypeError, ValueError)) as raised:
        f([1, 2])
    assert w.get_value().tolist() == [1, 1]
    if isinstance(raised.value, error):
        assert word in str(raised.value) and "# here" in str(raised.value)
    else:  # the program itself has refused the result
        assert error is InvalidValueError


@pytest.mark.parametrize(
    "op",
    [
        Users(lambda x: x + 1),
        Users(_in_place, destroy_map={0: [0]}),
        Users(lambda x: x[:], view_map={0: [0]}),
    ],
)
def test_users_ops_that_keep_it(op: Op) -> None:
    x = T.dvector("x")
    given = np.array([1.0, 2.0])
    function([x], op(x * 1) * 2, mode=DebugMode())(given)
    assert given.tolist() == [1, 2]


def test_results_must_be_finite_if_asked() -> None:
    x, w = T.dvector("x"), shared(np.ones(2), "w")
    y = T.log(x)  # here
    f = function([x], y, updates=[(w, w + y)], mode=DebugMode())
    with pytest.raises(InvalidValueError, match=r"(?s)log.*not finite.*# here"):
        f([1.0, 0.0])
    with pytest.raises(InvalidValueError, match="x is not finite"):
        f([1.0, np.nan])
    assert w.get_value().tolist() == [1, 1]
    free = function([x], y, mode=DebugMode(check_isfinite=False))
    assert free([1.0, 0.0]).tolist() == [0, -np.inf]
    with config.change_flags(DebugMode__check_finite=False):
        assert not get_mode("DebugMode").check_isfinite  # type: ignore[attr-defined]


def test_a_failing_check_gives_shared_variables_back() -> None:
    """Also those that are overwritten where they are, and inputs that keep state."""
    s, x = T.dvector("s"), T.dvector("x")
    bad = Wrong(1.0)(x)
    w = shared(np.arange(3.0), "w")
    array = w.get_value(borrow=True)
    f = function(
        [x, symgraph.In(s, value=np.zeros(3), update=s + bad)], [],
        updates=[(w, w * 2 + bad)], mode=DebugMode(),
    )  # fmt: skip
    with pytest.raises(BadThunkOutput):
        f([1, 2, 3])
    assert w.get_value(borrow=True) is array and array.tolist() == [0, 1, 2]
    assert f[s].tolist() == [0, 0, 0]
