"""Printing messages one by one as they come, for `sub`, `read` and `tail`.

table  place, time, key, headers and payload on one line; what is no printable text is escaped
raw    the payload and a newline, nothing else
jsonl  one JSON object a line (portask.cli.message_line)
json   the same as one array, complete when the command ends
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from portask.cli.message_line import encode_line
from portask.message import NO_TIMESTAMP

if TYPE_CHECKING:
    from portask.client import ReceivedMessage

FORMATS = ("table", "raw", "json", "jsonl")


def add_message_output(parser: argparse.ArgumentParser) -> None:
    """Add --output."""
    parser.add_argument(
        "--output", choices=FORMATS, default="table", help="how to print; raw is the payloads alone (table)"
    )


class MessagePrinter:
    """Prints messages to stdout; a context manager, because an array has to be ended."""

    def __init__(self, form: str) -> None:
        self.printed = 0
        self._form = form
        self._out = sys.stdout.buffer

    def __enter__(self) -> Self:
        if self._form == "json":
            self._out.write(b"[")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._form == "json" and not isinstance(error, BrokenPipeError):
            self._out.write(b"\n]\n" if self.printed else b"]\n")
            self.flush()

    def show(self, message: ReceivedMessage) -> None:
        """Print one message. It may stay in the buffer until `flush`."""
        if self._form == "raw":
            line = message.payload or b""
        elif self._form == "table":
            line = _for_people(message).encode()
        else:
            line = encode_line(message).encode()
        if self._form == "json":
            self._out.write(b",\n " if self.printed else b"\n ")
            self._out.write(line)
        else:
            self._out.write(line + b"\n")
        self.printed += 1

    def flush(self) -> None:
        """Hand everything to whoever reads. Raises BrokenPipeError when nobody does."""
        self._out.flush()


def _for_people(message: ReceivedMessage) -> str:
    parts = [message.id, _time(message.timestamp)]
    if message.redeliveries:
        parts.append(f"redelivered={message.redeliveries}")
    if message.key is not None:
        parts.append(f"key={_text(message.key)}")
    parts += [f"{_escape(name)}={'-' if value is None else _text(value)}" for name, value in message.headers]
    parts.append("(no payload)" if message.payload is None else _text(message.payload))
    return "  ".join(parts)


def _time(timestamp: int) -> str:
    if timestamp == NO_TIMESTAMP:
        return "-"
    try:
        return datetime.fromtimestamp(timestamp / 1000).astimezone().isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return str(timestamp)


def _text(data: bytes) -> str:
    return _escape(data.decode("utf-8", "backslashreplace"))


def _escape(text: str) -> str:
    """*text* without anything that a terminal could take for a command."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
