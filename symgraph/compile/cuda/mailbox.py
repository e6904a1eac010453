"""What kernels have to say to the host: an error, and results of no axes, fetched by one copy."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np

from symgraph.compile.cuda.array import DeviceArray
from symgraph.compile.cuda.binding import Sites
from symgraph.compile.cuda.device import Device
from symgraph.errors import explain
from symgraph.graph import Variable

HEAD = 64  # bytes for the error: code, index, size, label, step; each result takes 8 more


class Mailbox:
    """Memory that kernels write errors to, at `sites`, and the results of no axes in `slots`.

    `place` says where the latter are. An error stays until it is raised; meanwhile no kernel of the
    program changes a shared variable. `is_checked`: no call has been made whose errors nobody has
    asked for.
    """

    def __init__(self, device: Device, sites: Sites, slots: Sequence[Variable]) -> None:
        # weak: arrays with doubts hold this, and expressions of the plan are found by variables
        self.device, self.sites = device, weakref.ref(sites)
        self.place = {slot: HEAD + 8 * k for k, slot in enumerate(slots)}
        self.memory = DeviceArray(device, (HEAD + 8 * len(slots),), np.uint8)
        self.address = self.memory.address
        self.is_checked = True
        device.fill8(self.address, 0, HEAD)

    def check(self) -> None:
        """Raise what kernels have noted since this was last asked."""
        with self.device.lock:
            if not self.is_checked:
                self.open()

    def open(self) -> np.ndarray:
        """What is in it. Raises the error that is."""
        mail = self.memory.on_host()
        words = mail[:HEAD].view(np.int64)
        if words[0]:
            self.device.fill8(self.address, 0, HEAD)
        self.is_checked = True
        if words[0]:
            raise self._fault(words)
        return mail

    def _fault(self, words: np.ndarray) -> Exception:
        sites = self.sites()
        if sites is not None:
            return sites.fault(words)
        problem = "a function that has been deleted since refused what it was called with"
        return RuntimeError(
            explain("CUDA", problem, got="a result of this call", cure="keep the function, which "
                    "can tell more; set the values of the shared variables that it updates")
        )  # fmt: skip

    def letter(self, mail: np.ndarray, slot: Variable) -> np.ndarray:
        """A result of no axes that is in `mail`."""
        dtype, place = np.dtype(slot.type.dtype), self.place[slot]
        return np.array(mail[place : place + dtype.itemsize].view(dtype)[0])
