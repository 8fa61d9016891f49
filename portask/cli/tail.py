"""`portask tail`: the newest messages of a topic, then those that follow."""

from __future__ import annotations

import argparse

from portask.cli.command import add_server
from portask.cli.connect import connect
from portask.cli.message_output import MessagePrinter, add_message_output
from portask.cli.outcome import CommandError, Exit
from portask.cli.read import show

EXAMPLE = "portask tail orders --lines 20"

_MOST = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument(
        "-n", "--lines", metavar="N", type=int, default=10, help="messages to begin with, up to 1000 (10)"
    )
    parser.add_argument("--no-follow", action="store_true", help="end after them")
    add_message_output(parser)
    add_server(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.lines <= _MOST:
        raise CommandError(f"--lines must be from 0 to {_MOST}", Exit.USAGE)
    with connect(arguments) as client, MessagePrinter(arguments.output) as printer:
        newest, positions = [], {}
        for partition in client.topic(arguments.topic)["partitions"]:
            number, end = partition["partition"], partition["high_watermark"]
            start = max(partition["log_start_offset"], end - arguments.lines)
            positions[number] = end
            if start < end:
                page = client.read(arguments.topic, number, start, end - start)
                newest += page.messages
                positions[number] = page.next_offset
        if len(positions) > 1:
            newest.sort(key=lambda message: message.timestamp)
        for message in newest[len(newest) - min(arguments.lines, len(newest)) :]:
            printer.show(message)
        printer.flush()
        if not arguments.no_follow:
            show(client, arguments.topic, positions, printer, None, follow=True)
    return Exit.OK
