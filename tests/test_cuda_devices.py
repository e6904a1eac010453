"""Which CUDA device is used, why none can be, and what `gpu_report` says of it."""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from symgraph.compile.cuda import api, libcuda, report
from symgraph.compile.cuda.libcuda import CudaDevice, NoGPU
from symgraph.compile.cuda.report import gpu_report
from tests import fakecuda
from tests.fakecuda import FakeCuda
from tests.test_cuda_driver import words


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SYMGRAPH_LIBCUDA", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with fakecuda.loaded() as library:
        yield library


# ---- which device, and why none


def test_the_same_device_each_time(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYMGRAPH_LIBCUDA", fake.path)
    fake.machine(2)
    first = libcuda.device()
    assert libcuda.device(0) is first and libcuda.device(1) is not first
    assert fake.calls("cuInit") == 1
    first.close()
    again = libcuda.device()
    assert again is not first and not again.closed
    again.close()
    libcuda.device(1).close()
    assert fake.retained() == 0


NEED = "a GPU of compute capability 7.0 or later, a driver for CUDA 12.0 or later"


def test_no_driver_library(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "LIBRARIES", ("libnone.so.1", "libnone.so"))
    with words(
        NoGPU, "CUDA device 0: NVIDIA's driver is not installed: no libnone.so.1 or libnone.so",
        NEED, "cure:     " + api.install(),
    ):  # fmt: skip
        libcuda.device()
    monkeypatch.setenv("SYMGRAPH_LIBCUDA", "/none/libcuda.so")
    with words(NoGPU, "that was named cannot be loaded", "/none/libcuda.so", "unset SYMGRAPH"):
        libcuda.device()


@pytest.mark.parametrize(
    "platform, release, command",
    [
        ("linux", {"ID": "ubuntu"}, "sudo ubuntu-drivers install"),
        ("linux", {"ID": "mint", "ID_LIKE": "ubuntu debian"}, "sudo ubuntu-drivers install"),
        ("linux", {"ID": "debian"}, "sudo apt-get install nvidia-driver"),
        ("linux", {}, "https://www.nvidia.com/drivers"),
        ("win32", {}, "https://www.nvidia.com/drivers"),
        ("darwin", {}, "there is no NVIDIA driver for macOS"),
    ],
)
def test_the_command_that_installs_the_driver(monkeypatch, platform, release, command):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)
    assert command in api.install()
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/.dockerenv")
    assert ("--gpus all" in api.install()) == (platform == "linux")


def test_no_device(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    fake.machine(devices=0)
    monkeypatch.setenv("SYMGRAPH_LIBCUDA", fake.path)
    with words(NoGPU, "CUDA device 0: the driver shows no device", "nvidia-smi", NEED):
        libcuda.device()


def test_hidden_devices(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYMGRAPH_LIBCUDA", fake.path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with words(
        NoGPU, "CUDA_VISIBLE_DEVICES may hide it", "CUDA_VISIBLE_DEVICES=-1",
        "unset CUDA_VISIBLE_DEVICES, or list the device there",
    ):  # fmt: skip
        libcuda.device()


def test_a_number_too_high(fake: FakeCuda):
    for count, cure in ((1, "use device 0"), (2, "use one of the devices 0 to 1")):
        fake.machine(devices=count)
        api._apis.pop(fake.path, None)
        with words(
            NoGPU, f"CUDA device 2: there is no such device: the driver shows {count}", cure
        ):
            CudaDevice(2, fake.path)


def test_a_device_that_is_too_old(fake: FakeCuda):
    fake.machine(capability=(6, 1))
    with words(NoGPU, "it is too old: its compute capability is 6.1", "Stub GPU 0", NEED):
        CudaDevice(library=fake.path)
    assert fake.calls("cuDevicePrimaryCtxRetain") == 0


def test_a_driver_that_is_too_old(fake: FakeCuda):
    fake.machine(version=11080)
    with words(NoGPU, "NVIDIA's driver is too old", "a driver for CUDA 11.8", "update NVIDIA's"):
        CudaDevice(library=fake.path)


def test_a_driver_without_a_call(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(api.PROTOTYPES, "cuFromTheFuture", ())
    with words(NoGPU, "too old", "a driver for CUDA 13.0, without cuFromTheFuture"):
        CudaDevice(library=fake.path)
    with words(NoGPU, "is no CUDA driver", "without cuInit, "):
        api.Api(None if sys.platform == "win32" else _c_library())


def _c_library() -> str:
    name = ctypes.util.find_library("c")
    assert name
    return name


def test_a_driver_that_cannot_start(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYMGRAPH_LIBCUDA", fake.path)
    fake.fail("cuInit", 803)
    with words(NoGPU, "cannot start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)", "reboot"):
        libcuda.device()
    fake.fail("cuInit", 999)
    with words(NoGPU, "cannot start: error (999)", "see whether nvidia-smi runs"):
        libcuda.device()
    fake.fail("cuInit", 0)
    fake.fail("cuDevicePrimaryCtxRetain", 2)
    with words(NoGPU, "cannot be used: cuDevicePrimaryCtxRetain fails: CUDA_ERROR_OUT_OF_MEMORY"):
        libcuda.device()


def test_an_llvm_without_nvptx(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYMGRAPH_LIBCUDA", fake.path)
    monkeypatch.setattr(libcuda, "has_compiler", lambda: False)
    with words(NoGPU, "llvmlite was built without LLVM's NVPTX target", "pip install"):
        libcuda.device()
    assert fake.retained() == 0
    assert api.has_compiler()


def test_every_error_with_a_cure_is_told(fake: FakeCuda):
    call = api.api(fake.path)
    for status, cure in api.CURES.items():
        error = call.error("cuInit", status)
        assert error.status == status and f"({status})" in str(error) and cure in str(error)


# ---- the report


def test_report_without_a_driver(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "LIBRARIES", ("libnone.so.1",))
    text = gpu_report()
    assert repr(text) == str(text)
    assert "  driver     NVIDIA's driver is not installed: no libnone.so.1\n" in text
    assert f"  missing    a driver that can be used: {api.install()}\n" in text
    assert "  devices" not in text
    assert text.endswith("\n  to use it  SYMGRAPH_FLAGS=device=cuda python your_script.py")


def test_report_without_a_device(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    fake.machine(devices=0)
    text = gpu_report(fake.path)
    assert f"  driver     for CUDA 13.0 ({fake.path})\n  devices    none\n" in text
    assert "  missing    a GPU: use a machine with one of compute capability 7.0" in text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    text = gpu_report(fake.path)
    assert "  devices    none (CUDA_VISIBLE_DEVICES= decides what is shown)\n" in text
    assert "  missing    a GPU: unset CUDA_VISIBLE_DEVICES, or use" in text


def test_report_of_devices(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path))
    monkeypatch.setattr(report, "cublas", lambda: tmp_path / "libcublas.so.13")
    fake.machine(devices=2, memory=141 * 10**9)
    lines = gpu_report(fake.path).splitlines()
    assert lines[0] == "NVIDIA GPUs, as symgraph finds them"
    about = "141.0 GB, compute capability 9.0, 132 multiprocessors"
    assert lines[1] == f"  driver     for CUDA 13.0 ({fake.path})"
    assert lines[2:4] == [
        f"  devices    0: Stub GPU 0, {about}", f"             1: Stub GPU 1, {about}",
    ]  # fmt: skip
    assert lines[4].startswith("  compiler   NVPTX of LLVM ") and "llvmlite" in lines[4]
    assert lines[5] == f"  cubins     kept in {tmp_path}"
    assert (
        lines[6] == f"  cuBLAS     {tmp_path / 'libcublas.so.13'} (used only where it is asked for)"
    )
    assert lines[7:] == [
        "  missing    nothing", "  to use it  SYMGRAPH_FLAGS=device=cuda python your_script.py",
    ]  # fmt: skip
    assert fake.calls("cuDevicePrimaryCtxRetain") == 0  # looks without starting a context


def test_report_of_what_cannot_be_used(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    fake.machine(capability=(6, 1))
    monkeypatch.setattr(report, "has_compiler", lambda: False)
    text = gpu_report(fake.path)
    assert "compute capability 6.1, 132 multiprocessors; too old\n" in text
    assert "is built without LLVM's NVPTX\n" in text
    assert "             a compiler: pip install --force-reinstall llvmlite\n" in text
    fake.fail("cuDeviceGetName", 999)
    assert "0: cannot be looked at: CUDA: cuDeviceGetName failed: error (999)" in gpu_report(
        fake.path
    )


def test_report_never_raises(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch):
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    for name in ("api", "has_compiler", "cublas"):
        monkeypatch.setattr(report, name, broken)
    text = gpu_report(fake.path)
    assert text.count("cannot be looked at: ZeroDivisionError") == 3


def test_where_cublas_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX", "LD_LIBRARY_PATH", "PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(report, "_SYSTEM", ())
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    assert report.cublas() is None
    assert "not found; nothing needs it (pip install nvidia-cublas" in gpu_report("none.so")
    file = _touch(tmp_path / "toolkit/lib64/libcublas.so.13")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "toolkit"))
    assert report.cublas() == file
    wheel = _touch(tmp_path / "site/nvidia/cu13/lib/libcublas.so.13")
    assert report.cublas() == wheel


def _touch(file: Path) -> Path:
    file.parent.mkdir(parents=True)
    file.touch()
    return file
