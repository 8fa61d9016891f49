"""`portask import`: publish a file of JSON lines, as `portask export` writes them.

Lines are published in groups, and when a group is confirmed the place behind it is kept in FILE.progress,
which is replaced as a whole. An import that was killed goes on there: nothing is lost, and at most one
group is published twice.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from portask.cli.command import add_server
from portask.cli.connect import connect
from portask.cli.message_line import decode_line
from portask.cli.outcome import CommandError, Exit
from portask.cli.output import add_output, print_object
from portask.cli.progress import Advance, progress
from portask.errors import UsageError

if TYPE_CHECKING:
    from portask.client import Client
    from portask.message import Message

EXAMPLE = "portask import orders orders.jsonl --resume"

GROUP_LINES = 5000
GROUP_BYTES = 4 * 1024 * 1024


class Reach(NamedTuple):
    """How much of a file is published."""

    position: int = 0
    lines: int = 0


class Group(NamedTuple):
    """Lines to be published together, by the partition that they name."""

    messages: dict[int | None, list[Message]]
    end: Reach
    error: CommandError | None
    """Why the line that follows cannot be published."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("topic", metavar="TOPIC", help="created if it is missing")
    parser.add_argument("file", metavar="FILE", help="what to publish; - is stdin")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="go on where an import of FILE was stopped")
    how.add_argument("--restart", action="store_true", help="begin anew, whatever was imported before")
    parser.add_argument("--partitions", metavar="N", type=int, help="of a topic that has to be created")
    parser.add_argument("--by-key", action="store_true", help="go by the key, not by the partition that a line names")
    add_output(parser)
    add_server(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    with connect(arguments) as client:
        count = 0 if arguments.by_key else _partitions(client, arguments.topic, arguments.partitions)
        if arguments.file == "-":
            with progress(f"import {arguments.topic}", None, is_bytes=True) as show:
                begin, end = Reach(), _import(client, arguments.topic, sys.stdin.buffer, Reach(), count, None, show)
        else:
            path = Path(arguments.file)
            note = Note(path, arguments.topic)
            with path.open("rb") as file:
                begin = note.begin(resume=arguments.resume, restart=arguments.restart)
                file.seek(begin.position)
                with progress(f"import {arguments.topic}", path.stat().st_size, is_bytes=True) as show:
                    end = _import(client, arguments.topic, file, begin, count, note, show)
            note.remove()
    seconds = time.monotonic() - started
    lines = end.lines - begin.lines
    summary = {"topic": arguments.topic, "file": arguments.file, "messages": lines, "seconds": round(seconds, 3)}
    print_object(summary, arguments.output)
    return Exit.OK


def _partitions(client: Client, topic: str, wanted: int | None) -> int:
    """How many partitions the topic has; it is created if it is missing. Blocks."""
    from portask.client import ClientError

    try:
        return len(client.topic(topic)["partitions"])
    except ClientError as error:
        if error.code != "UNKNOWN_TOPIC":
            raise
    client.create_topic(topic, wanted)
    return len(client.topic(topic)["partitions"])


def _import(
    client: Client, topic: str, file: IO[bytes], begin: Reach, partitions: int, note: Note | None, show: Advance
) -> Reach:
    """Publish *file* from *begin* on and return where it ends. Blocks. Raises CommandError for a broken line."""
    end = begin
    for group in _groups(file, begin, partitions):
        for partition, messages in group.messages.items():
            for _ in client.publish_many(topic, messages, partition=partition):
                pass
        end = group.end
        if note is not None:
            note.keep(end)
        show(end.position)
        if group.error is not None:
            raise group.error
    return end


def _groups(file: IO[bytes], begin: Reach, partitions: int) -> Iterator[Group]:
    """The lines of *file*; a partition that is not among the first *partitions* is left to the key."""
    end, size = begin, 0
    messages: dict[int | None, list[Message]] = {}
    for line in file:
        try:
            message, place = decode_line(line)
        except UsageError as error:
            text = f"line {end.lines + 1}: {error}; correct it and go on with --resume"
            yield Group(messages, end, CommandError(text, Exit.USAGE))
            return
        number = place.partition
        messages.setdefault(number if number is not None and number < partitions else None, []).append(message)
        end = Reach(end.position + len(line), end.lines + 1)
        size += len(line)
        if size >= GROUP_BYTES or end.lines % GROUP_LINES == 0:
            yield Group(messages, end, None)
            messages, size = {}, 0
    yield Group(messages, end, None)


class Note:
    """FILE.progress: how much of FILE is published to which topic."""

    def __init__(self, file: Path, topic: str) -> None:
        self._file = file
        self._topic = topic
        self._path = file.with_name(file.name + ".progress")

    def begin(self, *, resume: bool, restart: bool) -> Reach:
        """Where to begin. Raises CommandError when an earlier import was stopped and nobody says what to do."""
        if restart or not self._path.exists():
            return Reach()
        if not resume:
            raise CommandError(
                f"an import of {self._file} was stopped before its end; "
                "go on with --resume, or publish everything again with --restart",
                Exit.USAGE,
            )
        try:
            fields = json.loads(self._path.read_bytes())
            topic, reach = fields["topic"], Reach(int(fields["position"]), int(fields["lines"]))
        except (ValueError, TypeError, LookupError) as error:
            raise CommandError(f"{self._path} is not readable; begin anew with --restart", Exit.USAGE) from error
        if topic != self._topic:
            raise CommandError(f"the import that was stopped went to topic {topic}; name that one", Exit.USAGE)
        if self._file.stat().st_size < reach.position:
            raise CommandError(f"{self._file} is shorter than what was imported; begin anew with --restart", Exit.USAGE)
        return reach

    def keep(self, reach: Reach) -> None:
        """Write it, so that a kill at any moment leaves the old one or the new one."""
        fields = {"topic": self._topic, "position": reach.position, "lines": reach.lines}
        fresh = self._path.with_name(self._path.name + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(fields, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def remove(self) -> None:
        """The whole file is published."""
        self._path.unlink(missing_ok=True)
