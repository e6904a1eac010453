"""`python -m lenet`: train, eval, predict, draw and data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet import (
    data_command,
    draw_command,
    eval_command,
    predict_command,
    train_command,
)
from lenet.data import DataError

EXAMPLES = """\
examples:
  python -m lenet data fetch                       get MNIST
  python -m lenet train --epochs 10                train the tutorial's LeNet on it
  python -m lenet eval                             error of the latest run, class by class
  python -m lenet predict photo.png                which digit is it?
  python -m lenet draw                             the model as pictures

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
        ("train", train_command),
        ("eval", eval_command),
        ("predict", predict_command),
        ("draw", draw_command),
        ("data", data_command),
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
