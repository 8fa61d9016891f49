"""Bindings: what leads from an exchange to a queue or to another exchange.

    table "bindings"   digest (16 bytes) -> [virtual host, source, kind, destination, routing key, arguments]

Names are bytes, *kind* is "queue" or "exchange", arguments are a field table. The key is a digest of the
value, because a binding is known by all of it. Only a binding between two durable ends has a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union

from portask.errors import CorruptError, ProtocolError
from portask.field_table import decode_table, encode_table
from portask.message import decode_cbor, encode_cbor
from portask.resource_name import decode_name, encode_name
from portask.storage.base import Round

if TYPE_CHECKING:
    from portask.exchanges.exchange import Exchange
    from portask.queues.queue import Queue

BINDINGS = "bindings"
Kind = Literal["queue", "exchange"]
Target = Union["Queue", "Exchange"]


class Identity(NamedTuple):
    """What makes two bindings the same one."""

    source: str
    kind: Kind
    destination: str
    routing_key: str
    arguments: bytes
    """As a field table in the order of their names, so that the order in which they were sent does not matter."""


class Binding:
    """A way from *source* to *destination*. Made and removed by the virtual host only."""

    __slots__ = (
        "arguments",
        "destination",
        "identity",
        "is_active",
        "is_durable",
        "is_leaving",
        "routing_key",
        "source",
    )

    def __init__(self, identity: Identity, source: Exchange, destination: Target, arguments: Mapping[str, Any]) -> None:
        self.identity = identity
        self.source = source
        self.destination = destination
        self.routing_key = identity.routing_key
        self.arguments = arguments
        self.is_durable = source.durable and destination.durable
        self.is_active = False
        """Messages go this way: it is as durable as it is going to be."""
        self.is_leaving = False
        """A removal has taken it, and only waits to be durable."""

    def collect(self, virtual_host: str, round_: Round) -> None:
        """Put its row into *round_*, unless it is to go before it has come."""
        if not self.is_leaving:
            key, value = _row(virtual_host, self.identity)
            round_.puts[BINDINGS, key] = value

    def collect_deletion(self, virtual_host: str, round_: Round) -> None:
        """Take its row away with *round_*."""
        round_.puts[BINDINGS, _row(virtual_host, self.identity)[0]] = None


def identify(source: str, kind: Kind, destination: str, routing_key: str, arguments: Mapping[str, Any]) -> Identity:
    """The identity of the binding that these make."""
    table = encode_table(dict(sorted(arguments.items()))) if arguments else b""
    return Identity(source, kind, destination, routing_key, table)


def decode_binding(data: bytes) -> tuple[str, Identity, dict[str, Any]]:
    """Virtual host, identity and arguments of a row. Raises CorruptError."""
    try:
        virtual_host, source, kind, destination, routing_key, table = decode_cbor(data)
        arguments = decode_table(table)[0] if table else {}
        names = map(decode_name, (source, destination, routing_key))
        identity = Identity(next(names), kind, next(names), next(names), table)
        return decode_name(virtual_host), identity, arguments
    except (ProtocolError, ValueError, TypeError, AttributeError) as error:
        raise CorruptError(f"a row of table bindings is broken: {error}") from error


def _row(virtual_host: str, identity: Identity) -> tuple[bytes, bytes]:
    source, kind, destination, routing_key, table = identity
    value = encode_cbor(
        [
            encode_name(virtual_host),
            encode_name(source),
            kind,
            encode_name(destination),
            encode_name(routing_key),
            table,
        ]
    )
    return blake2b(value, digest_size=16).digest(), value
