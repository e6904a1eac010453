"""Functions on the stub driver: what its refusals leave behind, threads, forks, kept cubins."""

from __future__ import annotations

import gc
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symgraph import shared
from symgraph import tensor as T
from symgraph.compile import cache
from symgraph.compile.cuda import libcuda
from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.kernels import Gpu
from symgraph.compile.cuda.libcuda import CudaDevice, CudaError
from tests import fakecuda
from tests.cuda_programs import cpu, cuda, played, traffic
from tests.fakecuda import FakeCuda
from tests.test_cuda_driver import python, words

V = T.dvector("v")


@pytest.fixture
def device() -> Iterator[Device]:
    with played() as made:
        yield made


@pytest.fixture
def fake(device: Device) -> FakeCuda:
    return device.backend.fake  # type: ignore[no-any-return]


class Step:
    """Four launches a call, two of which are updates."""

    def __init__(self, make: Any = cuda) -> None:
        self.w, self.n = shared(np.arange(3.0), "w"), shared(np.zeros(3), "n")
        updates = [(self.w, self.w + V.sum()), (self.n, self.n * 2 + self.w)]
        self.call = make([V], [T.tanh(V) + self.w, V.sum()], updates=updates)

    def values(self) -> list[list[float]]:
        return [self.w.get_value().tolist(), self.n.get_value().tolist()]


ONES = np.ones(3)


# ---- refusals ------------------------------------------------------------------------------------


REFUSED = {
    "memory for an argument": ("cuMemAlloc_v2", 0, 0),
    "memory for temporaries": ("cuMemAlloc_v2", 1, 0),
    "an upload": ("cuMemcpyHtoDAsync_v2", 0, 2),
    "the first launch": ("cuLaunchKernel", 0, 0),
    "the second launch": ("cuLaunchKernel", 1, 0),
    "making a graph": ("cuGraphCreate", 0, 1),
    "a node of a graph": ("cuGraphAddKernelNode_v2", 2, 1),
    "instantiating a graph": ("cuGraphInstantiateWithFlags", 0, 1),
    "launching a graph": ("cuGraphLaunch", 0, 2),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_what_the_driver_refuses_changes_nothing(device: Device, fake: FakeCuda, what: str) -> None:
    """And the next call goes well, with the same results as without."""
    call, after, calls = REFUSED[what]
    f, twin = Step(), Step(cpu)
    for step in (f, twin):
        step.w.set_value(np.arange(3.0))
        for _ in range(calls):
            step.call(ONES)
    f.values()
    if not calls:  # brings the shared variables there, and nothing else
        cuda([], [], updates=[(f.w, f.w * 1), (f.n, f.n * 1)])()
    gc.collect()
    device.release()
    fake.fail(call, 2, after)
    for _ in range(2):
        with words(CudaError, f"{call} failed"):
            f.call(ONES)
        fake.fail(call, 2)
    fake.fail(call, 0)
    assert f.values() == twin.values()
    for _ in range(3):
        got, expected = f.call(ONES), twin.call(ONES)
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-12)
        assert got[1] == expected[1] and f.values() == twin.values()


def test_an_update_of_a_graph_that_is_refused_is_made_up_for(
    device: Device, fake: FakeCuda
) -> None:
    x, i = shared(np.arange(12.0)), T.lscalar("i")
    part = x[i * 3 : (i + 1) * 3]
    f = cuda([i], [part * 2, T.outer(part, part), part.max(), part.sum()])
    for k in range(3):
        f(k)
    for after in range(3):
        fake.fail("cuGraphExecKernelNodeSetParams_v2", 999, after)
        with words(CudaError, "cuGraphExecKernelNodeSetParams_v2 failed"):
            f(0)
        fake.fail("cuGraphExecKernelNodeSetParams_v2", 0)
        for k in (2, 0, 3):
            double, product, largest, total = f(k)
            here = np.arange(3) + 3.0 * k
            np.testing.assert_array_equal(double, 2 * here)
            np.testing.assert_array_equal(product, np.outer(here, here))
            assert (largest, total) == (3 * k + 2, 9 * k + 3)


def test_out_of_memory_for_results_that_stay(device: Device, fake: FakeCuda) -> None:
    """Memory for results is there before anything is launched."""
    w = shared(np.zeros(3))
    f = cuda([V], [(V * 2).transfer("cuda"), V.sum().transfer("cuda")], updates=[(w, w + V)])
    kept = [f(ONES) for _ in range(3)]
    for after in (0, 1):
        gc.collect()
        device.release()
        fake.fail("cuMemAlloc_v2", 2, after)
        with words(CudaError, "OUT_OF_MEMORY", "use smaller batches"):
            kept.append(f(ONES))
        fake.fail("cuMemAlloc_v2", 0)
        np.testing.assert_array_equal(w.get_value(), 3 * ONES)
    assert [float(total) for _, total in kept] == [3.0] * 3


def test_memory_that_waits_is_returned_before_giving_up(device: Device, fake: FakeCuda) -> None:
    """Also that of garbage in cycles."""
    fake.machine(memory=100 << 10)
    f = cuda([V], [(V * 2).sum(), (V + 1).transfer("cuda")])
    for size in (3000, 5000, 4000, 5500):
        total, kept = f(np.ones(size))
        assert total == 2 * size and len(kept) == size
        cycle: list[Any] = [kept]
        cycle.append(cycle)
        del kept, cycle


def test_results_after_an_error_of_the_device(device: Device, fake: FakeCuda) -> None:
    f = Step()
    f.call(ONES)
    fake.fail("cuStreamSynchronize", 719)
    with words(CudaError, "CUDA_ERROR_LAUNCH_FAILED", "start Python anew"):
        f.call(ONES)
    fake.fail("cuStreamSynchronize", 0)


# ---- threads and forks ---------------------------------------------------------------------------


def in_threads(*works: Any) -> None:
    """Run these at the same time, in turns as short as can be."""
    wrong: list[BaseException] = []

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "they wait for each other"
    finally:
        sys.setswitchinterval(interval)
    assert not wrong, wrong


def test_threads_take_turns(device: Device) -> None:
    """The same function, functions that share a variable, errors, garbage, new values."""
    w = shared(np.zeros(4))
    indices = T.lvector("indices")
    add = cuda([V], V * 2, updates=[(w, w + V)])
    pick = cuda([indices], w[indices].sum())
    keep = cuda([V], [(V + 1).transfer("cuda"), w.transfer("cuda")])

    def adds() -> None:
        for k in range(15):
            value = np.full(4, float(k))
            np.testing.assert_array_equal(add(value), value * 2)

    def picks() -> None:
        for _ in range(10):
            value = pick(np.array([0, 1]))
            assert value == round(float(value))
            with pytest.raises(IndexError):
                pick(np.array([0, 4]))

    def keeps() -> None:
        for k in range(10):
            more, whole = keep(np.full(4, float(k)))
            np.testing.assert_array_equal(more, np.full(4, k + 1.0))
            assert len(set(np.asarray(whole).tolist())) == 1
            gc.collect()

    in_threads(adds, adds, picks, keeps)
    np.testing.assert_array_equal(w.get_value(), np.full(4, 2.0 * sum(range(15))))


def test_set_value_while_functions_run(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call reads all of a new value or nothing of it: none begins between its pieces."""
    w = shared(np.zeros(100_000))
    samples = cuda([], w[::9_000])
    free: list[bool] = []
    upload = libcuda.CudaDevice.upload

    def watched(self: Any, address: int, array: np.ndarray) -> None:
        in_threads(lambda: free.append(device.lock.acquire(blocking=False)))
        upload(self, address, array)

    samples()
    monkeypatch.setattr(device.backend, "upload", watched.__get__(device.backend.driver))
    w.set_value(np.ones(100_000))
    assert free == [False]
    monkeypatch.undo()

    def sets() -> None:
        for k in range(30):
            w.set_value(np.full(100_000 if k % 3 else 50_000, float(k)))

    def looks() -> None:
        for _ in range(30):
            found = samples()
            assert len(found) in (6, 12) and len(set(found.tolist())) == 1

    in_threads(sets, looks, looks)


def test_garbage_takes_no_lock(device: Device) -> None:
    """A thread that holds the device's lock does not stop one that collects garbage."""
    kept = [cuda([V], (V * 2).transfer("cuda"))(ONES)]
    with device.lock, device._pool:
        in_threads(kept.clear)
    assert not kept and device._given


def test_compiling_waits_for_no_call(device: Device) -> None:
    """So a thread that compiles and one whose step of the host does cannot wait for each other."""
    w = shared(np.arange(3.0), target="cuda")
    with device.lock:
        in_threads(lambda: cuda([V], V * np.arange(3.0) + w), lambda: shared(ONES, target="cuda"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_and_can_use_the_cpu(fake: FakeCuda) -> None:
    """Even if another thread of its parent was in a call."""
    code = """
        import os, threading, warnings
        import numpy as np
        from symgraph import shared, tensor as T
        from symgraph.compile.cuda.libcuda import CudaError
        from tests.cuda_programs import cpu, cuda, played
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python: a fork beside threads
        with played() as device:
            w, v = shared(np.arange(3.0)), T.dvector("v")
            f, g = cuda([v], [(w * v).transfer("cuda")], updates=[(w, w + v)]), cpu([v], v * 2)
            kept = f(np.ones(3))
            started, ended = threading.Event(), threading.Event()
            def hold():
                with device.lock:
                    started.set()
                    ended.wait()
            thread = threading.Thread(target=hold)
            thread.start()
            started.wait()
            child = os.fork()
            if child == 0:
                for ask in (lambda: f(np.ones(3)), w.get_value, lambda: kept[0].on_host()):
                    try:
                        ask()
                    except CudaError as error:
                        print(str(error).splitlines()[0], flush=True)
                del kept
                print(g(np.ones(3)).tolist(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            ended.set()
            thread.join()
            print(np.asarray(f(np.ones(3))[0]).tolist(), w.get_value().tolist())
            del kept, f
    """
    lines = python(code).splitlines()
    assert lines[:3] == ["CUDA: this process was forked from one that uses the GPU, and cannot "
                         "use it itself"] * 3  # fmt: skip
    assert lines[3:] == ["[2.0, 2.0, 2.0]", "[1.0, 2.0, 3.0] [2.0, 3.0, 4.0]"]


# ---- cubins --------------------------------------------------------------------------------------


SOURCES = [
    f"""def kernel(arrays, sizes):  # 32 threads
    out = pointer_out(arrays, 0, float64)
    i = thread()
    if i < sizes[0]:
        out[i] = {value}
"""
    for value in (1.5, 2.5)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def builds(sources: list[str] = SOURCES) -> tuple[int, int]:
    """What a new process would ask its driver: cubins assembled, modules loaded."""
    with fakecuda.loaded() as fake:
        driver = CudaDevice(library=fake.path)
        assert len(set(Gpu(driver).build(sources))) == len(sources)
        driver.close()
        return fake.calls("cuLinkComplete"), fake.calls("cuModuleLoadData")


def test_a_second_process_assembles_nothing(folder: Path) -> None:
    assert builds(SOURCES[:1]) == (1, 1)
    assert builds() == (1, 2)
    before = cache.statistics().compiled
    assert builds() == (0, 2)
    assert cache.statistics().compiled == before
    assert len(list(folder.rglob("*.cubin"))) == 2


def test_another_architecture_has_cubins_of_its_own(folder: Path) -> None:
    assert builds() == (2, 2)
    with fakecuda.loaded() as fake:
        fake.machine(capability=(8, 0))
        driver = CudaDevice(library=fake.path)
        Gpu(driver).build(SOURCES)
        driver.close()
        assert fake.calls("cuLinkComplete") == 2
    assert len(list(folder.rglob("*.cubin"))) == 4


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "another"])
def test_damaged_cubins_are_made_again(folder: Path, damage: str) -> None:
    builds()
    first, second = sorted(folder.rglob("*.cubin"))
    content = first.read_bytes()
    first.write_bytes({
        "cut": content[:-9], "empty": b"", "another": second.read_bytes(),
        "changed": content[:-1] + bytes([content[-1] ^ 1]),
    }[damage])  # fmt: skip
    assert builds() == (1, 2)
    assert first.read_bytes() == content
    assert builds() == (0, 2)


def test_a_folder_that_cannot_be_written_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds(SOURCES[:1])
    place = folder.parent / "file"
    place.write_text("no folder")
    monkeypatch.setenv("SYMGRAPH_CACHE", str(place))
    for _ in range(2):
        assert builds() == (2, 2)
    monkeypatch.setenv("SYMGRAPH_CACHE", str(folder))
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert builds(SOURCES[:1]) == (0, 1)
    builds()
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(stat.S_IRWXU)


def test_kernels_are_loaded_once_in_a_process(folder: Path) -> None:
    with fakecuda.loaded() as fake:
        gpu = Gpu(CudaDevice(library=fake.path))
        with use(Device(gpu)) as device:
            first = device.build([*SOURCES, SOURCES[0]])
            assert first[0] == first[2] != first[1]
            assert device.build(SOURCES) == first[:2]
        assert fake.calls("cuLinkComplete") == 2 == fake.calls("cuModuleLoadData")
        gpu.driver.close()


def test_a_function_on_the_stub_alone(folder: Path) -> None:
    """Kernels that do nothing, assembled by the driver: the whole way but their work."""
    for assembled in (True, False):
        with fakecuda.loaded() as fake:
            gpu = Gpu(CudaDevice(library=fake.path))
            with use(Device(gpu)) as device:
                step = Step()
                for _ in range(3):
                    step.call(ONES)
                with traffic(
                    device, graph_launches=1, uploads=1, uploaded_bytes=24, downloads=2,
                    downloaded_bytes=64 + 8 + 24,
                ):  # fmt: skip
                    step.call(ONES)
                assert bool(fake.calls("cuLinkComplete")) == assembled
            gpu.driver.close()
