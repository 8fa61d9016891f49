"""What codecs make of bytes, and what they make bytes of: commands, refusals and results.

Everything here is the same in both modes; `handlers.native.text` and `handlers.native.cbor` say how it
looks on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from portask.errors import PortaskError, ProtocolError, UsageError
from portask.message import Record


class UnknownCommandError(UsageError):
    """There is no verb of that name in this mode."""


class CommandTimeoutError(ProtocolError):
    """A command was begun and not finished in time."""


class Limits(NamedTuple):
    """What a decoder accepts before it allocates anything."""

    line_bytes: int
    message_bytes: int
    """Payload, key, headers and properties of one message together."""
    command_bytes: int
    """A CBOR frame, or the messages of one MPUBLISH."""
    command_messages: int = 100_000
    """Messages in one command; also values in one large CBOR frame, which cost far more than their byte."""


class Command:
    """One complete command, its arguments as the verb's table says."""

    __slots__ = ("arguments", "correlation", "verb")

    def __init__(self, verb: str, correlation: int | None, arguments: tuple[Any, ...]) -> None:
        self.verb = verb
        self.correlation = correlation
        """The number that a CBOR request brought; None in text mode."""
        self.arguments = arguments


class Refusal:
    """What came instead of a command. After a *fatal* one the decoder takes no more bytes."""

    __slots__ = ("correlation", "error", "fatal")

    def __init__(self, correlation: int | None, error: PortaskError, fatal: bool = False) -> None:
        self.correlation = correlation
        self.error = error
        self.fatal = fatal


class Publish(NamedTuple):
    """Arguments of PUBLISH, PUBLISHB and MPUBLISH."""

    topic: str
    records: list[Record]
    partition: int | None
    size_bytes: int


class Settlement(NamedTuple):
    """Arguments of ACK and NACK."""

    group: str | None
    """None: the only group of that topic that the connection is subscribed to."""
    ranges: list[tuple[str, int, int, int]]
    """Topic, partition, first and last offset."""


class Stored(NamedTuple):
    """Result of a publish: where its messages are."""

    topic: str
    runs: Sequence[tuple[int, int, int]]
    """Partition, base offset and count of each contiguous run, in the order of the messages."""


class Subscribed(NamedTuple):
    """Result of SUBSCRIBE."""

    topic: str
    group: str


class Delivered(NamedTuple):
    """Messages at consecutive offsets from *base_offset* on, on their way to the peer."""

    topic: str
    group: str | None
    """None: the answer of READ."""
    partition: int
    base_offset: int
    redeliveries: int
    timestamp: int
    """Of records that have none of their own."""
    records: Sequence[Record]


class Page(NamedTuple):
    """Result of READ."""

    runs: list[Delivered]
    next_offset: int
    high_watermark: int
    log_start_offset: int


class Lines(NamedTuple):
    """A result of many values, in text mode one a line."""

    values: list[Any]


Result = Stored | Subscribed | Page | Lines | dict[str, Any] | str | int | None
"""What follows OK: one of the above, a map (JSON in text mode), a word, a number, or nothing."""
