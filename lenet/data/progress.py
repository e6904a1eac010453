"""A progress bar for what takes long: tqdm's where it is installed and someone is watching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, label: str, unit: str = "B") -> Iterator[Callable[[int], object]]:
    """A function to call with each number of bytes (or of `unit`) that are done.

    `total` is 0 when unknown.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda count: None
        return
    # disable=None: tqdm keeps silent when stderr is not a terminal.
    with tqdm(total=total or None, desc=label, unit=unit, unit_scale=True, disable=None) as bar:
        yield bar.update
