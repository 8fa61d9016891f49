"""Properties of AMQP messages as headers that every protocol can carry, and back.

    amqp.exchange            the exchange that the message was published to
    amqp.<property>          content_type, delivery_mode, ... : the value as text
    any other name           an entry of the property `headers`: text as UTF-8, bytes as they are, null as null,
                             all else as JSON

On the way back a header that still says what the properties say leaves the value there, with its type;
one that says something else replaces it with its text. So a message that is read, and written again with its
headers by a client that knows nothing of AMQP, is the same message.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime
from typing import Any

from portask.errors import ProtocolError
from portask.message import Headers
from portask.properties import Properties, decode_header, encode_header, pack, unpack

PREFIX = "amqp."
EXCHANGE = "amqp.exchange"
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
    found = [(name, _to_bytes(value)) for name, value in (properties.headers or {}).items()]
    if exchange:
        found.append((EXCHANGE, _to_bytes(exchange)))
    found += [
        (PREFIX + name, _to_bytes(value))
        for name, value in zip(Properties._fields, properties, strict=True)
        if value is not None and name != "headers"
    ]
    return found


def from_headers(packed: bytes | None, headers: Headers, body_bytes: int) -> bytes:
    """The properties *packed*, with what *headers* say, for a body of that size."""
    exchange, header = unpack(packed)
    try:
        properties = decode_header(header)
    except ProtocolError:
        properties = Properties()
    said = dict(to_headers(packed))
    own = dict(properties.headers or {})
    changes: dict[str, Any] = {}
    repeated: set[str] = set()
    for name, content in headers:
        if name in said and said[name] == content:
            continue
        if not name.startswith(PREFIX):
            _put(own, name, content, repeated)
        elif name == EXCHANGE:
            exchange = _short(content) or exchange
        else:
            changes |= _property(name.removeprefix(PREFIX), content, own, name)
    properties = properties._replace(**changes, headers=own or properties.headers)
    return pack(exchange, encode_header(properties, body_bytes))


def _put(own: dict[str, Any], name: str, content: bytes | None, repeated: set[str]) -> None:
    """Set a header; of one that is said several times, an array of all that is said."""
    name = name.encode("utf-8", "surrogateescape")[:MAX_TEXT_BYTES].decode("utf-8", "ignore")
    value = _to_value(content)
    if name not in repeated:
        own[name] = value
        repeated.add(name)
    elif isinstance(own[name], list):
        own[name].append(value)
    else:
        own[name] = [own[name], value]


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
