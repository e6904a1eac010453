"""The interpreter of CUDA kernels: what it must refuse, and how threads meet."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from symgraph.compile.cuda import simulator
from symgraph.compile.cuda.device import Device, Launch
from symgraph.compile.cuda.simulated import Simulated
from symgraph.compile.cuda.simulator import SimulationError, simulate

ORDERS = (1, -1)


def kernel(*lines: str, threads: int = 64) -> str:
    """The source of a kernel with these lines and two operands of int64."""
    head = f"def kernel(arrays, sizes):  # {threads} threads\n"
    names = ["out = pointer_out(arrays, 0, int64)", "in1 = pointer_in(arrays, 1, int64)",
             "n, i, b = sizes[0], thread(), block()"]  # fmt: skip
    return head + "".join(f"    {line}\n" for line in (*names, *lines))


def run(source: str, size: int = 64, blocks: int = 1, order: int = 1) -> list[int]:
    """The output for an input of 0, 1, ..."""
    out, given = np.full(size, -1), np.arange(size)
    simulate(source, blocks, [out, given], [size], order)
    return out.tolist()


def both(source: str, size: int = 64, blocks: int = 1) -> list[int]:
    one, other = (run(source, size, blocks, order) for order in ORDERS)
    assert one == other
    return one


REVERSED = (
    "p = shared('p', int64, 64)",
    "p[i] = in1[i]",
    "barrier()",
    "out[i] = p[63 - i]",
)


def test_a_barrier_makes_shared_memory_meet() -> None:
    assert both(kernel(*REVERSED)) == list(range(63, -1, -1))
    without = kernel(*(line for line in REVERSED if line != "barrier()"))
    assert run(without) != run(without, order=-1)


def test_threads_that_end_before_any_barrier() -> None:
    assert both(kernel("if i >= n:", "    return", "out[i] = i"), 40) == list(range(40))


@pytest.mark.parametrize("order", ORDERS)
def test_a_barrier_that_some_threads_miss(order: int) -> None:
    early = kernel("if i >= n:", "    return", "barrier()", "out[i] = i")
    with pytest.raises(SimulationError, match="40 of 64 threads of block 0 are at a barrier"):
        run(early, 40, order=order)
    inside = kernel("if i % 2 == 0:", "    barrier()", "out[i] = i")
    with pytest.raises(SimulationError, match="32 of 64 threads"):
        run(inside, order=order)


def test_blocks_share_nothing() -> None:
    source = kernel("p = shared('p', int64, 2)", "if i == 0:", "    p[0] = b", "barrier()",
                    "out[b * 64 + i] = p[0]")  # fmt: skip
    assert both(source, 192, 3) == [0] * 64 + [1] * 64 + [2] * 64


def test_memory_that_nobody_has_written_is_poisoned() -> None:
    poison = int(np.full(8, simulator.POISON, np.uint8).view(np.int64)[0])
    assert both(kernel("p = shared('p', int64, 4)", "out[i] = p[1]")) == [poison] * 64
    assert both(kernel("p = registers(int64, 4)", "out[i] = p[3]")) == [poison] * 64


def test_shuffles() -> None:
    assert both(kernel("v = in1[i]", "w = shuffle_xor(v, 5)", "out[i] = w")) == [
        i ^ 5 for i in range(64)
    ]
    assert both(kernel("v = in1[i]", "w = shuffle_down(v, 4)", "out[i] = w")) == [
        i + 4 if i % 32 < 28 else i for i in range(64)
    ]
    added = kernel("v = in1[i]", *(
        line for k in (16, 8, 4, 2, 1) for line in (f"w = shuffle_xor(v, {k})", "v = v + w")
    ), "out[i] = v")  # fmt: skip
    assert both(added) == [sum(range(32))] * 32 + [sum(range(32, 64))] * 32


@pytest.mark.parametrize("order", ORDERS)
def test_a_shuffle_that_some_lanes_miss(order: int) -> None:
    source = kernel("v = in1[i]", "if i < 40:", "    v = shuffle_xor(v, 1)", "out[i] = v")
    with pytest.raises(SimulationError, match="some lanes of warp 1 miss a shuffle"):
        run(source, order=order)
    whole = kernel("v = in1[i]", "if i < 32:", "    v = shuffle_xor(v, 1)", "out[i] = v")
    assert run(whole, order=order)[:2] == [1, 0]


def test_warps_at_shuffles_and_barriers_at_once() -> None:
    """One warp does a shuffle more than the other before they meet."""
    source = kernel(
        "p = shared('p', int64, 64)", "v = in1[i]", "if i < 32:", "    v = shuffle_xor(v, 1)",
        "p[i] = v", "barrier()", "out[i] = p[63 - i]",
    )  # fmt: skip
    expected = [i ^ 1 if i < 32 else i for i in range(64)]
    assert both(source) == expected[::-1]


@pytest.mark.parametrize("index", ["64", "-1"])
@pytest.mark.parametrize("order", ORDERS)
def test_accesses_beyond_an_operand(index: str, order: int) -> None:
    moved = f"q = out + 3\n    q[{index} - 3] = 1"
    for line in (f"out[{index}] = 1", f"out[i] = in1[{index}]", moved):
        with pytest.raises(SimulationError, match="of an operand: its memory has"):
            run(kernel(line), order=order)


def test_views_of_an_allocation() -> None:
    """Operands may begin anywhere, and run backwards."""
    given, out = np.arange(12), np.zeros(4, np.int64)
    source = kernel("if i < n:", "    out[i] = in1[i * sizes[1]]")
    simulate(source, 1, [out, given[::-1][2:]], [4, -1])
    assert out.tolist() == [9, 8, 7, 6]
    simulate(source, 1, [out, given[1::3]], [4, 3])
    assert out.tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize("place", [0, 1])
def test_loads_of_four_are_aligned(place: int) -> None:
    source = (
        "def kernel(arrays, sizes):  # 32 threads\n"
        "    out = pointer_out(arrays, 0, float32)\n"
        "    p = shared('p', float32, 8)\n"
        f"    store4(p, {4 - 4 * place}, 1.0, 2.0, 3.0, 4.0)\n"
        f"    a, b, c, d = load4(p, {4 - 3 * place})\n"
        "    out[0] = a + b + c + d\n"
    )
    out = np.zeros(1, np.float32)
    if place:
        with pytest.raises(SimulationError, match="four elements at 1 is not aligned"):
            simulate(source, 1, [out], [])
    else:
        simulate(source, 1, [out], [])
        assert out[0] == 10


def test_the_first_claims() -> None:
    source = kernel("if claim(out, i + 1):", "    out[1] = i")
    memory = [np.zeros(2, np.int64) for _ in ORDERS]
    for order, out in zip(ORDERS, memory, strict=True):
        simulate(source, 1, [out, np.arange(2)], [2], order)
    assert [out.tolist() for out in memory] == [[1, 0], [64, 63]]


# ---- the simulated device ------------------------------------------------------------------------


def test_memory_that_was_given_back() -> None:
    device = Simulated()
    first, second = device.allocate(64), device.allocate(64)
    device.copy(second, first, 64)
    back = np.empty(8, np.int64)
    device.download(back, second)
    assert back.tolist() == [int(np.full(8, 0xA5, np.uint8).view(np.int64)[0])] * 8
    wrong = (first, 72, "beyond"), (first + 8, 64, "beyond"), (3, 1, "nothing")
    for address, count, problem in wrong:
        with pytest.raises(AssertionError, match=problem):
            device.fill8(address, 0, count)
    device.free(first)
    with pytest.raises(AssertionError, match="where nothing is"):
        device.download(back, first)
    (function,) = device.build([kernel("out[i] = in1[i]")])
    launch = Launch(function, 1, 64, np.array([second, first]), np.array([8]))
    with pytest.raises(SimulationError, match="its memory has"):
        device.launch(launch)


def test_a_graph_keeps_its_numbers() -> None:
    device = Simulated()
    out, given = device.allocate(512), device.allocate(512)
    device.upload(given, np.arange(64))
    (function,) = device.build([kernel("if i < n:", "    out[i] = in1[i] + n")])
    launch = Launch(function, 1, 64, np.array([out, given]), np.array([64]))
    graph = device.graph([launch])
    launch.sizes[0] = 2
    back = np.empty(64, np.int64)
    graph.launch()
    device.download(back, out)
    assert back.tolist() == [64 + k for k in range(64)]
    graph.update(0)
    graph.launch()
    device.download(back, out)
    assert back.tolist()[:3] == [2, 3, 66]


def test_the_pool() -> None:
    """Sizes within an eighth share memory; nothing is returned before it is asked for."""
    device = Device(Simulated())
    first = device.reserve(1000)
    assert first % 256 == 0 and device.reserve(0) == 0
    device.give(first, 1000)
    assert device.reserve(900) == first  # 769 to 1024 bytes
    device.give(first, 900)
    assert device.reserve(100) != first
    other = device.reserve(1_000_000)
    device.give(other, 1_000_000)
    assert device.reserve(1_040_000) == other != device.reserve(1_060_000)
    assert device.statistics.allocations == 4
    gc.collect()
    device.give(other, 1_040_000)
    before = sum(block.nbytes for block in device.backend.held.values())
    device.release()
    after = sum(block.nbytes for block in device.backend.held.values())
    assert 1_000_000 < before - after < 1_125_000 + 1024
