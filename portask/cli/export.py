"""`portask export`: a topic as a file of JSON lines, one partition after the other.

The file only ever grows by whole pages, and a line names its partition and offset, so an export that was
killed goes on where the last whole line says. What was added to a partition after the export had left
it is not in the file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from portask.cli.command import add_server
from portask.cli.connect import connect
from portask.cli.message_line import decode_line, encode_line
from portask.cli.outcome import CommandError, Exit
from portask.cli.output import add_output, print_object
from portask.cli.progress import progress
from portask.cli.read import PAGE_BYTES, PAGE_MESSAGES
from portask.errors import UsageError

if TYPE_CHECKING:
    from portask.client import Client, Page

EXAMPLE = "portask export orders orders.jsonl --resume"

_SEARCH_BYTES = 64 * 1024


class Reach(NamedTuple):
    """How far an export has come: everything before *offset* of *partition*, and all partitions before it."""

    partition: int
    offset: int


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("file", metavar="FILE", help="where to write; - is stdout")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="go on after the last whole line of FILE")
    how.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--partition", metavar="N", type=int, help="only this partition")
    add_output(parser)
    add_server(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    to_stdout = arguments.file == "-"
    with connect(arguments) as client:
        partitions = [
            partition
            for partition in client.topic(arguments.topic)["partitions"]
            if arguments.partition in (None, partition["partition"])
        ]
        if not partitions:
            raise CommandError(f"topic {arguments.topic} has no partition {arguments.partition}", Exit.NOT_FOUND)
        if to_stdout:
            written = _export(client, arguments.topic, partitions, sys.stdout.buffer, None)
            sys.stdout.buffer.flush()
            return Exit.OK
        path = Path(arguments.file)
        reach = _begin(path, arguments.topic, resume=arguments.resume, force=arguments.force)
        with path.open("ab") as file:
            written = _export(client, arguments.topic, partitions, file, reach)
            file.flush()
            os.fsync(file.fileno())
    seconds = time.monotonic() - started
    summary = {"topic": arguments.topic, "file": arguments.file, "messages": written, "seconds": round(seconds, 3)}
    print_object(summary, arguments.output)
    return Exit.OK


def _export(client: Client, topic: str, partitions: list[dict[str, int]], file: IO[bytes], reach: Reach | None) -> int:
    """Write what lies beyond *reach* and return how many messages that was. Blocks."""
    todo = []
    for partition in partitions:
        number, start, end = partition["partition"], partition["log_start_offset"], partition["high_watermark"]
        if reach is not None and number <= reach.partition:
            start = reach.offset if number == reach.partition else end
        todo.append((number, start, end))
    written = passed = 0
    with progress(f"export {topic}", sum(end - start for _, start, end in todo)) as show:
        for number, start, end in todo:
            offset = start
            while offset < end:
                page = _read(client, topic, number, offset)
                messages = [message for message in page.messages if message.offset < end]
                file.write("".join(encode_line(message) + "\n" for message in messages).encode())
                file.flush()
                written += len(messages)
                offset = page.next_offset
                show(passed + min(offset, end) - start)
            passed += end - start
    return written


def _read(client: Client, topic: str, partition: int, offset: int) -> Page:
    """A page from *offset* on, or from where the log begins if retention was faster. Blocks."""
    from portask.client import ClientError

    try:
        return client.read(topic, partition, offset, PAGE_MESSAGES, max_bytes=PAGE_BYTES)
    except ClientError as error:
        if error.code != "OUT_OF_RANGE":
            raise
    page = client.read(topic, partition, "first", PAGE_MESSAGES, max_bytes=PAGE_BYTES)
    print(
        f"portask: {topic}/{partition}: offsets from {offset} on were removed by retention; "
        f"going on at {page.log_start_offset}",
        file=sys.stderr,
    )
    return page


def _begin(path: Path, topic: str, *, resume: bool, force: bool) -> Reach | None:
    """Prepare the file; how far an earlier export came, None when it is to be begun anew."""
    if not path.exists():
        return None
    if resume:
        return _cut(path, topic)
    if not force and path.stat().st_size:
        raise CommandError(f"{path} exists; go on with --resume, or replace it with --force", Exit.USAGE)
    path.write_bytes(b"")
    return None


def _cut(path: Path, topic: str) -> Reach | None:
    """Cut what follows the last whole line and return what that line says. None when there is none."""
    with path.open("r+b") as file:
        end = _last_newline(file, file.seek(0, os.SEEK_END)) + 1
        line_start = _last_newline(file, end - 1) + 1
        file.seek(line_start)
        line = file.read(end - line_start)
        if not line:
            file.truncate(0)
            return None
        try:
            _, place = decode_line(line)
        except UsageError as error:
            raise CommandError(f"{path} ends with a line that no export has written ({error})", Exit.USAGE) from error
        if place.topic != topic or place.partition is None or place.offset is None:
            raise CommandError(f"{path} does not hold an export of {topic}; name another file", Exit.USAGE)
        file.truncate(end)
        return Reach(place.partition, place.offset + 1)


def _last_newline(file: IO[bytes], end: int) -> int:
    """Where the last newline before *end* is, -1 if there is none."""
    while end > 0:
        start = max(0, end - _SEARCH_BYTES)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found
        end = start
    return -1
