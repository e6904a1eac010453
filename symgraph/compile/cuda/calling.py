"""The call path of a function on the device: printed, as the CPU's is.

A call whose sizes are those of the last one goes straight to `DeviceProgram.run`, with the numbers
that say where slices begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from symgraph.compile.calling import CallPath
from symgraph.compile.cuda.array import DeviceArray
from symgraph.compile.inputs import In
from symgraph.graph import is_tensor


class DeviceCallPath(CallPath):
    """How a function that runs on a device takes its arguments and gives its results."""

    lock = "device.lock"  # looked up by each call: a forked child has a new one

    def _known(self) -> dict[str, Any]:
        return {**super()._known(), "device": self.device, "path": self}

    @property
    def device(self) -> Any:
        """Where the program runs."""
        return self.program.device  # type: ignore[attr-defined]

    def _accept(self, k: int, x: str) -> str:
        return f"path.taken(owner, {k}, {x})"

    def taken(self, owner: Any, k: int, value: Any) -> Any:
        """Argument `k`: an array of this device as it is, anything else as an array of the host."""
        if isinstance(value, DeviceArray):
            return value if self._fits(self.ins[k], value) else owner.accept(k, value.on_host())
        return owner.accept(k, value)

    def _fits(self, item: In, value: DeviceArray) -> bool:
        kind = item.variable.type
        return (
            value.device is self.device
            and is_tensor(item.variable)
            and value.dtype == kind.dtype
            and value.ndim == kind.ndim
            and all(n == 1 for n, one in zip(value.shape, kind.broadcastable, strict=True) if one)
        )

    def _move(self) -> Iterator[str]:
        return iter(())  # `run` does

    def _point(self) -> Iterator[str]:
        return iter(())  # `run` copies arguments to where kernels look for them

    def _run(self) -> Iterator[str]:
        moved = "moved" if self.program.binder.moving else "()"
        run = f"program.run(bound, [{', '.join(self.arguments)}], {moved})"
        yield f"[{', '.join(self.results)}] = {run}" if self.results else run
