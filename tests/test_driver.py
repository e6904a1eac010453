"""The driver: order, chunks, errors, threads and forks, native and interpreted."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from symgraph.compile import cache, driver

SCALE = """
def kernel(arrays, sizes, start, stop, worker):
    out = pointer_out(arrays, 0, float32)
    x = pointer_in(arrays, 1, float32)
    for i in range(start, stop):
        out[i] = x[i] * float32(2) + float32(sizes[0])
"""
RECORD = """
def kernel(arrays, sizes, start, stop, worker):
    starts = pointer(arrays, 0, int64)
    stops = pointer(arrays, 1, int64)
    workers = pointer(arrays, 2, int64)
    c = start // sizes[0]
    starts[c] = start
    stops[c] = stop
    workers[c] = worker
"""
FAIL = """
def kernel(arrays, sizes, start, stop, worker):
    errors = pointer(arrays, 0, int64)
    errors[0] = sizes[0]
"""


def vector(values) -> np.ndarray:
    return np.array(values, np.int64)


class Case:
    """A program over named arrays: steps of (source, arrays, sizes, extent, grain).

    An array is given by its number, or (number, byte offset), or (number, byte offset, share).
    """

    def __init__(self, arrays: list[np.ndarray], steps: list[tuple], threads: int | None = None):
        self.arrays, self.errors = arrays, np.zeros(4, np.int64)
        bases = [array.ctypes.data for array in [*arrays, self.errors]]
        rows, operands, sizes, sources = [], [], [], []
        for source, places, parameters, extent, grain in steps:
            row = [len(sources), len(operands), len(places), len(sizes), extent, grain, 0]
            rows.append(row)
            sources.append(source)
            operands += [
                [*place, 0, 0][:3] if isinstance(place, tuple) else [place, 0, 0]
                for place in places
            ]
            sizes += parameters
        self.sources = sources
        self.rest = [
            vector(operands).reshape(-1, 3), vector(sizes), vector(bases), self.errors,
        ]  # fmt: skip
        self.steps, self.threads = vector(rows), threads

    def native(self, first: int = 0, last: int | None = None) -> int:
        steps = self.steps.copy()
        steps[:, 0] = [cache.build(source).address for source in self.sources]
        program = driver.Program(steps, *self.rest, threads=self.threads)
        return program.run(first, len(steps) if last is None else last)

    def python(self, first: int = 0, last: int | None = None) -> int:
        functions = [cache.build(source, "python").function for source in self.sources]
        last = len(self.steps) if last is None else last
        return driver.run_interpreted(functions, self.steps, *self.rest, first, last)


@pytest.fixture
def two_threads():
    before = driver.workers()
    driver.set_threads(2)
    yield
    driver.set_threads(before)


@pytest.mark.parametrize("target", ["native", "python"])
def test_steps_run_in_order_on_views(target):
    x, y = np.arange(12, dtype="f4"), np.zeros(12, "f4")
    case = Case([x, y], [(SCALE, [1, (0, 8)], [1], 10, 3), (SCALE, [1, 1], [5], 10, 10)])
    assert getattr(case, target)() == 2
    np.testing.assert_array_equal(y[:10], (x[2:] * 2 + 1) * 2 + 5)
    assert not y[10:].any()


@pytest.mark.parametrize("target", ["native", "python"])
def test_a_stretch_and_an_empty_extent(target):
    x, y = np.ones(4, "f4"), np.zeros(4, "f4")
    case = Case([x, y], [(SCALE, [1, 0], [k], extent, 2) for k, extent in ((1, 4), (2, 0), (3, 4))])
    run = getattr(case, target)
    assert run(1, 2) == 2
    assert not y.any()
    assert run(0, 2) == 2
    assert (y == 3).all()
    assert run(2, 3) == 3
    assert (y == 5).all()
    assert run(0, 0) == 0


@pytest.mark.parametrize("target", ["native", "python"])
def test_the_failing_step_is_the_last(target):
    x, y = np.ones(4, "f4"), np.zeros(4, "f4")
    case = Case([x, y], [(FAIL, [2], [7], 1, 1), (SCALE, [1, 0], [0], 4, 4)])
    assert getattr(case, target)() == 0
    assert case.errors[0] == 7
    assert not y.any()


@pytest.mark.parametrize(("extent", "grain"), [(10, 3), (9, 3), (1, 5), (1000, 7), (6, 6)])
def test_the_same_chunks_everywhere(extent, grain, two_threads):
    chunks = -(-extent // grain)
    seen = []
    for target, threads in (("python", 1), ("native", 1), ("native", 2)):
        records = [np.full(chunks, -1) for _ in range(3)]
        case = Case(records, [(RECORD, [0, 1, 2], [grain], extent, grain)], threads)
        assert getattr(case, target)() == 1
        assert records[2].min() >= 0
        assert records[2].max() < threads
        seen.append(np.stack(records[:2]))
    starts = np.arange(chunks) * grain
    for chunk in seen:
        np.testing.assert_array_equal(chunk, [starts, np.minimum(starts + grain, extent)])


def test_both_workers_take_part(two_threads):
    # Long enough that the second thread arrives before the first has taken everything.
    chunks = 200_000
    records = [np.zeros(chunks, np.int64) for _ in range(3)]
    case = Case(records, [(RECORD, [0, 1, 2], [1], chunks, 1)])
    for _ in range(50):
        case.native()
        if set(records[2]) == {0, 1}:
            return
    pytest.fail("only one worker ran")


def test_programs_in_two_python_threads(two_threads):
    failures = []

    def work(seed):
        x = np.random.default_rng(seed).standard_normal(5000).astype("f4")
        y = np.zeros_like(x)
        case = Case([x, y], [(SCALE, [1, 0], [seed], x.size, 100)] * 3)
        right = all(
            case.native() == 3 and (y == x * np.float32(2) + np.float32(seed)).all()
            for _ in range(50)
        )
        if not right:
            failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_works_after_a_parallel_run():
    program = textwrap.dedent(
        """
        import os, sys
        sys.path.insert(0, "tests")
        import numpy as np
        from test_driver import SCALE, Case
        x, y = np.ones(1000, "f4"), np.zeros(1000, "f4")
        case = Case([x, y], [(SCALE, [1, 0], [1], 1000, 10)], threads=2)
        from symgraph.compile import driver
        driver.set_threads(2)
        assert case.native() == 1 and (y == 3).all()
        child = os.fork()
        if child == 0:
            y[:] = 0
            os._exit(0 if case.native() == 1 and (y == 3).all() else 1)
        status = os.waitpid(child, 0)[1]
        y[:] = 0
        assert case.native() == 1 and (y == 3).all()
        sys.exit(status)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=120, check=False)
    assert done.returncode == 0


def test_vectors_are_checked():
    good = Case([np.zeros(1)], [(FAIL, [0], [0], 1, 0)])
    with pytest.raises(ValueError, match="steps must be C-contiguous int64"):
        driver.Program(good.steps.astype("i4"), *good.rest)
    with pytest.raises(ValueError, match="operands"):
        driver.Program(good.steps, good.rest[0][:, :2], *good.rest[1:])
    with pytest.raises(ValueError, match="at least 1"):
        driver.set_threads(0)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("target", ["native", "python"])
def test_a_chain_runs_chunk_by_chunk(target, threads, two_threads):
    """Between two steps lies memory for a chunk of each worker; the result is the whole one's."""
    x, y, between = np.arange(100, dtype="f4"), np.zeros(100, "f4"), np.full(64, np.nan, "f4")
    share = 7 * 4
    first = (SCALE, [(2, 0, share), 0], [1], 100, 7)
    case = Case([x, y, between], [first, (SCALE, [1, (2, 0, share)], [5], 100, 7)], threads)
    case.steps[0, 6] = 2
    assert getattr(case, target)() == 2
    np.testing.assert_array_equal(y, (x * 2 + 1) * 2 + 5)
    workers = between.reshape(4, 16)[:, :7]
    assert np.isnan(between.reshape(4, 16)[:, 7:]).all()
    assert np.isnan(workers[2:]).all()
