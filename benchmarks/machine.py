"""The machine: what it is, and whether anyone else is using it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = 2

_CPUS = Path("/sys/devices/system/cpu")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def cpus(threads: int) -> list[int]:
    """The CPUs to run `threads` threads on, on cores of their own; empty: cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    cores: dict[str, list[int]] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = _read(_CPUS / f"cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings or str(cpu), []).append(cpu)
    chosen = [core[0] for core in cores.values()]
    return (chosen + [cpu for core in cores.values() for cpu in core[1:]])[:threads]


def describe() -> dict[str, Any]:
    """CPU model, CPUs, caches, memory in GiB, system, Python; what cannot be told is left away."""
    info = _read(Path("/proc/cpuinfo"))
    fields: dict[str, str] = {}
    for line in info.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    caches = {}
    for index in sorted(_CPUS.glob("cpu0/cache/index*")):
        if _read(index / "type") != "Instruction":
            caches[f"L{_read(index / 'level')}"] = _read(index / "size")
    flags = set(fields.get("flags", "").split())
    vectors = next((v for v in ("avx512f", "avx2", "avx", "sse2", "neon") if v in flags), "")
    if "asimd" in fields.get("Features", ""):
        vectors = "neon"
    numbers = [fields.get(key, "") for key in ("cpu family", "model", "stepping")]
    found = {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "family, model, stepping": ", ".join(n for n in numbers if n),
        "vectors": vectors,
        "hypervisor": "yes" if "hypervisor" in flags else "",
        "cpus": os.cpu_count(),
        "caches": caches,
        "memory": _memory("MemTotal"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return {key: value for key, value in found.items() if value}


def _memory(field: str) -> float:
    text = _read(Path("/proc/meminfo")).partition(f"{field}:")[2]
    return round(int(text.split()[0]) / 2**20, 1) if text else 0.0


def free_memory() -> float:
    """Bytes that processes can still have; infinite where that cannot be told."""
    return _memory("MemAvailable") * 2**30 or float("inf")


def load() -> float:
    """Runnable processes, averaged over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


@dataclass(frozen=True)
class Ticks:
    """CPU time since boot in ticks: all, what was used, stolen by the hypervisor, used by us."""

    total: int
    used: int
    stolen: int
    own: int

    @staticmethod
    def now(pids: list[int]) -> Ticks | None:
        """None where there is no /proc. `pids`: our processes beside this one."""
        line = _read(Path("/proc/stat")).partition("\n")[0].split()[1:]
        if len(line) < 8:
            return None
        user, nice, system, idle, waiting, irq, softirq, stolen = map(int, line[:8])
        used = user + nice + system + irq + softirq
        own = 0
        for pid in [os.getpid(), *pids]:
            fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
            own += sum(map(int, fields[11:13])) if fields else 0
        return Ticks(used + idle + waiting + stolen, used, stolen, own)

    def others(self, before: Ticks) -> float:
        """The share of the machine that others used since `before`, 0 to 1."""
        total = max(self.total - before.total, 1)
        return max(0.0, (self.used - before.used - (self.own - before.own)) / total)

    def stolen_share(self, before: Ticks) -> float:
        """The share that the hypervisor gave to someone else."""
        return (self.stolen - before.stolen) / max(self.total - before.total, 1)


def complaints(
    load: float, others: list[float], stolen: list[float], peaks: list[float]
) -> list[str]:
    """Sentences about what disturbed the run; none for a quiet machine.

    `load`: the load average at the start; `others`, `stolen`: shares of the machine, one per row;
    `peaks`: the same matrix product's GFLOP/s, measured throughout the run.
    """
    found = []
    cpus_here = os.cpu_count() or 1
    if load > 0.5 * cpus_here:
        found.append(f"The load average was {load:.1f} on {cpus_here} CPUs when the run began.")
    if busy := sum(share > 0.05 for share in others):
        found.append(
            f"Other processes used more than 5 % of the machine (up to {max(others):.0%}) during "
            f"{busy} of {len(others)} rows."
        )
    if robbed := sum(share > 0.02 for share in stolen):
        found.append(
            f"The hypervisor gave more than 2 % of the machine (up to {max(stolen):.0%}) to others "
            f"during {robbed} of {len(stolen)} rows."
        )
    if peaks and max(peaks) > 1.25 * min(peaks):
        found.append(
            "The same matrix product wandered between "
            f"{min(peaks):.0f} and {max(peaks):.0f} GFLOP/s: its clock or its tenants change."
        )
    return found
