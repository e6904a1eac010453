"""Host arrays on their way to the device, through page-locked memory.

The driver does not promise when it has read memory that it is given for an asynchronous copy, and
waiting for the device would leave it idle between training steps. So the bytes are put into
page-locked pieces, used in turn, and each is reused when its copy is done: the caller's array is
free at once, and a few uploads run ahead of the device. Source: CUDA Driver API, "API
synchronization behavior".
"""

from __future__ import annotations

import ctypes
import threading

from symgraph.compile.cuda.api import Api

PIECE = 256 << 10
PIECES = 16
"""A minibatch of 500 digits in float32 takes 6 of the pieces."""


class Staging:
    """Page-locked pieces for one stream, allocated with the first upload."""

    def __init__(self, call: Api, stream: int) -> None:
        self._call, self._stream = call, stream
        self._lock = threading.Lock()
        self._memory = self._turn = 0
        self._events: list[int] = []

    def upload(self, address: int, source: int, nbytes: int) -> None:
        """Copy from host memory at `source`; it may change after this. The context is current."""
        call = self._call
        with self._lock:
            if not self._memory:
                self._memory = call.handle("cuMemHostAlloc", PIECE * PIECES, 0)
            for start in range(0, nbytes, PIECE):
                count = min(PIECE, nbytes - start)
                piece, event = self._next()
                ctypes.memmove(piece, source + start, count)
                call("cuMemcpyHtoDAsync_v2", address + start, piece, count, self._stream)
                call("cuEventRecord", event, self._stream)

    def _next(self) -> tuple[int, int]:
        """A piece whose last copy is done, and the event to record after the next one."""
        k = self._turn
        if k == len(self._events):  # its first use
            self._events.append(self._call.handle("cuEventCreate", 2))  # CU_EVENT_DISABLE_TIMING
        else:
            self._call("cuEventSynchronize", self._events[k])
        self._turn = (k + 1) % PIECES
        return self._memory + k * PIECE, self._events[k]

    def close(self) -> None:
        """Give all back; the stream is idle."""
        for event in self._events:
            self._call("cuEventDestroy_v2", event)
        if self._memory:
            self._call("cuMemFreeHost", self._memory)
        self._memory, self._events = 0, []
