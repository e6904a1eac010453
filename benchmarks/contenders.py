"""Who is measured: symgraph, its peers, and NumPy for what the machine gives."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-bench"
"""Where `make bench` keeps symgraph's environment, `peers/NAME` for each peer, and `cache`."""


@dataclass(frozen=True)
class Contender:
    """One column of the tables, measured in a worker process of its own.

    `module` holds the class `Peer` (see `benchmarks.peers`), `package` is what its users import;
    `needs` more packages for `pip`.
    `kernels`: those to measure, None for all that the class has. `slow` ones compile for minutes:
    `--quick` leaves them out. A `reference` is no peer: it tells what the machine gives.
    """

    name: str
    module: str
    package: str
    needs: tuple[str, ...] = ()
    variant: str = ""
    kernels: frozenset[str] | None = None
    threads: int = 2
    slow: bool = False
    reference: bool = False

    @property
    def own(self) -> bool:
        """Is this symgraph, with however many threads?"""
        return self.name.partition(",")[0] == "symgraph"

    @property
    def environment(self) -> Path:
        """The virtual environment of its own that `make bench` makes for it."""
        return HOME / "peers" / self.package.partition(".")[0]

    @property
    def python(self) -> str:
        """The interpreter of its environment; this process' one where that was not made."""
        own = self.environment / "bin" / "python"
        return str(own) if own.exists() and not self.failure else sys.executable

    @property
    def failure(self) -> str:
        """Why its package could not be installed, the last line that pip said; "" if it could."""
        log = self.environment / "failed"
        lines = log.read_text(encoding="utf-8").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else ""


_NETWORKS = {"lenet_step", "lenet_forward", "network_step"}
_IMAGES = {"lenet_step", "lenet_forward", "pool"}
_IMAGES |= {"conv_forward", "conv_grad_weights", "conv_grad_inputs"}

ALL = [
    Contender("symgraph", "benchmarks.peers.symgraph", "symgraph"),
    Contender("torch", "benchmarks.peers.torch", "torch", variant="eager"),
    Contender(
        "torch channels_last", "benchmarks.peers.torch", "torch", variant="channels_last",
        kernels=frozenset(_IMAGES),
    ),
    Contender(
        "torch.compile", "benchmarks.peers.torch", "torch", variant="compiled", slow=True,
        kernels=frozenset(_NETWORKS | {"chain", "add_scalars", "deep_chain", "deep_network"}),
    ),
    Contender("JAX", "benchmarks.peers.jax", "jax.numpy"),
    Contender("PyTensor", "benchmarks.peers.pytensor", "pytensor.tensor", slow=True),
    Contender(
        "Numba by hand", "benchmarks.peers.numba", "numba", needs=("scipy",),
        kernels=frozenset({"lstm_step"}),
    ),
    Contender("NumPy", "benchmarks.peers.numpy", "numpy", reference=True),
]  # fmt: skip
CONTENDERS = {c.name: c for c in ALL}
CONTENDERS |= {
    f"{name}, 1 thread": replace(CONTENDERS[name], name=f"{name}, 1 thread", threads=1)
    for name in ("symgraph", "torch", "torch channels_last", "Numba by hand")
}


def settings(threads: int, caches: Path) -> dict[str, str]:
    """The environment variables of a worker: threads for every library, caches in one folder.

    Waiting is each library's own but for OpenBLAS, whose threads would spin for 30 ms after each
    product, into the next contender's turn. Byte code is kept, as everywhere after an installation.
    """
    caches = caches.absolute()
    libraries = ("OMP", "MKL", "OPENBLAS", "NUMBA")
    return {
        **os.environ,
        **{f"{library}_NUM_THREADS": str(threads) for library in libraries},
        "PYTHONDONTWRITEBYTECODE": "",
        "OPENBLAS_THREAD_TIMEOUT": "20",  # 2 ** 20 cycles
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "SYMGRAPH_CACHE": str(caches / "symgraph"),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "torchinductor"),
        "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PLATFORMS": "cpu",
        "PYTENSOR_FLAGS": f"base_compiledir={caches / 'pytensor'}",
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        "XDG_CACHE_HOME": str(caches / "other"),
    }
