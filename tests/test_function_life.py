"""A function's life: copies, parts, what it shows, what it lets go of.

The values are Theano's (library/compile/function and library/compile/io state most).
"""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import In, Out, function, shared
from symgraph import tensor as T
from symgraph.compile.function import Function
from symgraph.sharedvalue import Container


@pytest.fixture(params=["python", "cpu"])
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with symgraph.config.change_flags(target=request.param):
        yield request.param


# ---- copies --------------------------------------------------------------------------------------


def test_a_copy_has_states_of_its_own() -> None:
    """They start with the initial value; shared variables go on being shared."""
    x, y, s = T.dscalars("x", "y", "s")
    w = shared(1.0, "w")
    f = function([x, In(y, value=2.0), In(s, value=10.0, update=s + x * y)], s * w, name="f",
                 updates=[(w, w + 1)])  # fmt: skip
    f(1)
    f[y] = 5
    for g in (f.copy(), copy.copy(f)):
        assert (float(g[s]), float(g[y])) == (10, 2) and g.name == "f copy"
        w.set_value(2.0)
        assert g(1) == 20 and g["s"] == 12 and f[s] == 12
        assert w.get_value() == 3 and g.get_shared() == [w]
    assert f[y] == 5, "what is assigned is for the function's own next call"
    kept = shared(3.0)
    h = function([x, In(s, value=kept, update=s + x)], s).copy()
    assert h(1) == 3 and kept.get_value() == 4, "a state that is a shared variable stays it"


def test_without_updates_a_state_is_a_default() -> None:
    x, s = T.dscalars("x", "s")
    f = function([x, In(s, value=10.0, update=s + x)], s * 1)
    f(1)
    g = f.copy(delete_updates=True)
    assert (float(g[s]), float(g(1)), float(g(1)), float(g[s])) == (10, 10, 10, 10)
    assert g(1, s=3) == 3 and g(1, 4) == 4 and g(1) == 10
    g[s] = 5
    assert g(1) == 5 and g(1) == 10 and f[s] == 11
    kept = shared(2.0)
    h = function([In(s, value=kept, update=s + 1)], s).copy(delete_updates=True)
    assert h() == h() == kept.get_value() == 2
    kept.set_value(7.0)
    assert h() == 7 and h(1) == 1 and kept.get_value() == 7


def test_swaps_are_of_any_number_and_direction(target: str) -> None:
    a, b, x = shared(np.ones(2), "a"), shared(np.full(2, 10.0), "b"), T.dvector("x")
    f = function([x], [a + x, b], updates=[(a, a * 2), (b, b - x)])
    swapped = f.copy(swap={a: b, b: a})
    found = swapped([1.0, 2.0])
    assert [r.tolist() for r in found] == [[11, 12], [1, 1]]
    assert b.get_value().tolist() == [20, 20] and a.get_value().tolist() == [0, -1]
    assert f([0.0, 0.0])[0].tolist() == [0, -1]
    c = shared(np.zeros(2), "c")
    assert f.copy(swap={a: c}).get_shared() == [c, b]
    assert f.copy(swap={a: c}).copy(swap={c: a}).get_shared() == [a, b]


def test_swaps_that_do_not_fit() -> None:
    w, x = shared(1.0, "w"), T.dscalar("x")
    other = shared(2.0, "other")
    f = function([x], w + x, updates=[(w, w + x)])
    with pytest.raises(ValueError, match="SharedVariable: other not found"):
        f.copy(swap={other: w})
    for wrong in (shared(np.float32(1)), shared(np.ones(1)), 3, x):
        with pytest.raises(TypeError, match="cannot take the place of w") as error:
            f.copy(swap={w: wrong})
        assert __file__ in str(error.value)
    g = function([x], w + other, updates=[(w, w + x), (other, other + x)])
    with pytest.raises(ValueError, match="two updates"):
        g.copy(swap={w: other})
    assert g.copy(swap={w: other}, delete_updates=True)(0) == 4


def test_a_copy_keeps_forms_defaults_modes_and_names() -> None:
    x, y = T.dscalars("x", "y")
    f = function([x, In(y, value=2.0, name="why")], {"a": x * y}, mode="FAST_COMPILE")
    g = f.copy()
    assert g(1) == {"a": 2} and g(1, why=3) == {"a": 3} and g.mode == f.mode
    assert g.name is None and f.copy(name="g").name == "g"


# ---- some of the outputs -------------------------------------------------------------------------


def test_some_of_the_outputs(target: str) -> None:
    x, w = T.dscalar("x"), shared(0.0)
    f = function([x], [x, x * 2, x * 3], updates=[(w, w + x)])
    assert f(2, output_subset=[2, 0]) == [6, 2]
    assert f(x=2, output_subset=[1]) == [4] and f(2, output_subset=[]) == []
    assert w.get_value() == 6, "updates apply all the same"
    assert f(2) == [2, 4, 6]
    g = function([x], {"a": x, "b": x * 2})
    assert g(1, output_subset=["b"]) == {"b": 2}
    assert function([x], x)(1, output_subset=[0]) == [1]
    for call in (lambda: f(1, output_subset=[3]), lambda: g(1, output_subset=["c"])):
        with pytest.raises(ValueError, match="output_subset: there is no output") as error:
            call()
        assert __file__ in str(error.value)


def test_a_part_computes_no_more_and_is_compiled_once() -> None:
    x = T.dvector("x")
    f = function([x], [T.exp(x), T.dot(x, x)])
    f([1.0], output_subset=[0])
    (part,) = f._parts.values()  # type: ignore[attr-defined]
    assert len(part.kernels()) < len(f.kernels())
    f([1.0], output_subset=[0])
    assert list(f._parts.values()) == [part]  # type: ignore[attr-defined]


def test_parts_share_states_and_defaults() -> None:
    x, y, s = T.dscalars("x", "y", "s")
    f = function([x, In(y, value=2.0), In(s, value=0.0, update=s + x * y)], [s, x])
    f[y] = 3
    assert f(1, output_subset=[0]) == [0] and f[s] == 3 and f[y] == 2
    assert f(1, s=10.0, output_subset=[0]) == [10] and f[s] == 12
    f.trust_input = True
    assert f(np.array(1.0), np.array(1.0), output_subset=[1]) == [1]


# ---- what a function shows -----------------------------------------------------------------------


def test_what_theanos_users_look_at() -> None:
    x, y, w = T.dscalar("x"), T.dscalar("y"), shared(1.0, "w")
    f = function([x, In(y, value=2.0)], x * w + y, updates=[(w, w + x)], name="f", mode="FAST_RUN")
    graph = f.maker.fgraph
    assert [str(v) for v in graph.inputs] == ["x", "y", "w"]
    assert len(graph.outputs) == 2 and graph.toposort()[-1] in graph.apply_nodes
    assert {v.owner for v in graph.outputs} <= set(graph.toposort())
    assert [item.variable for item in f.maker.inputs] == [x, y, w]
    assert [type(out) for out in f.maker.outputs] == [Out]
    assert f.maker.mode == f.mode == symgraph.compile.mode.get_mode("FAST_RUN")
    assert f.unpack_single and f.output_keys is None and f.return_none is False
    g = function([x], {"b": x, "a": x * 2})
    assert g.output_keys == ["a", "b"] and not g.unpack_single
    assert function([x], Out(x * 2, borrow=True)).maker.outputs[0].borrow


def test_cells_of_inputs() -> None:
    x, y, s, w = T.dscalar("x"), T.dscalar("y"), T.dscalar("s"), shared(5.0)
    f = function([x, In(y, value=2.0), In(s, value=3.0, update=s + x)], x + y * w)
    assert [cell.value for cell in f.input_storage] == [None, 2, 3, 5]
    assert all(isinstance(cell, Container) for cell in f.input_storage)
    f(1)
    assert f.input_storage[2].data == 4 and f.input_storage[3] is w.container


@pytest.mark.parametrize(
    "item",
    [
        lambda x: (x, 2.0),
        lambda x: [x, 2.0],
        lambda x: ("name", x, 2.0),
        lambda x: (x, "name", 2.0),
    ],
)
def test_tuples_of_theanos_old_notation_give_defaults(item: Callable[[Any], Any]) -> None:
    x, y = T.dscalars("x", "y")
    f = function([y, item(x)], x * y)
    assert f(3) == 6 and f(3, 4) == 12
    if "name" in item(x):
        assert f(3, name=4) == 12


def test_tuples_of_theanos_old_notation_give_states() -> None:
    x, s = T.dscalars("x", "s")
    f = function([x, ((s, s + x), 10.0)], s)
    assert f(1) == 10 and f[s] == 11
    g = function([("count", (s, s + 1), 0.0)], s)
    assert g() == 0 and g["count"] == 1
    assert function([("x", x)], x)(x=3) == 3
    for wrong in ((), ("x",), (x, 1, 2), ("a", "b", x), (3, 4)):
        with pytest.raises(TypeError, match="In\\(variable"):
            function([wrong], x)
    with pytest.raises(TypeError, match="initial value"):
        function([((s, s + x),)], s)


def test_errors_of_calls_name_the_line_of_the_call() -> None:
    x = T.dscalar("x")
    f = function([x], x, name="f")
    for wrong in (
        lambda: f(1, z=2),
        lambda: f(1, x=2),
        lambda: f(1, 2),
        lambda: f["z"],
        lambda: f.__setitem__("z", 1),
    ):
        with pytest.raises(TypeError) as error:
            wrong()
        line = inspect.getsourcelines(wrong)[1]
        assert f"{__file__}:{line}" in str(error.value)
    named_twice = function([x, T.dscalar("x")], x, on_unused_input="ignore")
    with pytest.raises(TypeError, match=r"Ambiguous name: x[\s\S]*cure:"):
        named_twice["x"]


def test_names_can_be_changed() -> None:
    f = function([T.dscalar("x")], 1, on_unused_input="ignore", name="before")
    f.name = "after"
    assert "after" in repr(f)
    with pytest.raises(TypeError, match='with name "after"'):
        f([1, 2])


# ---- memory --------------------------------------------------------------------------------------


def busy() -> Any:
    """A function with a large temporary."""
    x, w = T.dmatrix("x"), shared(np.ones((200, 200)))
    h = T.tanh(T.dot(x, w))
    cost = T.sqr(T.dot(h, h.T)).sum()
    return function([x], cost, updates=[(w, w - 1e-9 * T.grad(cost, w))])


def test_free_lets_go_and_the_next_call_comes_back() -> None:
    f = busy()
    data = np.random.RandomState(0).rand(300, 200)
    first = f(data)
    program = f._compiled.program
    arena = weakref.ref(program.arena)
    assert program.arena.block.nbytes > 300 * 200 * 8 and len(program.bound) == 1
    f.free()
    assert arena() is None and not program.bound and program.arena.block.nbytes == 0
    assert f._compiled.program is program
    f.get_shared()[0].set_value(np.ones((200, 200)))
    assert f(data) == first and len(program.bound) == 1
    f.free()
    f.free()


def test_free_of_what_was_never_called() -> None:
    f = pickle.loads(pickle.dumps(busy()))
    f.free()
    assert "_compiled" not in f.__dict__
    function([], T.constant(1.0), mode="NanGuardMode").free()


def test_free_while_another_thread_calls() -> None:
    f = function([x := T.dvector("x")], T.dot(x, x))
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(n for n in range(1, 200) if f(np.ones(n)) != n)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(200):
        f.free()
    thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "another",
    [
        lambda f: f.copy(),
        copy.deepcopy,
        lambda f: pickle.loads(pickle.dumps(f)),
        lambda f: f.copy(swap={f.get_shared()[0]: shared(np.ones((200, 200)))}),
    ],
)
def test_dropped_copies_free_their_memory_at_once(another: Callable[[Any], Any]) -> None:
    """Without the garbage collector: a large block must not wait for it."""
    f = busy()
    data = np.ones((50, 200))
    f(data)
    gc.collect()
    gc.disable()
    try:
        g = another(f)
        g(data)
        g(data, output_subset=[0])
        program = g._compiled.program
        kept = [weakref.ref(o) for o in (g, program, program.arena, program.binder)]
        kept += [weakref.ref(p) for p in g._parts.values()]
        del g, program
        assert [ref() for ref in kept] == [None] * 5
    finally:
        gc.enable()
    f(data)


def test_dropped_copies_leave_no_object_behind() -> None:
    f = busy()
    data = np.ones((3, 200))

    def live() -> None:
        for g in (f.copy(), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
            g(data)

    live()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(10):
        live()
    gc.collect()
    assert len(gc.get_objects()) - before < 50, "objects for 30 functions"


def test_a_switch_of_the_shim_is_off_by_default() -> None:
    assert Function.copies_return_lists is False
    assert function([], T.constant(1.0)).copy()() == 1
