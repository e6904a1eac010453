"""What becomes one kernel: counts for graphs whose best form is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import symgraph
import symgraph.tensor as T
from symgraph.compile.fuse import Fused, Kernel, Library, Python, Sink, fuse
from symgraph.compile.pipeline import Options
from symgraph.compile.rules import rewrite_graph
from symgraph.compile.sizes import Sizes
from symgraph.graph import toposort

x, y, w = T.dmatrix("x"), T.dmatrix("y"), T.dmatrix("w")
b, labels, images = T.dvector("b"), T.lvector("labels"), T.dtensor4("images")


def fused(outputs: Sequence[Any]) -> Fused:
    """What the compiler makes of `outputs`, before anything is printed or built."""
    values = rewrite_graph(list(outputs), "fast_run")
    nodes = toposort(values)
    sinks = [Sink(v.type.make_variable(), v, False) for v in values]
    return fuse(nodes, Sizes(nodes), sinks)


def kernels(outputs: Sequence[Any]) -> list[Kernel]:
    return [item for item in fused(outputs).work if isinstance(item, Kernel)]


def steps(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Steps of the plan: sums of whole arrays are kernels of two steps."""
    f = symgraph.function(list(inputs), list(outputs), mode=Options(target="python"))
    return len(f._compiled.plan.steps)


def source(inputs: Sequence[Any], outputs: Sequence[Any]) -> str:
    f = symgraph.function(list(inputs), list(outputs), mode=Options(target="python"))
    return "\n".join(k.source for k in f.kernels())


nll = -T.mean(T.log(T.nnet.softmax(x))[T.arange(labels.shape[0]), labels])
ONE_KERNEL: list[Any] = [
    pytest.param([x, b], T.tanh(x + b), id="tanh_of_sum"),
    pytest.param([x], T.nnet.softmax(x), id="softmax"),
    pytest.param([x], T.nnet.logsoftmax(x), id="log_softmax"),
    pytest.param([x], x.sum(1), id="row_sums"),
    pytest.param([x], T.tanh(x).sum(0), id="column_sums_of_tanh"),
    pytest.param([x], x / T.sqrt(T.sqr(x).sum(1, keepdims=True)), id="unit_rows"),
    pytest.param([x], T.argmax(x * 2, axis=1), id="argmax"),
    pytest.param([x, labels], T.tanh(x)[labels], id="gather"),
    pytest.param([x, y], x[::2].dimshuffle(1, 0) + y.T[1:], id="views"),
    pytest.param([x, labels], T.nnet.categorical_crossentropy(T.nnet.softmax(x), labels),
                 id="cross_entropy"),
    pytest.param([x, labels], symgraph.grad(nll, x), id="cross_entropy_gradient"),
    pytest.param([x], T.switch(x > 0, x, T.expm1(x)), id="elu"),
]  # fmt: skip


@pytest.mark.parametrize(("inputs", "output"), ONE_KERNEL)
def test_one_kernel(inputs: list[Any], output: Any) -> None:
    assert len(kernels([output])) == 1
    assert steps(inputs, [output]) == 1


def test_a_full_sum_is_two_steps() -> None:
    """Chunks, then the sum of their sums; what is summed is computed in the first."""
    assert steps([x, y], [(T.tanh(x) * y).sum()]) == 2
    assert source([x, y], [(T.tanh(x) * y).sum()]).count("tanh(") == 1


def test_a_product_and_its_activation() -> None:
    work = fused([T.tanh(T.dot(x, w) + b)]).work
    assert sum(isinstance(item, Kernel) for item in work) == 1
    assert sum(isinstance(item, (Library, Python)) for item in work) == 1


def test_a_lenet_layer_is_three_pieces() -> None:
    """Convolution, pooling, and one kernel for bias and activation."""
    filters = symgraph.shared(np.ones((2, 1, 3, 3)), "filters")
    pooled = T.signal.pool.pool_2d(T.nnet.conv2d(images, filters), (2, 2), ignore_border=True)
    work = fused([T.tanh(pooled + b.dimshuffle("x", 0, "x", "x"))]).work
    assert len(work) == 3
    assert sum(isinstance(item, Kernel) for item in work) == 1


def test_what_is_dear_is_computed_once() -> None:
    e = T.exp(x)
    text = source([x, y], [e.sum(1), (e * y).sum(0), e.T])
    assert text.count("exp(") == 1


def test_what_is_cheap_is_computed_again() -> None:
    """Storing x + 1 would cost more than adding; a number is read once, outside of the loops."""
    z = x + 1
    assert len(fused([z.sum(1), z.max(0)]).work) == 2


def test_a_dear_result_is_not_computed_in_an_inner_loop() -> None:
    """tanh(b) belongs to a column, and the loop over rows is outside of it: it is stored first."""
    text = source([x, b], [x * T.tanh(b)])
    assert text.count("tanh(") == 1
    assert len(kernels([x * T.tanh(b)])) == 2
    # by rows it can be computed where its row begins
    assert len(kernels([x * T.tanh(b).dimshuffle(0, "x")])) == 1


def test_views_of_results_need_no_kernel() -> None:
    z = T.dot(x, w)
    work = fused([T.dot(z.T, y)]).work
    assert not any(isinstance(item, Kernel) for item in work)


def test_an_output_is_written_where_it_goes() -> None:
    found = fused([T.tanh(x)])
    assert len(found.work) == 1


def test_equal_outputs_are_computed_once() -> None:
    assert source([x, b], [T.tanh(x + b), T.tanh(x + b).sum(0)]).count("tanh(") == 1


def test_a_large_kernel_is_cut() -> None:
    z = x
    for _ in range(400):
        z = T.tanh(z) * 1.5
    pieces = kernels([z])
    assert 2 <= len(pieces) <= 10
    assert all(k.calls <= 200 for k in pieces)


def test_unused_results_cost_nothing() -> None:
    """Only the shape of the product is asked for."""
    work = fused([T.dot(x, w).shape]).work
    assert not any(isinstance(item, (Library, Python)) for item in work)


def test_sizes_that_must_agree_are_one_expression() -> None:
    z = x + y
    sizes = Sizes(toposort([z]))
    assert sizes.shape(x) == sizes.shape(y) == sizes.shape(z)
    assert len(sizes.checks) == 2


def called(inputs: Sequence[Any], output: Any, *values: Any) -> Any:
    return symgraph.function(list(inputs), output, mode=Options(target="python"))(*values)


def test_an_error_names_the_node_it_comes_from() -> None:
    """Of several in one kernel."""
    v, i, j = T.dvector("v"), T.lvector("i"), T.lvector("j")
    first, second = v[i], v[j]
    out = T.tanh(first + second)
    assert len(kernels([out])) == 1
    good, bad = np.array([0, -3]), np.array([2, 3])
    values = np.arange(3.0)
    with pytest.raises(IndexError, match=r"index 3 is out of bounds for size 3") as caught:
        called([v, i, j], out, values, good, bad)
    assert f"test_fuse.py:{second.owner.trace.lineno}" in str(caught.value)
    division = T.switch(i > 0, i // j, 0) * 2
    with pytest.raises(ZeroDivisionError, match="int_div"):
        called([i, j], division, good, np.array([0, 1]))


def test_an_error_of_a_chain_of_indices_names_the_inner_one() -> None:
    v, i, j = T.dvector("v"), T.lvector("i"), T.lvector("j")
    inner = i[j]
    out = v[inner] * 2
    with pytest.raises(IndexError, match="index 7") as caught:
        called([v, i, j], out, np.arange(3.0), np.array([0, 1]), np.array([7]))
    assert "into i" in str(caught.value)


# ---- several stores in one kernel


def test_neighbours_over_the_same_loops_are_joined() -> None:
    """An expensive result that two others need is stored and used from the register."""
    shared_value = T.tanh(x)
    (kernel,) = kernels([T.exp(shared_value), T.sin(shared_value), shared_value])
    assert len(kernel.stores) == 3
    text = source([x], [T.exp(shared_value), T.sin(shared_value), shared_value])
    assert text.count("tanh(") == 1
    assert text.count("= in") == 1


def test_a_result_read_at_other_places_is_not_joined() -> None:
    t = T.tanh(x)
    assert len(kernels([t, T.exp(t[::-1])])) == 2
    assert len(kernels([t, T.exp(t.T)])) == 2


def test_what_has_nothing_in_common_is_not_joined() -> None:
    assert len(kernels([T.tanh(x), T.exp(y)])) == 2


def test_a_place_that_a_result_decides_is_not_joined() -> None:
    n = T.lscalar("n")
    m = T.switch(n > 3, n, n * n) + T.iround(T.exp(x.sum() * 0))
    f = symgraph.function([x, n], [m, x.flatten()[m]], mode=Options(target="python"))
    data = np.arange(12.0).reshape(3, 4)
    assert [int(v) for v in f(data, 2)] == [5, 5]


def test_the_gradient_of_a_chain_takes_few_kernels() -> None:
    s = T.dscalar("s")
    v = s
    for _ in range(300):
        v = T.tanh(v) * 1.01
    assert len(kernels([v, symgraph.grad(v, s)])) <= 20  # of some 1,200 functions


def test_errors_in_neighbours_name_their_own_node() -> None:
    first, second = T.tanh(x)[labels], T.exp(x)[labels + 1]
    f = symgraph.function([x, labels], [T.tanh(x), first, second], mode=Options(target="python"))
    data = np.ones((3, 2))
    with pytest.raises(IndexError, match="index 3 is out of bounds for size 3") as caught:
        f(data, np.array([2]))
    assert "labels + 1" in str(caught.value) or "Elemwise{add" in str(caught.value)
