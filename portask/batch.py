"""Batches: what the body of a stored frame holds.

    body     := envelope_length:u16 envelope payload
    envelope := CBOR array [encoding, codec, dictionary, leader_epoch, timestamp, size]
    encoding := 0: messages, as below; 2: portask.shared_fields; others belong to handlers (portask.encoding) and
                are opaque here: they are stored, moved and handed out as they came
    codec    := 0: payload as it is; 1: one zstd frame; 2: a CBOR array of byte strings, each one record
                as CBOR in a zstd frame of its own
    size     := bytes of the payload before compression; of a compacted batch, before that
    messages := CBOR array of records (portask.message) and gaps
    gap      := unsigned integer: so many offsets, one or more, whose records compaction took away

Base offset, count and newest timestamp stand in the frame's header, because storage needs them and
may not read the envelope. `timestamp` is that of every record that has none of its own.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from enum import StrEnum
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

from portask.compression import compress, decompress
from portask.encoding import (
    CODEC_NONE,
    CODEC_ZSTD,
    CODEC_ZSTD_EACH,
    MAX_PAYLOAD_BYTES,
    Decoded,
    Encoding,
    Entry,
    plain_payload,
    repacked_payload,
)
from portask.errors import CorruptError, ProtocolError
from portask.message import Record, check_records, decode_cbor, encode_cbor, encode_records_cbor
from portask.shared_fields import ENCODING_SHARED, SharedFieldsEncoding, encode_shared
from portask.storage.base import Buffer, Frame

ENCODING_MESSAGES = 0

MIN_COMPRESSED_BYTES = 256
"""Payloads below this are kept as they are: compressing any costs 4 to 5 us, and of 200 bytes saves 50 to 80, which
are written in a tenth of that. A thousand queues with a message each make a thousand of them in every round."""

_ENVELOPE_LENGTH = Struct(">H")
_ENVELOPE_FIELDS = 6


class Strategy(StrEnum):
    """How the records of a batch are compressed."""

    SINGLE = "single_message"
    BULK = "bulk_batching"


class Envelope(NamedTuple):
    """What is known of a batch without looking into its payload."""

    encoding: int
    codec: int
    dictionary: int
    leader_epoch: int
    timestamp: int
    size: int


class Batch(NamedTuple):
    """A stored batch, its payload untouched."""

    base_offset: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    max_timestamp: int
    envelope: Envelope
    payload: memoryview

    @property
    def next_offset(self) -> int:
        """The offset that follows the last one."""
        return self.base_offset + self.count


def encode_batch(envelope: Envelope, payload: Sequence[Buffer]) -> list[Buffer]:
    """The body of a frame, in pieces; *payload* is not copied."""
    # All batches of a round have the same envelope but for the size: encoding only that takes a third of the time.
    head = _encode_head(*envelope[:-1]) + encode_cbor(envelope.size)
    return [_ENVELOPE_LENGTH.pack(len(head)) + head, *payload]


@lru_cache(maxsize=64)
def _encode_head(*fields: int) -> bytes:
    """The envelope up to the size, which is missing."""
    return encode_cbor([*fields, 0])[:-1]


def decode_batch(frame: Frame) -> Batch:
    """The batch that *frame* holds. Raises CorruptError when its envelope is broken."""
    view = memoryview(frame.body)
    try:
        start = _ENVELOPE_LENGTH.size + int.from_bytes(view[: _ENVELOPE_LENGTH.size], "big")
        if start > len(view):
            raise ProtocolError("the envelope is longer than the frame")
        fields = decode_cbor(view[_ENVELOPE_LENGTH.size : start])
        _check_envelope(fields)
    except ProtocolError as error:
        raise CorruptError(f"envelope of the batch at offset {frame.base_offset}: {error}") from error
    return Batch(frame.base_offset, frame.count, frame.max_timestamp, Envelope(*fields), view[start:])


def _check_envelope(fields: Any) -> None:
    if type(fields) is not list or len(fields) != _ENVELOPE_FIELDS:
        raise ProtocolError(f"an envelope has {_ENVELOPE_FIELDS} fields")
    if any(type(field) is not int for field in fields):
        raise ProtocolError("an envelope's fields are integers")
    if not 0 <= fields[-1] <= MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"a payload of {fields[-1]} bytes is not within 0 to {MAX_PAYLOAD_BYTES}")


def encode_records(
    records: Sequence[Record], timestamp: int, strategy: Strategy, level: int, leader_epoch: int = 0
) -> list[Buffer]:
    """The body of a frame that holds *records*, compressed where that makes it smaller. May block (see compress)."""
    shared = encode_shared(records) if strategy is Strategy.BULK and len(records) > 1 else None
    encoding = ENCODING_MESSAGES if shared is None else ENCODING_SHARED
    plain = encode_records_cbor(records) if shared is None else shared
    codec, payload = CODEC_NONE, plain
    if strategy is Strategy.SINGLE:
        packed = encode_cbor([compress(encode_cbor(record), level) for record in records])
        codec = CODEC_ZSTD_EACH
    elif len(plain) >= MIN_COMPRESSED_BYTES:
        packed = compress(plain, level)
        codec = CODEC_ZSTD
    if codec != CODEC_NONE:
        if len(packed) < len(plain):
            payload = packed
        else:
            codec = CODEC_NONE
    return encode_batch(Envelope(encoding, codec, 0, leader_epoch, timestamp, len(plain)), [payload])


def register_encoding(number: int, encoding: Encoding) -> None:
    """Teach the core to read a handler's encoding. Raises ValueError when the number is taken by another one."""
    if _encodings.setdefault(number, encoding) is not encoding:
        raise ValueError(f"encoding {number} is taken")


def encoding_of(batch: Batch) -> Encoding:
    """Who knows the payload of *batch*. Raises CorruptError when nobody does."""
    encoding = _encodings.get(batch.envelope.encoding)
    if encoding is None:
        raise CorruptError(
            f"batch at offset {batch.base_offset}: no handler here reads encoding {batch.envelope.encoding}"
        )
    return encoding


def decode(batch: Batch) -> Decoded:
    """The records of *batch* and where they are. Raises CorruptError when they make no sense."""
    try:
        records, offsets = encoding_of(batch).decode(batch)
        if offsets is None and len(records) != batch.count:
            raise ProtocolError(f"{len(records)} records instead of {batch.count}")
    except ProtocolError as error:
        raise CorruptError(f"batch at offset {batch.base_offset}: {error}") from error
    return Decoded(records, offsets)


def decode_records(batch: Batch) -> list[Record]:
    """The records of a *batch* that was not compacted, as many as its count. Raises CorruptError for any other."""
    records, offsets = decode(batch)
    if offsets is not None and len(records) != batch.count:
        raise CorruptError(f"batch at offset {batch.base_offset}: {len(records)} records instead of {batch.count}")
    return records


class MessagesEncoding:
    """Encoding 0: the records as they are."""

    def decode(self, batch: Batch) -> Decoded:
        """The records of *batch*. Raises ProtocolError."""
        items = _decode_items(batch)
        try:
            check_records(items, MAX_PAYLOAD_BYTES)
        except ProtocolError:
            # That no gap is among them, as in nearly all batches, is found out on the way.
            if type(items) is not list or int not in map(type, items):
                raise
            return self._decode_gaps(batch, items)
        return Decoded(items, None)

    def entries(self, batch: Batch) -> list[Entry]:
        """What compaction must know. Raises ProtocolError."""
        records, offsets = self.decode(batch)
        default = batch.envelope.timestamp
        places = range(batch.base_offset, batch.next_offset) if offsets is None else offsets
        if len(records) != len(places):
            raise ProtocolError(f"{len(records)} records instead of {batch.count}")
        return [_entry(record, offset, default) for record, offset in zip(records, places, strict=True)]

    def keep(self, batch: Batch, offsets: Container[int]) -> bytes | None:
        """The payload with only the records at *offsets*. Raises ProtocolError."""
        kept: list[Any] = []
        is_empty = True
        offset = batch.base_offset
        for item in _decode_items(batch, is_packed=True):
            size = item if type(item) is int else 1
            if type(item) is not int and offset in offsets:
                kept.append(item)
                is_empty = False
            elif kept and type(kept[-1]) is int:
                kept[-1] += size
            else:
                kept.append(size)
            offset += size
        if is_empty:
            return None
        return repacked_payload(batch, encode_cbor(kept))

    def _decode_gaps(self, batch: Batch, items: list[Any]) -> Decoded:
        records: list[Record] = []
        offsets: list[int] = []
        offset = batch.base_offset
        for item in items:
            if type(item) is int:
                if item <= 0:
                    raise ProtocolError(f"a gap of {item} offsets")
                offset += item
            else:
                records.append(item)
                offsets.append(offset)
                offset += 1
        if offset != batch.next_offset:
            raise ProtocolError(f"{offset - batch.base_offset} offsets instead of {batch.count}")
        check_records(records, MAX_PAYLOAD_BYTES)
        return Decoded(records, offsets)


def _entry(record: Record, offset: int, timestamp: int) -> Entry:
    if isinstance(record, bytes):
        return Entry(offset, None, False, timestamp)
    length = len(record)
    own = record[3] if length > 3 else None
    return Entry(offset, record[1] if length > 1 else None, record[0] is None, timestamp if own is None else own)


def _decode_items(batch: Batch, is_packed: bool = False) -> Any:
    """Records and gaps, unchecked; those that were compressed each by itself still are so if *is_packed*."""
    if batch.envelope.codec != CODEC_ZSTD_EACH:
        return decode_cbor(plain_payload(batch))
    items = decode_cbor(batch.payload)
    if type(items) is not list or any(type(item) not in (bytes, int) for item in items):
        raise ProtocolError("single compressed records must be byte strings")
    return items if is_packed else _unpack(items, batch.envelope.size)


def _unpack(items: list[Any], left: int) -> list[Any]:
    """*items* with the records decompressed, to at most *left* bytes together."""
    unpacked: list[Any] = []
    for item in items:
        if type(item) is int:
            unpacked.append(item)
        else:
            plain = decompress(item, left)
            left -= len(plain)
            record = decode_cbor(plain)
            if type(record) is int:
                raise ProtocolError("a record cannot be a number")
            unpacked.append(record)
    return unpacked


_encodings: dict[int, Encoding] = {ENCODING_MESSAGES: MessagesEncoding(), ENCODING_SHARED: SharedFieldsEncoding()}
