"""The header of a Kafka record batch, format version 2: checked, patched, stored.

    batch := base_offset:i64 length:i32 leader_epoch:i32 magic:i8 crc:u32 attributes:i16
             last_offset_delta:i32 base_timestamp:i64 max_timestamp:i64 producer_id:i64
             producer_epoch:i16 base_sequence:i32 count:i32 records

`length` counts from `leader_epoch` on, `crc` (CRC-32C) covers everything from `attributes` on. Base offset
and leader epoch lie before what it covers, so giving a batch its place in a log is writing twelve bytes.

What is stored is such a batch, ready to be fetched. Records that came uncompressed are compressed with
zstd, and the attributes say so; `restore` gives back what the producer sent. No record is looked at here.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple, NoReturn

from crc32c import crc32c

from portask.encoding import CODEC_NONE, CODEC_ZSTD
from portask.errors import MessageTooLargeError, ProtocolError
from portask.storage.base import Buffer

ENCODING_KAFKA = 1
"""The number of this encoding in the envelope of a stored batch (portask.batch)."""

HEADER = Struct(">qiibIhiqqqhii")
HEADER_BYTES = HEADER.size
MAGIC = 2

NO_COMPRESSION, GZIP, SNAPPY, LZ4, ZSTD = range(5)
COMPRESSION_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40

NO_PRODUCER_ID = -1
MAX_SEQUENCE = (1 << 31) - 1

_BASE_OFFSET = Struct(">q")
_LENGTH = Struct(">i")
_LENGTH_AT = 8
_LEADER_EPOCH_AT = 12
_MAGIC_AT = 16
_CRC = Struct(">I")
_CRC_AT = 17
_ATTRIBUTES = Struct(">h")
_ATTRIBUTES_AT = 21
_MAX_TIMESTAMP_AT = 35
_BEFORE_LENGTH = 12
"""Bytes of a batch that its length does not count."""
_MIN_LENGTH = 14
"""Kafka's smallest record of any format; a length below it is damage, not another format."""


class CorruptBatchError(ProtocolError):
    """A batch's bytes are not what its producer made."""


class RefusedBatchError(ProtocolError):
    """A batch that is whole and not allowed."""

    def __init__(self, text: str, records: Sequence[int] = ()) -> None:
        super().__init__(text)
        self.records = records
        """Those to blame, the batch's first being 0; none when it is the batch as such."""


class InvalidBatchError(RefusedBatchError):
    """A batch that no producer may send."""


class InvalidBatchTimestampError(RefusedBatchError):
    """A batch whose timestamps the topic does not take."""


class UnsupportedCompressionError(ProtocolError):
    """A batch compressed in a way that its request's version, or nobody, knows."""


class BatchHeader(NamedTuple):
    """The fields before the records."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls

    @property
    def compression(self) -> int:
        """The number of the codec that the records are compressed with."""
        return self.attributes & COMPRESSION_MASK

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.length + _BEFORE_LENGTH

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record; they go on from 0 after 2^31 - 1."""
        return (self.base_sequence + self.last_offset_delta) & MAX_SEQUENCE


def read_header(batch: Buffer) -> BatchHeader:
    """The header of a batch that is known to have one."""
    return BatchHeader._make(HEADER.unpack_from(batch))


def check_batch(records: memoryview | None, max_bytes: int, allow_zstd: bool) -> BatchHeader:
    """The header of the one batch that *records*, sent by a producer, must be.

    Raises CorruptBatchError, InvalidBatchError, InvalidBatchTimestampError, UnsupportedCompressionError, or
    MessageTooLargeError when the batch has more than *max_bytes*.
    """
    if records is None or len(records) < HEADER_BYTES:
        _refuse_short(records)
    assert records is not None
    header = BatchHeader._make(HEADER.unpack_from(records))
    size = header.length + _BEFORE_LENGTH
    if header.length < _MIN_LENGTH:
        raise CorruptBatchError(f"a length of {header.length} is less than any batch has")
    if header.magic != MAGIC:
        _refuse_format(header.magic)
    if size < HEADER_BYTES:
        raise CorruptBatchError(f"a length of {header.length} is less than the header of a batch has")
    if size > len(records):
        raise InvalidBatchError("a partition's records must be one whole batch")
    if size < len(records):
        _refuse_second(records[size:])
    compression = header.attributes & COMPRESSION_MASK
    if compression > ZSTD or (compression == ZSTD and not allow_zstd):
        raise UnsupportedCompressionError(f"compression {compression} is not known to this version of Produce")
    if header.base_offset != 0:
        raise InvalidBatchError(f"the base offset should be 0, but it is {header.base_offset}")
    if size > max_bytes:
        raise MessageTooLargeError(f"a batch of {size} bytes is larger than max.message.bytes, which is {max_bytes}")
    if crc32c(records[_ATTRIBUTES_AT:size]) != header.crc:
        raise CorruptBatchError(f"the checksum of the batch is not {header.crc:#x}, as its header says")
    _check_fields(header)
    return header


def _refuse_short(records: memoryview | None) -> None:
    if records is not None and len(records) >= _BEFORE_LENGTH:
        if _LENGTH.unpack_from(records, _LENGTH_AT)[0] < _MIN_LENGTH:
            raise CorruptBatchError("the length is less than any batch has")
        if len(records) > _MAGIC_AT and records[_MAGIC_AT] != MAGIC:
            _refuse_format(records[_MAGIC_AT])
    raise InvalidBatchError("a partition's records must be one whole batch")


def _refuse_format(magic: int) -> NoReturn:
    """Raise for a batch of another format version: the older ones are known and not taken, all else is damage."""
    if 0 <= magic < MAGIC:
        raise InvalidBatchError(f"format version {magic} is not taken, only {MAGIC}")
    raise CorruptBatchError(f"there is no format version {magic}")


def _refuse_second(rest: memoryview) -> None:
    """Raise when *rest* is a batch too; the beginning of one is passed over, as Kafka does."""
    if len(rest) < _BEFORE_LENGTH:
        return
    length = _LENGTH.unpack_from(rest, _LENGTH_AT)[0]
    if length < _MIN_LENGTH:
        raise CorruptBatchError("what follows the batch is none")
    if length + _BEFORE_LENGTH <= len(rest):
        raise InvalidBatchError("a partition's records must be exactly one batch")


def _check_fields(header: BatchHeader) -> None:
    if header.count <= 0 or header.last_offset_delta + 1 != header.count:
        raise InvalidBatchError(
            f"{header.count} records do not have the last offset delta {header.last_offset_delta}: no gaps are allowed"
        )
    if header.attributes & CONTROL:
        raise InvalidBatchError("clients are not allowed to write control records")
    if header.producer_id > NO_PRODUCER_ID and header.base_sequence < 0:
        raise InvalidBatchError(f"a batch of producer {header.producer_id} has no sequence number")
    if header.attributes & LOG_APPEND_TIME:
        raise InvalidBatchTimestampError("only the broker may give records the time of their append")


class StoredBatch:
    """A checked batch on its way to storage; its base offset and leader epoch are still open."""

    __slots__ = ("codec", "head", "records", "size")

    def __init__(self, batch: memoryview, header: BatchHeader) -> None:
        """*batch* must stay as it is until `encode` was called."""
        self.codec = CODEC_NONE
        self.head = bytearray(batch[:HEADER_BYTES])
        self.records: Buffer = batch[HEADER_BYTES : header.size]
        self.size = header.size
        """Bytes of the batch as the producer sent it."""

    def compressed(self, records: bytes) -> None:
        """Keep *records*, one zstd frame, in place of the uncompressed ones."""
        self.codec = CODEC_ZSTD
        self.records = records
        attributes = _ATTRIBUTES.unpack_from(self.head, _ATTRIBUTES_AT)[0]
        _ATTRIBUTES.pack_into(self.head, _ATTRIBUTES_AT, attributes | ZSTD)
        _finish(self.head, records)

    def stamp(self, timestamp: int) -> None:
        """Give all records the time of their append, in ms (message.timestamp.type=LogAppendTime)."""
        attributes = _ATTRIBUTES.unpack_from(self.head, _ATTRIBUTES_AT)[0]
        _ATTRIBUTES.pack_into(self.head, _ATTRIBUTES_AT, attributes | LOG_APPEND_TIME)
        _BASE_OFFSET.pack_into(self.head, _MAX_TIMESTAMP_AT, timestamp)
        _finish(self.head, self.records)

    def encode(self, base_offset: int, leader_epoch: int) -> list[Buffer]:
        """The batch at its place in the log, in pieces."""
        place(self.head, base_offset, leader_epoch)
        return [self.head, self.records]


def place(head: bytearray, base_offset: int, leader_epoch: int) -> None:
    """Write where a batch stands into its header; the checksum does not cover it."""
    _BASE_OFFSET.pack_into(head, 0, base_offset)
    _LENGTH.pack_into(head, _LEADER_EPOCH_AT, leader_epoch)


def restore(batch: memoryview, records: bytes) -> list[Buffer]:
    """The batch as its producer sent it, in pieces: *batch* as stored, its *records* decompressed."""
    head = bytearray(batch[:HEADER_BYTES])
    attributes = _ATTRIBUTES.unpack_from(head, _ATTRIBUTES_AT)[0]
    _ATTRIBUTES.pack_into(head, _ATTRIBUTES_AT, attributes & ~COMPRESSION_MASK)
    _finish(head, records)
    return [head, records]


def _finish(head: bytearray, records: Buffer) -> None:
    """Make length and checksum of *head* right for *records*."""
    _LENGTH.pack_into(head, _LENGTH_AT, HEADER_BYTES - _BEFORE_LENGTH + len(records))
    _CRC.pack_into(head, _CRC_AT, crc32c(records, crc32c(memoryview(head)[_ATTRIBUTES_AT:])))
