"""Properties: what AMQP says of a message beside its body, as it travels and as it is kept.

    packed  := exchange:short_string header
    header  := class:u16 weight:u16 body_size:u64 flags:u16 property*

The header is the payload of a content header frame, verbatim; packed it is the `properties` of a record. A
bit of `flags` says of each property whether it is there, in the order of `Properties`. What is asked of every
message is read from the packed bytes, without decoding the rest; what is not decodable there has no properties,
since records come by other protocols too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

from portask.errors import ProtocolError
from portask.field_table import Buffer, decode_table, encode_table

CLASS_BASIC = 60
FLAG_CONTENT_TYPE = 0x8000
FLAG_CONTENT_ENCODING = 0x4000
FLAG_HEADERS = 0x2000
FLAG_DELIVERY_MODE = 0x1000
FLAG_PRIORITY = 0x0800
FLAG_CORRELATION_ID = 0x0400
FLAG_REPLY_TO = 0x0200
FLAG_EXPIRATION = 0x0100
FLAG_MESSAGE_ID = 0x0080
FLAG_TIMESTAMP = 0x0040
FLAG_TYPE = 0x0020
FLAG_USER_ID = 0x0010
FLAG_APP_ID = 0x0008
FLAG_CLUSTER_ID = 0x0004
FLAG_MORE = 0x0001
"""More flags would follow, but there are no more properties."""
PERSISTENT = 2
"""The delivery mode of messages that survive a restart."""

_START = Struct(">HHQH")
_CLASS_AND_FLAGS = Struct(">H10xH")
_BODY_SIZE = Struct(">Q")
_FLAGS_AT = 12
_LIST_AT = _START.size
_TIMESTAMP = Struct(">Q")
_SIZE = Struct(">I")
EMPTY_HEADER = _START.pack(CLASS_BASIC, 0, 0, 0)
"""No properties, and a body of no bytes."""


class Properties(NamedTuple):
    """The properties of a message; None is absent."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    """Seconds since 1970."""
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


# -- one property -----------------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    stop: Callable[[Buffer, int], int]
    """Where the value at a position ends; raises or goes beyond the buffer when that is cut short."""
    decode: Callable[[Buffer, int, int], Any]
    encode: Callable[[Any], bytes]


def _decode_string(data: Buffer, start: int, stop: int) -> str:
    return str(data[start + 1 : stop], "utf-8", "surrogateescape")


def _encode_string(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogateescape")
    return bytes((len(encoded),)) + encoded


_STRING = _Kind(lambda data, start: start + 1 + data[start], _decode_string, _encode_string)
_TABLE = _Kind(
    lambda data, start: start + 4 + int(_SIZE.unpack_from(data, start)[0]),
    lambda data, start, stop: decode_table(data, start)[0],
    encode_table,
)
_OCTET = _Kind(lambda data, start: start + 1, lambda data, start, stop: data[start], lambda value: bytes((value,)))
_SECONDS = _Kind(
    lambda data, start: start + 8,
    lambda data, start, stop: _TIMESTAMP.unpack_from(data, start)[0],
    _TIMESTAMP.pack,
)
_KIND_OF = dict.fromkeys(Properties._fields, _STRING)
_KIND_OF |= {"headers": _TABLE, "delivery_mode": _OCTET, "priority": _OCTET, "timestamp": _SECONDS}
_FIELDS = [(name, 0x8000 >> index, kind) for index, (name, kind) in enumerate(_KIND_OF.items())]


# -- content headers --------------------------------------------------------------------------------------------------


def _spans(header: Buffer, position: int = 0) -> Iterator[tuple[str, _Kind, int, int]]:
    """Name, kind, start and stop of each property of *header*, in order. Raises ProtocolError."""
    end = len(header)
    try:
        class_id, _, _, flags = _START.unpack_from(header, position)
        if class_id != CLASS_BASIC or flags & FLAG_MORE:
            raise ProtocolError(f"no content header has class {class_id} and flags {flags:#06x}")
        position += _LIST_AT
        for name, flag, kind in _FIELDS:
            if flags & flag:
                stop = kind.stop(header, position)
                if stop > end:
                    raise ProtocolError(f"{name} is longer than the content header it stands in")
                yield name, kind, position, stop
                position = stop
    except (IndexError, StructError) as error:
        raise ProtocolError("a content header is cut short") from error
    if position != end:
        raise ProtocolError(f"{end - position} bytes follow the properties of a content header")


def items_of(header: Buffer, position: int = 0) -> Iterator[tuple[str, Any]]:
    """Name and value of each property that is there, in order. Raises ProtocolError, perhaps half way."""
    for name, kind, start, stop in _spans(header, position):
        yield name, kind.decode(header, start, stop)


def decode_header(payload: Buffer, position: int = 0) -> Properties:
    """The properties of the content header that *payload* is from *position* to its end. Raises ProtocolError."""
    return Properties(**dict(items_of(payload, position)))


def encode_header(properties: Properties, body_size: int) -> bytes:
    """The content header of a body of *body_size* bytes. Raises ValueError or struct.error for what it can't hold."""
    flags = 0
    parts = [b""]
    for (_, flag, kind), value in zip(_FIELDS, properties, strict=True):
        if value is not None:
            flags |= flag
            parts.append(kind.encode(value))
    parts[0] = _START.pack(CLASS_BASIC, 0, body_size, flags)
    return b"".join(parts)


def body_size_of(header: Buffer) -> int:
    """Bytes of the body that *header* announces."""
    size: int = _BODY_SIZE.unpack_from(header, 4)[0]
    return size


def with_body_size(header: bytes, body_size: int) -> bytes:
    """*header* for a body of *body_size* bytes."""
    return header[:4] + _BODY_SIZE.pack(body_size) + header[_FLAGS_AT:]


def encoded(header: bytes, name: str) -> bytes:
    """The property *name* of *header* as it is encoded there; empty when there is none. Raises ProtocolError."""
    return next((header[start:stop] for found, _, start, stop in _spans(header) if found == name), b"")


def edited(header: bytes, **changes: Any) -> bytes:
    """*header* with the properties that *changes* names set, or taken away by None; all others stay as they are.

    Bytes are a property as it is encoded. Raises ProtocolError when the header is not decodable, ValueError or
    struct.error for a value it can't hold.
    """
    kept = {name: header[start:stop] for name, _, start, stop in _spans(header)}
    for name, value in changes.items():
        if value is None:
            kept[name] = b""
        else:
            kept[name] = value if isinstance(value, bytes) else _KIND_OF[name].encode(value)
    flags = sum(flag for name, flag, _ in _FIELDS if kept.get(name))
    return header[:_FLAGS_AT] + flags.to_bytes(2, "big") + b"".join(kept.get(name, b"") for name in Properties._fields)


# -- the properties of a record ---------------------------------------------------------------------------------------


def pack(exchange: str, header: bytes) -> bytes:
    """The properties of a record that was published to *exchange* with *header*."""
    return _encode_string(exchange) + header


def unpack(properties: bytes | None) -> tuple[str, bytes]:
    """Exchange and content header of a record; "" and `EMPTY_HEADER` when it has none that could be one."""
    if properties and _packed_flags(properties) is not None:
        start = 1 + properties[0]
        return str(properties[1:start], "utf-8", "surrogateescape"), properties[start:]
    return "", EMPTY_HEADER


def is_packed(properties: bytes | None) -> bool:
    """Whether *properties* are those of a message by AMQP, decodable to the last byte."""
    if not properties or _packed_flags(properties) is None:
        return False
    try:
        decode_header(properties, 1 + properties[0])
    except ProtocolError:
        return False
    return True


def properties_of(properties: bytes | None) -> Properties:
    """The properties in *properties*; none when they are not decodable."""
    try:
        return decode_header(unpack(properties)[1])
    except ProtocolError:
        return Properties()


def repacked(properties: bytes | None, exchange: str, **changes: Any) -> bytes:
    """*properties* as published to *exchange*, with *changes* as `edited` takes them.

    Dead lettering says so `repacked(properties, "dlx", headers=headers, expiration=None)`. Those that are not
    decodable are none; the body size in them is then 0.
    """
    header = unpack(properties)[1]
    try:
        return pack(exchange, edited(header, **changes))
    except ProtocolError:
        return pack(exchange, edited(EMPTY_HEADER, **changes))


def _packed_flags(properties: bytes) -> int | None:
    start = 1 + properties[0]
    if len(properties) < start + _LIST_AT:
        return None
    class_id, flags = _CLASS_AND_FLAGS.unpack_from(properties, start)
    return flags if class_id == CLASS_BASIC else None


def flags_of(properties: bytes | None) -> int:
    """The flags of packed *properties*; 0 when they are not decodable. 0.25 us."""
    return (_packed_flags(properties) or 0) if properties else 0


def expiration_of(properties: bytes | None) -> int | None:
    """Milliseconds that the message may wait; None when it has no such property or not a number in it."""
    if not properties or not (_packed_flags(properties) or 0) & FLAG_EXPIRATION:
        return None
    try:
        position, flags = _after_headers(properties)
        if flags & FLAG_DELIVERY_MODE:
            position += 1
        if flags & FLAG_PRIORITY:
            position += 1
        if flags & FLAG_CORRELATION_ID:
            position += 1 + properties[position]
        if flags & FLAG_REPLY_TO:
            position += 1 + properties[position]
        text = properties[position + 1 : position + 1 + properties[position]]
    except (IndexError, StructError):
        return None
    return int(text) if text.isdigit() else None


def priority_of(properties: bytes | None) -> int:
    """The priority of the message; 0 when it has none."""
    if not properties or not (_packed_flags(properties) or 0) & FLAG_PRIORITY:
        return 0
    try:
        position, flags = _after_headers(properties)
        return properties[position + 1] if flags & FLAG_DELIVERY_MODE else properties[position]
    except (IndexError, StructError):
        return 0


def _after_headers(properties: bytes) -> tuple[int, int]:
    """Where the property behind `headers` begins, and the flags."""
    position = 1 + properties[0] + _LIST_AT
    flags = properties[position - 2] << 8 | properties[position - 1]
    if flags & FLAG_CONTENT_TYPE:
        position += 1 + properties[position]
    if flags & FLAG_CONTENT_ENCODING:
        position += 1 + properties[position]
    if flags & FLAG_HEADERS:
        position += 4 + _SIZE.unpack_from(properties, position)[0]
    return position, flags
