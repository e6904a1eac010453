"""`python -m benchmarks.install`: an environment for each peer under .venv-bench/peers.

One each, since their requirements contradict one another's. The versions are pinned in
requirements.txt. A peer that cannot be installed leaves the reason in its folder's `failed`; the
others go on without it, and the benchmark says so.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.contenders import CONTENDERS, Contender

PINS = Path(__file__).with_name("requirements.txt")

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


def peers() -> dict[Path, Contender]:
    """One contender of each environment that is not symgraph's own."""
    return {c.environment: c for c in CONTENDERS.values() if not c.reference and not c.own}


def install(contender: Contender, run: Run = _run) -> str:
    """Make the contender's environment, unless it is as the pins say. Returns why that failed."""
    home = contender.environment
    package = contender.package.partition(".")[0]
    state = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()
    stamp, failed = home / "installed", home / "failed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
        return ""
    shutil.rmtree(home, ignore_errors=True)
    python = str(home / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [*pip, "--constraint", str(PINS), "numpy", package, *contender.needs],
    ):
        done = run(command)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            reason = next((text for text in lines if text.startswith("ERROR:")), lines[-1])
            home.mkdir(parents=True, exist_ok=True)
            failed.write_text(f"{done.stderr}\n{reason}\n", encoding="utf-8")
            return reason
    stamp.write_text(state, encoding="utf-8")
    return ""


def main() -> None:
    for contender in peers().values():
        package = contender.package.partition(".")[0]
        sys.stdout.write(f"Installing {package} into {contender.environment.name} ...\n")
        sys.stdout.flush()
        if reason := install(contender):
            sys.stdout.write(f"{package} could not be installed, going on without: {reason}\n")


if __name__ == "__main__":
    main()
