"""A device that runs nothing: functions are bound to it as to a GPU, to see what they launch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from symgraph.compile.cuda.libcuda import Timing, Traffic

STEP = 1 << 20


class Paper:
    """Memory that holds nothing, kernels that do nothing; what comes down is zero."""

    name, multiprocessors = "paper", 132

    def __init__(self, arch: str = "sm_90") -> None:
        self.arch, self.statistics = arch, Traffic()
        self.built = 0
        self.end = STEP

    def build(self, sources: Sequence[str]) -> list[int]:
        self.built += len(sources)
        return list(range(self.built - len(sources), self.built))

    def allocate(self, nbytes: int) -> int:
        start, self.end = self.end, self.end + -(-nbytes // STEP) * STEP
        return start

    def free(self, address: int) -> None: ...
    def upload(self, address: int, array: Any) -> None: ...
    def download(self, array: Any, address: int) -> None:
        array[...] = 0

    def copy(self, target: int, source: int, nbytes: int) -> None: ...
    def fill8(self, address: int, value: int, count: int) -> None: ...
    def fill(self, address: int, value: int, count: int) -> None: ...
    def launch(self, launch: Any) -> None: ...
    def cublas(self) -> None: ...
    def multiply(self, product: Any) -> None: ...
    def synchronize(self) -> None: ...

    def graph(self, launches: Sequence[Any], dependencies: Any = None) -> PaperGraph:
        return PaperGraph()

    @contextmanager
    def timing(self) -> Iterator[Timing]:
        result = Timing()
        result.milliseconds = 0.0
        yield result


class PaperGraph:
    """Launches that do nothing."""

    def update(self, k: int) -> None: ...
    def launch(self) -> None: ...
    def close(self) -> None: ...
