"""Calls: what a call accepts, and that one with the sizes of the last does nothing but run."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.compile import library
from symgraph.compile.binding import Binder, address
from symgraph.compile.pipeline import Options
from symgraph.compile.program import Program
from symgraph.compile.steps import LibraryOperands
from symgraph.types import TensorType

PYTHON = Options("python")
gemm = sys.modules["symgraph.compile.library.gemm"]  # (the package has a function of that name)

NUMBERS = (
    1.5, -0.0, float("nan"), float("inf"), 1e300, 3.5e38, 0.1, 3, -1, 2**53 + 1, 2**63, True,
    np.float64(0.1), np.float32(0.5), np.int64(7), np.int8(-3), np.bool_(True), np.array(2.5),
    np.array(3, "int32"), np.array([1.0]), [1.0], "1", None,
)  # fmt: skip


def outcome(call: Any) -> Any:
    """The value of `call()` as dtype and bytes, or the kind of error it raises."""
    try:
        value = call()
    except TypeError:
        return TypeError
    return value.dtype, value.shape, value.tobytes()


@pytest.mark.parametrize("floatX", ["float64", "float32"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "bool"])
def test_a_number_is_accepted_if_its_type_accepts_it(dtype: str, floatX: str) -> None:
    kind = TensorType(dtype, ())
    for downcast in (None, True, False):
        for strict in (False, True):
            x = kind("x")
            item = symgraph.In(x, strict=strict, allow_downcast=downcast)
            f = symgraph.function([item], x, mode=PYTHON)
            for number in NUMBERS:
                with symgraph.config.change_flags(floatX=floatX):
                    wanted = outcome(lambda: kind.filter(number, strict, downcast))  # noqa: B023
                    assert outcome(lambda: f(number)) == wanted, (number, downcast, strict)  # noqa: B023


def test_an_array_that_is_not_dense_or_aligned_is_copied() -> None:
    x = T.dmatrix("x")
    f = symgraph.function([x], x + 1)
    data = np.arange(24.0).reshape(4, 6)
    shifted = np.frombuffer(b"\0" + data.tobytes(), "u1")[1:].view("float64").reshape(4, 6)
    readonly = data.view()
    readonly.flags.writeable = False
    swapped = data.astype(data.dtype.newbyteorder())
    assert not shifted.flags.aligned
    for value in (data, data.T, data[::2], data[:, 1:3], data[::-1], shifted, readonly, swapped):
        np.testing.assert_array_equal(f(value), value + 1)


def test_a_known_size_of_one_is_tested() -> None:
    x = T.dcol("x")
    f = symgraph.function([x], x * 2)
    assert f(np.ones((3, 1))).shape == (3, 1)
    with pytest.raises(TypeError, match="broadcastable dimension"):
        f(np.ones((3, 2)))


def test_addresses_are_numpys() -> None:
    block = np.arange(12.0).reshape(3, 4)
    for array in (block, block[1:], block[:, 2], block[::-1], np.empty(0), np.array(3, "int8")):
        assert address(array) == array.ctypes.data


# ---- what a call does ----------------------------------------------------------------------------


def network() -> tuple[Any, list[np.ndarray]]:
    """A training step with updates, a result of no axes and one that is an array."""
    rng = np.random.RandomState(0)
    x = T.dmatrix("x")
    w = symgraph.shared(rng.randn(4, 3), "w")
    h = T.tanh(T.dot(x, w))
    cost = T.sqr(h).sum()
    f = symgraph.function([x], [cost, h], updates=[(w, w - 0.1 * T.grad(cost, w))])
    return f, [rng.randn(n, 4) for n in (5, 5, 8)]


def test_a_call_is_spelled_out() -> None:
    a, b = T.dscalars("a", "b")
    f = symgraph.function([a, b], a + b)
    assert f(1.0, np.array(2.0)) == 3
    assert "# x1: b, TensorType(float64, scalar)" in f.call_source
    assert not re.search(r"\b(for|while)\b|activate\(.*\[\]", f.call_source)
    assert "owner.accept(0, x0)" in f.call_source
    f.trust_input = True
    assert "accept" not in f.call_source
    assert f(1.0, 2.0) == 3
    f.trust_input = False
    with pytest.raises(TypeError, match="Bad input argument"):
        f("1", 2.0)


def test_equal_sizes_bind_and_allocate_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    f, (first, second, other) = network()
    f(first)
    done: list[str] = []
    for owner, name in (
        (Program, "activate"), (Program, "point_shared"), (Program, "make_room"),
        (Program, "apart"), (Binder, "bind"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, counted(getattr(owner, name), name, done))
    made: list[Any] = []
    monkeypatch.setitem(f._path.names, "empty", counted(np.empty, "empty", made))
    for data in (second, first, second):
        f(data)
    assert not done
    assert len(made) == 3  # h, three times; the cost has memory of its own
    f(other)
    assert done == ["activate", "bind"]
    done.clear()
    f(first)
    assert done == ["activate"]


def counted(function: Any, name: str, calls: list[Any]) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return function(*args, **kwargs)

    return wrapper


def test_new_sizes_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product is cut up at most twice, without and with shared panels, for all its stages; a
    library call's shapes are read once for all its stages and temporaries."""
    cut, called = [], []
    original = gemm.product_blocks
    monkeypatch.setattr(gemm, "product_blocks", counted(original, "cut", cut))
    monkeypatch.setattr(library, "_lowered", {})
    f, (data, *_) = network()
    made = LibraryOperands.concrete

    def concrete(self: Any, value: Any) -> Any:
        before = self.latest
        result = made(self, value)
        called.extend([self] * (self.latest is not before))
        return result

    monkeypatch.setattr(LibraryOperands, "concrete", concrete)
    products = {s.library.operands for s in f._compiled.plan.steps if s.library is not None}
    assert len(products) == 2
    for rows in (6, 7, 400):
        cut.clear()
        called.clear()
        f(np.resize(data, (rows, 4)))
        assert len(products) <= len(cut) <= 2 * len(products)
        assert sorted(map(id, called)) == sorted(map(id, products))


def test_many_calls_leave_no_object_behind() -> None:
    a, b = T.dscalars("a", "b")
    f, g = symgraph.function([a, b], a + b), network()
    for call in (lambda: f(1.0, np.array(2.0)), lambda: g[0](g[1][0])):
        for _ in range(50):
            call()
        before = sys.getallocatedblocks()
        for _ in range(5000):
            call()
        assert sys.getallocatedblocks() - before < 100


def test_a_minibatch_of_shared_data_is_read_where_it_lies() -> None:
    """No kernel copies the slice, and another slice changes one number, where it is read, and binds
    nothing."""
    data = symgraph.shared(np.arange(400.0).reshape(100, 4), "data")
    x, index = T.dmatrix("x"), T.lscalar("index")
    w = symgraph.shared(np.ones((4, 3)), "w")
    cost = T.tanh(T.dot(x, w)).sum()
    rows = data[index * 20 : (index + 1) * 20]
    f = symgraph.function([index], [cost, T.grad(cost, w)], givens={x: rows})
    for k in (0, 3, 1, 4):
        f(k)
    program = f._compiled.program
    bound = program.current
    assert len(program.bound) == 1
    assert {k for _, _, k, _ in bound.moving} == {0}
    assert all(shape != (20, 4) for shape in bound.shapes.values())
    base = program.base[data]
    assert any(base in step[:, 0] for step in (table.operands for table in bound.tables))


def test_sizes_that_follow_from_integers_decide_by_few_of_them() -> None:
    index = T.lscalar("index")
    data = symgraph.shared(np.arange(50.0))
    rows = data[index * 20 : (index + 1) * 20]
    f = symgraph.function([index], [rows * 2, rows.sum()])
    for k, count in ((0, 20), (1, 20), (2, 10), (3, 0), (0, 20)):
        double, total = f(k)
        assert double.shape == (count,)
        assert total == np.arange(50.0)[k * 20 : (k + 1) * 20].sum()
    program = f._compiled.program
    assert len(program.binder.deciding) == 1
    assert len(program.bound) == 3


# ---- state between calls -------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["cpu", "python"])
def test_a_shared_variable_may_change_its_size(target: str) -> None:
    s = symgraph.shared(np.ones(3), "s")
    f = symgraph.function([], s.sum(), updates=[(s, s * 2)], mode=Options(target))
    assert [float(f()) for _ in range(2)] == [3, 6]
    s.set_value(np.ones(5))
    assert [float(f()) for _ in range(2)] == [5, 10]
    s.set_value(np.ones(3))
    assert float(f()) == 3
    np.testing.assert_array_equal(s.get_value(), [2, 2, 2])


def test_an_update_may_grow_its_variable() -> None:
    s = symgraph.shared(np.ones(1), "s")
    f = symgraph.function([], s.sum(), updates=[(s, T.concatenate([s, s]))])
    assert [float(f()) for _ in range(5)] == [1, 2, 4, 8, 16]
    assert s.get_value().shape == (32,)


def test_a_call_that_fails_does_not_spoil_the_next() -> None:
    x, y = T.dvectors("x", "y")
    s = symgraph.shared(0.0, "s")
    f = symgraph.function([x, y], x + y, updates=[(s, s + 1)])
    for _ in range(2):
        np.testing.assert_array_equal(f(np.ones(3), np.ones(3)), np.full(3, 2.0))
        with pytest.raises(ValueError, match="size"):
            f(np.ones(3), np.ones(4))
    assert s.get_value() == 2
    i = T.lscalar("i")
    g = symgraph.function([x, i], T.stack([x, x])[0, i])
    for _ in range(2):
        assert g(np.arange(3.0), 2) == 2
        with pytest.raises(IndexError):
            g(np.arange(3.0), 3)
