"""Gradients of loops: against finite differences, by what real Theano gives, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph import function, grad, scan, scan_checkpoints
from symgraph.errors import DisconnectedInputError, NullTypeGradError
from symgraph.gradient import grad_undefined, verify_grad
from symgraph.graph import Apply, Context, Op, Shape, toposort
from symgraph.loops import until
from symgraph.ops.linalg import Dot
from symgraph.ops.scan import Recomputed, Scan
from symgraph.tensor.shared_randomstreams import RandomStreams


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with symgraph.config.change_flags(target="python"):
        yield


def check(build: Callable[..., Any], *shapes: tuple[int, ...] | float) -> None:
    """The gradient of `build(...)`, a scalar, by inputs of these shapes."""
    rng = np.random.RandomState(3)
    points = [np.asarray(rng.uniform(-1, 1, s) if isinstance(s, tuple) else s) for s in shapes]
    verify_grad(build, points, rng=rng)


def one() -> Any:
    return T.constant(1.0, dtype="float64")


def weighted(x: Any) -> Any:
    """A sum in which every row counts for another number."""
    return (x * (T.arange(x.shape[0]) + 1.5).dimshuffle(0, *["x"] * (x.ndim - 1))).sum()


def scans(variables: Any) -> list[Apply]:
    nodes = toposort(variables if isinstance(variables, Sequence) else [variables])
    return [node for node in nodes if isinstance(node.op, Scan)]


# ---- against finite differences ------------------------------------------------------------------


def rnn(x: Any, h0: Any, w: Any) -> Any:
    h, _ = scan(lambda x, h, w: T.tanh(T.dot(h, w) + x), x, h0, w)
    return h


def test_only_an_output_that_reads_the_state_before() -> None:
    """The state itself is not used: what made it is reached through the next step."""

    def build(x: Any, w: Any) -> Any:
        (_, y), _ = scan(lambda x, h: [T.tanh(T.dot(x, w) + h), h**2], x, [T.zeros((2,)), None])
        return weighted(y)

    check(build, (4, 2), (2, 2))


def test_a_recurrent_network() -> None:
    check(lambda x, h0, w: weighted(rnn(x, h0, w)), (4, 2), (2,), (2, 2))
    check(lambda x, h0, w: (rnn(x, h0, w)[-1] ** 2).sum(), (3, 2), (2,), (2, 2))


@pytest.mark.parametrize("taps", [[-2, -1], [-1, -2], [-3], [-3, -1]])
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_taps(taps: list[int], n: int) -> None:
    def build(x: Any, initial: Any, w: Any) -> Any:
        def step(x: Any, *args: Any) -> Any:
            *past, w = args
            total = T.sin(past[0]) * w + x
            return total + past[1] ** 2 if len(past) > 1 else total

        h, _ = scan(step, x, [dict(initial=initial, taps=taps)], w)
        return weighted(h) + (initial**3).sum() + w + x.sum()

    check(build, (n,), (-min(taps), 2), ())


def test_states_that_depend_on_each_other() -> None:
    def build(x: Any, a0: Any, b0: Any, w: Any) -> Any:
        def step(x: Any, a2: Any, a1: Any, b: Any, w: Any) -> Any:
            return [T.tanh(a2 * w + b), b * a1 - x, a1 + b * w]

        (a, b, m), _ = scan(step, x, [dict(initial=a0, taps=[-2, -1]), b0, None], w)
        return weighted(a) * b[-1] + weighted(m)

    check(build, (4,), (2,), (), ())


def test_taps_of_sequences_and_backwards() -> None:
    def build(x: Any, y: Any) -> Any:
        pairs = [dict(input=x, taps=[-1, 1]), y]
        h, _ = scan(lambda a, b, y, h: h * a + b * y, pairs, one(), go_backwards=True)
        return weighted(h)

    check(build, (5,), (4,))


def test_only_mapped_outputs_and_non_sequences_used_twice() -> None:
    def build(x: Any, w: Any) -> Any:
        (a, b), _ = scan(lambda x, w: [T.dot(w, x) * w.sum(), w[0] * x.sum()], x, None, w)
        return weighted(a) + weighted(b) + (w**2).sum()

    check(build, (3, 2), (2, 2))


def test_fewer_steps_than_elements() -> None:
    def build(x: Any, h: Any) -> Any:
        return weighted(scan(lambda x, h: T.sin(h) * x, x, h, n_steps=3)[0])

    check(build, (5,), ())


def test_loops_in_loops_and_twice_differentiated() -> None:
    def build(x: Any, w: Any) -> Any:
        def outer(row: Any, total: Any, w: Any) -> Any:
            return scan(lambda e, a: T.tanh(a * w + e), row, total)[0][-1]

        return weighted(scan(outer, x, one(), w)[0])

    check(build, (2, 3), ())

    def twice(x: Any, w: Any) -> Any:
        by_x, by_w = grad(build(x, w), [x, w])
        return (by_x**2).sum() + by_w**2

    check(twice, (2, 2), ())


def test_second_derivatives() -> None:
    def build(x: Any, h0: Any, w: Any) -> Any:
        terms = grad(weighted(rnn(x, h0, w) ** 2), [x, h0, w])
        return sum((g**2).sum() for g in terms)

    check(build, (3, 2), (2,), (2, 2))


def test_a_hessian() -> None:
    x = T.dvector("x")
    h, _ = scan(lambda a, h: h * T.exp(a), x, one())
    (g,) = [grad(h.sum(), x)]
    rows, _ = scan(lambda i: grad(g[i], x), T.arange(x.shape[0]))
    values = np.array([0.1, -0.3, 0.2])
    sums = np.cumsum(values)  # h[t] = exp(sums[t]): each pair of elements before t counts
    expected = [[np.exp(sums[max(i, j) :]).sum() for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(function([x], rows)(values), expected)


def test_a_gradient_in_the_step() -> None:
    """As hybrid Monte Carlo does: leapfrog steps on a potential energy."""

    def build(position: Any, velocity: Any, scale: Any) -> Any:
        def energy(q: Any) -> Any:
            return 0.5 * (q**2 * scale).sum() + T.cos(q).sum()

        def leapfrog(q: Any, v: Any) -> Any:
            v = v - 0.3 * grad(energy(q), q)
            return [q + 0.3 * v, v]

        (q, v), updates = scan(leapfrog, None, [dict(initial=position), velocity], n_steps=3)
        assert not updates
        return energy(q[-1]) + (v[-1] ** 2).sum()

    check(build, (2,), (2,), (2,))


def test_carried_floats() -> None:
    def build(x: Any, w: Any) -> Any:
        c = symgraph.shared(np.array([0.5, -0.2]), "c")
        m, updates = scan(lambda x, w: (c * x, {c: T.sin(c * w) + x}), x, None, w)
        return weighted(m) + (updates[c] ** 3).sum()

    check(build, (4, 2), ())


def test_the_gradient_by_the_first_value_of_a_carry() -> None:
    c, w = symgraph.shared(2.0, "c"), T.dscalar("w")
    m, updates = scan(lambda w: (c + 1, {c: c * w}), None, None, w, n_steps=3)
    cost = m.sum() + 10 * updates[c]
    by_c, by_w = function([w], grad(cost, [c, w]))(3.0)
    assert by_c == 1 + 3 + 9 + 270
    assert by_w == 2 * (1 + 6) + 10 * 2 * 27


def test_until() -> None:
    def build(x: Any) -> Any:
        (a, m), _ = scan(lambda x, a: ([T.sin(a) * x, a * x], until(x > 0.9)), x, [one(), None])
        return (a**2).sum() + weighted(m)

    rng = np.random.RandomState(0)
    verify_grad(build, [np.array([0.5, 0.2, -0.3, 1.5, 0.7])], rng=rng)
    verify_grad(build, [np.array([0.5, 0.2, -0.3])], rng=rng)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_checkpoints(n: int) -> None:
    x, w = T.dvector("x"), T.dscalar("w")
    results = []
    for loop, more in ((scan, {}), (scan_checkpoints, {"save_every_N": 2})):
        step = lambda x, h, w: [T.tanh(h * w + x), h * x]  # noqa: E731
        (h, m), _ = loop(step, x, [one(), None], w, **more)
        cost = h[-1] ** 2 + m[-1]
        results += [cost, *grad(cost, [x, w])]
    values = function([x, w], results)(np.linspace(-1, 1, n), 0.3)
    for a, b in zip(values[:3], values[3:], strict=True):
        np.testing.assert_allclose(a, b)


def test_patterns_that_broadcast() -> None:
    def build(x: Any, b: Any) -> Any:
        row = b.dimshuffle("x", 0)
        h, _ = scan(lambda x, h, b: T.tanh(h + b * x.sum()), x, T.zeros_like(row), row)
        return weighted(h)

    check(build, (3, 2), (2,))


def test_the_right_product_with_the_jacobian() -> None:
    x, h0, w, v = T.dmatrix("x"), T.dvector("h0"), T.dmatrix("w"), T.dmatrix("v")
    h = rnn(x, h0, w)
    f = function([x, h0, w, v], [symgraph.Rop(h, w, v), h])
    rng = np.random.RandomState(2)
    values = [rng.uniform(-1, 1, size) for size in ((4, 2), (2,), (2, 2), (2, 2))]
    moved = [values[0], values[1], values[2] + 1e-6 * values[3], values[3]]
    product, before = f(*values)
    np.testing.assert_allclose(product, (f(*moved)[1] - before) / 1e-6, rtol=1e-4, atol=1e-6)


# ---- by Theano's values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "of_sum", "by_x", "by_h", "by_w"),
    [
        (-1, False, [0.0081, 0.027, 0.09, 0.3, 1.0], 0.00243, 6.46825),
        (-1, True, [1.4251, 1.417, 1.39, 1.3, 1.0], 0.42753, 15.52725),
        (2, False, [0, 0, 0, 0.3, 1.0], 0, 6.2221),
        (2, True, [0, 0, 0, 1.3, 1.0], 0, 9.9256),
        (5, True, [1.4251, 1.417, 1.39, 1.3, 1.0], 0.42753, 15.52725),
        (7, False, [0.0081, 0.027, 0.09, 0.3, 1.0], 0.00243, 6.46825),
    ],
)
def test_truncated(steps: int, of_sum: bool, by_x: Any, by_h: float, by_w: float) -> None:
    x, h0, w = T.dvector("x"), T.dscalar("h0"), T.dscalar("w")
    h, _ = scan(lambda x, h, w: w * h + x, x, h0, w, truncate_gradient=steps)
    f = function([x, h0, w], grad(h.sum() if of_sum else h[-1], [x, h0, w]))
    for found, expected in zip(f(np.arange(1.0, 6), 0.5, 0.3), (by_x, by_h, by_w), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_truncated_with_two_taps() -> None:
    x, h0, w = T.dvector("x"), T.dvector("h0"), T.dscalar("w")
    h, _ = scan(lambda x, a, b, w: w * a + b + x, x, dict(initial=h0, taps=[-2, -1]), w,
                truncate_gradient=2)  # fmt: skip
    by_x, by_h, by_w = function([x, h0, w], grad(h.sum(), [x, h0, w]))(
        np.arange(1.0, 6), [0.5, 0.2], 0.3
    )
    np.testing.assert_allclose(by_x, [0, 0, 0, 2, 1])
    np.testing.assert_allclose(by_h, [0, 0])
    np.testing.assert_allclose(by_w, 13.635)


# ---- dtypes, integers, what is undefined ---------------------------------------------------------


def test_dtypes_of_gradients() -> None:
    x, w = T.fvector("x"), T.dscalar("w")
    h, _ = scan(lambda x, h, w: T.cast(h * w + x, "float32"), x, np.float32(1), w)
    by_x, by_w = grad(h.sum(), [x, w])
    assert (by_x.dtype, by_w.dtype) == ("float32", "float64")
    found = function([x, w], [by_x, by_w])(np.ones(3, "float32"), 2.0)
    np.testing.assert_allclose(found[0], [7, 3, 1])
    np.testing.assert_allclose(found[1], 1 + (3 + 2 * 1) + (7 + 2 * 5))


def test_integers_are_carried_along() -> None:
    """A counter and an index: the gradient comes by what they choose."""

    def build(x: Any) -> Any:
        def step(k: Any, h: Any) -> Any:
            return [k + 1, h * x[k]]

        (k, h), _ = scan(step, None, [np.int64(0), one()], n_steps=3)
        return weighted(h) + k.sum()

    check(build, (4,))
    k = T.lvector("k")
    h, _ = scan(lambda k, h: h * k, k, one())
    np.testing.assert_allclose(function([k], grad(h[-1], k))([2, 3, 5]), [15, 10, 6])


def test_random_draws_are_not_drawn_again() -> None:
    x = T.dvector("x")
    stream = RandomStreams(5)
    h, updates = scan(lambda a, h: h * a + stream.uniform((), 0.5, 1.5), x, one())
    cost = h[-1]
    f = function([x], [cost, grad(cost, x), h], updates=updates)
    _, by_x, history = f(np.array([0.5, 0.3, 0.2]))
    before = np.concatenate([[1], history[:-1]])
    np.testing.assert_allclose(by_x, before * [0.06, 0.2, 1])


def test_disconnected_inputs() -> None:
    x, y, k = T.dvector("x"), T.dvector("y"), T.lvector("k")
    (a, _), _ = scan(lambda x, y, k: [x * 2 + k.astype("float64") * 0, y], [x, y, k])
    with pytest.raises(DisconnectedInputError):
        grad(a.sum(), y)
    h, _ = scan(lambda i: x[i], k)
    with pytest.raises(DisconnectedInputError):
        grad(h.sum(), k)
    n = T.lscalar("n")
    h, _ = scan(lambda h: h * 2, None, one(), n_steps=n)
    with pytest.raises(DisconnectedInputError):
        grad(h.sum(), n)


@dataclass(frozen=True)
class Undefined(Op):
    def output_types(self, x: Any) -> list[Any]:
        return [x.type]

    def infer_shape(self, node: Apply, ctx: Context) -> list[Shape]:
        return [ctx.shape(node.inputs[0])]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> list[np.ndarray]:
        return [inputs[0] + 0.0]

    def grad(self, inputs: Any, output_gradients: Any) -> list[Any]:
        return [grad_undefined(self, 0, inputs[0])]


def test_undefined_gradients_stay_where_they_are() -> None:
    a0, w, v = T.dscalar("a0"), T.dscalar("w"), T.dscalar("v")
    step = lambda a, b, w, v: [Undefined()(a * w) + v, b * v]  # noqa: E731
    (a, b), _ = scan(step, None, [a0, a0 * 2], [w, v], n_steps=3)
    for x in (a0, w, v):
        with pytest.raises(NullTypeGradError, match="is undefined"):
            grad(a[-1], x)
    by_a0, by_v = function([a0, w, v], grad(b[-1], [a0, v]))(1.0, 2.0, 3.0)
    assert by_a0 == 54 and by_v == 54
    with pytest.raises(DisconnectedInputError):
        grad(b[-1], w)


# ---- what is kept, and what is computed again ----------------------------------------------------


def parts(loops: Sequence[Apply]) -> tuple[Any, Any, Any]:
    """The ops of a loop, of its twin that keeps things, and of the loop back."""
    (backward,) = [n.op for n in loops if n.op.name.startswith("grad_of")]
    forward = [n.op for n in loops if n.op is not backward]
    forward.sort(key=lambda op: op.mapped)
    return forward[0], forward[-1], backward


def names(op: Any) -> list[str]:
    return [str(node.op) for node in op.inner.nodes]


def test_costly_things_are_kept_and_cheap_ones_computed_again() -> None:
    x, h0, w = T.dmatrix("x"), T.dvector("h0"), T.dmatrix("w")

    def step(x: Any, h: Any, w: Any) -> Any:
        return T.nnet.sigmoid(T.sqr(T.dot(h, w)) + x) * x

    h, _ = scan(step, x, h0, w)
    loops = scans(grad(h.sum(), [x, h0, w]))
    assert len(loops) == 3 and loops[0].inputs == loops[1].inputs
    forward, twin, backward = parts(loops)
    # the twin is the same loop, step by step, and shows the product and the sigmoid as well
    assert twin.inner.inputs is forward.inner.inputs
    assert twin.mapped == 2 and forward.mapped == 0
    shown = [v.owner.op for v in twin.inner.outputs[1:]]
    assert sorted(map(str, shown)) == ["Elemwise{sigmoid,no_inplace}", "dot"]
    assert not any("sigmoid" in name for name in names(backward))
    assert sum(isinstance(n.op, Dot) for n in backward.inner.nodes) == 1  # by h
    assert backward.taps == ()  # what goes from step to step is carried: no histories
    assert backward.carries == 1  # by h; the sum by w is a product outside


def test_what_something_is_divided_by_is_computed_again() -> None:
    """Else exp(1000) / sum(exp(1000)) could not become a softmax."""
    x, w = T.dmatrix("x"), T.dmatrix("w")
    y, _ = scan(lambda x, w: T.log(T.exp(T.dot(x, w)).sum()), x, non_sequences=w)
    by_x = grad(y.sum(), x)
    forward, twin, backward = parts(scans(by_x))
    assert twin.mapped - forward.mapped == 1  # the product
    assert any("exp" in name for name in names(backward))
    got = function([x, w], by_x)(np.array([[1000.0, 0.0], [1.0, 1.0]]), np.eye(2))
    np.testing.assert_allclose(got, [[1, 0], [0.5, 0.5]], atol=1e-12)


BATCH = ((3, 3, 2), (3, 2), (2, 2))
SINGLE = ((3, 2), (2,), (2, 2))
PRODUCTS: list[tuple[Any, Any, int]] = [  # step, shapes, products in it
    (lambda x, h, w: T.tanh(T.dot(h, w) + x), BATCH, 1),
    (lambda x, h, w: T.tanh(T.dot(w, h.T).T + x), BATCH, 1),
    (lambda x, h, w: T.tanh(T.dot(T.dot(h, w) + x, w)), BATCH, 2),
    (lambda x, h, w: T.tanh(T.dot(h, w) + x + w[0]), BATCH, 1),
    (lambda x, h, w: T.dot(h, w), BATCH, 1),
    (lambda x, h, w: T.tanh(T.dot(h, w) + x), SINGLE, 1),
    (lambda x, h, w: T.tanh(T.dot(w, h) + x), SINGLE, 1),
    (lambda x, h, w: T.tanh(T.tensordot(w, T.outer(h, x), 2)), ((3, 2), (2,), (2, 2, 2)), 1),
]


@pytest.mark.parametrize("until_end", [False, True])
@pytest.mark.parametrize(("step", "shapes", "count"), PRODUCTS)
def test_sums_of_products_are_products_outside(
    step: Any, shapes: Any, count: int, until_end: bool
) -> None:
    def build(x: Any, h0: Any, w: Any) -> Any:
        def one_step(*args: Any) -> Any:
            h = step(*args)
            return (h, until(h.sum() > 1e9)) if until_end else h

        return weighted(scan(one_step, x, h0, w)[0])

    check(build, *shapes)
    x, h0, w = (T.TensorType("float64", [False] * len(shape))() for shape in shapes)
    by_w = grad(build(x, h0, w), w)
    assert sum(isinstance(n.op, Dot) for n in toposort([by_w])) == count
    *_, backward = parts(scans(by_w))
    assert backward.carries == 1 + (step is PRODUCTS[3][0])  # by h; the sum by w[0]


def test_products_with_what_no_step_changes_are_added_up() -> None:
    x, w, v = T.dmatrix("x"), T.dmatrix("w"), T.dmatrix("v")
    y, _ = scan(lambda x, w, v: T.tanh(T.dot(v, w + x)), x, None, [w, v])
    by_w = grad(y.sum(), w)
    *_, backward = parts(scans(by_w))
    assert backward.carries == 1
    assert not any(isinstance(n.op, Dot) for n in toposort([by_w]))


def test_a_product_that_is_added_twice_counts_twice() -> None:
    def total(x: Any, c: Any, w: Any) -> Any:
        # both terms of the gradient by w are the same variable
        ys, _ = scan(lambda x, c, w: T.dot(x, (w + c) + w).sum(), [x, c], non_sequences=w)
        return ys.sum()

    check(total, (3, 2), (3,), (2, 2))


def test_truncated_sums_of_products() -> None:
    x, h0, w = T.dmatrix("x"), T.dvector("h0"), T.dmatrix("w")
    step = lambda x, h, w: T.dot(h, w) + x  # noqa: E731
    values = np.arange(8.0).reshape(4, 2), np.ones(2), np.array([[0.5, 1], [-1, 0.25]])
    h, _ = scan(step, x, h0, w, truncate_gradient=2)
    second, third = (scan(step, x, h0, w, n_steps=n)[0][-1] for n in (2, 3))
    ones = T.ones((2,))
    wanted = T.outer(second, T.dot(w, ones)) + T.outer(third, ones)
    got, want = function([x, h0, w], [grad(h[-1].sum(), w), wanted])(*values)
    np.testing.assert_allclose(got, want)


def test_outputs_that_do_not_reach_the_cost_cost_nothing() -> None:
    x = T.dmatrix("x")
    (a, _, _), _ = scan(lambda r, h: [h + r, h * 2, T.dot(r, r)], x, [T.zeros((2,)), None, None])
    (backward,) = [n for n in scans(grad(a.sum(), x)) if n.op.name.startswith("grad_of")]
    assert backward.op.sequences == 1  # the rows of the gradient of a
    assert all("dot" not in str(n.op).lower() for n in backward.op.inner.nodes)


def test_what_the_outputs_show_is_taken_from_them() -> None:
    """The gradient of tanh needs its result, which is the state: nothing is computed again."""
    x, h0, w = T.dmatrix("x"), T.dvector("h0"), T.dmatrix("w")
    h = rnn(x, h0, w)
    loops = scans(grad(h.sum(), [x, h0, w]))
    assert len(loops) == 2
    assert not any(str(n.op) == "Elemwise{tanh,no_inplace}" for n in loops[1].op.inner.nodes)


def test_checkpoints_keep_no_steps_of_a_block() -> None:
    x, w = T.dvector("x"), T.dscalar("w")
    h, _ = scan_checkpoints(lambda x, h, w: T.dot(T.stack([h, x]), T.stack([w, h])), x, [one()], w,
                            save_every_N=4, padding=False)  # fmt: skip
    loops = scans(grad(h[-1], w))
    blocks = [n for n in loops if any(isinstance(m.op, Recomputed) for m in n.op.inner.nodes)]
    backward = [n for n in blocks if n.op.name.startswith("grad_of")]
    assert len(blocks) == 2 and len(backward) == 1  # no twin that keeps what is in a block
    assert all(v.type.ndim <= 2 for v in backward[0].inputs)
