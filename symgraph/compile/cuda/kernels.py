"""Kernels by content on a GPU: PTX is made and assembled once for an architecture, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.compile import cache
from symgraph.compile.cuda.libcuda import CudaDevice, device
from symgraph.compile.progress import going_on

SYMBOL = "kernel"


class Gpu:
    """A CUDA device that is given kernels as source text."""

    def __init__(self, driver: CudaDevice | None = None) -> None:
        self.driver = driver if driver is not None else device()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.driver, name)
        if callable(found):
            setattr(self, name, found)  # the next time it is at hand
        return found

    def build(self, sources: Sequence[str]) -> list[int]:
        """The functions of these kernels, from the cache's cubins where it has them."""
        images = [self._find(source) for source in sources]
        missing = [k for k, image in enumerate(images) if image is None]
        cache.count(hits=len(images) - len(missing), compiled=len(missing))
        for done, k in enumerate(missing):
            going_on(
                f"symgraph: compiling {len(missing) - done} CUDA kernels; the next process finds "
                f"them in {cache.cache_dir()}"
            )
            images[k] = self._make(sources[k])
        return [self.driver.load(image, SYMBOL) for image in images if image is not None]

    def _key(self, source: str) -> str:
        return cache.key_of(f"cubin {self.driver.arch}\n{source}")

    def _find(self, source: str) -> bytes | None:
        return cache.fetch(self._key(source), ".cubin")

    def _make(self, source: str) -> bytes:
        from symgraph.compile.cuda import codegen

        cubin = self.driver.assemble(codegen.ptx(source, codegen.known(self.driver.arch), SYMBOL))
        cache.keep(self._key(source), ".cubin", cubin)
        return cubin
