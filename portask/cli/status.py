"""`portask status`: how the broker is doing."""

from __future__ import annotations

import argparse

from portask.cli.command import add_server
from portask.cli.connect import connect
from portask.cli.outcome import Exit
from portask.cli.output import add_output, print_object

EXAMPLE = "portask status --output json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_output(parser)
    add_server(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        info = client.info()
    print_object({"server": arguments.server, **info}, arguments.output)
    # A broker that answers and stores nothing is no success for a script that asks how it is.
    return Exit.OK if info.get("state") == "ready" else Exit.UNAVAILABLE
