"""Stored batches as a Kafka client gets them.

envelope codec 0   handed out as stored, which is as sent
envelope codec 1   the broker compressed it: handed out as stored, or with its records decompressed
other encodings    made a Kafka batch, uncompressed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from handlers.kafka.conversion import encode
from handlers.kafka.record_batch import ENCODING_KAFKA, HEADER_BYTES, restore
from portask.batch import Batch, decode, decode_batch
from portask.compression import decompress
from portask.encoding import CODEC_NONE
from portask.offload import offload

if TYPE_CHECKING:
    from portask.partition import Partition
    from portask.storage.base import Buffer, Frame

POOL_BYTES = 2 * 1024 * 1024
"""From this size on, decompressing takes about a millisecond and leaves the loop's thread."""
_KAFKA_ENVELOPE = bytes((0x86, ENCODING_KAFKA))
"""How the envelope of a Kafka batch begins: a CBOR array of six, the first the encoding, then the codec."""
_WORTHWHILE_BYTES = 16 * 1024
"""Storage is not asked again for less."""
_EXPANSION = 4
"""About what JSON grows by when it is decompressed: so much less is read from storage at once."""


class Page(NamedTuple):
    """What a partition gives to one Fetch."""

    pieces: list[Buffer]
    size: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls


def read_page(partition: Partition, offset: int, max_bytes: int, always_one: bool, zstd: bool) -> Page:
    """Batches from the one that holds *offset* on, of at most *max_bytes*, but one if *always_one*. May block.

    Raises OffsetOutOfRangeError, or CorruptError when what is stored is damaged.
    """
    pieces: list[Buffer] = []
    size = count = 0
    limit = max_bytes if zstd else max_bytes // _EXPANSION
    while frames := partition.read_frames(offset, max(limit, 1)):
        for frame in frames:
            more = _payload(frame, zstd)
            length = sum(map(len, more))
            if size + length > max_bytes and (size or not always_one):
                return Page(pieces, size, count)
            pieces += more
            size += length
            count += frame.count
        # What was compressed may have grown by less than was assumed.
        limit = (max_bytes - size) if zstd else (max_bytes - size) // _EXPANSION
        if limit < _WORTHWHILE_BYTES:
            break
        offset = frames[-1].next_offset
        if not partition.log_start_offset <= offset < partition.high_watermark:
            break
    return Page(pieces, size, count)


def _payload(frame: Frame, zstd: bool) -> list[Buffer]:
    """The batch of *frame* as it goes to a client that takes *zstd*, or not. May block when large."""
    body = frame.body
    # The envelope is read byte by byte where that says enough: decoding it costs 4 us, this 0.4 us.
    if body[2:4] == _KAFKA_ENVELOPE and (body[4] == CODEC_NONE or zstd):
        return [memoryview(body)[2 + int.from_bytes(body[:2], "big") :]]
    batch = decode_batch(frame)
    if batch.envelope.encoding != ENCODING_KAFKA:
        return [_converted(batch)]
    if batch.envelope.codec == CODEC_NONE or zstd:
        return [batch.payload]
    return _decompressed(batch)


def _converted(batch: Batch) -> bytes:
    """The Kafka batch that says what *batch*, of another protocol, does."""
    records, offsets = decode(batch)
    return encode(
        records,
        batch.base_offset,
        batch.envelope.timestamp,
        batch.envelope.leader_epoch,
        offsets=offsets,
        last_offset=batch.base_offset + batch.count - 1,
    )


def _decompressed(batch: Batch) -> list[Buffer]:
    size = batch.envelope.size - HEADER_BYTES
    records = batch.payload[HEADER_BYTES:]
    if size < POOL_BYTES:
        return restore(batch.payload, decompress(records, size))
    return restore(batch.payload, offload(decompress, records, size))
