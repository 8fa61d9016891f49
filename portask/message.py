"""Messages, and the record form in which they are kept and handed about.

A `Message` is what a person means by one: payload, key, headers, timestamp, properties. The broker
itself moves *records*, the shortest CBOR value that holds the same, because most messages are a
payload and nothing else, and a list of plain byte strings is encoded seven times faster than a list
of five-element arrays (7 us against 50 us per hundred):

    record     := payload                                    payload only, not null
                | [payload, key, headers, timestamp, properties]   trailing nulls cut off
    payload    := bytes | null        null is a tombstone
    key        := bytes | null
    headers    := [name, value, name, value, ...] | null     names text, values bytes | null
    timestamp  := milliseconds since 1970 | null             null: the timestamp of its batch
    properties := bytes | null        an AMQP content header, verbatim

Records come from peers, so `check_records` lets nothing else pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple

import cbor2

from portask.errors import ProtocolError

Record = bytes | list[Any] | tuple[Any, ...]
"""A message in the record form: bytes, or a list or tuple of at most five elements."""

Headers = tuple[tuple[str, bytes | None], ...]

MAX_HEADERS = 1000
MAX_DEPTH = 8
"""Nesting that a decoder follows; a list of records with headers needs four."""
NO_TIMESTAMP = -1
FIELDS = 5
"""Of a record that has properties."""
_MAX_TIMESTAMP = (1 << 63) - 1


class Message(NamedTuple):
    """One message with its fields by name. Immutable."""

    payload: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    """In order, names may repeat."""
    timestamp: int = NO_TIMESTAMP
    """Milliseconds since 1970; NO_TIMESTAMP until the broker has given it one."""
    properties: bytes | None = None


def to_record(message: Message) -> Record:
    """The record form of *message*, as short as it can be."""
    payload, key, headers, timestamp, properties = message
    flat = [part for header in headers for part in header] or None
    fields = (payload, key, flat, None if timestamp == NO_TIMESTAMP else timestamp, properties)
    length = FIELDS
    while length > 1 and fields[length - 1] is None:
        length -= 1
    return payload if length == 1 and payload is not None else fields[:length]


def to_message(record: Record, timestamp: int = NO_TIMESTAMP) -> Message:
    """The message that a checked *record* stands for; *timestamp* is its batch's."""
    if isinstance(record, bytes):
        return Message(record, None, (), timestamp, None)
    length = len(record)
    flat = record[2] if length > 2 else None
    own = record[3] if length > 3 else None
    return Message(
        record[0],
        record[1] if length > 1 else None,
        tuple(zip(flat[::2], flat[1::2], strict=True)) if flat else (),
        timestamp if own is None else own,
        record[4] if length > 4 else None,
    )


def check_records(records: Any, max_bytes: int) -> int:
    """Raise ProtocolError unless *records* is a list of well-formed records; return their size in bytes.

    The size counts payloads, keys, headers and properties. ProtocolError also when one is larger
    than *max_bytes*; callers that want to answer that differently compare sizes themselves first.
    """
    if type(records) is not list:
        raise ProtocolError("messages must be an array")
    total = 0
    for record in records:
        size = len(record) if type(record) is bytes else _check_fields(record)
        if size > max_bytes:
            raise ProtocolError(f"a message of {size} bytes is larger than {max_bytes}")
        total += size
    return total


def _check_fields(record: Any) -> int:
    if type(record) not in (list, tuple) or not 1 <= len(record) <= FIELDS:
        raise ProtocolError("a message must be bytes or an array of one to five fields")
    size = 0
    for position, name in ((0, "payload"), (1, "key"), (4, "properties")):
        value = record[position] if position < len(record) else None
        if value is not None:
            if type(value) is not bytes:
                raise ProtocolError(f"{name} must be bytes or null")
            size += len(value)
    if len(record) > 2 and record[2] is not None:
        size += _check_headers(record[2])
    timestamp = record[3] if len(record) > 3 else None
    if timestamp is not None and (type(timestamp) is not int or not 0 <= timestamp <= _MAX_TIMESTAMP):
        raise ProtocolError("timestamp must be milliseconds since 1970")
    return size


def _check_headers(flat: Any) -> int:
    if type(flat) not in (list, tuple) or len(flat) % 2 or len(flat) > 2 * MAX_HEADERS:
        raise ProtocolError(f"headers must be an array of up to {MAX_HEADERS} names, each followed by its value")
    size = 0
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        if type(name) is not str or not (value is None or type(value) is bytes):
            raise ProtocolError("a header is a text name and a value of bytes or null")
        size += len(name) + (len(value) if value is not None else 0)
    return size


def encode_cbor(value: Any) -> bytes:
    """*value* as CBOR."""
    return cbor2.dumps(value)


def encode_records_cbor(records: Sequence[Record]) -> bytes:
    """*records* as CBOR: a single one with a payload, key and properties in 1.2 us instead of 3.6.

    That is what each of many queues gets in every round.
    """
    if len(records) == 1:
        record = records[0]
        if type(record) is tuple and len(record) == FIELDS:
            payload, key, headers, timestamp, properties = record
            if (
                headers is None
                and timestamp is None
                and type(payload) is bytes
                and type(key) is bytes
                and type(properties) is bytes
            ):
                heads = _byte_string_head(len(payload)), _byte_string_head(len(key)), _byte_string_head(len(properties))
                return b"".join((_SINGLE, heads[0], payload, heads[1], key, _NULLS, heads[2], properties))
    return encode_cbor(records)


_SINGLE = b"\x81\x85"
"""An array of one array of five."""
_NULLS = b"\xf6\xf6"


@lru_cache(maxsize=4096)
def _byte_string_head(size: int) -> bytes:
    """What stands before the bytes of a byte string of *size* (RFC 8949, section 3)."""
    if size < 24:
        return bytes((0x40 | size,))
    width = 0 if size < 1 << 8 else 1 if size < 1 << 16 else 2 if size < 1 << 32 else 3
    return bytes((0x58 + width,)) + size.to_bytes(1 << width, "big")


def _refuse_tag(*_: Any) -> Any:
    raise ValueError("tags are not allowed")


# Tags bring what no message needs and a peer could abuse: references that let ten bytes stand for a
# gigabyte (25, 29), patterns that take forever (35), numbers of any size (2-5).
_REFUSED_TAGS = dict.fromkeys(
    (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse_tag
)


def decode_cbor(data: bytes | memoryview, max_depth: int = MAX_DEPTH) -> Any:
    """The one CBOR value that *data* holds.

    Raises ProtocolError for anything else: broken or trailing bytes, tags, indefinite lengths, nesting
    beyond *max_depth*. A count or length beyond the bytes that are there is refused before anything
    of that size is allocated.
    """
    source = BytesIO(data)
    try:
        value = cbor2.CBORDecoder(
            source,
            max_depth=max_depth,
            allow_indefinite=False,
            semantic_decoders=_REFUSED_TAGS,
            tag_hook=_refuse_tag,
        ).decode()
    except cbor2.CBORError as error:
        raise ProtocolError(f"not valid CBOR: {error}") from error
    if source.tell() != len(data):
        raise ProtocolError(f"{len(data) - source.tell()} bytes follow the CBOR value")
    return value
