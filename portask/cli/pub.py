"""`portask pub`: publish messages and print where they are, once they are safe."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path

from portask.cli.command import add_server
from portask.cli.connect import connect
from portask.cli.outcome import CommandError, Exit
from portask.cli.output import Row, add_output, print_rows
from portask.message import Headers, Message

EXAMPLE = "portask pub orders '{\"id\": 1}' --key customer-7 --header source=shop"

_READ_BYTES = 256 * 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument(
        "payload",
        metavar="PAYLOAD",
        nargs="?",
        help="the payload; - is all of stdin; left out: each line of stdin is one",
    )
    parser.add_argument("--from-file", metavar="FILE", help="take the content of this file as the payload")
    parser.add_argument("--null", action="store_true", help="no payload: a tombstone for its key")
    parser.add_argument("--key", metavar="KEY", help="messages of one key go to one partition, in order")
    parser.add_argument("--header", metavar="NAME=VALUE", action="append", default=[], help="may be repeated")
    parser.add_argument("--partition", metavar="N", type=int, help="publish to this partition, whatever the key")
    parser.add_argument("--count", metavar="N", type=int, default=1, help="publish the payload so many times (1)")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    add_output(parser)
    add_server(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    key = None if arguments.key is None else arguments.key.encode()
    headers = _headers(arguments.header)
    payloads = _payloads(arguments)
    with connect(arguments) as client:

        def publish() -> Iterator[Row]:
            for group in payloads:
                messages = (Message(payload, key, headers) for payload in group)
                for message_id in client.publish_many(arguments.topic, messages, partition=arguments.partition):
                    topic, partition, offset = message_id.split("/")
                    yield {"id": message_id, "topic": topic, "partition": int(partition), "offset": int(offset)}

        if arguments.quiet:
            for _ in publish():
                pass
        elif arguments.output == "table":
            for row in publish():
                print(row["id"])
        else:
            print_rows(publish(), (), arguments.output)
    return Exit.OK


def _payloads(arguments: argparse.Namespace) -> Iterable[Iterable[bytes | None]]:
    """What to publish, in groups: one is confirmed before the next is read."""
    given = [arguments.payload is not None, arguments.from_file is not None, arguments.null]
    if sum(given) > 1:
        raise CommandError("give one of PAYLOAD, --from-file and --null", Exit.USAGE)
    if arguments.count < 1:
        raise CommandError("--count must be at least 1", Exit.USAGE)
    if not any(given):
        if arguments.count > 1:
            raise CommandError("--count needs a payload; without one every line of stdin is published once", Exit.USAGE)
        return _lines()
    payload: bytes | None = None
    if arguments.from_file is not None:
        payload = Path(arguments.from_file).read_bytes()
    elif arguments.payload == "-":
        payload = sys.stdin.buffer.read()
    elif arguments.payload is not None:
        payload = os.fsencode(arguments.payload)
    return [repeat(payload, arguments.count)]


def _lines() -> Iterator[list[bytes]]:
    """The lines of stdin without their ends, as many at a time as are there: someone may be typing them."""
    rest = b""
    while data := os.read(sys.stdin.fileno(), _READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


def _headers(pairs: list[str]) -> Headers:
    headers = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (equals and name):
            raise CommandError(f"--header {pair!r} is not NAME=VALUE", Exit.USAGE)
        headers.append((name, value.encode()))
    return tuple(headers)
