"""Properties of AMQP messages as headers that every protocol can carry, and back.

    amqp.exchange            the exchange that the message was published to
    amqp.<property>          content_type, delivery_mode, ... : the value as text
    any other name           an entry of the property `headers`: text as UTF-8, bytes as they are, null as null,
                             an array of several of these as a header that is repeated, all else as JSON

On the way back headers that still say what the properties say leave the values there, with their types;
those that say something else replace them with their text. So a message that is read, and written again with its
headers by a client that knows nothing of AMQP, is the same message.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from portask.errors import ProtocolError
from portask.message import Headers
from portask.properties import (
    FLAG_HEADERS,
    Properties,
    decode_header,
    encode_header,
    flags_of,
    pack,
    properties_of,
    unpack,
)

PREFIX = "amqp."
EXCHANGE = "amqp.exchange"
TOMBSTONE = "kafka.tombstone"
"""The entry that tells the empty body of a tombstone from other empty bodies: true."""
_NUMBERS = frozenset({"delivery_mode", "priority", "timestamp"})
_TEXTS = frozenset(Properties._fields) - _NUMBERS - {"headers"}
MAX_TEXT_BYTES = 255
"""Of a short string."""
_MOST = {"delivery_mode": 255, "priority": 255, "timestamp": (1 << 64) - 1}


def to_headers(packed: bytes | None) -> list[tuple[str, bytes | None]]:
    """The headers that tell of a record's properties; none when it has none that can be read."""
    if not packed:
        return []
    exchange, header = unpack(packed)
    try:
        properties = decode_header(header)
    except ProtocolError:
        return []
    found = _entries(properties)
    if exchange:
        found.append((EXCHANGE, _to_bytes(exchange)))
    found += [
        (PREFIX + name, _to_bytes(value))
        for name, value in zip(Properties._fields, properties, strict=True)
        if value is not None and name != "headers"
    ]
    return found


def with_headers(record: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    """*record*, which has properties and no headers, with the entries of the property `headers` in their place."""
    payload, key, _, timestamp, packed = record
    if not flags_of(packed) & FLAG_HEADERS:
        return record
    flat = [part for entry in _entries(properties_of(packed)) for part in entry]
    return (payload, key, flat or None, timestamp, packed)


def from_headers(packed: bytes | None, headers: Headers, body_bytes: int) -> bytes:
    """The properties *packed*, with what *headers* say, for a body of that size."""
    exchange, header = unpack(packed)
    try:
        properties = decode_header(header)
    except ProtocolError:
        properties = Properties()
    said = _by_name(to_headers(packed))
    own = dict(properties.headers or {})
    changes: dict[str, Any] = {}
    for name, contents in _by_name(headers).items():
        if contents == said.get(name):
            continue
        if not name.startswith(PREFIX):
            values = [_to_value(content) for content in contents]
            own[_cut(name)] = values[0] if len(values) == 1 else values
        elif name == EXCHANGE:
            exchange = _short(contents[-1]) or exchange
        else:
            changes |= _property(name.removeprefix(PREFIX), contents[-1], own, _cut(name))
    properties = properties._replace(**changes, headers=own or properties.headers)
    return pack(exchange, encode_header(properties, body_bytes))


def _entries(properties: Properties) -> list[tuple[str, bytes | None]]:
    """The entries of the property `headers`. What is not UTF-8 in a name is replaced."""
    found = []
    for name, value in (properties.headers or {}).items():
        text = name.encode("utf-8", "replace").decode()
        is_repeated = isinstance(value, list) and len(value) > 1 and all(map(_is_plain, value))
        found += [(text, _to_bytes(one)) for one in (value if is_repeated else [value])]
    return found


def _by_name(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, list[bytes | None]]:
    """All that is said under each name, in order."""
    found: dict[str, list[bytes | None]] = {}
    for name, content in headers:
        found.setdefault(name, []).append(content)
    return found


def _cut(name: str) -> str:
    """*name*, or as much of it as the name of an entry may have."""
    return name.encode("utf-8", "surrogateescape")[:MAX_TEXT_BYTES].decode("utf-8", "ignore")


def _property(name: str, content: bytes | None, own: dict[str, Any], header: str) -> dict[str, Any]:
    """The property *name* that *content* says; as a header of its own when it can say none."""
    text = _short(content)
    if text is not None:
        if name in _TEXTS:
            return {name: text}
        if name in _NUMBERS and text.isascii() and text.isdigit() and int(text) <= _MOST[name]:
            return {name: int(text)}
    own[header] = _to_value(content)
    return {}


def _short(content: bytes | None) -> str | None:
    """*content* as the text of a short string, if it can be one."""
    if content is None or len(content) > MAX_TEXT_BYTES:
        return None
    return content.decode("utf-8", "surrogateescape")


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes)


def _to_bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return json.dumps(value, default=_to_json, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _to_json(value: Any) -> Any:
    """What JSON has no form for."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _to_value(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content
