"""What a CUDA kernel's text says of itself: the size of its blocks, its operands, its sizes.

Apart from codegen.py, which imports Numba: a process that finds all kernels kept needs none of it.
"""

from __future__ import annotations

import re

THREADS = re.compile(
    r"^def kernel\(arrays, sizes\):  # (\d+) threads(?:, (\d+) blocks)?$", re.MULTILINE
)
_OPERAND = re.compile(r"\(arrays, (\d+),")
_SIZE = re.compile(r"\bsizes\[(\d+)\]")


def threads(source: str) -> int:
    """Threads in a block, as the source says."""
    return block_of(source)[0]


def block_of(source: str) -> tuple[int, int]:
    """Threads in a block, and blocks for which a multiprocessor must have room."""
    found = THREADS.search(source)
    if found is None:
        raise ValueError("a CUDA kernel begins `def kernel(arrays, sizes):  # 256 threads`")
    return int(found[1]), int(found[2] or 1)


def parameters(source: str) -> tuple[int, int]:
    """How many operands and how many sizes a kernel takes, at least 1 of each."""
    arrays, sizes = (
        max((int(k) + 1 for k in pattern.findall(source)), default=1)
        for pattern in (_OPERAND, _SIZE)
    )
    return arrays, sizes
