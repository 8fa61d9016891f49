"""What a dead message says of its deaths: the headers that dead lettering adds and takes away.

    x-death := array of tables, the newest death first, one for each queue and reason
        count i64, reason, queue, time: of the first such death, exchange and routing-keys: those of the message when
        it first died so, CC among them and BCC not; original-expiration when the message had an expiration
    x-first-death-{reason,queue,exchange}   of the first death of all, never changed
    x-last-death-{reason,queue,exchange}    of the newest one

A dead message has no expiration, so that it does not expire again. What else its content header says stays as it is,
byte by byte. Headers of these names that came from a publisher are not believed: where a publisher has sent an
x-death the content header has the mark of `disown`, and the first death replaces what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from struct import Struct
from typing import Any, NamedTuple

from portask.errors import ProtocolError
from portask.field_table import encode_field, encode_long, join_table, split_table
from portask.message import Record
from portask.properties import EMPTY_HEADER, decode_header, edited, encoded, pack, unpack, with_body_size

X_DEATH = "x-death"
_DISOWNED = b"\x00\x01"
"""In place of the weight, which AMQP wants to be 0 and nobody reads."""
_WEIGHT = slice(2, 4)
_FIRST, _LAST = "x-first-death-", "x-last-death-"
_SIZE = Struct(">I")
_MOST = 1 << 62


class Reason(StrEnum):
    """Why a message is dead."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    MAXLEN = "maxlen"
    DELIVERY_LIMIT = "delivery_limit"


class Death(NamedTuple):
    """All deaths of a message in one queue for one reason."""

    queue: str
    reason: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    time: int
    """Of the first one, in seconds since 1970."""
    exchange: str
    routing_keys: Sequence[str]
    original_expiration: str | None


class DeadMessage(NamedTuple):
    """A message as it is published anew."""

    record: Record
    header: bytes
    """Its content header."""
    keys: tuple[str, ...]
    """What it is routed by."""
    deaths: tuple[Death, ...]
    """The newest first."""


def disown(header: bytes) -> bytes:
    """The content *header* of a message whose publisher has sent an x-death, with the mark that it means nothing."""
    return header[:2] + _DISOWNED + header[4:]


def bury(
    record: Record, queue: str, reason: Reason, now_ms: int, exchange: str, routing_key: str | None = None
) -> DeadMessage:
    """*record*, which died in *queue*, as it goes to *exchange*, with *routing_key* in place of its own keys."""
    body, key, headers, timestamp, properties = _fields_of(record)
    old_exchange, header = unpack(properties)
    try:
        decoded = decode_header(header)
        fields = split_table(encoded(header, "headers"))
    except ProtocolError:
        # Of another protocol.
        header = EMPTY_HEADER
        decoded, fields = decode_header(header), {}
    old_key = queue if key is None else key.decode("utf-8", "surrogateescape")
    given = decoded.headers or {}
    copies = _keys(given.get("CC"))
    deaths = () if header[_WEIGHT] == _DISOWNED else tuple(_deaths(given.get(X_DEATH)))
    death = Death(queue, reason, 1, now_ms // 1000, old_exchange, (old_key, *copies), decoded.expiration)
    same = next((old for old in deaths if old.queue == queue and old.reason == reason), None)
    if same is not None:
        death = same._replace(count=same.count + 1)
    newest = {"reason": reason, "queue": queue, "exchange": old_exchange}
    if not deaths:
        fields |= {_FIRST + name: encode_field(_FIRST + name, _text(value)) for name, value in newest.items()}
    fields |= {_LAST + name: encode_field(_LAST + name, _text(value)) for name, value in newest.items()}
    deaths = (death, *(old for old in deaths if old is not same))
    fields.pop("BCC", None)
    if routing_key is not None:
        fields.pop("CC", None)
    keys = (old_key, *copies, *_keys(given.get("BCC"))) if routing_key is None else (routing_key,)
    fields.pop(X_DEATH, None)
    fields[X_DEATH] = encode_field(X_DEATH, _array([_table_of(each) for each in deaths]))
    header = header[:2] + b"\0\0" + header[4:]
    header = with_body_size(edited(header, headers=join_table(fields), expiration=None), len(body))
    new_key = keys[0].encode("utf-8", "surrogateescape")
    return DeadMessage((body, new_key, headers, timestamp, pack(exchange, header)), header, keys, deaths)


def cycling(deaths: Sequence[Death]) -> set[str]:
    """The queues to which a message with these *deaths*, the newest first, must not go: no client has a part in it.

    A message comes back to a queue where it died only if it was rejected since, or then.
    """
    names = set()
    for death in deaths:
        if death.reason == Reason.REJECTED:
            break
        names.add(death.queue)
    return names


# -- reading ------------------------------------------------------------------------------------------------------


def _fields_of(record: Record) -> tuple[bytes, bytes | None, Any, Any, bytes | None]:
    if isinstance(record, bytes):
        return record, None, None, None, None
    body, key, headers, timestamp, properties = (*record, None, None, None, None)[:5]
    return body or b"", key, headers, timestamp, properties


def _deaths(value: Any) -> list[Death]:
    """The deaths that an x-death of the broker's own tells of; none if it makes no sense, as another protocol's may."""
    try:
        return [_death_of(table) for table in value] if isinstance(value, list) else []
    except (KeyError, TypeError, ValueError):
        return []


def _death_of(table: Any) -> Death:
    time, count, expiration = table["time"], table["count"], table.get("original-expiration")
    seconds = int(time.timestamp()) if isinstance(time, datetime) else int(time)
    if type(count) is not int or not 0 <= count < _MOST or not 0 <= seconds < _MOST:
        raise ValueError("numbers that cannot be")
    if expiration is not None and not isinstance(expiration, str):
        raise TypeError("an expiration is text")
    return Death(
        _name(table["queue"]),
        _name(table["reason"]),
        count,
        seconds,
        _name(table["exchange"]),
        _keys(table["routing-keys"]),
        expiration,
    )


def _keys(value: Any) -> tuple[str, ...]:
    return tuple(_name(key) for key in value) if isinstance(value, list) else ()


def _name(value: Any) -> str:
    """Text of a field that may not be UTF-8."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


# -- writing ------------------------------------------------------------------------------------------------------

# By hand and not by encode_table, since clients look at the types: Java's takes an i32 for another class than an i64.


def _sized(data: bytes) -> bytes:
    return _SIZE.pack(len(data)) + data


def _text(value: str) -> bytes:
    return b"S" + _sized(value.encode("utf-8", "surrogateescape"))


def _array(values: Sequence[bytes]) -> bytes:
    return b"A" + _sized(b"".join(values))


def _table_of(death: Death) -> bytes:
    fields = {
        "count": encode_long(death.count),
        "reason": _text(death.reason),
        "queue": _text(death.queue),
        "time": b"T" + death.time.to_bytes(8, "big"),
        "exchange": _text(death.exchange),
        "routing-keys": _array([_text(key) for key in death.routing_keys]),
    }
    if death.original_expiration is not None:
        fields = {"original-expiration": _text(death.original_expiration), **fields}
    return b"F" + _sized(b"".join(encode_field(name, value) for name, value in fields.items()))
