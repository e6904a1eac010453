"""`python -m lenet`: train, eval, predict, draw, compare and more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet import device
from lenet.commands import (
    check,
    compare,
    data,
    draw,
    eval,
    export,
    import_,
    predict,
    report,
    show,
    summary,
    train,
)
from lenet.data import DataError

EXAMPLES = """\
examples:
  python -m lenet data fetch                       get MNIST
  python -m lenet train --epochs 10                train the tutorial's LeNet on it
  python -m lenet eval                             error of the latest run, class by class
  python -m lenet predict photo.png                which digit is it?
  python -m lenet compare                          all runs as a table
  python -m lenet draw                             the model as pictures
  python -m lenet show worst                       the most wrong test digits, and more
  python -m lenet report                           a run as one HTML page
  python -m lenet check --model lenet5             gradients against finite differences
  python -m lenet export lenet.safetensors --layout pytorch

Every command has its own --help.
"""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` of what it parses carries the command out."""
    top = argparse.ArgumentParser(
        prog="python -m lenet",
        description="LeNet as in the Theano tutorials, on symgraph.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in (
        ("train", train),
        ("eval", eval),
        ("predict", predict),
        ("compare", compare),
        ("draw", draw),
        ("summary", summary),
        ("show", show),
        ("report", report),
        ("check", check),
        ("export", export),
        ("import", import_),
        ("data", data),
    ):
        one = sub.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status: 0; 1 with one line on stderr for what can't be done;
    130 after Ctrl-C. Words that are not understood end the program with status 2.
    """
    args = parser().parse_args(argv)
    try:
        with device.chosen(getattr(args, "device", None)):
            return int(args.run(args))
    except DataError as error:
        sys.stderr.write(f"lenet: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("lenet: stopped\n")
        return 130
    except BrokenPipeError:  # the reader of our output left: `| head`
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
