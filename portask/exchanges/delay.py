"""Delays: how an exchange of type `x-delayed-message` keeps messages back.

A message with the header `x-delay` above zero is put to the broker's schedule with a *target*, which says where it
goes on: `[virtual host, exchange, routing key, ...]` in CBOR, names as bytes. When it is due it is routed by
that exchange as things are then, with the header's value negated, so that nobody keeps it back again. If
the exchange or its virtual host is gone by then, so is the message.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING, Any

from portask.errors import PortaskError, ProtocolError, QueueFullError, UnknownTopicError
from portask.exchanges.exchange import Done
from portask.field_table import encode_field, encode_long, join_table, split_table
from portask.message import Record, decode_cbor, encode_cbor
from portask.properties import FLAG_EXPIRATION, encoded, flags_of, properties_of, repacked, unpack
from portask.resource_name import decode_name, encode_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from portask.broker import Broker
    from portask.bus import Item
    from portask.exchanges.exchange import Destination, Exchange, Route
    from portask.schedule.bucket import Scheduled
    from portask.schedule.schedule import Fired

log = logging.getLogger(__name__)

HEADER = "x-delay"
MAX_DELAY_MS = (1 << 62) - 1
"""More is as good as never, and counts as this."""
_MAX_DIGITS = len(str(MAX_DELAY_MS))
_NAME = bytes((len(HEADER),)) + HEADER.encode()
_NUMBERS = {b"I": Struct(">i"), b"l": Struct(">q"), b"L": Struct(">q")}


class Delay:
    """A destination that hands on what it gets after a time, to be routed by *exchange*."""

    __slots__ = ("_broker", "_target", "delay_ms")

    takes_many = True

    def __init__(
        self, broker: Broker, virtual_host: str, exchange: Exchange, keys: Sequence[str], delay_ms: int
    ) -> None:
        self._broker = broker
        self._target = encode_target(virtual_host, exchange.name, keys)
        self.delay_ms = delay_ms

    def publish(
        self,
        records: list[Record],
        size_bytes: int,
        done: Done | None,
        *,
        expiring: bool = False,
        into: list[Item] | None = None,
    ) -> None:
        """Put *records* to the schedule. Blocks while the bus is full; what expires does so after it was due."""
        due_ms = self._broker.clock.now_ms() + self.delay_ms
        self._broker.schedule.add(records, size_bytes, due_ms, self._target, done, into=into)


def delay_of(headers: Mapping[str, Any]) -> int:
    """Milliseconds to keep back a message with these headers; 0 when it goes on at once."""
    value = headers.get(HEADER)
    if isinstance(value, str):
        # Some clients send all headers as text. Python refuses to make a number of 5,000 digits.
        if not value.isascii() or not value.isdigit():
            return 0
        digits = value.lstrip("0") or "0"
        return min(int(digits), MAX_DELAY_MS) if len(digits) <= _MAX_DIGITS else MAX_DELAY_MS
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return min(int(value), MAX_DELAY_MS) if 0 < value < float("inf") else 0


def encode_target(virtual_host: str, exchange: str, keys: Sequence[str]) -> bytes:
    """Where messages go when they are due, as the schedule stores it."""
    return encode_cbor([encode_name(name) for name in (virtual_host, exchange, *keys)])


def decode_target(target: bytes) -> tuple[str, str, list[str]]:
    """Virtual host, exchange and routing keys. Raises ProtocolError."""
    try:
        virtual_host, exchange, *keys = map(decode_name, decode_cbor(target))
    except (ValueError, TypeError, AttributeError) as error:
        raise ProtocolError(f"no target of a delayed message: {error}") from error
    return virtual_host, exchange, keys


def describe_scheduled(scheduled: Scheduled) -> dict[str, Any]:
    """A message that waits, ready for JSON."""
    message_id, due_ms, target, record = scheduled
    virtual_host, exchange, keys = decode_target(target)
    payload = record if isinstance(record, bytes) else record[0]
    return {
        "id": message_id,
        "due_ms": due_ms,
        "virtual_host": virtual_host,
        "exchange": exchange,
        "routing_keys": keys,
        "size_bytes": len(payload or b""),
    }


def fire(broker: Broker, target: bytes, records: Sequence[Record], done: Fired) -> None:
    """Publish *records*, which are due, to their *target*; see portask.schedule.schedule.Fire. Blocks.

    *done* may be called before this returns.
    """
    virtual_host, name, keys = decode_target(target)
    host = broker.virtual_hosts.find(virtual_host)
    exchange = host.exchanges.get(name) if host is not None else None
    if host is None or exchange is None:
        log.warning("delayed messages without exchange", extra={"exchange": name, "messages": len(records)})
        done(None)
        return
    together = _Together(done)
    route: Route | None = None
    for place, record in enumerate(records):
        fired = _fired(record)
        properties: bytes | None = None if isinstance(fired, bytes) or len(fired) < 5 else fired[4]
        # Most exchanges look at nothing but the key, which is the same for all: this halves what a message takes.
        if route is None or not route.is_constant:
            route = host.route(exchange, keys, unpack(properties)[1], is_due=True)
        size_bytes = len(fired) if isinstance(fired, bytes) else sum(map(len, filter(None, (fired[0], properties))))
        expiring = bool(flags_of(properties) & FLAG_EXPIRATION)
        if not all(destination.takes_many for destination in route.destinations):
            # It may be refused while others are taken. What was gathered goes first, to keep the order.
            together.publish()
            together = _Together(done)
            alone = _Together(done)
            alone.add(route, place, fired, size_bytes, expiring)
            alone.publish()
        else:
            together.add(route, place, fired, size_bytes, expiring)
    together.publish()


class _Together:
    """Records that are answered together."""

    __slots__ = ("_done", "_groups", "_places")

    def __init__(self, done: Fired) -> None:
        self._done = done
        self._places: list[int] = []
        self._groups: dict[Destination, tuple[list[Record], list[int], list[bool]]] = {}

    def add(self, route: Route, place: int, record: Record, size_bytes: int, expiring: bool) -> None:
        """The record at *place*."""
        self._places.append(place)
        for destination in route.destinations:
            records, sizes, expirings = self._groups.setdefault(destination, ([], [], []))
            records.append(record)
            sizes.append(size_bytes)
            expirings.append(expiring)

    def publish(self) -> None:
        """Give every destination its own. Blocks."""
        places, done = self._places, self._done
        if not places:
            return
        verdict = _Verdict(len(self._groups), lambda error: done(error, places))
        for destination, (records, sizes, expirings) in self._groups.items():
            try:
                destination.publish(records, sum(sizes), verdict.part, expiring=any(expirings))
            except PortaskError as error:
                verdict.part(error)


class _Verdict:
    """One answer from those of all destinations.

    A queue that is full, or gone meanwhile, is passed over when another has taken the messages: to fire them again
    would give them to that one again, as often as the other is full.
    """

    __slots__ = ("_done", "_error", "_is_taken", "_open", "_refusal")

    def __init__(self, parts: int, done: Done) -> None:
        self._done = done
        self._error: PortaskError | None = None
        self._refusal: PortaskError | None = None
        self._is_taken = False
        self._open = parts
        if not parts:
            done(None)

    def part(self, error: PortaskError | None) -> None:
        """One destination has answered."""
        if error is None or (isinstance(error, QueueFullError) and error.is_dead_lettered):
            self._is_taken = True
        elif isinstance(error, QueueFullError | UnknownTopicError):
            self._refusal = error
        else:
            self._error = self._error or error
        self._open -= 1
        if not self._open:
            self._done(self._error or (None if self._is_taken else self._refusal))


def _fired(record: Record) -> Record:
    """*record* with its delay negated."""
    if isinstance(record, bytes) or len(record) < 5 or not record[4]:
        return record
    properties: bytes = record[4]
    place = properties.find(_NAME)
    if place < 0:
        return record
    start = place + len(_NAME)
    number = _NUMBERS.get(properties[start : start + 1])
    if number is not None and properties.find(_NAME, start) < 0:
        # Where the name is found once it is the header's: a message without it is not delayed. To decode and encode
        # all headers took 12 us.
        try:
            (delay_ms,) = number.unpack_from(properties, start + 1)
            changed = b"".join((properties[: start + 1], number.pack(-delay_ms), properties[start + 1 + number.size :]))
        except StructError:
            return record
        return (*record[:4], changed) if delay_ms > 0 else record
    headers = properties_of(properties).headers
    if not headers or not (delay_ms := delay_of(headers)):
        return record
    exchange, header = unpack(properties)
    fields = split_table(encoded(header, "headers"))
    fields[HEADER] = encode_field(HEADER, encode_long(-delay_ms))
    return (*record[:4], repacked(properties, exchange, headers=join_table(fields)))
