"""A committed offset as it is stored.

    table "offsets"   topic id (16 bytes), partition u32, group id (UTF-8)
                      -> offset i64, leader epoch i32, committed at ms i64, expires at ms i64, metadata (UTF-8)

The topic's id and not its name: offsets of a deleted topic never apply to a new one of the same name.
Offsets that a transaction has not committed yet are to be rows of a table of their own, keyed by
producer id first; its commit moves them here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from portask.errors import CorruptError

TABLE = "offsets"
NO_EXPIRY = -1
_KEY = struct.Struct(">16sI")
_VALUE = struct.Struct(">qiqq")


class CommittedOffset(NamedTuple):
    """Where a group goes on in a partition."""

    offset: int
    leader_epoch: int
    """Epoch of the last record read; -1 when the client does not know."""
    metadata: str
    committed_at_ms: int
    expires_at_ms: int = NO_EXPIRY
    """When the client wants it gone, as clients before Kafka 2.1 could say; else retention decides."""


class OffsetKey(NamedTuple):
    """Whose offset, and where."""

    group_id: str
    topic_id: str
    partition: int


def encode_key(key: OffsetKey) -> bytes:
    """The key of the row."""
    return _KEY.pack(bytes.fromhex(key.topic_id), key.partition) + key.group_id.encode()


def encode_value(value: CommittedOffset) -> bytes:
    """The value of the row."""
    head = _VALUE.pack(value.offset, value.leader_epoch, value.committed_at_ms, value.expires_at_ms)
    return head + value.metadata.encode()


def decode_row(key: bytes, value: bytes) -> tuple[OffsetKey, CommittedOffset]:
    """Whose offset that row is, and the offset. Raises CorruptError."""
    try:
        topic_id, partition = _KEY.unpack_from(key)
        offset, leader_epoch, committed_at_ms, expires_at_ms = _VALUE.unpack_from(value)
        return (
            OffsetKey(key[_KEY.size :].decode(), topic_id.hex(), partition),
            CommittedOffset(offset, leader_epoch, value[_VALUE.size :].decode(), committed_at_ms, expires_at_ms),
        )
    except (struct.error, ValueError) as error:
        raise CorruptError(f"row {key.hex()} of table {TABLE} is broken: {error}") from error
