"""The CUDA driver binding against a stub driver: memory, copies, kernels, graphs, errors, threads.

The last test does the same on a real device, where there is one.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from symgraph.compile.cuda import libcuda, staging
from symgraph.compile.cuda.libcuda import CudaDevice, CudaError, Launch, NoGPU, Traffic
from tests import fakecuda
from tests.fakecuda import FakeCuda, Launched

PTX = """
.version 7.8
.target sm_90
.address_size 64
.visible .entry scale(
    .param .align 8 .b8 scale_param_0[16],
    .param .align 8 .b8 scale_param_1[8]
) { ret; }
.visible .entry sum(.param .align 8 .b8 sum_param_0[24], .param .align 8 .b8 sum_param_1[16])
{ ret; }
"""


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with fakecuda.loaded() as library:
        yield library


@pytest.fixture
def device(fake: FakeCuda) -> Iterator[CudaDevice]:
    device = CudaDevice(library=fake.path)
    yield device
    device.close()
    assert (fake.held(), fake.retained(), fake.waiting()) == (0, 0, 0)


def vector(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def launch_of(device: CudaDevice, *sizes: int, name: str = "scale", blocks: int = 3) -> Launch:
    """A launch of the kernel `name` on operands 100 and 200; nothing reads them."""
    function = device.load(device.assemble(PTX), name)
    operands = vector(100, 200) if name == "scale" else vector(100, 200, 300)
    return Launch(function, blocks, 128, operands, vector(*sizes), name)


@contextmanager
def words(kind: type[Exception], *parts: str) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    for part in parts:
        assert part in str(caught.value), (part, str(caught.value))


# ---- the device and its memory


def test_attributes(fake: FakeCuda):
    fake.machine(2, (12, 1), 12080, 16 * 10**9)
    device = CudaDevice(1, fake.path)
    assert (device.number, device.name, device.capability) == (1, "Stub GPU 1", (12, 1))
    assert (device.arch, device.memory, device.multiprocessors) == ("sm_121", 16 * 10**9, 132)
    assert device.driver_version == (12, 8)
    assert repr(device) == "<CUDA device 1: Stub GPU 1, sm_121, 16.0 GB>"
    device.close()


def test_importing_loads_no_driver_and_no_numba():
    code = """
        import os, sys
        os.environ["SYMGRAPH_LIBCUDA"] = "nowhere.so"
        from symgraph.compile.cuda import libcuda, report
        assert not libcuda._devices and "numba" not in sys.modules
        report.gpu_report()
        assert "numba" not in sys.modules
    """
    assert python(code) == ""


def test_memory_is_given_and_taken_back(fake: FakeCuda, device: CudaDevice):
    first, second = device.allocate(1000), device.allocate(24)
    assert first % 256 == 0 and second not in (0, first)
    assert device.allocated == fake.held() == 1024
    assert device.room() == ((1 << 30) - 1024, 1 << 30)
    assert device.allocate(0) == 0
    device.free(0)
    device.free(first)
    assert device.allocated == fake.held() == 24
    assert device.statistics.allocations == 2
    with words(CudaError, "cuMemFree_v2 failed", "CUDA_ERROR_INVALID_VALUE (1)"):
        device.free(first)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool"])
def test_what_goes_up_comes_down(device: CudaDevice, dtype: str):
    there = np.arange(24).reshape(2, 3, 4).astype(dtype)
    back = np.zeros_like(there)
    address = device.allocate(there.nbytes)
    device.upload(address, there)
    device.download(back, address)
    np.testing.assert_array_equal(back, there)
    size = there.nbytes
    assert device.statistics == Traffic(1, 1, size, size, allocations=1)
    device.upload(0, there[:0])
    device.download(back[:0], 0)
    assert device.statistics.uploads == device.statistics.downloads == 1


def test_the_host_array_is_free_when_upload_returns(fake: FakeCuda, device: CudaDevice):
    """Also where an upload takes more than all page-locked pieces, and while the stream is busy."""
    words_of = staging.PIECE // 8
    for count in (1, words_of, words_of + 1, (staging.PIECES + 3) * words_of - 1):
        there = np.arange(count, dtype=np.int64)
        address = device.allocate(there.nbytes)
        device.upload(address, there)
        assert fake.waiting() > 0  # the copy is still to come
        there[:] = -1
        back = np.empty_like(there)
        device.download(back, address)
        np.testing.assert_array_equal(back, np.arange(count))
        device.free(address)


def test_small_uploads_run_ahead_of_the_device(fake: FakeCuda, device: CudaDevice):
    address = device.allocate(8 * staging.PIECES)
    for k in range(staging.PIECES):
        device.upload(address + 8 * k, vector(k))
    assert fake.waiting() == 2 * staging.PIECES  # a copy and an event each
    assert fake.calls("cuEventSynchronize") == fake.calls("cuStreamSynchronize") == 0
    device.upload(address, vector(7))  # waits for the first of them
    assert fake.waiting() == 2 * staging.PIECES
    back = np.empty(staging.PIECES, np.int64)
    device.download(back, address)
    np.testing.assert_array_equal(back, [7, *range(1, staging.PIECES)])
    assert fake.calls("cuMemHostAlloc") == 1


def test_copies_and_fills_on_the_device(fake: FakeCuda, device: CudaDevice):
    a, b = device.allocate(64), device.allocate(64)
    device.fill(a, 0x3F800000, 16)
    device.fill8(a + 4, 0, 4)
    device.copy(b, a, 64)
    device.copy(b, a, 0)
    device.fill(b, 1, 0)
    back = np.empty(16, np.float32)
    device.download(back, b)
    np.testing.assert_array_equal(back, [1, 0] + [1] * 14)
    done = device.statistics
    assert (done.copies, done.fills, done.uploads) == (1, 2, 0)
    with words(CudaError, "cuMemsetD32Async failed"):
        device.fill(a + 2, 1, 1)
    with words(CudaError, "cuMemcpyDtoDAsync_v2 failed"):
        device.copy(b, a, 65)


def test_arrays_that_cannot_be_copied(device: CudaDevice):
    address, square = device.allocate(64), np.zeros((4, 4), np.float32)
    with words(
        ValueError, "upload takes a C-contiguous array", "shape (4, 2)", "ascontiguousarray"
    ):
        device.upload(address, square[:, :2])
    with words(ValueError, "download takes a C-contiguous array"):
        device.download(square.T[1:], address)
    square.flags.writeable = False
    with words(ValueError, "an array that can be written to"):
        device.download(square, address)
    assert device.statistics == Traffic(allocations=1)


# ---- kernels and graphs


def test_a_launch_is_recorded_with_its_parameters(fake: FakeCuda, device: CudaDevice):
    launch = launch_of(device, 7)
    device.launch(launch)
    launch.sizes[0], launch.blocks = 8, 5  # the first has been asked for, and keeps its numbers
    device.launch(launch)
    device.launch(launch_of(device, 1, 2, name="sum"))
    assert fake.launched() == [
        Launched("scale", 3, 128, [100, 200], [7], None),
        Launched("scale", 5, 128, [100, 200], [8], None),
        Launched("sum", 3, 128, [100, 200, 300], [1, 2], None),
    ]
    assert device.statistics == Traffic(launches=3)
    assert fake.calls("cuModuleLoadData") == 1  # one image


def test_no_sizes_are_one_zero(fake: FakeCuda, device: CudaDevice):
    device.launch(launch_of(device))
    device.graph([launch_of(device)]).launch()
    assert [launched.sizes for launched in fake.launched()] == [[0], [0]]


def test_kernels_run_in_the_order_of_the_stream(fake: FakeCuda, device: CudaDevice):
    """A function in the place of the kernel works on device memory, between the copies."""

    def double(launched: Launched) -> None:
        (block,) = fake.blocks()
        block.view(np.int64)[:] *= launched.sizes[0]

    fake.on_launch(double)
    address, back = device.allocate(24), np.empty(3, np.int64)
    launch = launch_of(device, 2)
    launch.arrays[:] = address
    device.upload(address, vector(1, 2, 3))
    device.graph([launch, launch]).launch()
    launch.sizes[0] = 10
    device.launch(launch)
    device.download(back, address)
    assert back.tolist() == [40, 80, 120]


def test_a_graph_is_one_launch(fake: FakeCuda, device: CudaDevice):
    graph = device.graph([launch_of(device, k) for k in range(4)])
    for _ in range(3):
        graph.launch()
    ran = fake.launched()
    assert [launched.sizes for launched in ran] == [[0], [1], [2], [3]] * 3
    assert [launched.before for launched in ran[:4]] == [[], [0], [1], [2]]
    assert fake.calls("cuGraphLaunch") == device.statistics.graph_launches == 3
    assert fake.calls("cuLaunchKernel") == device.statistics.launches == 0


def test_graph_dependencies(fake: FakeCuda, device: CudaDevice):
    launches = [launch_of(device, k) for k in range(4)]
    device.graph(launches, [[], [], [0, 1], [2]]).launch()
    assert [launched.before for launched in fake.launched()] == [[], [], [0, 1], [2]]
    for wrong in ([[], [], [0, 1]], [[], [1], [], []], [[], [2], [], []], [[], [-1], [], []]):
        with words(ValueError, "a list of earlier ones", f"dependencies {wrong}"):
            device.graph(launches, wrong)
    device.graph([]).launch()
    assert len(fake.launched()) == 4


def test_update_reads_a_launch_again(fake: FakeCuda, device: CudaDevice):
    launches = [launch_of(device, k) for k in range(3)]
    graph = device.graph(launches, [[], [], [0, 1]])
    graph.launch()
    launches[2].sizes[0], launches[2].arrays[1], launches[2].blocks = 9, 500, 6
    graph.launch()  # before the update: as it was
    graph.update(2)
    launches[2].arrays = vector(1, 2)  # a new array counts, with the next update
    graph.launch()
    graph.update(2)
    graph.launch()
    ran = fake.launched()
    assert ran[2] == ran[5] == Launched("scale", 3, 128, [100, 200], [2], [0, 1])
    assert ran[8] == Launched("scale", 6, 128, [100, 500], [9], [0, 1])
    assert ran[11] == Launched("scale", 6, 128, [1, 2], [9], [0, 1])
    assert ran[6:8] == ran[:2]
    assert device.statistics.graph_updates == 2
    assert fake.calls("cuGraphInstantiateWithFlags") == 1


def test_graphs_are_given_back(fake: FakeCuda, device: CudaDevice):
    graph = device.graph([launch_of(device)])
    graph.close()
    graph.close()
    assert fake.calls("cuGraphExecDestroy") == fake.calls("cuGraphDestroy") == 1
    with words(CudaError, "this graph was closed"):
        graph.launch()
    device.graph([launch_of(device)])  # nobody holds it
    gc.collect()
    assert fake.calls("cuGraphExecDestroy") == fake.calls("cuGraphDestroy") == 2
    fake.fail("cuGraphInstantiateWithFlags", 2)
    with words(CudaError, "cuGraphInstantiateWithFlags failed", "OUT_OF_MEMORY"):
        device.graph([launch_of(device)])
    assert fake.calls("cuGraphDestroy") == 3


@pytest.mark.parametrize(
    "arrays", [np.zeros(2, np.int32), np.zeros((1, 2), np.int64), np.zeros(4, np.int64)[::2]]
)
def test_operands_are_vectors_of_int64(arrays: np.ndarray):
    with words(TypeError, "scale: `arrays` of a launch is a contiguous vector of int64", "strides"):
        Launch(1, 1, 32, arrays, vector(), "scale")
    with words(TypeError, "`sizes` of a launch"):
        Launch(1, 1, 32, vector(1), arrays)


def test_timing_counts_what_is_within(fake: FakeCuda, device: CudaDevice):
    launch = launch_of(device)
    device.launch(launch)
    with device.timing() as t:
        device.graph([launch] * 5).launch()
    assert t.milliseconds == 5  # the stub's kernels take one each
    with pytest.raises(ZeroDivisionError), device.timing() as t:
        raise ZeroDivisionError
    assert np.isnan(t.milliseconds)
    assert fake.calls("cuEventCreate") == fake.calls("cuEventDestroy_v2") == 4


# ---- errors


def test_out_of_memory_says_how_much(fake: FakeCuda, device: CudaDevice):
    device.allocate(3 * 10**8)
    with words(
        CudaError, "cuMemAlloc_v2", "CUDA_ERROR_OUT_OF_MEMORY (2): out of memory",
        "2.0 GB asked for, 300.0 MB held by this process, 773.7 MB of 1.1 GB free on Stub GPU 0",
        "use smaller batches",
    ):  # fmt: skip
        device.allocate(2 * 10**9)
    assert device.statistics.allocations == 1


def test_what_the_assembler_says(fake: FakeCuda, device: CudaDevice):
    with pytest.raises(CudaError) as caught:
        device.assemble("add.f32 %f1;")
    assert (caught.value.call, caught.value.status) == ("cuLinkAddData_v2", 218)
    assert caught.value.log.startswith("stub, line 1; fatal : Missing .version directive\n")
    assert caught.value.log in str(caught.value).replace("\n            ", "\n")
    assert fake.calls("cuLinkDestroy") == 1
    fake.fail("cuLinkComplete", 222)
    with words(CudaError, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "update NVIDIA's driver"):
        device.assemble(PTX)
    assert fake.calls("cuLinkDestroy") == 2


def test_images_that_cannot_be_loaded(fake: FakeCuda, device: CudaDevice):
    with words(CudaError, "cuModuleGetFunction failed on scal:", "CUDA_ERROR_NOT_FOUND"):
        device.load(PTX.encode(), "scal")
    with words(CudaError, "cuModuleLoadData failed", "CUDA_ERROR_INVALID_IMAGE"):
        device.load(b"\x7fELF", "scale")
    fake.fail("cuModuleLoadData", 209)
    with words(CudaError, "made for another GPU: empty the cache, python -m symgraph cache clear"):
        device.load(b".version 8.0", "scale")


def test_launches_that_the_driver_refuses(fake: FakeCuda, device: CudaDevice):
    wrong = launch_of(device, blocks=0)
    with words(CudaError, "cuLaunchKernel failed", "launch:   scale (0 blocks of 128 threads)"):
        device.launch(wrong)
    with words(CudaError, "cuGraphAddKernelNode_v2 failed", "scale (0 blocks"):
        device.graph([wrong])
    graph = device.graph([launch_of(device)])
    graph.launches[0].threads = 2000
    with words(CudaError, "cuGraphExecKernelNodeSetParams_v2 failed", "3 blocks of 2000 threads"):
        graph.update(0)
    assert device.statistics == Traffic()


def test_a_kernel_that_failed_is_told_when_waiting(fake: FakeCuda, device: CudaDevice):
    device.launch(launch_of(device))
    fake.fail("cuStreamSynchronize", 719)
    with words(CudaError, "CUDA_ERROR_LAUNCH_FAILED", "start Python anew", "compute-sanitizer"):
        device.synchronize()
    fake.fail("cuStreamSynchronize", 12345)
    with words(CudaError, "cuStreamSynchronize failed: error (12345)"):
        device.download(np.empty(1), device.allocate(8))
    fake.fail("cuStreamSynchronize", 0)
    device.synchronize()


# what is called, and which of its calls fails
CALLS = [
    (lambda d: d.upload(d.allocate(8), vector(1)), "cuMemHostAlloc"),
    (lambda d: d.upload(d.allocate(8), vector(1)), "cuEventCreate"),
    (lambda d: d.upload(d.allocate(8), vector(1)), "cuMemcpyHtoDAsync_v2"),
    (lambda d: d.upload(d.allocate(8), vector(1)), "cuEventRecord"),
    (lambda d: d.download(vector(1), d.allocate(8)), "cuMemcpyDtoHAsync_v2"),
    (lambda d: d.fill(d.allocate(8), 1, 2), "cuMemsetD32Async"),
    (lambda d: d.fill8(d.allocate(8), 1, 2), "cuMemsetD8Async"),
    (lambda d: d.room(), "cuMemGetInfo_v2"),
    (lambda d: d.assemble(PTX), "cuLinkCreate_v2"),
    (lambda d: d.graph([]), "cuGraphCreate"),
    (lambda d: d.graph([]).launch(), "cuGraphLaunch"),
    (lambda d: d.timing().__enter__(), "cuEventCreate"),
    (lambda d: d.synchronize(), "cuCtxSetCurrent"),
]


@pytest.mark.parametrize("ask, call", CALLS, ids=[f"{k}-{c[1]}" for k, c in enumerate(CALLS)])
def test_every_call_is_checked(fake: FakeCuda, device: CudaDevice, ask, call: str):
    fake.fail(call, 999)
    with words(CudaError, f"{call} failed: error (999)"):
        ask(device)
    fake.fail(call, 0)
    ask(device)


def test_starting_fails_cleanly(fake: FakeCuda):
    for call in ("cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuStreamCreate"):
        fake.fail(call, 2)
        with words(CudaError, f"{call} failed"):
            CudaDevice(library=fake.path)
        fake.fail(call, 0)
        assert fake.retained() == 0


def test_a_closed_device(fake: FakeCuda):
    device = CudaDevice(library=fake.path)
    address, graph = device.allocate(8), device.graph([launch_of(device)])
    device.upload(address, vector(1))
    device.close()
    device.close()
    assert (fake.held(), fake.retained()) == (0, 0)
    assert fake.calls("cuModuleUnload") == fake.calls("cuMemFreeHost") == 1
    device.free(address)  # went with the device
    graph.close()
    with words(CudaError, "CUDA device 0: it was closed"):
        device.synchronize()
    with words(CudaError, "it was closed"):
        graph.launch()


# ---- threads and forks


def test_calls_from_many_threads(fake: FakeCuda, device: CudaDevice):
    """The stub refuses calls of a thread in which the context is not current."""
    launch, wrong = launch_of(device), []
    graph = device.graph([launch] * 2)

    def work(seed: int) -> None:
        try:
            for k in range(20):
                there = np.full(100, 1000 * seed + k)
                back, address = np.empty_like(there), device.allocate(there.nbytes)
                device.upload(address, there)
                graph.launch()
                device.launch(launch)
                device.download(back, address)
                np.testing.assert_array_equal(back, there)
                device.free(address)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    done = device.statistics
    assert (done.uploads, done.downloads, done.allocations) == (80, 80, 80)
    assert (done.launches, done.graph_launches) == (80, 80)
    assert len(fake.launched()) == 80 + 2 * 80


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told(fake: FakeCuda):
    code = """
        import gc, os, sys
        from symgraph.compile.cuda import libcuda, report
        from tests.test_cuda_driver import launch_of
        device = libcuda.device()
        address, graph = device.allocate(8), device.graph([launch_of(device)])
        child = os.fork()
        if child == 0:
            for ask in (lambda: device.allocate(8), graph.launch, libcuda.device):
                try:
                    ask()
                except libcuda.CudaError as error:
                    print(error)
            print([line for line in report.gpu_report().splitlines() if "fork" in line][0])
            device.free(address)
            graph.close()
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
        graph.launch()
        device.synchronize()
    """
    said = python(code, SYMGRAPH_LIBCUDA=fake.path)
    assert said.count("this process was forked from one that uses the GPU") == 4
    assert said.count("set_start_method('spawn')") == 3


def python(code: str, **more: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), **more}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    made = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return made.stdout


# ---- a real device

ADD = """
.version 7.8
.target sm_70
.address_size 64
.visible .entry add(
    .param .align 8 .b8 add_param_0[16],
    .param .align 8 .b8 add_param_1[8]
) {
    .reg .b32 %r<4>;
    .reg .b64 %d<6>;
    ld.param.u64 %d1, [add_param_0];
    ld.param.u64 %d2, [add_param_0+8];
    ld.param.u64 %d3, [add_param_1];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.u32 %r1, %r1, %r2, %r3;
    mul.wide.u32 %d4, %r1, 8;
    add.s64 %d1, %d1, %d4;
    add.s64 %d2, %d2, %d4;
    ld.global.u64 %d5, [%d2];
    add.s64 %d5, %d5, %d3;
    st.global.u64 [%d1], %d5;
    ret;
}
"""


@pytest.mark.cuda
def test_on_a_real_device(monkeypatch: pytest.MonkeyPatch):
    """b = a + size, 256 blocks of 128: launched, as a graph, updated, timed; both copies."""
    monkeypatch.delenv("SYMGRAPH_LIBCUDA", raising=False)
    try:
        device = libcuda.device()
    except NoGPU as error:
        pytest.skip(f"no GPU: {error.found}")
    before, there = replace(device.statistics), np.arange(1 << 15)
    a, b, back = device.allocate(there.nbytes), device.allocate(there.nbytes), np.empty_like(there)
    function = device.load(device.assemble(ADD), "add")
    launch = Launch(function, 256, 128, vector(b, a), vector(5), "add")
    again = Launch(function, 256, 128, vector(b, b), vector(10), "add")

    def result() -> np.ndarray:
        device.download(back, b)
        return back - np.arange(1 << 15)

    device.upload(a, there)
    there[:] = 0
    device.launch(launch)
    assert (result() == 5).all()
    graph = device.graph([launch, again])
    graph.launch()
    assert (result() == 15).all()
    again.sizes[0] = 100
    graph.update(1)
    with device.timing() as t:
        graph.launch()
    assert (result() == 105).all() and t.milliseconds > 0
    device.fill(b, 7, 1 << 16)
    device.copy(a, b, 1 << 18)
    device.download(back, a)
    assert (back == 7 * (1 << 32) + 7).all()
    with words(CudaError, "CUDA_ERROR_INVALID_PTX", "ptxas"):
        device.assemble(ADD.replace("ld.global.u64", "ld.global.u63"))
    with words(CudaError, "CUDA_ERROR_OUT_OF_MEMORY", "asked for"):
        device.allocate(1 << 50)
    graph.close()
    device.free(a)
    device.free(b)
    done = device.statistics - before
    assert (done.uploads, done.launches, done.graph_launches, done.graph_updates) == (1, 1, 2, 1)
