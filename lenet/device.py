"""Where functions run: on the CPU, or on a GPU that symgraph finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

import symgraph
from lenet.errors import RunError

DEVICES = ("cpu", "cuda", "auto")


@contextmanager
def chosen(device: str | None) -> Iterator[None]:
    """Have functions that are compiled within run on `device`, one of DEVICES.

    None: where symgraph's configuration says. Raises RunError where that is a GPU and none can be
    used, when one is first needed.
    """
    with ExitStack() as stack:
        if device is not None:
            stack.enter_context(symgraph.config.change_flags(device=device))
        try:
            yield
        except symgraph.NoGPU as error:
            cure = f"{error.cure}; or use --device cpu"
            raise RunError(
                "--device", f"{symgraph.config.device} ({error.found})", "a GPU for that", cure
            ) from error


def gpu() -> str | None:
    """The name of the GPU that functions run on which are compiled now; None: on the CPU.

    Raises symgraph.NoGPU where the configuration asks for one that is not there.
    """
    if symgraph.config.device == "cpu":
        return None
    try:
        there = symgraph.shared(np.zeros((), np.float32), target="cuda")
    except symgraph.NoGPU:
        if symgraph.config.device == "auto":
            return None
        raise
    return str(there.get_value(return_internal_type=True).device.name)
