"""Delays: how an exchange of type `x-delayed-message` keeps messages back.

A message with the header `x-delay` above zero is put to the broker's schedule with a *target*, which says where it
goes on: `[virtual host, exchange, routing key, ...]` in CBOR, names as bytes. When it is due it is routed by
that exchange as things are then, with the header's value negated, so that nobody keeps it back again. If
the exchange or its virtual host is gone by then, so is the message.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from portask.errors import ProtocolError
from portask.exchange import Done
from portask.gathering import Gathering
from portask.message import Record, decode_cbor, encode_cbor
from portask.properties import properties_of, repacked, unpack
from portask.resource_name import decode_name, encode_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from portask.broker import Broker
    from portask.bus import Item
    from portask.exchange import Exchange

log = logging.getLogger(__name__)

HEADER = "x-delay"


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
        # Some clients send all headers as text.
        return int(value) if value.isascii() and value.isdigit() else 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value < float("inf") else 0


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


def fire(broker: Broker, target: bytes, records: Sequence[Record], done: Done) -> None:
    """Publish *records*, which are due, to their *target*; *done* when all is as safe as configured. Blocks.

    *done* may be called before this returns, with an error when they are to be tried again later.
    """
    virtual_host, name, keys = decode_target(target)
    host = broker.virtual_hosts.find(virtual_host)
    exchange = host.exchanges.get(name) if host is not None else None
    gathering = Gathering(done)
    if host is None or exchange is None:
        log.warning("delayed messages without exchange", extra={"exchange": name, "messages": len(records)})
    else:
        for record in records:
            part = gathering.part()
            if not host.publish(exchange, keys, _fired(record), part):
                part(None)
    gathering.close()


def _fired(record: Record) -> Record:
    """*record* with its delay negated."""
    if isinstance(record, bytes) or len(record) < 5:
        return record
    properties: bytes | None = record[4]
    headers = properties_of(properties).headers
    if not headers or not delay_of(headers):
        return record
    changed = {**headers, HEADER: -delay_of(headers)}
    return (*record[:4], repacked(properties, unpack(properties)[0], headers=changed))
