"""`python -m benchmarks [--rounds N] [--json FILE]`: symgraph and PyTorch in interleaved rounds.

Times are medians over rounds in one process; the ratio is against the fastest peer of the same
run. A peer that is not installed is named as such. The machine's float32 matrix product, measured
in the same rounds, tells what the numbers are worth.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import subjects

ROWS: dict[str, dict[str, Callable[[], subjects.Step]]] = {
    f"LeNet step, batch {batch}": {
        "symgraph": lambda batch=batch: subjects.lenet_step(batch),
        "torch": lambda batch=batch: subjects.torch_lenet_step(batch),
        "torch channels_last": lambda batch=batch: subjects.torch_lenet_step(batch, True),
    }
    for batch in (500, 20, 1)
}
ROWS |= {
    f"MLP 784-500-10 step, batch {batch}": {
        "symgraph": lambda batch=batch: subjects.mlp_step(batch),
        "torch": lambda batch=batch: subjects.torch_mlp_step(batch),
    }
    for batch in (500, 20)
}
ROWS["call of a function of two scalars"] = {"symgraph": subjects.scalar_add}


def timed(step: subjects.Step, least: float = 0.1) -> float:
    """Seconds per step, over at least `least` seconds."""
    count, spent = 0, 0.0
    while spent < least or count < 3:
        start = time.perf_counter()
        step()
        spent += time.perf_counter() - start
        count += 1
    return spent / count


def gemm_peak() -> float:
    """GFLOP/s of NumPy's float32 matrix product, 1024 on each side."""
    a = np.ones((1024, 1024), "float32")
    return float(2 * 1024**3 / timed(lambda: a @ a, 0.05) / 1e9)


def measure_row(makers: dict[str, Callable[[], subjects.Step]], rounds: int) -> dict[str, Any]:
    steps: dict[str, subjects.Step] = {}
    missing = []
    for name, make in makers.items():
        if name.startswith("torch") and importlib.util.find_spec("torch") is None:
            missing.append(name)
        else:
            steps[name] = make()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(timed(step))
    medians = {name: statistics.median(t) for name, t in times.items()}
    peers = [t for name, t in medians.items() if name != "symgraph"]
    return {
        "seconds": medians,
        "missing": missing,
        "ratio": medians["symgraph"] / min(peers) if peers else None,
        "spread": {name: max(t) / min(t) for name, t in times.items()},
    }


FIRST_CALL = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import symgraph
imported = time.perf_counter()
from benchmarks import subjects
subjects.lenet_step(20)()
print(imported - middle, time.perf_counter() - imported)
"""


def first_calls() -> dict[str, float]:
    """Import time, and time to the first LeNet step, with an empty cache and with a full one."""
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SYMGRAPH_CACHE": folder}
        for state in ("empty cache", "full cache"):
            output = subprocess.run(
                [sys.executable, "-c", FIRST_CALL], env=environment, check=True,
                capture_output=True, text=True,
            ).stdout  # fmt: skip
            imported, first = map(float, output.split())
            result[f"first LeNet step, {state}"] = first
        result["import symgraph, beyond NumPy"] = imported
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds per row (default 7)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    say = sys.stdout.write
    figures: dict[str, Any] = {"gemm GFLOP/s": [gemm_peak()]}
    say(f"{'':38}{'symgraph':>12}{'best peer':>12}{'ratio':>8}\n")
    for name, makers in ROWS.items():
        row = figures[name] = measure_row(makers, args.rounds)
        figures["gemm GFLOP/s"].append(gemm_peak())
        own = row["seconds"]["symgraph"]
        peers = [t for key, t in row["seconds"].items() if key != "symgraph"]
        best = f"{min(peers) * 1e3:9.3f} ms" if peers else "-"
        ratio = f"{row['ratio']:.2f}" if peers else "-"
        note = f"  not installed: {', '.join(row['missing'])}" if row["missing"] else ""
        unsteady = "  unsteady machine" if max(row["spread"].values()) > 1.5 else ""
        say(f"{name:38}{own * 1e3:9.3f} ms{best:>12}{ratio:>8}{note}{unsteady}\n")
    for name, seconds in first_calls().items():
        figures[name] = seconds
        say(f"{name:38}{seconds:10.2f} s\n")
    peaks = figures["gemm GFLOP/s"]
    say(f"NumPy float32 product of 1024: {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s meanwhile\n")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
