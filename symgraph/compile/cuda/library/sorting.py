"""Stable sorting by merging: tiles of 1024 in shared memory, then passes over the whole lines.

The operands are (before, n, after): lines of n elements are sorted, along the axis in the middle.
A line is cut into runs of 1024; if it is shorter, a tile holds several. A pass merges every two
runs. How many passes a size needs is known when the stages are chosen: the last one writes the
result, the ones before it go to and fro between two temporaries, which hold line after line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from textwrap import indent

from symgraph.types import DTYPES, FLOATS, INTEGERS

from .sorting_sources import BEFORE, BEFORE_NAN, CUT, MERGE, PLACES_ROOM, RESULT, TILES, WHOLE
from .stage import Lowering, Shapes, Stage, ceil_div, read_sizes

THREADS = 256
TILE = 1024
PASSES = 22  # of 2**32 elements


def sort(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (before, n, after) = in0 sorted along its second axis, NaN last. Any dtype."""
    return _Sorting("Sorted keys", dtype).lowering()


def argsort(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (before, n, after), int64: where along the second axis of in0 the elements of the sorted
    line are, of equal ones the first one first. NaN comes last. Any dtype."""
    return _Sorting("Places of sorted keys", dtype, "int64").lowering()


def argtopk(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (before, k, after): where along the second axis of in0 (before, n, after) the k largest
    elements are, the largest first, of equal ones the first one first. NaN is the largest.

    params: smallest (default False) for the k smallest, the largest of them first; index: the dtype
    of out0. Any dtype.
    """
    index, last = str(params.get("index", "int64")), bool(params.get("smallest", False))
    if index not in INTEGERS:
        raise ValueError(f"positions are integers, not {index}")
    what = f"Places of the {'last' if last else 'first'} keys in descending order"
    return _Sorting(what, dtype, index, descending=True, last=last).lowering()


@dataclass(frozen=True)
class _Sorting:
    """What is asked: the keys, or their places as a dtype; the order; of which as many elements as
    out0 has, the first or the last."""

    what: str
    dtype: str
    places: str | None = None
    descending: bool = False
    last: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"sorting is for {', '.join(DTYPES)}, not {self.dtype}")

    @property
    def carried(self) -> dict[str, str]:
        """What goes through the passes, and its dtype: keys, and their places if they are asked."""
        keys = {"keys": "uint8" if self.dtype == "bool" else self.dtype}
        return keys if self.places is None else {**keys, "places": "int64"}

    def lowering(self) -> Lowering:
        """The tiles go to where the first pass reads; pass k has k others behind it."""
        stages = [self._tiles(goal) for goal in (None, 0, 1)]
        stages += [self._merge(left) for left in reversed(range(PASSES))]
        temporaries = {
            f"{name}{k}": (dtype, partial(_room, k))
            for name, dtype in self.carried.items()
            for k in (0, 1)
        }
        return Lowering(tuple(stages), temporaries)

    def _tiles(self, goal: int | None) -> Stage:
        def blocks(shapes: Shapes) -> int:
            before, n, after = shapes["in0"]
            if _goal(_passes(n)) != goal or 0 in shapes["out0"]:
                return 0
            if n > TILE:
                return before * after * ceil_div(n, TILE)
            return ceil_div(before * after, TILE // _run(n))

        def source(shapes: Shapes) -> str:
            _, n, after = shapes["in0"]
            run, with_places = _run(n), self.places is not None
            return TILES.format(
                **self._common(goal, ("in0",), 12),
                sizes=self._sizes(goal, "_ kept _", ("before n after", "_ _ _"), after),
                run=run, slots=TILE // THREADS,
                held="float32" if self.dtype == "float16" else self.carried["keys"],
                room=PLACES_ROOM if with_places else "", tile=CUT if n > TILE else WHOLE,
                line="row" if n > TILE else f"block() * {TILE // run} + s // {run}",
                inside="p < size" if n > TILE else "p < size and line < before * after",
                numbered="            places[s] = p\n" if with_places else "",
                moved="                places[goal] = places[here + s]\n" if with_places else "",
                place="            place = start + places[here + s]\n" if with_places else "",
            )  # fmt: skip

        operands = self._written(goal)
        return Stage(source, (*operands, "in0"), blocks, len(operands))

    def _merge(self, left: int) -> Stage:
        """The pass that has so many `left` behind it."""
        goal = _goal(left)

        def blocks(shapes: Shapes) -> int:
            before, n, after = shapes["in0"]
            asked = left < _passes(n) and 0 not in shapes["out0"]
            return before * after * ceil_div(n, THREADS) if asked else 0

        def source(shapes: Shapes) -> str:
            _, n, after = shapes["in0"]
            return MERGE.format(
                **self._common(goal, tuple(self.carried), 8),
                sizes=self._sizes(goal, "_ kept after", ("_ n", "_ _"), after),
                width=TILE << (_passes(n) - left - 1),
                place="" if self.places is None else "        place = places[line * n + p]\n",
            )

        operands = self._written(goal)
        read = tuple(f"{name}{left % 2}" for name in self.carried)
        return Stage(source, (*operands, *read), blocks, len(operands))

    def _written(self, goal: int | None) -> tuple[str, ...]:
        """The operands that a stage writes: the temporaries `goal`, or with None the result."""
        return ("out0",) if goal is None else tuple(f"{name}{goal}" for name in self.carried)

    def _sizes(self, goal: int | None, result: str, source: tuple[str, str], after: int) -> str:
        """The lines that read the sizes; one that is mostly 1 is printed if it is."""
        written = [(result, "_ _ _")] if goal is None else [("_ _", "_ _")] * len(self.carried)
        if after != 1:
            return read_sizes(*written, source)
        known = [(sizes.replace("after", "_"), strides) for sizes, strides in (*written, source)]
        return read_sizes(*known) + "\n    after = 1"

    def _common(self, goal: int | None, read: tuple[str, ...], depth: int) -> dict[str, object]:
        """What both sources print; what is stored stands `depth` columns in."""
        names = {f"to_{name}": dtype for name, dtype in self.carried.items()}
        stored = "".join(f"to_{name}[line * n + p] = {name[:-1]}\n" for name in self.carried)
        if goal is None:
            names = {"to": self.places or self.carried["keys"]}
            value = "key" if self.places is None else "place"
            stored = RESULT.format(value=value, skipped="n - kept" if self.last else "0")
        names |= {"source": self.carried["keys"]}
        if "places" in read:
            names |= {"places": "int64"}
        before = [BEFORE[self.descending]]
        if self.dtype in FLOATS:
            before.append(BEFORE_NAN[self.descending])
        return {
            "what": self.what, "dtype": self.dtype, "threads": THREADS,
            "before": " or ".join(before), "stored": indent(stored, " " * depth),
            "operands": "\n".join(
                f"    {name} = pointer(arrays, {k}, {dtype})"
                for k, (name, dtype) in enumerate(names.items())
            ),
        }  # fmt: skip


def _run(n: int) -> int:
    """Elements in the runs that the tiles make of lines of n: a power of 2."""
    return min(TILE, 1 << max(0, n - 1).bit_length())


def _passes(n: int) -> int:
    """How often runs of lines of n are merged, until one is left."""
    return max(0, ceil_div(n, TILE) - 1).bit_length()


def _goal(left: int) -> int | None:
    """Which of two temporaries a stage writes that has so many behind it; None: the result."""
    return (left - 1) % 2 if left else None


def _room(k: int, shapes: Shapes) -> tuple[int, ...]:
    """The shape of a temporary: lines, one after the other. Its k-th is there for k + 1 passes."""
    before, n, after = shapes["in0"]
    return (before * after if _passes(n) > k else 0, n)
