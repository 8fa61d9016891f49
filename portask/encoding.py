"""Encodings: what the core must be able to do with the payload of a batch, whatever it looks like.

A payload is opaque to storage and on its way from producer to consumer of one protocol. It is looked into
when another protocol reads it, and when a log is compacted. Each encoding has a number (portask.batch) and
one object that knows how.

A batch that was compacted still stands for all the offsets that it had, but some have no record any more.
Only the payload knows which.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, NamedTuple, Protocol

import zstandard

from portask.compression import MIN_LEVEL, decompress
from portask.errors import ProtocolError
from portask.message import Record

if TYPE_CHECKING:
    from portask.batch import Batch

CODEC_NONE = 0
CODEC_ZSTD = 1
CODEC_ZSTD_EACH = 2

MAX_PAYLOAD_BYTES = 256 * 1024 * 1024
"""No batch may decompress to more."""


class Decoded(NamedTuple):
    """The records of one batch."""

    records: list[Record]
    offsets: list[int] | None
    """Where they stand in the log, ascending; None: at every offset of the batch."""


class Entry(NamedTuple):
    """What compaction goes by: one record without what it carries."""

    offset: int
    key: bytes | None
    is_tombstone: bool
    timestamp: int
    """Milliseconds since 1970."""


class Encoding(Protocol):
    """One form of payload.

    No method may switch to another greenlet: the tail cache is walked meanwhile. `entries` and `keep` are
    called in another thread when the batch is large. All raise ProtocolError when the payload is broken.
    """

    def decode(self, batch: Batch) -> Decoded:
        """The records of *batch*."""

    def entries(self, batch: Batch) -> list[Entry]:
        """What compaction must know of them, in order. Records without a key always stay."""

    def keep(self, batch: Batch, offsets: Container[int]) -> bytes | None:
        """The payload with only the records at *offsets*, for the same envelope; None when nothing need be kept."""


def plain_payload(batch: Batch) -> bytes | memoryview:
    """The payload of *batch*, decompressed if it is compressed as a whole. Raises ProtocolError."""
    codec = batch.envelope.codec
    if codec == CODEC_NONE:
        return batch.payload
    if codec == CODEC_ZSTD:
        return decompress(batch.payload, batch.envelope.size)
    raise ProtocolError(f"unknown codec {codec}")


def repacked_payload(batch: Batch, plain: bytes) -> bytes:
    """*plain* as the payload of *batch*, whose envelope stays as it is."""
    if batch.envelope.codec == CODEC_ZSTD:
        # A compressor of its own: this may be another thread.
        return zstandard.ZstdCompressor(level=MIN_LEVEL).compress(plain)
    return plain
