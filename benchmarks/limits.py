"""What the machine gives in these minutes: the roof over every row."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.crew import Crew, Failed
from benchmarks.subject import Subject

_ELEMENTS = 1 << 24
ROOFS: dict[str, tuple[str, list[Any], float]] = {
    "flops": ("gemm", [2048, 2048, 2048, False, False, "float32"], 2 * 2048.0**3),
    "bytes": ("stream", [_ELEMENTS], 12.0 * _ELEMENTS),
}
"""Kernel, arguments and work of one call: a float32 product, and c = a + b in 200 MB."""


def limits(crew: Crew, subject: Subject) -> dict[str, float]:
    """FLOP a second, or bytes a second for a subject without FLOP, by whoever is there of
    symgraph, PyTorch and NumPy; nothing for a subject without either.

    The steps stay prepared from row to row, in slots of their own.
    """
    key = "flops" if subject.flops else "bytes"
    if not (subject.flops or subject.bytes):
        return {}
    kernel, arguments, work = ROOFS[key]
    found: dict[str, float] = {}
    for name in ("symgraph", "torch", "NumPy"):
        if name not in crew.names:
            continue
        try:
            hand = crew.hand(name)
            if key not in hand.prepared:
                hand.make(kernel, arguments, key)
                hand.prepared.add(key)
            time.sleep(0.01)
            found[name] = work / hand.time(0.05, key)
        except Failed:
            continue
    return found
