"""Kernels by content: the same source on the same machine is compiled once, for all processes.

A file holds object code, found by a key over everything that shaped it: the source, the flags, the
vocabulary's own text, the versions, the CPU. Nothing in it is executed on loading and Numba is not
imported to load it. What does not check out is compiled again and rewritten.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import linecache
import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symgraph._version import __version__
from symgraph.compile.assistant import Job, assistant
from symgraph.compile.progress import going_on

if TYPE_CHECKING:
    import llvmlite.binding as llvm

OPTIONS: dict[str, Any] = {
    "fastmath": {"contract", "reassoc", "arcp", "nsz"},
    "error_model": "numpy",
}
"""How Numba compiles a kernel: reordering sums and contracting is allowed, losing NaN is not."""

VOCABULARY_FILES = (
    "codegen",
    "frontend",
    "helpers",
    "native",
    "loopfacts",
    "arithmetic",
    "remainder",
    "intrinsics",
    "mathlib",
    "formats",
    "twoparts",
    "trigonometry",
    "arcs",
    "errorfunction",
    "gammafunction",
    "powers",
    "special",
    "philox",
    "../ops/philox",
    "slots",
    "walk",
    "rounds",
    "library/microkernel",
    "library/interleaved_tiles",
    "library/emit",
    "library/blocks",
    "library/patches",
    "library/phases",
    "library/mersenne",
    "library/blocking",
    "cuda/codegen",
    "cuda/vocabulary",
)
MAGIC = b"symgraph object 1\n"

on_compile: Callable[[str, str], None] | None = None
"""Called with (name, source) before a kernel is compiled, never when it is found."""


@dataclass(frozen=True)
class Kernel:
    """A kernel ready to run: `address` of the C function, or `function` for the target "python"."""

    name: str
    source: str
    target: str
    address: int = 0
    function: Callable[..., None] | None = None


@dataclass
class Statistics:
    """Kernels found on disk, kernels compiled, and the seconds that compiling took."""

    hits: int = 0
    compiled: int = 0
    seconds: float = 0.0


@dataclass
class _State:
    kernels: dict[tuple[str, str], Kernel] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=Statistics)
    lock: threading.RLock = field(default_factory=threading.RLock)
    to_compile: int = 0  # kernels that are being waited for


_state = _State()


def _renew_lock() -> None:
    # The forked child has one thread; a lock that another thread of the parent held stays shut.
    _state.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def build(source: str, target: str = "cpu", name: str = "kernel") -> Kernel:
    """The kernel that `source` defines as `kernel(arrays, sizes, start, stop, worker)`.

    target "cpu" gives machine code, "python" the same text run by the interpreter. Two calls with
    the same source give the same kernel. Thread-safe. Raises Numba's errors for source that it
    cannot compile, ValueError for another target, RuntimeError for a kernel that would allocate or
    that calls an unknown symbol.
    """
    return build_all([source], target, name)[0]


def build_all(
    sources: Iterable[str],
    target: str = "cpu",
    name: str = "kernel",
    before: Callable[[], object] | None = None,
) -> list[Kernel]:
    """`build` of each; where there is much to compile, a second process does half of it.

    `before` is other work of this process that should be done while the second one starts.
    """
    sources = list(sources)
    with _state.lock:
        new = [s for s in dict.fromkeys(sources) if (target, s) not in _state.kernels]
        if target == "python":
            made = (_interpret(source, name) for source in new)
        elif target == "cpu":
            made = (
                Kernel(name, s, target, place) for s, place in _addresses(new, name, before).items()
            )
        else:
            raise ValueError(f"unknown target {target!r}: expected 'cpu' or 'python'")
        _state.kernels.update({(target, kernel.source): kernel for kernel in made})
        return [_state.kernels[target, source] for source in sources]


def _interpret(source: str, name: str) -> Kernel:
    from symgraph.compile import interpreted

    function = execute(source, name, interpreted.VOCABULARY)
    return Kernel(name, source, "python", function=function)


def execute(source: str, name: str, vocabulary: dict[str, Any]) -> Any:
    """Run `source` with `vocabulary` as globals and return what it defines as `kernel`.

    The text is registered with linecache, so tracebacks and Numba's messages can quote it.
    """
    filename = f"<symgraph {name} {hashlib.sha256(source.encode()).hexdigest()[:12]}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    namespace = {"__name__": "symgraph.kernels", **vocabulary}
    exec(compile(source, filename, "exec"), namespace)
    return namespace["kernel"]


def load(source: str, compiler: Callable[[str], bytes], name: str) -> int:
    """The address of the object for `source`, found on disk or made with `compiler(symbol)`."""
    with _state.lock:
        address = _find(source)
        if address is None:
            _announce(name, source)
            begin = time.perf_counter()
            address = _add(source, compiler(_symbol(source)))
            _state.statistics.seconds += time.perf_counter() - begin
        return address


def _addresses(
    sources: Sequence[str], name: str, before: Callable[[], object] | None
) -> dict[str, int]:
    """The addresses of these kernels, found on disk or compiled."""
    places = {source: place for source in sources if (place := _find(source)) is not None}
    missing = [source for source in sources if source not in places]
    if missing:
        begin, spent = time.perf_counter(), _state.statistics.seconds
        _state.to_compile = len(missing)
        places |= _compile_all(missing, name, before)  # `before` may have counted its own seconds
        _state.statistics.seconds = spent + time.perf_counter() - begin
    return places


def _compile_all(
    sources: Sequence[str], name: str, before: Callable[[], object] | None
) -> dict[str, int]:
    """Compile these, the largest first: that way two processes are done at about the same time."""
    ordered = sorted(sources, key=len, reverse=True)
    jobs = deque(Job(name, source, _symbol(source)) for source in ordered)
    helper = assistant(jobs)
    places: dict[str, int] = {}
    try:
        if before is not None:
            before()
        while job := helper.take() if helper else jobs and jobs.popleft():
            _announce(name, job.source)
            places[job.source] = _add(job.source, compile_kernel(*job))
    finally:
        if helper is not None:
            helper.close()
    for source in ordered:
        if source not in places:  # the helper took it
            assert helper is not None
            _announce(name, source)
            symbol = _symbol(source)
            payload = helper.made.get(symbol) or compile_kernel(name, source, symbol)
            places[source] = _add(source, payload)
    return places


def _find(source: str) -> int | None:
    """The address of the object that the cache holds for `source`."""
    payload = _read(_path(source), key_of(source))
    if payload is None:
        return None
    try:
        address = _engine().add(payload, _symbol(source))
    except RuntimeError:
        return None
    _state.statistics.hits += 1
    return address


def _add(source: str, payload: bytes) -> int:
    """Load what was compiled for `source` and keep it in the cache."""
    address = _engine().add(payload, _symbol(source))
    _state.statistics.compiled += 1
    _state.to_compile = max(_state.to_compile - 1, 0)
    _write(_path(source), key_of(source), payload)
    return address


def _announce(name: str, source: str) -> None:
    count = max(_state.to_compile, 1)
    kernels = f"{count} kernels" if count > 1 else "a kernel"
    going_on(f"symgraph: compiling {kernels}; the next process finds them in {cache_dir()}")
    if on_compile is not None:
        on_compile(name, source)


def compile_kernel(name: str, source: str, symbol: str) -> bytes:
    """The object code of a kernel, as codegen.emit gives it."""
    from symgraph.compile import codegen, native

    function = execute(source, name, native.VOCABULARY)
    module = codegen.lower(function, codegen.KERNEL_ARGUMENTS, OPTIONS, symbol)
    codegen.reject_run_time(module, name)
    return codegen.emit(module, machine(), symbol)


# ---- the folder


def cache_dir() -> Path:
    """$SYMGRAPH_CACHE, else `config.compiledir`, else `config.base_compiledir`, else the folder
    `symgraph` among the user's caches. It may not exist."""
    from symgraph.configuration import config

    flag = config.compiledir or config.base_compiledir
    chosen = os.environ.get("SYMGRAPH_CACHE") or os.path.expanduser(flag)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "symgraph"


def clear() -> None:
    """Delete the cached files. Kernels already loaded stay usable."""
    for path in cache_dir().glob("??/*"):
        with suppress(OSError):
            path.unlink()


def statistics() -> Statistics:
    """What has happened in this process since it began."""
    with _state.lock:
        return Statistics(**vars(_state.statistics))


def _read(path: Path, key: str) -> bytes | None:
    """The payload of a file that is whole and is this key's, else None."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    head, payload = content[: len(MAGIC) + 96], content[len(MAGIC) + 96 :]
    digest = hashlib.sha256(payload).hexdigest().encode()[:32]
    return payload if head == MAGIC + key.encode() + digest else None


def _write(path: Path, key: str, payload: bytes) -> None:
    """Put the file in place whole; where that cannot be done, go without."""
    digest = hashlib.sha256(payload).hexdigest().encode()[:32]
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC + key.encode() + digest + payload)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def fetch(key: str, suffix: str) -> bytes | None:
    """What `keep` was given for a key, if a whole file of it is there."""
    return _read(cache_dir() / key[:2] / (key + suffix), key)


def count(hits: int = 0, compiled: int = 0) -> None:
    """Add kernels that were found, or compiled, elsewhere to the statistics."""
    with _state.lock:
        _state.statistics.hits += hits
        _state.statistics.compiled += compiled


def keep(key: str, suffix: str, payload: bytes) -> None:
    """Keep what was made under its key, for all processes."""
    _write(cache_dir() / key[:2] / (key + suffix), key, payload)


# ---- the key


def _path(source: str) -> Path:
    key = key_of(source)
    return cache_dir() / key[:2] / (key + ".o")


def _symbol(source: str) -> str:
    return "symgraph_" + key_of(source)[:32]


def key_of(source: str) -> str:
    """A digest of everything that shapes what is compiled from `source`."""
    digest = hashlib.sha256(_environment())
    digest.update(source.encode())
    return digest.hexdigest()


@cache
def _environment() -> bytes:
    """Everything but the source that shapes an object, the vocabulary's own text included."""
    import llvmlite
    import llvmlite.binding as llvm

    facts: list[object] = [
        __version__,
        sorted(OPTIONS["fastmath"]),
        OPTIONS["error_model"],
        _numba_version(),
        llvmlite.__version__,
        sys.version_info[:2],
        llvm.get_process_triple(),
        *_cpu(),
    ]
    here = Path(__file__).parent
    for name in VOCABULARY_FILES:
        path = here / (name + ".py")
        facts.append((name, path.read_text(encoding="utf-8") if path.exists() else None))
    return repr(facts).encode()


def _numba_version() -> str:
    numba = sys.modules.get("numba")
    return numba.__version__ if numba is not None else importlib.metadata.version("numba")


@cache
def _cpu() -> tuple[str, str]:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    if "+avx512f" in features.split(","):
        # LLVM keeps to half vectors on many of these; whole ones took 25 % off mathlib's loops.
        features += ",-prefer-256-bit"
    return llvm.get_host_cpu_name(), features


# ---- LLVM


@cache
def machine() -> llvm.TargetMachine:
    """The machine that this process runs on, for compiling."""
    return _new_machine()


def _new_machine() -> llvm.TargetMachine:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = _cpu()
    triple = llvm.get_process_triple()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        # MCJIT on x86 does not fill the table that position-independent code needs.
        reloc="static" if triple.startswith(("x86", "i386", "i686")) else "default",
        codemodel="jitdefault",
        jit=True,
    )


class _Engine:
    """Loads objects into the process, for good: a kernel's address is valid until the end."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        self.llvm = llvm
        # The engine takes the target machine for its own.
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _new_machine())
        self.objects: list[object] = []

    def add(self, payload: bytes, symbol: str) -> int:
        """The address of `symbol` in the object. RuntimeError where a symbol it needs is missing.

        An unresolved symbol ends the process inside LLVM, so the list is checked first.
        """
        count = int.from_bytes(payload[:4], "little")
        needed = payload[4 : 4 + count].decode().split()
        missing = [name for name in needed if self.llvm.address_of_symbol(name) is None]
        if missing:
            raise RuntimeError(f"a kernel calls {missing}, which this process does not have")
        code = self.llvm.ObjectFileRef.from_data(payload[4 + count :])
        self.engine.add_object_file(code)
        self.engine.finalize_object()
        self.objects.append(code)
        return int(self.engine.get_function_address(symbol))


@cache
def _engine() -> _Engine:
    return _Engine()
