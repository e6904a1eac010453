"""Launches before anything has an address: which kernel, and where its operands lie by base."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from symgraph.compile.cuda.cublas import Product
from symgraph.compile.cuda.signature import THREADS, threads

ROW = 4  # numbers of an operand


class Chosen(NamedTuple):
    """A kernel, how many blocks of how many threads run it, and its sizes."""

    source: str
    blocks: int
    threads: int
    sizes: list[int]


class Call(NamedTuple):
    """One launch. `rows`, int64 (operands, 4): the base, the offset there in bytes, the number of a
    moving offset (-1: none) and what that is multiplied by. `site`: where it is in the program, the
    position of its step; in a loop the loop's, the round, the position there. If the kernel
    `may_refuse` data, the number of its site (binding.Sites) is its last size. The first `written`
    operands are written, as may be the bases `also`; a `guarded` one does nothing if an error was
    noted before.
    """

    chosen: Chosen
    rows: np.ndarray
    name: str
    site: tuple[int, ...]
    may_refuse: bool = False
    written: int = 1
    guarded: bool = False
    also: tuple[int, ...] = ()


class ProductCall(NamedTuple):
    """One product by cuBLAS. `rows` are as a Call's, of C, A and B; `step`: the position of its
    step."""

    dtype: str
    what: Product
    rows: np.ndarray
    step: int


@lru_cache(maxsize=1024)
def only_if(source: str, operand: int, wanted: bool) -> str:
    """The kernel, doing nothing unless its last operand, a bool scalar, is `wanted`."""
    head = THREADS.search(source)
    assert head is not None
    start = head.end() + 1
    test = f"    if pointer(arrays, {operand}, int8)[0] != {int(wanted)}:\n        return\n"
    return source[:start] + test + source[start:]


def conditional(call: Call, condition: np.ndarray, wanted: bool) -> Call:
    """`call`, if the bool scalar at the row `condition` is `wanted` when its turn comes."""
    source = only_if(call.chosen.source, len(call.rows), wanted)
    rows = np.concatenate([call.rows, condition[None]])
    return call._replace(chosen=call.chosen._replace(source=source), rows=rows)


_COPY = """\
def kernel(arrays, sizes):  # 256 threads
    out, given = pointer_out(arrays, 0, {dtype}), pointer_in(arrays, 1, {dtype})
    i = block() * 256 + thread()
    if i < sizes[0]:
        out[i] = given[i]
"""


def copy_call(
    target: np.ndarray, source: np.ndarray, count: int, itemsize: int, site: tuple[int, ...]
) -> Call:
    """Copies `count` elements of `itemsize` bytes from one row to another."""
    text = _COPY.format(dtype=f"uint{8 * itemsize}")
    per_block = threads(text)
    chosen = Chosen(text, -(-count // per_block), per_block, [count])
    return Call(chosen, np.stack([target, source]), "copy", site)


_REFUSE = """\
def kernel(arrays, sizes):  # 32 threads
    errors = pointer(arrays, 0, int64)
    if thread() == 0:
        if claim(errors, {code}):
            errors[1] = sizes[0]
            errors[2] = 0
            errors[3] = 0
            errors[4] = sizes[1]
"""


def refusing_call(errors: np.ndarray, code: int, fact: int, site: tuple[int, ...]) -> Call:
    """Notes an error."""
    text = _REFUSE.format(code=code)
    return Call(Chosen(text, 1, threads(text), [fact]), errors[None], "error", site, True, 0)
