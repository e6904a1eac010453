"""Write a report of a run: one HTML file that shows it all, and needs nothing else.

Learning curves, the network, right and wrong answers, filters, feature maps, saliency, the pictures
that classes answer most to, the graph of the compiled training function, data, options, versions.

examples:
  python -m lenet report                            of the latest run, into its folder
  python -m lenet report runs/small --out small.html
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lenet import run_data, runs
from lenet.classifier import Classifier
from lenet.commands.arguments import add_run, missing
from lenet.data.sources import check_writable, write_atomically
from lenet.errors import RunError
from lenet.report import report

HELP = "a run as one HTML page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of report; `run` carries out what it parses."""
    add_run(parser)
    parser.add_argument(
        "--out", metavar="FILE", help="HTML file; default: report.html in the run folder"
    )
    run_data.add_arguments(parser, split=False)


def run(args: argparse.Namespace) -> int:
    """Write the report, and say where. Returns 0; raises DataError for no run, no data."""
    path = runs.find_checkpoint(args.folder)
    target = Path(args.out).expanduser() if args.out else path.parent / "report.html"
    if target.suffix.lower() not in (".html", ".htm"):
        raise RunError("--out", str(target), "a name that ends in .html", "it is an HTML page")
    check_writable(target.parent)
    classifier = Classifier(path)
    dataset = run_data.load(classifier.checkpoint, path, args)
    try:
        page = report(classifier, dataset)
    except ImportError as error:
        raise missing("report", error) from error
    write_atomically(target, page.encode())
    sys.stdout.write(f"{target}\n")
    return 0
