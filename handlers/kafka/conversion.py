"""Kafka batches as the core's records, and back: for what one protocol writes and another reads, and for compaction.

    Kafka                          portask.message
    value, null: a tombstone       payload; null too where the properties of an empty one say so
    key                            key
    headers, names that are UTF-8  headers; what is not UTF-8 in a name is replaced
    header portask.properties      properties, as they are; Kafka's consumers see them as headers too, as
                                   portask.property_headers has them
    timestamp                      timestamp, or that of the properties; null where it is that of the batch's
                                   envelope, or where Kafka has none

A stored batch is a valid Kafka batch whichever codec its envelope names: the envelope tells how its producer
sent it, the batch's own attributes how it is compressed now. Control batches have no records that another
protocol could show, and compaction leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from crc32c import crc32c

from handlers.kafka.record_batch import (
    COMPRESSION_MASK,
    CONTROL,
    DELETE_HORIZON,
    HEADER,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    MAGIC,
    NO_COMPRESSION,
    NO_PRODUCER_ID,
    BatchHeader,
    read_header,
)
from handlers.kafka.record_compression import compress, decompress
from handlers.kafka.records import Fields, Headers, decode_records, encode_records, encode_values
from portask.batch import Batch
from portask.encoding import CODEC_NONE, CODEC_ZSTD, MAX_PAYLOAD_BYTES, Decoded, Entry
from portask.errors import ProtocolError
from portask.message import NO_TIMESTAMP, Record
from portask.properties import FLAG_TIMESTAMP, flags_of, properties_of
from portask.property_headers import TOMBSTONE, to_headers

PROPERTIES_HEADER = "portask.properties"
"""Carries a record's properties, which Kafka has no place for."""

NO_LEADER_EPOCH = -1
NO_PRODUCER_EPOCH = -1
NO_SEQUENCE = -1

_PROPERTIES_NAME = PROPERTIES_HEADER.encode()
_LENGTH_FROM = 12
"""What stands before this is not part of the length."""
_CRC_FROM = 21
"""Nor is what stands before this covered by the checksum."""
_MAX_TIMESTAMP = (1 << 63) - 1
_MAX_SECONDS = 253_402_300_799
"""Of the year 9999: what AMQP clients send beyond that are milliseconds, which is not what the property is."""


def encode(
    records: Sequence[Record],
    base_offset: int,
    timestamp: int,
    leader_epoch: int = NO_LEADER_EPOCH,
    *,
    offsets: Sequence[int] | None = None,
    last_offset: int | None = None,
    compression: int = NO_COMPRESSION,
) -> bytes:
    """*records* as one Kafka batch from *base_offset* on; those without a timestamp get *timestamp*.

    *offsets* says where they stand when some between them are gone, and *last_offset* where the batch ends when that is
    not with the last of them. Plain records take 0.4 us each, others 1.4 us and more.
    """
    newest = oldest = timestamp
    if offsets is None and all(type(record) is bytes for record in records):
        encoded = encode_values(records)  # type: ignore[arg-type]  # they are what was just asked
    else:
        deltas = range(len(records)) if offsets is None else [offset - base_offset for offset in offsets]
        timestamps = [_own_timestamp(record, timestamp) for record in records]
        if timestamps:
            oldest, newest = timestamps[0], max(timestamps)
        encoded = encode_records(
            _to_fields(record, delta, own - oldest)
            for record, delta, own in zip(records, deltas, timestamps, strict=True)
        )
    if last_offset is None:
        last_offset = offsets[-1] if offsets else base_offset + len(records) - 1
    header = BatchHeader(
        base_offset=base_offset,
        length=0,
        leader_epoch=leader_epoch,
        magic=MAGIC,
        crc=0,
        attributes=compression,
        last_offset_delta=last_offset - base_offset,
        base_timestamp=oldest,
        max_timestamp=newest,
        producer_id=NO_PRODUCER_ID,
        producer_epoch=NO_PRODUCER_EPOCH,
        base_sequence=NO_SEQUENCE,
        count=len(records),
    )
    return _assemble(header, compress(compression, encoded))


def _own_timestamp(record: Record, timestamp: int) -> int:
    if isinstance(record, bytes):
        return timestamp
    length = len(record)
    if length > 3 and record[3] is not None:
        own: int = record[3]
        return own
    if length > 4 and flags_of(record[4]) & FLAG_TIMESTAMP:
        said = properties_of(record[4]).timestamp or 0
        return said * 1000 if said <= _MAX_SECONDS else timestamp
    return timestamp


def _to_fields(record: Record, offset_delta: int, timestamp_delta: int) -> Fields:
    if isinstance(record, bytes):
        return offset_delta, timestamp_delta, None, record, None
    length = len(record)
    value = record[0]
    headers: Headers | None = None
    if length > 2:
        flat = record[2] or ()
        headers = [part.encode("utf-8", "replace") if type(part) is str else part for part in flat]
        if length > 4 and record[4] is not None:
            known = set(headers[::2])
            for name, content in to_headers(record[4]):
                if name == TOMBSTONE and content == b"true":
                    value = value or None
                encoded = name.encode("utf-8", "replace")
                if encoded not in known:
                    headers += (encoded, content)
            headers += (_PROPERTIES_NAME, record[4])
    return offset_delta, timestamp_delta, record[1] if length > 1 else None, value, headers


def _assemble(header: BatchHeader, records: bytes) -> bytes:
    """The batch of *header* and *records*, its length and checksum set right."""
    header = header._replace(length=HEADER_BYTES - _LENGTH_FROM + len(records))
    crc = crc32c(records, crc32c(HEADER.pack(*header)[_CRC_FROM:]))
    return HEADER.pack(*header._replace(crc=crc)) + records


def _open(batch: Batch) -> tuple[BatchHeader, list[Fields], Iterable[int]]:
    """Header, records, and the timestamp of each record. Raises ProtocolError."""
    payload = batch.payload
    if len(payload) < HEADER_BYTES:
        raise ProtocolError(f"{len(payload)} bytes are no Kafka batch")
    header = read_header(payload)
    if header.magic != MAGIC or header.size != len(payload) or header.last_offset_delta + 1 != batch.count:
        raise ProtocolError("a Kafka batch is not what is stored about it")
    if not header.count:
        return header, [], []
    plain = decompress(header.compression, payload[HEADER_BYTES:], MAX_PAYLOAD_BYTES)
    fields = decode_records(plain, header.count, header.last_offset_delta)
    if header.attributes & LOG_APPEND_TIME:
        return header, fields, [header.max_timestamp] * len(fields)
    base = header.base_timestamp
    timestamps = [base + delta for _, delta, _, _, _ in fields]
    if max(timestamps) > _MAX_TIMESTAMP or min(timestamps) < ~_MAX_TIMESTAMP:
        raise ProtocolError("a record's timestamp has more than 64 bits")
    return header, fields, timestamps


def _to_record(key: bytes | None, value: bytes | None, headers: Headers, timestamp: int | None) -> Record:
    """The record of a message with *headers*; *timestamp* is None when it is its batch's."""
    flat: list[str | bytes | None] = []
    properties = None
    for name, content in zip(headers[::2], headers[1::2], strict=True):
        assert name is not None
        if name == _PROPERTIES_NAME and content is not None and properties is None:
            properties = content
        else:
            flat += (name.decode("utf-8", "replace"), content)
    if properties is not None:
        return value, key, flat or None, timestamp, properties
    return (value, key, flat) if timestamp is None else (value, key, flat, timestamp)


class KafkaEncoding:
    """portask.encoding.Encoding for stored Kafka batches."""

    def decode(self, batch: Batch) -> Decoded:
        """The records of *batch*, each with the timestamp that Kafka consumers see.

        Takes 0.8 us a record, 3 us with two headers.
        """
        header, all_fields, timestamps = _open(batch)
        if header.attributes & CONTROL:
            return Decoded([], [])
        default = batch.envelope.timestamp
        records: list[Record] = []
        for (_, _, key, value, headers), timestamp in zip(all_fields, timestamps, strict=True):
            own = None if timestamp == default or timestamp < 0 else timestamp
            if headers is not None:
                records.append(_to_record(key, value, headers, own))
            elif own is not None:
                records.append((value, key, None, own))
            elif key is None and value is not None:
                records.append(value)
            else:
                records.append((value, key))
        if header.count == batch.count:
            return Decoded(records, None)
        return Decoded(records, [batch.base_offset + fields[0] for fields in all_fields])

    def entries(self, batch: Batch) -> list[Entry]:
        """What compaction must know of the records of *batch*. Those of a control batch show no key, so they stay."""
        header, all_fields, timestamps = _open(batch)
        is_control = bool(header.attributes & CONTROL)
        return [
            Entry(
                batch.base_offset + offset_delta,
                None if is_control else key,
                value is None,
                timestamp,
            )
            for (offset_delta, _, key, value, _), timestamp in zip(all_fields, timestamps, strict=True)
        ]

    def keep(
        self,
        batch: Batch,
        offsets: Container[int],
        delete_horizon_ms: int | None = None,
        *,
        retain_empty: bool = False,
    ) -> bytes | None:
        """The payload of *batch* with only the records at *offsets*; None when there are none of them.

        It stands for the same offsets as before; its sequence numbers and producer, its compression and the
        envelope that describes it stay as they are (MemoryRecords.buildRetainedRecordsInto). With *retain_empty*
        a batch without records is left where none are kept, so that its producer's sequence is not forgotten.
        *delete_horizon_ms*, when the batch has none yet, is written in place of its base timestamp: from then on
        its tombstones may go (KIP-534).
        """
        header, all_fields, timestamps = _open(batch)
        if header.attributes & CONTROL:
            return bytes(batch.payload)
        kept = [
            (fields, timestamp)
            for fields, timestamp in zip(all_fields, timestamps, strict=True)
            if batch.base_offset + fields[0] in offsets
        ]
        if not kept:
            return _make_empty(batch, header) if retain_empty else None
        horizon = header.base_timestamp if header.attributes & DELETE_HORIZON else delete_horizon_ms
        if len(kept) == header.count and (horizon is None or header.attributes & DELETE_HORIZON):
            return bytes(batch.payload)
        base = kept[0][1] if horizon is None else horizon
        records = _encode_kept(kept, base)
        if horizon is None and batch.envelope.codec == CODEC_ZSTD and HEADER_BYTES + len(records) > batch.envelope.size:
            # A first record that is far from the others makes each of them longer, but the envelope says how
            # long they may be. On their old base they are what they were.
            base = header.base_timestamp
            records = _encode_kept(kept, base)
        header = header._replace(
            attributes=header.attributes | (DELETE_HORIZON if horizon is not None else 0),
            base_timestamp=base,
            max_timestamp=max(timestamp for _, timestamp in kept),
            count=len(kept),
        )
        return _assemble(header, compress(header.compression, records))


def _encode_kept(kept: list[tuple[Fields, int]], base_timestamp: int) -> bytes:
    return encode_records(
        (offset_delta, timestamp - base_timestamp, key, value, headers)
        for (offset_delta, _, key, value, headers), timestamp in kept
    )


def _make_empty(batch: Batch, header: BatchHeader) -> bytes:
    """The payload of *batch* without records (DefaultRecordBatch.writeEmptyHeader)."""
    attributes = header.attributes & ~DELETE_HORIZON
    if batch.envelope.codec == CODEC_NONE:
        # An envelope that says that the records are compressed for storage is taken at its word.
        attributes &= ~COMPRESSION_MASK
    header = header._replace(attributes=attributes, base_timestamp=NO_TIMESTAMP, count=0)
    return _assemble(header, compress(header.compression, b""))
