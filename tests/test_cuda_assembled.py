"""Every kernel that the op zoo and LeNet run on the device, assembled for three architectures.

A record's functions are bound to their sizes on a device that runs nothing; what they would launch
is compiled and assembled by NVIDIA's linker. No kernel spills or needs a stack; local arrays with
indices that LLVM does not know, too much shared memory and instructions that an architecture lacks
would show here.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from benchmarks.cuda.estimate import on_paper
from benchmarks.cuda.symgraph import Peer
from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.graphs import Launch
from symgraph.compile.cuda.simulated import Simulated
from tests import cuda_assembly, cuda_kernels
from tests import test_zoo as zoo
from tests.zoo.case import Case

pytestmark = pytest.mark.skipif(
    cuda_assembly.assembler() is None,
    reason="nothing here assembles PTX: make test-cuda installs what does",
)


class Idle(Simulated):
    """Runs nothing: what it would run is in `sources`."""

    def launch(self, launch: Launch) -> None:
        self.statistics.launches += 1


_done: set[str] = set()  # kernels that records have in common


@pytest.mark.parametrize("case", zoo.CASES)
def test_assembled(case: Case) -> None:
    b = zoo.built(case)
    backend = Idle()
    with use(Device(backend)), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the numbers mean nothing
        f: Any = zoo.function(b, "cuda", [b.out, *b.gradients])
        with suppress(ValueError, IndexError, AssertionError, ArithmeticError, MemoryError):
            f(*b.arrays)  # steps of the host may refuse them
    for source in backend.sources:
        if source not in _done:
            _done.add(source)
            for arch in cuda_assembly.ARCHITECTURES:
                cuda_kernels.check_resources(source, arch)


@pytest.mark.parametrize("batch", [500, 100])
def test_lenet(batch: int) -> None:
    """The kernels of a training step of the tutorial's LeNet, at its own size."""
    with on_paper():
        train = Peer().lenet(batch)
    sources = dict.fromkeys(launch.source for launch in train._compiled.program.launched())
    assert len(sources) > 20
    for source in sources:
        for arch in cuda_assembly.ARCHITECTURES:
            cuda_kernels.check_resources(source, arch)
