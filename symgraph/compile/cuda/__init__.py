"""The CUDA target: kernels printed for many threads, made by LLVM, run by NVIDIA's driver."""

from __future__ import annotations

from typing import Any

import numpy as np


def on_device(array: np.ndarray) -> Any:
    """A host array as a DeviceArray that makes functions run where it is. NoGPU without one."""
    from symgraph.compile.cuda.array import DeviceArray
    from symgraph.compile.cuda.device import current

    made = DeviceArray.of(current(), array)
    made.is_home = True
    return made
