"""What the scripts share as commands: their options, and the lines that they print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any


def options(doc: str, arguments: Sequence[str] | None, **known: tuple[Any, str]) -> Any:
    """The parsed `arguments` (those of the command line if None).

    Each keyword is an option: `n_hidden=(500, "hidden units")` makes `--n-hidden`, a whole number
    that is 500 unless given. The type is the default's: int, float or str; a tuple takes several
    of what its first element is; False makes a switch. The help is `doc`.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, (default, text) in known.items():
        flag = "--" + name.replace("_", "-")
        if default is False:
            parser.add_argument(flag, action="store_true", help=text)
            continue
        several = isinstance(default, tuple)
        shown = " ".join(map(str, default)) if several else default
        parser.add_argument(
            flag,
            default=default,
            type=type(default[0] if several else default),
            nargs="+" if several else None,
            metavar=name.upper().replace("_", "-"),
            help=f"{text}; default: {str(shown).replace('%', '%%') or 'none'}",
        )
    return parser.parse_args(arguments)


def say(text: str) -> None:
    """Print a line at once, so that a long run can be followed through a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
