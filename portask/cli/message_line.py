"""A message as one line of JSON, the form in which `export`, `import`, `sub`, `read` and `tail` show it.

    {"topic": "orders", "partition": 0, "offset": 17, "timestamp": 1764000000000,
     "key": "k", "headers": [["name", "value"]], "payload": "hello"}

A byte string is a JSON string where it is UTF-8, else {"base64": "..."}; null stays null. Fields that
are empty are left out, but for the payload: without one a message is a tombstone, and that has to be
said. So the same message always gives the same line, and a line gives back the same message.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from portask.cli.output import to_json
from portask.errors import UsageError
from portask.message import MAX_HEADERS, NO_TIMESTAMP, Headers, Message

if TYPE_CHECKING:
    from portask.client import ReceivedMessage

_FIELDS = frozenset(
    ("topic", "partition", "offset", "timestamp", "key", "headers", "payload", "properties", "redelivered")
)
_INTEGERS = ("partition", "offset", "timestamp")


def encode_line(message: ReceivedMessage) -> str:
    """One line, without its end."""
    fields: dict[str, Any] = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
    if message.timestamp != NO_TIMESTAMP:
        fields["timestamp"] = message.timestamp
    if message.key is not None:
        fields["key"] = _from_bytes(message.key)
    if message.headers:
        fields["headers"] = [[name, _from_bytes(value)] for name, value in message.headers]
    if message.properties is not None:
        fields["properties"] = _from_bytes(message.properties)
    if message.redeliveries:
        fields["redelivered"] = message.redeliveries
    fields["payload"] = _from_bytes(message.payload)
    return to_json(fields)


class Place(NamedTuple):
    """Where a line says that its message was; what it does not say is None."""

    topic: str | None
    partition: int | None
    offset: int | None


def decode_line(line: bytes | str) -> tuple[Message, Place]:
    """The message that *line* stands for, and where it was.

    Raises UsageError that says what is wrong with the line.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from error
    if type(fields) is not dict:
        raise UsageError("a message is a JSON object")
    if unknown := fields.keys() - _FIELDS:
        raise UsageError(f"unknown field {min(unknown)!r}")
    if "payload" not in fields:
        raise UsageError('there is no payload; a message without one has "payload": null')
    for name in _INTEGERS:
        value = fields.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise UsageError(f"{name} must be a number of at least 0")
    timestamp = fields.get("timestamp")
    return (
        Message(
            _to_bytes(fields["payload"], "payload"),
            _to_bytes(fields.get("key"), "key"),
            _to_headers(fields.get("headers")),
            NO_TIMESTAMP if timestamp is None else timestamp,
            _to_bytes(fields.get("properties"), "properties"),
        ),
        Place(fields.get("topic"), fields.get("partition"), fields.get("offset")),
    )


def _from_bytes(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode("ascii")}


def _to_bytes(value: Any, name: str) -> bytes | None:
    if value is None:
        return None
    try:
        if type(value) is str:
            return value.encode()
        if type(value) is dict and value.keys() == {"base64"}:
            return b64decode(value["base64"], validate=True)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name} is no valid text or base64: {error}") from error
    raise UsageError(f'{name} must be text, null or {{"base64": "..."}}')


def _to_headers(value: Any) -> Headers:
    if value is None:
        return ()
    if type(value) is not list or len(value) > MAX_HEADERS:
        raise UsageError(f"headers must be a list of at most {MAX_HEADERS} pairs")
    headers = []
    for pair in value:
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str:
            raise UsageError("a header is a pair of its name and its value")
        _to_bytes(pair[0], "a header's name")
        headers.append((pair[0], _to_bytes(pair[1], "a header's value")))
    return tuple(headers)
