"""Durable queues as they are stored.

    table "queues"   [virtual host, name] -> [topic id, is attached, auto-delete, arguments]

Keys and values are CBOR; names and id are bytes, arguments a field table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portask.errors import CorruptError, ProtocolError
from portask.field_table import decode_table, encode_table
from portask.message import decode_cbor, encode_cbor
from portask.resource_name import decode_name, encode_name
from portask.storage.base import Round

QUEUES = "queues"


@dataclass(frozen=True)
class QueueRow:
    """One durable queue."""

    virtual_host: str
    name: str
    topic_id: str
    is_attached: bool
    auto_delete: bool
    arguments: dict[str, Any]

    def collect(self, round_: Round) -> None:
        """Put the row into *round_*."""
        round_.puts[QUEUES, queue_key(self.virtual_host, self.name)] = encode_cbor(
            [bytes.fromhex(self.topic_id), self.is_attached, self.auto_delete, encode_table(self.arguments)]
        )

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> QueueRow:
        """The queue of a row. Raises CorruptError."""
        try:
            virtual_host, name = map(decode_name, decode_cbor(key))
            topic_id, is_attached, auto_delete, table = decode_cbor(value)
            arguments = decode_table(table)[0]
            return cls(virtual_host, name, topic_id.hex(), is_attached is True, auto_delete is True, arguments)
        except (ProtocolError, ValueError, TypeError, AttributeError) as error:
            raise CorruptError(f"row {key.hex()} of table {QUEUES} is broken: {error}") from error


def queue_key(virtual_host: str, name: str) -> bytes:
    """The key of a queue's row."""
    return encode_cbor([encode_name(virtual_host), encode_name(name)])
