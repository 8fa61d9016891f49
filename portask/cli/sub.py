"""`portask sub`: receive a group's messages and acknowledge them once they are printed."""

from __future__ import annotations

import argparse

from portask.cli.command import add_server
from portask.cli.connect import connect
from portask.cli.message_output import MessagePrinter, add_message_output
from portask.cli.outcome import CommandError, Exit

EXAMPLE = "portask sub orders --group billing --output jsonl"

_MOST_AT_ONCE = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("--group", metavar="NAME", default="default", help="whose messages (default)")
    parser.add_argument(
        "--prefetch", metavar="N", type=int, help="messages on their way at a time, 0: any number (100)"
    )
    parser.add_argument(
        "--start",
        metavar="WHERE",
        default="first",
        help="where a new group begins: first, last, next, an offset, @MILLISECONDS or @2026-11-23T10:00:00Z (first)",
    )
    parser.add_argument("--count", metavar="N", type=int, help="end after so many messages")
    parser.add_argument("--wait", metavar="S", type=float, help="end when nothing has come for so many seconds")
    parser.add_argument(
        "--no-ack", action="store_true", help="acknowledge nothing: it all goes back to the group at the end"
    )
    add_message_output(parser)
    add_server(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    count = arguments.count
    if count is not None and count < 1:
        raise CommandError("--count must be at least 1", Exit.USAGE)
    with (
        connect(arguments) as client,
        client.subscribe(arguments.topic, arguments.group, _prefetch(arguments), arguments.start) as subscription,
        MessagePrinter(arguments.output) as printer,
    ):
        try:
            while count is None or printer.printed < count:
                most = _MOST_AT_ONCE if count is None else min(_MOST_AT_ONCE, count - printer.printed)
                messages = subscription.receive_many(most, arguments.wait)
                if not messages:
                    break
                for message in messages:
                    printer.show(message)
                # Printed first, then settled: should this process die between, they come again.
                printer.flush()
                if not arguments.no_ack:
                    subscription.ack_many(messages)
        finally:
            subscription.close()
    # Who asked for a number and got fewer has not got what he asked for.
    return Exit.OK if count is None or printer.printed >= count else Exit.FAILED


def _prefetch(arguments: argparse.Namespace) -> int:
    if arguments.prefetch is not None:
        return int(arguments.prefetch)
    if arguments.no_ack:
        # Nothing is settled, so any limit would be the end.
        return arguments.count or 0
    return min(100, arguments.count or 100)
