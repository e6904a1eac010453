"""The CUDA target: kernels printed for many threads, made by LLVM, run by NVIDIA's driver."""

from __future__ import annotations

from typing import Any

import numpy as np


def on_device(array: np.ndarray) -> Any:
    """A host array as a DeviceArray. Raises NoGPU where there is none."""
    from symgraph.compile.cuda.array import DeviceArray
    from symgraph.compile.cuda.device import current

    return DeviceArray.of(current(), array)
