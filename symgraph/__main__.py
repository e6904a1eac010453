"""The command line: `python -m symgraph run script.py` runs code that was written for Theano."""

from __future__ import annotations

import os
import runpy
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

USAGE = """\
usage: python -m symgraph COMMAND

  run SCRIPT.py [ARGS]     run a script that imports theano, unchanged: theano means symgraph
  run -m MODULE [ARGS]     the same for a module
  config                   the settings, their values and meanings
  gpu                      the GPUs: what is there, what is missing, how to get it
  cache [info | clear]     the folder of compiled kernels: where it is, how large; empty it
  --version, --help

Examples:
  python -m symgraph run convolutional_mlp.py --epochs 10
  THEANO_FLAGS=floatX=float32 python -m symgraph run -m pytest tests/

Settings come from SYMGRAPH_FLAGS, THEANO_FLAGS and ~/.theanorc; see `config`. What of Theano is
provided, what differs and what is not there: docs/theano.md.
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status, 2 for a command line that cannot be understood."""
    command, *rest = arguments or ["--help"]
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": run, "config": _config, "cache": _cache, "gpu": _gpu,
    }  # fmt: skip
    if command in ("-h", "--help", "help") or (rest and rest[0] in ("-h", "--help")):
        sys.stdout.write(USAGE)
        return 0
    if command in ("-V", "--version"):
        from symgraph._version import __version__

        sys.stdout.write(f"symgraph {__version__}\n")
        return 0
    if command in commands:
        return commands[command](rest)
    return _refuse(f"there is no command {command!r}")


def _refuse(problem: str) -> int:
    sys.stderr.write(f"symgraph: {problem}\n\n{USAGE}")
    return 2


def run(arguments: list[str]) -> int:
    """Run a script or a module as Python would, with `theano` meaning symgraph.

    `sys.argv`, `sys.path[0]`, `__main__`, tracebacks and the exit status are what they are without
    symgraph. 2 if there is nothing to run.
    """
    from symgraph.theano_shim import install_as_theano

    if not arguments or arguments == ["-m"]:
        return _refuse("run needs a script, or -m and a module")
    install_as_theano()
    sys.excepthook = _show_error
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    script = Path(arguments[0]).absolute()
    try:
        source = script.read_bytes()
    except OSError as error:
        sys.stderr.write(f"symgraph: can't open file {arguments[0]!r}: {error.strerror}\n")
        return 2
    sys.argv = list(arguments)
    sys.path[0] = str(script.resolve().parent)
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=str(script), __builtins__=__builtins__, __package__=None)
    sys.modules["__main__"] = module
    exec(compile(source, str(script), "exec"), module.__dict__)
    return 0


def _show_error(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """The traceback of a script, without the frames that started it."""
    while trace is not None and trace.tb_frame.f_code.co_filename in _STARTERS:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


_STARTERS = (__file__, runpy.__file__, "<frozen runpy>")


def _config(arguments: list[str]) -> int:
    from symgraph.configuration import config

    if arguments:
        return _refuse(f"config takes no arguments, got {' '.join(arguments)!r}")
    sys.stdout.write(config.describe() + "\n")
    return 0


def _gpu(arguments: list[str]) -> int:
    from symgraph.compile.cuda.report import gpu_report

    if arguments:
        return _refuse(f"gpu takes no arguments, got {' '.join(arguments)!r}")
    sys.stdout.write(gpu_report() + "\n")
    return 0


def _cache(arguments: list[str]) -> int:
    from symgraph.compile import cache

    folder = cache.cache_dir()
    if arguments not in ([], ["info"], ["clear"]):
        return _refuse(f"cache has no command {' '.join(arguments)!r}")
    if arguments == ["clear"]:
        cache.clear()
    files = [path for path in folder.glob("??/*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    sys.stdout.write(f"{folder}: {len(files):,} files, {size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
