"""`portask read`: read a topic without changing anything; no group, no acknowledgement."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from portask.cli.command import add_server
from portask.cli.connect import connect
from portask.cli.message_output import MessagePrinter, add_message_output
from portask.cli.outcome import CommandError, Exit

if TYPE_CHECKING:
    from portask.client import Client

EXAMPLE = "portask read orders --partition 0 --offset 100 --count 10"

# Stored bytes, and what is read beyond PAGE_MESSAGES is read for nothing: 256 KiB hold about 8,000 messages
# of 100 bytes. Pages of 1,000 messages out of 1 MiB took 1.8 times as long (500,000 messages, 4.7 s).
PAGE_MESSAGES = 10_000
PAGE_BYTES = 256 * 1024
WAIT_S = 1.0
"""How long one read waits for the next message when a single partition is followed."""
PAUSE_S = 0.1
"""How long to sleep when none of several followed partitions has anything new."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("--partition", metavar="N", type=int, help="only this partition (all, one after the other)")
    parser.add_argument(
        "--offset",
        metavar="WHERE",
        default="first",
        help="where to begin: first, last, next, an offset, @MILLISECONDS or @2026-11-23T10:00:00Z (first)",
    )
    parser.add_argument("--count", metavar="N", type=int, help="end after so many messages")
    parser.add_argument("--follow", action="store_true", help="at the end wait for new messages")
    add_message_output(parser)
    add_server(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.count is not None and arguments.count < 1:
        raise CommandError("--count must be at least 1", Exit.USAGE)
    with connect(arguments) as client, MessagePrinter(arguments.output) as printer:
        numbers = _partitions(client, arguments)
        positions = dict.fromkeys(numbers, arguments.offset)
        show(client, arguments.topic, positions, printer, arguments.count, follow=arguments.follow)
    return Exit.OK


def _partitions(client: Client, arguments: argparse.Namespace) -> list[int]:
    if arguments.partition is not None:
        return [arguments.partition]
    return [partition["partition"] for partition in client.topic(arguments.topic)["partitions"]]


def show(
    client: Client,
    topic: str,
    positions: dict[int, str | int],
    printer: MessagePrinter,
    count: int | None,
    *,
    follow: bool,
) -> None:
    """Print the messages of each partition from its position on, *count* of all at most.

    Without *follow* up to the end that each has when it is reached; with it for ever. Blocks.
    """
    wait = WAIT_S if follow and len(positions) == 1 else 0.0
    while True:
        idle = True
        for number, position in positions.items():
            place = position
            while count is None or printer.printed < count:
                most = PAGE_MESSAGES if count is None else min(PAGE_MESSAGES, count - printer.printed)
                page = client.read(topic, number, place, most, wait, PAGE_BYTES)
                place = positions[number] = page.next_offset
                for message in page.messages:
                    printer.show(message)
                printer.flush()
                idle = idle and not page.messages
                if page.next_offset >= page.high_watermark:
                    break
        if not follow or (count is not None and printer.printed >= count):
            return
        if idle and not wait:
            time.sleep(PAUSE_S)
