"""The driver: walks a table of steps (docs/decisions/001) without the interpreter.

One native function does it, on the calling thread or sharing the chunks of long steps with Numba's
thread pool; the chunks, and so the bits, are the same either way. The pool is loaded when a program
first needs it, as the extension module that Numba ships, without importing Numba.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from symgraph.compile import cache as kernels
from symgraph.compile.slots import CONTEXT, COUNT, PARALLEL_FOR, TAKEN, THREADS, WORKERS

Kernel = Callable[[Sequence[int], Sequence[int], int, int, int], None]


class Program:
    """The vectors of one compiled function, ready to be walked.

    All are int64 and C-contiguous: steps (n, 7): kernel address, first operand, operand count,
    first size index, extent, grain, chain; operands (m, 3): index of a base, byte offset, share;
    sizes; bases: addresses; errors (4,): a step after which errors[0] is not 0 is the last one.
    They are kept alive and may be edited in place between runs; call `resized` after editing
    extents or grains. One program must not run twice at a time.

    A step whose extent is 0 does nothing; a grain is at least 1. `chain` steps from this one on,
    all of as many chunks as this or of none, run chunk by chunk: the first chunk of each, then the
    second of each (docs/decisions/005); 0 or 1 is the step alone. An operand with a share is memory
    for a chunk alone: `share` bytes, rounded up to 64, for each worker; the kernel finds its chunk
    there as if all chunks lay one after the other. Raises ValueError for a vector of another dtype,
    shape or layout.
    """

    def __init__(
        self,
        steps: np.ndarray,
        operands: np.ndarray,
        sizes: np.ndarray,
        bases: np.ndarray,
        errors: np.ndarray,
        threads: int | None = None,
    ) -> None:
        shapes = {"steps": (-1, 7), "operands": (-1, 3), "errors": (4,)}
        self.vectors = {
            "steps": steps,
            "operands": operands,
            "sizes": sizes,
            "bases": bases,
            "errors": errors,
        }
        for name, vector in self.vectors.items():
            shape = shapes.get(name, (-1,))
            fits = vector.ndim == len(shape) and all(
                want in (-1, got) for want, got in zip(shape, vector.shape, strict=True)
            )
            if vector.dtype != np.int64 or not fits or not vector.flags.c_contiguous:
                raise ValueError(
                    f"{name} must be C-contiguous int64 of shape {shape} (-1: any), "
                    f"got {vector.dtype} of shape {vector.shape}"
                )
        self.steps = steps
        self.threads = workers() if threads is None else threads
        self._pointers = np.empty(self.threads * len(operands), np.int64)
        vectors = [steps, operands, self._pointers, sizes, bases, errors]
        addresses = [vector.ctypes.data for vector in vectors]
        self._context = np.array(addresses + [0] * (CONTEXT - len(addresses)), np.int64)
        self._context[COUNT] = len(operands)
        self._numbers = np.arange(self.threads, dtype=np.int64)
        self._context[THREADS] = 1
        self._context[WORKERS] = self._numbers.ctypes.data
        self._taken = np.zeros(self.threads, np.int64)
        self._context[TAKEN] = self._taken.ctypes.data
        self.place = self._context.ctypes.data
        self._walk = _entry()
        self.resized()

    def resized(self) -> None:
        """Look at extents and grains again: is there a step with more than one chunk?"""
        extent, grain = self.steps[:, 4], self.steps[:, 5]
        self.parallel = bool((extent > grain).any())

    def run(self, first: int, last: int) -> int:
        """Walk the steps first..last; the index reached, `last` unless the step there failed.

        The interpreter lock is released meanwhile.
        """
        if self.parallel and self.threads > 1:
            return self._run_parallel(first, last)
        return self._walk(self.place, first, last)

    def _run_parallel(self, first: int, last: int) -> int:
        threads = min(self.threads, workers())
        pool = _pool.parallel_for(threads) if threads > 1 else 0
        if not pool:
            return self._walk(self.place, first, last)
        with _pool.lock:
            self._context[THREADS] = min(threads, _pool.size)
            self._context[PARALLEL_FOR] = pool
            try:
                return self._walk(self.place, first, last)
            finally:
                self._context[THREADS] = 1


def run(
    steps: np.ndarray,
    operands: np.ndarray,
    sizes: np.ndarray,
    bases: np.ndarray,
    errors: np.ndarray,
    first: int,
    last: int,
) -> int:
    """`Program(...).run(first, last)`, for a program that runs once."""
    return Program(steps, operands, sizes, bases, errors).run(first, last)


def run_interpreted(
    functions: Sequence[Kernel],
    steps: np.ndarray,
    operands: np.ndarray,
    sizes: np.ndarray,
    bases: np.ndarray,
    errors: np.ndarray,
    first: int,
    last: int,
) -> int:
    """The same walk in Python, in the same chunks: column 0 is an index into `functions`."""
    parameters = memoryview(sizes.data)
    s = first
    while s < last:
        members = range(s, s + max(int(steps[s, 6]), 1))
        for chunk in range(-(-int(steps[s, 4]) // int(steps[s, 5]))):
            for m in members:
                kernel, operand, count, size, extent, grain, _ = steps[m].tolist()
                base, offset, share = operands[operand : operand + count].T
                arrays = (bases[base] + offset - chunk * share).tolist()
                start = chunk * grain
                if start >= extent:  # a step with nothing to do may stand in a chain
                    continue
                with np.errstate(all="ignore"):
                    functions[kernel](
                        arrays, parameters[size:], start, min(start + grain, extent), 0
                    )
        if errors[0] != 0:
            return s
        s = members.stop
    return last


# ---- threads


def _default_threads() -> int:
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Pool:
    """Numba's thread pool, loaded when first used; never in a child forked after that."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = _default_threads()
        self.size = 0
        self.layer = ""
        self._parallel_for = 0
        self._usable = True

    def parallel_for(self, threads: int) -> int:
        """The address of the pool's `parallel_for`, or 0 where there is none."""
        if not self._parallel_for and self._usable:
            with self.lock:
                if not self._parallel_for:
                    self._launch(threads)
        return self._parallel_for

    def _launch(self, threads: int) -> None:
        # OpenMP's team is as large as each region asks; the work queue's is made once.
        for layer in ("omppool", "workqueue"):
            with _short_spin():
                module = _numba_extension(layer)
            if module is not None:
                break
        else:
            self._usable = False
            return
        self.size = max(threads, self.threads, os.cpu_count() or 1)
        ctypes.CFUNCTYPE(None, ctypes.c_int)(module.launch_threads)(self.size)
        self.layer, self._parallel_for = layer, module.parallel_for

    def after_fork(self) -> None:
        """In the child: the pool's threads are gone, and GNU OpenMP cannot start new ones."""
        self.lock = threading.Lock()
        if self._parallel_for or "numba.np.ufunc.omppool" in sys.modules:
            self._parallel_for, self._usable = 0, False


@contextmanager
def _short_spin() -> Iterator[None]:
    """Have GNU OpenMP, if it is loaded inside, wait for microseconds before it sleeps.

    Its default of milliseconds gains nothing when the cores are free, and when they are not, costs
    as much again as the work (measured: 8.5 ms against 5.2 for 10 steps of 0.2 ms).
    """
    chosen = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ)
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = "10000"
    try:
        yield
    finally:
        if not chosen:
            del os.environ["GOMP_SPINCOUNT"]


_pool = _Pool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _pool.after_fork())


def _numba_extension(name: str) -> Any:
    """A module of numba.np.ufunc, without running Numba's `__init__`; None where it fails."""
    full = "numba.np.ufunc." + name
    if full in sys.modules:
        return sys.modules[full]
    package = importlib.util.find_spec("numba")
    if package is None or not package.origin:
        return None
    finder = importlib.machinery.FileFinder(
        str(Path(package.origin).parent / "np" / "ufunc"),
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    )
    spec = finder.find_spec(full)
    if spec is None or spec.loader is None:
        return None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return module


def workers() -> int:
    """How many threads a program may use: an upper bound of the numbers of workers, exclusive."""
    return _pool.threads


def set_threads(n: int) -> None:
    """Allow `n` threads from now on. A program never uses more than when it was made.

    Raises ValueError unless n >= 1.
    """
    if n < 1:
        raise ValueError(f"the number of threads must be at least 1, got {n}")
    _pool.threads = int(n)


# ---- the entry


def prepare() -> None:
    """Load the walk itself, or compile it: the first program would."""
    _entry()


@cache
def rounds() -> int:
    """The address of what a step runs that walks a program again and again (loop.py)."""
    return _entry()(0, 0, 0)


class _MethodDefinition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_METH_FASTCALL = 0x0080


@cache
def _entry() -> Callable[[int, int, int], int]:
    """The native walk as a builtin function (address of a context, first, last)."""

    def compile_driver(symbol: str) -> bytes:
        from symgraph.compile import walk

        return walk.compile_driver(kernels.machine(), symbol)

    place = kernels.load("the driver", compile_driver, "driver")
    definition = _MethodDefinition(b"walk", place, _METH_FASTCALL, b"Walk a table of steps.")
    # For ever: the interpreter may let go of the function after all modules, and looks there then.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(definition))
    make: Any = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    walk: Callable[[int, int, int], int] = make(ctypes.addressof(definition), None, None)
    return walk
