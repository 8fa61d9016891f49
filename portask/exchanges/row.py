"""Exchanges as they are stored.

    table "exchanges"   [virtual host, name] -> [type, auto-delete, internal, arguments]

Keys and values are CBOR; names are bytes, arguments a field table. Only durable exchanges have a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from portask.errors import CorruptError, PreconditionError, ProtocolError
from portask.exchanges.exchange_type import make_exchange
from portask.field_table import decode_table, encode_table
from portask.message import decode_cbor, encode_cbor
from portask.resource_name import decode_name, encode_name
from portask.storage.base import Round

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.exchanges.exchange import Exchange

EXCHANGES = "exchanges"


def collect_exchange(virtual_host: str, exchange: Exchange, round_: Round) -> None:
    """Put the row of *exchange* into *round_*."""
    round_.puts[EXCHANGES, _key(virtual_host, exchange.name)] = encode_cbor(
        [exchange.type, exchange.auto_delete, exchange.internal, encode_table(exchange.arguments)]
    )


def collect_exchange_deletion(virtual_host: str, exchange: Exchange, round_: Round) -> None:
    """Take the row of *exchange* away with *round_*."""
    round_.puts[EXCHANGES, _key(virtual_host, exchange.name)] = None


def decode_exchange(key: bytes, value: bytes, clock: Clock) -> tuple[str, Exchange]:
    """Virtual host and exchange of a row. Raises CorruptError."""
    try:
        virtual_host, name = map(decode_name, decode_cbor(key))
        type_name, auto_delete, internal, table = decode_cbor(value)
        arguments: dict[str, Any] = decode_table(table)[0]
        return virtual_host, make_exchange(
            virtual_host,
            name,
            type_name,
            clock,
            durable=True,
            auto_delete=bool(auto_delete),
            internal=bool(internal),
            arguments=arguments,
        )
    except (ProtocolError, PreconditionError, ValueError, TypeError, AttributeError) as error:
        raise CorruptError(f"a row of table exchanges is broken: {error}") from error


def _key(virtual_host: str, name: str) -> bytes:
    return encode_cbor([encode_name(virtual_host), encode_name(name)])
