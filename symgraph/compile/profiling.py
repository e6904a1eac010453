"""Profiles: where the time of a function's calls goes, by kernel, by op and by the user's line.

A profiled function runs step by step, so that each can be timed; one that is not profiled knows
nothing of it. A fused kernel's time is shared among its nodes, in proportion to their work: the
cost of a node's scalar function times the elements that it reads or writes, whichever are more.
Steps of a chain (docs/decisions/005) run interleaved: the chain is timed as a whole, and its time
shared among its steps as in its second run, which goes chunk by chunk on one thread to find out.
On a device each kernel is launched alone, and timed by events there; steps of the host and copies
between host and device are timed by the wall clock, and have rows of their own.

Source: Theano, tutorial/profiling.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Iterable
from time import perf_counter_ns
from typing import Any, TextIO

from symgraph.compile import cache
from symgraph.compile.mode import Mode
from symgraph.compile.pipeline import Compiled
from symgraph.compile.profiled import NANO, Timed, profiled
from symgraph.configuration import config
from symgraph.errors import explain
from symgraph.graph import Apply, user_trace

_at_exit: list[ProfileStats] = []


class ProfileStats:
    """Times of one function, or of all functions that were given this object as `profile=`.

    `fct_callcount`, `fct_call_time` (seconds, all in all), `vm_call_time` (in steps),
    `bind_time` (working out sizes and memory for arguments of new shapes), `compile_time`,
    `kernel_compile_time` (the part of it that kernels took which were not in the cache),
    `steps`, `memory` (bytes, by what they are for), `message` (which function it is), `devices`
    (the names of devices that it runs on, none for the CPU).
    `atexit_print`: with `config.profile` the tables are printed when Python ends, to
    `config.profiling.destination`. The other arguments are accepted, and unused.
    Source: Theano, `theano.compile.ProfileStats`.
    """

    def __init__(
        self,
        atexit_print: bool = True,
        flag_time_thunks: bool | None = None,
        gpu_checks: bool = True,
        message: str | None = None,
    ) -> None:
        self.message = message
        self.compile_time = self.kernel_compile_time = 0.0
        self.memory: dict[str, int] = {}
        self.steps: list[Timed] = []
        self.devices: list[str] = []
        self.reset()
        if atexit_print:
            _at_exit.append(self)

    def reset(self) -> None:
        """Forget all calls so far."""
        self.fct_callcount = 0
        self.fct_call_time = self.vm_call_time = self.bind_time = 0.0
        for step in self.steps:
            step.reset()

    # -- what has been measured -------------------------------------------------------------------

    @property
    def apply_time(self) -> dict[Apply, float]:
        """Seconds by node of the rewritten graph."""
        return self._summed(lambda node: node)

    @property
    def apply_callcount(self) -> dict[Apply, int]:
        """How often each node was computed."""
        counts: dict[Apply, int] = {}
        for step in self.steps:
            for node in step.shares:
                counts[node] = max(counts.get(node, 0), step.calls)
        return counts

    def op_time(self) -> dict[str, float]:
        """Seconds by op."""
        return self._summed(_op_of)

    def line_time(self) -> dict[str, float]:
        """Seconds by line of the user's code."""
        return self._summed(_line_of)

    def _summed(self, key: Callable[[Apply], Any]) -> dict[Any, float]:
        total: dict[Any, float] = {}
        for step in self.steps:
            for node, share in step.shares.items():
                total[key(node)] = total.get(key(node), 0.0) + share * step.seconds
        return total

    # -- showing ----------------------------------------------------------------------------------

    def summary(
        self,
        file: TextIO | None = None,
        n_ops_to_print: int | None = None,
        n_apply_to_print: int | None = None,
    ) -> None:
        """Write the tables to `file` (default: stderr); the numbers limit their rows."""
        n_ops = config.profiling.n_ops if n_ops_to_print is None else n_ops_to_print
        n_apply = config.profiling.n_apply if n_apply_to_print is None else n_apply_to_print
        out = sys.stderr if file is None else file
        out.write("\n".join(self._lines(n_ops, n_apply)) + "\n")

    def _lines(self, n_ops: int, n_apply: int) -> Iterable[str]:
        total = self.fct_call_time
        yield from ("Function profiling", "==================")
        yield f"  Message: {self.message}"
        if self.devices:
            yield f"  Runs on: {', '.join(self.devices)}; kernels are launched one by one here"
        yield f"  Time in {self.fct_callcount} calls to Function.__call__: {total:e}s"
        parts = {what: 0.0 for what in self._parts()}
        for step in self.steps:
            parts[self._part_of(step)] += step.seconds
        parts["binding sizes"] = self.bind_time
        parts["the calls themselves"] = total - sum(parts.values())
        for what, seconds in parts.items():
            yield f"  Time in {what}: {seconds:e}s ({_percent(seconds, total)})"
        yield f"  Total compile time: {self.compile_time:e}s"
        yield f"    Kernels not found in the cache: {self.kernel_compile_time:e}s"
        yield ""
        title = "Kernels, steps of the host, copies" if self.devices else "Kernels"
        steps = [s for s in self.steps if s.calls or not s.copy]
        yield from _table(title, n_apply, [(s.seconds, s.calls, _row(s)) for s in steps])
        if any(s.in_chain for s in self.steps):
            yield "  * runs in a chain: its share of the chain's time, as in the second run"
            yield ""
        counts = self.apply_callcount
        for title, times, key in (
            ("Ops", self.op_time(), _op_of),
            ("Lines", self.line_time(), _line_of),
        ):
            calls: dict[str, int] = {}
            for node, count in counts.items():
                calls[key(node)] = calls.get(key(node), 0) + count
            yield from _table(title, n_ops, [(t, calls[k], k) for k, t in times.items()])
        yield "Memory"
        yield "------"
        for what, size in self.memory.items():
            yield f"  {size / 1024:12,.1f} KiB  {what}"
        yield ""

    def _parts(self) -> list[str]:
        """What the time of calls is divided into."""
        if not self.devices:
            return ["kernels", "Python steps"]
        return ["kernels", "steps of the host", "copies to the device", "copies to the host"]

    def _part_of(self, step: Timed) -> str:
        if step.copy:
            return f"copies {step.copy}"
        if not step.in_python:
            return "kernels"
        return "steps of the host" if self.devices else "Python steps"

    # -- measuring --------------------------------------------------------------------------------

    def compile(self, mode: Mode, *parts: Any) -> Compiled:
        """`mode.compile(*parts)`, timed, and its steps to be timed when they run."""
        kernels, start = cache.statistics().seconds, perf_counter_ns()
        compiled = mode.compile(*parts)
        if type(compiled) is Compiled:
            compiled.program = profiled(compiled, self)
        self.compile_time += (perf_counter_ns() - start) * NANO
        self.kernel_compile_time += cache.statistics().seconds - kernels
        return compiled

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies measure anew."""
        return ProfileStats, (True, None, True, self.message)

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, counted and timed."""

        def profiled(*args: Any) -> Any:
            start = perf_counter_ns()
            try:
                return call(*args)
            finally:
                self.fct_call_time += (perf_counter_ns() - start) * NANO
                self.fct_callcount += 1

        return profiled


def stats_for(profile: Any, name: str | None) -> ProfileStats | None:
    """What `function(profile=...)` means: None asks the configuration, True makes a profile, a
    string one of this message, and a profile is itself. TypeError for anything else."""
    if profile is None:
        profile = bool(config.profile)
    if profile is False:
        return None
    if isinstance(profile, ProfileStats):
        return profile
    if profile is True:
        where = user_trace()
        profile = name or (f"{where.filename}:{where.lineno}" if where else "function")
    if not isinstance(profile, str):
        raise TypeError(
            explain("function", f"profile is no profile: {profile!r}", got=type(profile).__name__,
                    expected="None, True, False, a message or ProfileStats",
                    cure="profile=True")
        )  # fmt: skip
    return ProfileStats(message=profile)


def print_at_exit() -> None:
    """Write all profiles to `config.profiling.destination` if `config.profile` is set."""
    used = [p for p in _at_exit if p.fct_callcount or p.compile_time > 1]
    if not config.profile or not used:
        return
    used.sort(key=lambda p: p.compile_time + p.fct_call_time, reverse=True)
    place = config.profiling.destination
    if place in ("stderr", "stdout"):
        for stats in used:
            stats.summary(getattr(sys, place))
        return
    with open(place, "w", encoding="utf-8") as file:
        for stats in used:
            stats.summary(file)


atexit.register(print_at_exit)


def _op_of(node: Apply) -> str:
    return str(node.op)


def _line_of(node: Apply) -> str:
    return str(node.trace) if node.trace else "(unknown)"


def _row(step: Timed) -> str:
    """What a table says of a step."""
    text = f"{step.name}{'*' * step.in_chain}: {step.what}"
    return f"{text}, {step.nbytes / step.calls:,.0f} bytes a call" if step.copy else text


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


def _table(title: str, limit: int, rows: list[tuple[float, int, str]]) -> Iterable[str]:
    total = sum(seconds for seconds, _, _ in rows)
    yield title
    yield "-" * len(title)
    yield "  <% time> <sum %> <time>      <per call>  <calls>  <what>"
    so_far = 0.0
    rows = sorted(rows, key=lambda row: -row[0])
    for seconds, calls, what in rows[:limit]:
        so_far += seconds
        per_call = f"{seconds / calls:.3e}s" if calls else "-"
        yield (
            f"  {_percent(seconds, total):>8} {_percent(so_far, total):>7} {seconds:.3e}s  "
            f"{per_call:>10}  {calls:>7}  {what}"
        )
    if len(rows) > limit:
        rest = total - so_far
        yield f"  ... (remaining {len(rows) - limit}: {rest:.3e}s, {_percent(rest, total)})"
    yield ""
