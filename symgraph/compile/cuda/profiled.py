"""A device's program that times its steps, for profiles (compile/profiling.py).

Kernels, and products by cuBLAS, are launched one by one, each between two events of the device.
Steps of the host and copies are timed by the wall clock, until the device is done with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile.cuda.array import DeviceArray
from symgraph.compile.cuda.binding import DeviceBound
from symgraph.compile.cuda.cublas import Multiplication
from symgraph.compile.cuda.device import Launch
from symgraph.compile.cuda.plan import CublasProduct
from symgraph.compile.cuda.program import DeviceProgram, Feed
from symgraph.compile.pipeline import Compiled
from symgraph.compile.profiled import NANO, Timed, share_out, timed
from symgraph.compile.steps import PythonStep
from symgraph.graph import Variable

if TYPE_CHECKING:
    from symgraph.compile.profiling import ProfileStats

MAIL = "results of no axes, errors, conditions"


class ProfiledDeviceProgram(DeviceProgram):
    """A program that notes in `stats` how long its kernels, steps of the host and copies take.

    `rows` are of the plan's steps; `copies` of what is copied, by user and direction.
    """

    def __init__(self, compiled: Compiled, stats: ProfileStats) -> None:
        plain: Any = compiled.program
        super().__init__(
            compiled.plan, plain.inputs, plain.shared, plain.output_slots, plain.update_slots,
            plain.device, plain.stays,
        )  # fmt: skip
        for k in self.feeds:
            self.feeds[k] = _Feed(self, self.inputs[k])
        self.stats, self.shares_for, self.user = stats, self.unbound, MAIL
        self.rows = [timed(f"{_kind(step)}{k}", step) for k, step in enumerate(self.plan.steps)]
        self.copies: dict[tuple[str, str], Timed] = {}
        stats.steps += self.rows
        name = f"{self.device.name} ({self.device.arch})"
        stats.devices = list(dict.fromkeys([*stats.devices, name]))

    @contextmanager
    def using(self, user: str) -> Iterator[None]:
        """Time what the device is asked to do in this context; copies are those of `user`."""
        before = self.user, self.device.backend
        self.user = user
        if not isinstance(self.device.backend, _Timing):
            self.device.backend = _Timing(self)
        try:
            yield
        finally:
            self.user, self.device.backend = before

    def note(self, row: Timed, seconds: float) -> None:
        """One run of a step, or one copy."""
        row.calls += 1
        row.seconds += seconds
        self.stats.vm_call_time += seconds

    def note_copy(self, way: str, nbytes: int, start: int) -> None:
        """A copy that began at `start`, for who is using the device."""
        self.device.synchronize()
        row = self.copies.get((self.user, way))
        if row is None:
            row = self.copies[self.user, way] = Timed(self.user, way, {}, copy=way)
            self.stats.steps.append(row)
        row.nbytes += nbytes
        self.note(row, (perf_counter_ns() - start) * NANO)

    # -- a call -----------------------------------------------------------------------------------

    def point_shared(self) -> None:
        with self.using("shared variables"):
            super().point_shared()

    def activate(self, key: Any, arrays: Sequence[Any]) -> DeviceBound:
        start = perf_counter_ns()
        bound = super().activate(key, arrays)
        self.stats.bind_time += (perf_counter_ns() - start) * NANO
        if self.shares_for is not bound:
            share_out(self, self.rows, [*arrays, *self.values])
            self._measure(bound)
            self.shares_for = bound
        return bound

    def _measure(self, bound: DeviceBound) -> None:
        memory = self.stats.memory
        for what, size in (
            ("temporaries and results on the device", bound.arena),
            ("shared variables", sum(getattr(value, "nbytes", 0) for value in self.values)),
            ("constants", sum(array.nbytes for array in self.on_device.values())),
        ):
            memory[what] = max(size, memory.get(what, 0))

    def run(  # type: ignore[override]
        self, bound: DeviceBound, arguments: Sequence[Any], moved: Sequence[int]
    ) -> list[Any]:
        with self.using(MAIL):
            return super().run(bound, arguments, moved)

    def call_staged(self, inputs: Sequence[Any]) -> list[Any]:
        with self.using(MAIL):
            return super().call_staged(inputs)

    def _view_late(self, variable: Variable, arrays: list[Any]) -> np.ndarray:
        with self.using("sizes that depend on results"):
            return super()._view_late(variable, arrays)

    def _fetch(self, slot: Variable, shape: tuple[int, ...]) -> np.ndarray:
        with self.using(f"result {self.output_slots.index(slot)}"):
            return super()._fetch(slot, shape)

    def _run_python(self, step: PythonStep, bound: Any) -> None:
        row = self.rows[self.plan.steps.index(step)]
        noted, start = self.stats.vm_call_time, perf_counter_ns()
        with self.using(f"{row.name}, {row.what}"):
            super()._run_python(step, bound)
        copies = self.stats.vm_call_time - noted
        self.note(row, (perf_counter_ns() - start) * NANO - copies)


def _kind(step: Any) -> str:
    if isinstance(step, CublasProduct):
        return "cuBLAS"
    return "host" if isinstance(step, PythonStep) else "kernel"


class _Feed(Feed):
    def __init__(self, program: ProfiledDeviceProgram, variable: Variable) -> None:
        super().__init__(program.device, variable.type.dtype)
        self.program, self.user = program, f"argument {variable}"

    def bring(self, value: Any) -> DeviceArray:
        with self.program.using(self.user):
            return super().bring(value)


class _Timing:
    """In the place of a device's backend: what runs, waits and notes how long it took."""

    def __init__(self, program: ProfiledDeviceProgram) -> None:
        self.program, self.backend = program, program.device.backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def upload(self, address: int, array: Any) -> None:
        start = perf_counter_ns()
        self.backend.upload(address, array)
        self.program.note_copy("to the device", array.nbytes, start)

    def download(self, array: Any, address: int) -> None:
        start = perf_counter_ns()
        self.backend.download(array, address)
        self.program.note_copy("to the host", array.nbytes, start)

    def launch(self, launch: Launch) -> None:
        with self._timed(launch.step):
            self.backend.launch(launch)

    def multiply(self, product: Multiplication) -> None:
        with self._timed(product.step):
            self.backend.multiply(product)

    @contextmanager
    def _timed(self, step: int) -> Iterator[None]:
        with self.backend.timing() as timing:
            yield
        self.program.note(self.program.rows[step], timing.milliseconds * 1e-3)

    def graph(self, launches: Sequence[Launch], dependencies: Any = None) -> _OneByOne:
        return _OneByOne(self, launches)


class _OneByOne:
    """In the place of a graph: the launches."""

    def __init__(self, device: _Timing, launches: Sequence[Launch]) -> None:
        self.device, self.launches = device, launches

    def update(self, k: int) -> None:
        """Launches are read when they are run."""

    def launch(self) -> None:
        for launch in self.launches:
            self.device.launch(launch)
