"""`portask repair`: set damage in a data directory aside, so that a broker opens it again."""

from __future__ import annotations

import argparse

from portask.cli.outcome import Exit
from portask.cli.output import add_output
from portask.cli.progress import progress
from portask.cli.verify import print_report
from portask.storage.local.check import repair

EXAMPLE = "portask repair /var/lib/portask"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("directory", metavar="DIR", help="the broker's --data-dir; what is damaged goes to DIR/aside")
    add_output(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with progress("repair", None, is_bytes=True) as show:
        report = repair(arguments.directory, show)
    print_report(report, arguments.output, "is repaired" if report.findings else "was sound; nothing was changed")
    return Exit.OK
