"""One line for who waits: what the compiler is at, when it takes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_WATCH: ContextVar[Callable[[str], None] | None] = ContextVar("watch", default=None)


@contextmanager
def announce_after(seconds: float, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, `say` once what is going on when it has taken more than `seconds`."""
    start, said = time.perf_counter(), False

    def watch(what: str) -> None:
        nonlocal said
        if not said and time.perf_counter() - start > seconds:
            said = True
            say(what)

    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


def going_on(what: str) -> None:
    """Tell `announce_after` what takes time now."""
    watch = _WATCH.get()
    if watch is not None:
        watch(what)
