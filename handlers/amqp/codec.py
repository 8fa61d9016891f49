"""Frames of AMQP 0-9-1 and the small formats around them: bytes of what the broker says, replies, credentials.

frame  := type:u8 channel:u16 size:u32 payload 0xCE
method := class:u16 method:u16 arguments                 in a frame of its own
header := class:u16 weight:u16 body_size:u64 ...         portask.properties
body   := bytes                                          in as many frames as `frame_max` asks for, none for none
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

from portask.errors import ProtocolError
from portask.field_table import Buffer, decode_fields

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
"""The first bytes of a client, and what anything else is answered with."""

FRAME_METHOD = 1
FRAME_HEADER = 2
FRAME_BODY = 3
FRAME_HEARTBEAT = 8
FRAME_END = 0xCE
FRAME_START = Struct(">BHI")
"""Type, channel, size of the payload."""
FRAME_OVERHEAD = FRAME_START.size + 1
"""Bytes of a frame beside its payload; `frame_max` counts them."""
MIN_FRAME_MAX = 8192
"""RabbitMQ's; the specification says 4096."""
MAX_REPLY_TEXT_BYTES = 255

_END = bytes((FRAME_END,))
HEARTBEAT = FRAME_START.pack(FRAME_HEARTBEAT, 0, 0) + _END


# -- replies ----------------------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """A reply code."""

    code: int
    name: str
    closes_connection: bool
    """Or else the channel; neither with 200, nor with 312 and 313 in a basic.return."""


REPLIES = {
    code: Reply(code, name, closes_connection)
    for code, name, closes_connection in (
        (200, "OK", False),
        (311, "CONTENT_TOO_LARGE", False),
        (312, "NO_ROUTE", False),
        (313, "NO_CONSUMERS", False),
        (320, "CONNECTION_FORCED", True),
        (402, "INVALID_PATH", True),
        (403, "ACCESS_REFUSED", False),
        (404, "NOT_FOUND", False),
        (405, "RESOURCE_LOCKED", False),
        (406, "PRECONDITION_FAILED", False),
        (501, "FRAME_ERROR", True),
        (502, "SYNTAX_ERROR", True),
        (503, "COMMAND_INVALID", True),
        (504, "CHANNEL_ERROR", True),
        (505, "UNEXPECTED_FRAME", True),
        (506, "RESOURCE_ERROR", True),
        (530, "NOT_ALLOWED", True),
        (540, "NOT_IMPLEMENTED", True),
        (541, "INTERNAL_ERROR", True),
    )
}
"""By code, as RabbitMQ has them."""


def reply_text(code: int, explanation: str = "") -> str:
    """What is said with *code*: its name and *explanation*, as much of both as a short string holds."""
    name = REPLIES[code].name
    encoded = (f"{name} - {explanation}" if explanation else name).encode("utf-8", "surrogateescape")
    if len(encoded) <= MAX_REPLY_TEXT_BYTES:
        return encoded.decode("utf-8", "surrogateescape")
    stop = MAX_REPLY_TEXT_BYTES
    # A character begins with a byte that is not 10xxxxxx; of four bytes the last three are.
    while stop > MAX_REPLY_TEXT_BYTES - 3 and encoded[stop] & 0xC0 == 0x80:
        stop -= 1
    return encoded[:stop].decode("utf-8", "surrogateescape")


# -- frames -----------------------------------------------------------------------------------------------------------


def encode_frame(kind: int, channel: int, payload: Buffer) -> bytes:
    """One frame of the type *kind*."""
    return b"".join((FRAME_START.pack(kind, channel, len(payload)), payload, _END))


def encode_method_frame(channel: int, value: Any) -> bytes:
    """The frame of a method; *value* is one of a class in `Method.value`."""
    payload: bytes = value.method.encode(value)
    return FRAME_START.pack(FRAME_METHOD, channel, len(payload)) + payload + _END


def encode_content(channel: int, header: Buffer, body: Buffer, frame_max: int) -> list[Buffer]:
    """The frames of a content header and its body, in pieces; *body* is not copied. *frame_max* 0 is no limit."""
    pieces: list[Buffer] = [encode_frame(FRAME_HEADER, channel, header)]
    size = len(body)
    step = frame_max - FRAME_OVERHEAD if frame_max else size
    if size <= step:
        if size:
            pieces += (FRAME_START.pack(FRAME_BODY, channel, size), body, _END)
        return pieces
    view = memoryview(body)
    for position in range(0, size, step):
        part = view[position : position + step]
        pieces += (FRAME_START.pack(FRAME_BODY, channel, len(part)), part, _END)
    return pieces


# -- credentials ------------------------------------------------------------------------------------------------------


class Credentials(NamedTuple):
    """Who a client says it is."""

    name: str
    password: bytes

    def __repr__(self) -> str:
        return f"Credentials(name={self.name!r})"


def parse_plain(response: bytes) -> Credentials:
    """What a response of the mechanism PLAIN says: `NUL name NUL password`. Raises ProtocolError."""
    parts = response.split(b"\0")
    if len(parts) != 3 or parts[0]:
        raise ProtocolError("PLAIN response invalid")
    return Credentials(parts[1].decode("utf-8", "surrogateescape"), parts[2])


def parse_amqplain(response: bytes) -> Credentials:
    """What a response of the mechanism AMQPLAIN says: a field table without its size. Raises ProtocolError."""
    table = decode_fields(response)
    name, password = (_text(table.get(key)) for key in ("LOGIN", "PASSWORD"))
    if name is None or password is None:
        raise ProtocolError("AMQPLAIN auth info is missing LOGIN or PASSWORD field")
    return Credentials(name.decode("utf-8", "surrogateescape"), password)


def _text(value: Any) -> bytes | None:
    """The bytes of a field that is text."""
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None
