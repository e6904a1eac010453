"""Devices to run whole functions on where there is no GPU: simulated, and the stub driver with the
simulator in the place of its kernels. Memory that is given out again is poisoned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from symgraph import function
from symgraph.compile.cuda import simulator
from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.kernels import Gpu
from symgraph.compile.cuda.libcuda import CudaDevice, Traffic
from symgraph.compile.cuda.signature import threads
from symgraph.compile.cuda.simulated import Simulated
from symgraph.compile.mode import Options
from tests import fakecuda
from tests.fakecuda import FakeCuda, Launched

POISON = 0xA5
PTX = """
.version 7.8
.target sm_90
.address_size 64
.visible .entry {name}(
    .param .align 8 .b8 {name}_param_0[{arrays}],
    .param .align 8 .b8 {name}_param_1[{sizes}]
) {{ ret; }}
"""


class Poisoned(Device):
    """A device whose memory holds nonsense, also the second time."""

    def reserve(self, nbytes: int) -> int:
        address = super().reserve(nbytes)
        if address:
            counted = replace(self.backend.statistics)
            self.backend.fill8(address, POISON, nbytes)
            self.backend.statistics.__dict__.update(counted.__dict__)
        return address


class Played(Gpu):
    """The stub driver's device, whose kernels the simulator plays."""

    def __init__(self, fake: FakeCuda) -> None:
        super().__init__(CudaDevice(library=fake.path))
        self.fake = fake
        self.sources: list[str] = []
        fake.on_launch(self.play)

    def build(self, sources: Sequence[str]) -> list[int]:
        return [self._load(source) for source in sources]

    def _load(self, source: str) -> int:
        counts = {
            what: 8 * (1 + max(map(int, re.findall(pattern, source)), default=0))
            for what, pattern in (("arrays", r"\(arrays, (\d+)"), ("sizes", r"sizes\[(\d+)\]"))
        }
        name = f"k{len(self.sources)}"
        self.sources.append(source)
        return self.driver.load(PTX.format(name=name, **counts).encode(), name)

    def play(self, launched: Launched) -> None:
        memory = simulator.Memory()
        for block in self.fake.blocks():
            memory.add(block)
        source = self.sources[int(launched.name[1:])]
        assert launched.threads == threads(source)
        simulator.run(
            source, launched.blocks, launched.threads, launched.arrays, launched.sizes, memory
        )


@contextmanager
def played() -> Iterator[Device]:
    """The stub driver in use; at the end all its memory has been given back."""
    with fakecuda.loaded() as fake:
        gpu = Played(fake)
        with use(Poisoned(gpu)) as device:
            yield device
        gpu.driver.close()


@contextmanager
def simulated(order: int = 1) -> Iterator[Device]:
    """The simulated device in use."""
    with use(Poisoned(Simulated(order))) as device:
        yield device


DEVICES = {"simulated": simulated, "played": played}


def cuda(inputs: Sequence[Any], outputs: Any = None, **more: Any) -> Any:
    """A function on the device in use."""
    return function(inputs, outputs, mode=Options(target="cuda"), **more)


def cpu(inputs: Sequence[Any], outputs: Any = None, **more: Any) -> Any:
    """A function on the CPU."""
    return function(inputs, outputs, mode=Options(target="cpu"), **more)


@contextmanager
def traffic(device: Device, **expected: int) -> Iterator[None]:
    """What is asked of the device within: exactly this, times aside."""
    before = replace(device.statistics)
    yield
    device.synchronize()
    done = device.statistics - before
    assert done == Traffic(**expected), done
