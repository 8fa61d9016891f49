"""Batches: what the body of a stored frame holds.

    body     := envelope_length:u16 envelope payload
    envelope := CBOR array [encoding, codec, dictionary, leader_epoch, timestamp, size]
    encoding := 0: a CBOR array of records (portask.message); others belong to handlers and are
                opaque here: they are stored, moved and handed out as they came
    codec    := 0: payload as it is; 1: one zstd frame; 2: a CBOR array of byte strings, each one record
                as CBOR in a zstd frame of its own
    size     := bytes of the payload before compression

Base offset, count and newest timestamp stand in the frame's header, because storage needs them and
may not read the envelope. `timestamp` is that of every record that has none of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from struct import Struct
from typing import Any, NamedTuple

from portask.compression import compress, decompress
from portask.errors import CorruptError, ProtocolError
from portask.message import Record, check_records, decode_cbor, encode_cbor
from portask.storage.base import Buffer, Frame

ENCODING_MESSAGES = 0

CODEC_NONE = 0
CODEC_ZSTD = 1
CODEC_ZSTD_EACH = 2

MAX_PAYLOAD_BYTES = 256 * 1024 * 1024
"""No batch may decompress to more."""
MIN_COMPRESSED_BYTES = 128
"""Payloads below this are kept as they are: one line of 100 bytes grows by 2 %, two shrink by 37 %."""

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


def encode_batch(envelope: Envelope, payload: Sequence[Buffer]) -> list[Buffer]:
    """The body of a frame, in pieces; *payload* is not copied."""
    head = encode_cbor(list(envelope))
    return [_ENVELOPE_LENGTH.pack(len(head)) + head, *payload]


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
    plain = encode_cbor(records)
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
    return encode_batch(Envelope(ENCODING_MESSAGES, codec, 0, leader_epoch, timestamp, len(plain)), [payload])


Decoder = Callable[[Batch], list[Record]]
_decoders: dict[int, Decoder] = {}


def register_encoding(encoding: int, decoder: Decoder) -> None:
    """Teach the core to read a handler's *encoding* as records, for the sake of other protocols.

    *decoder* must not switch to another greenlet: the tail cache is walked while it runs.
    Raises ValueError when the number is taken by another decoder.
    """
    if encoding == ENCODING_MESSAGES or _decoders.setdefault(encoding, decoder) is not decoder:
        raise ValueError(f"encoding {encoding} is taken")


def decode_records(batch: Batch) -> list[Record]:
    """The records of *batch*, as many as its count. Raises CorruptError when they are not there."""
    encoding = batch.envelope.encoding
    try:
        if encoding == ENCODING_MESSAGES:
            records = _decode_messages(batch)
        elif encoding in _decoders:
            records = _decoders[encoding](batch)
        else:
            raise ProtocolError(f"no handler here reads encoding {encoding}")
        if len(records) != batch.count:
            raise ProtocolError(f"{len(records)} records instead of {batch.count}")
    except ProtocolError as error:
        raise CorruptError(f"batch at offset {batch.base_offset}: {error}") from error
    return records


def _decode_messages(batch: Batch) -> list[Record]:
    codec, size = batch.envelope.codec, batch.envelope.size
    if codec == CODEC_NONE:
        plain: Buffer = batch.payload
    elif codec == CODEC_ZSTD:
        plain = decompress(batch.payload, size)
    elif codec == CODEC_ZSTD_EACH:
        return _decode_each(batch.payload, size)
    else:
        raise ProtocolError(f"unknown codec {codec}")
    records: list[Record] = decode_cbor(bytes(plain))
    check_records(records, MAX_PAYLOAD_BYTES)
    return records


def _decode_each(payload: memoryview, size: int) -> list[Record]:
    pieces = decode_cbor(payload)
    if type(pieces) is not list or any(type(piece) is not bytes for piece in pieces):
        raise ProtocolError("single compressed records must be byte strings")
    records: list[Record] = []
    left = size
    for piece in pieces:
        plain = decompress(piece, left)
        left -= len(plain)
        records.append(decode_cbor(plain))
    check_records(records, MAX_PAYLOAD_BYTES)
    return records
