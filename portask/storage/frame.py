"""Frames as bytes: the one layout in which every storage keeps a run of offsets.

    frame  := length:u32 crc:u32 base_offset:u64 count:u32 max_timestamp:i64 body
    length := bytes after the length field itself (24 + body)
    crc    := CRC32C of everything after the crc field

All numbers are big-endian. The header travels with the body from the journal to the segments, so a
frame is checked against the checksum that was made when it was first written, however often it moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from crc32c import crc32c

from portask.errors import CorruptError
from portask.storage.base import Buffer, Frame

HEADER = Struct(">IIQIq")
HEADER_BYTES = HEADER.size
_AFTER_CRC = Struct(">QIq")
_LENGTH_AND_CRC = Struct(">II")
_LENGTH_BYTES = 4
_SHORTEST = HEADER_BYTES - _LENGTH_BYTES
MAX_FRAME_BYTES = 1 << 30
"""A length beyond this is damage, not a frame; checked before anything is allocated."""


def encode_frame(base_offset: int, count: int, max_timestamp: int, body: Sequence[Buffer]) -> list[Buffer]:
    """The frame as pieces to be joined or written as they are: the header, then *body* unchanged."""
    tail = _AFTER_CRC.pack(base_offset, count, max_timestamp)
    crc = crc32c(tail)
    size = 0
    for piece in body:
        crc = crc32c(piece, crc)
        size += len(piece)
    return [_LENGTH_AND_CRC.pack(_SHORTEST + size, crc) + tail, *body]


def frame_size(data: Buffer, position: int) -> int:
    """Bytes of the whole frame at *position*, of which the length field must be there.

    Raises CorruptError when no frame can have that length.
    """
    size = int.from_bytes(data[position : position + _LENGTH_BYTES], "big") + _LENGTH_BYTES
    if not HEADER_BYTES <= size <= MAX_FRAME_BYTES:
        raise CorruptError(f"impossible frame length {size}")
    return size


def decode_frame(data: Buffer, position: int, end: int) -> tuple[Frame, int]:
    """The frame at *position* and the position after it; *end* bounds what may be read.

    Raises CorruptError when the frame is cut short or its checksum is wrong.
    """
    if end - position < HEADER_BYTES:
        raise CorruptError(f"a frame header is cut short: {end - position} of {HEADER_BYTES} bytes")
    length, crc, base_offset, count, max_timestamp = HEADER.unpack_from(data, position)
    stop = position + length + _LENGTH_BYTES
    if not _SHORTEST <= length <= MAX_FRAME_BYTES or stop > end:
        raise CorruptError(f"a frame of {length} bytes does not fit into the {end - position} that are left")
    view = memoryview(data)
    if crc32c(view[position + 8 : stop]) != crc:
        raise CorruptError(f"checksum of the frame at offset {base_offset} is wrong")
    return Frame(base_offset, count, max_timestamp, bytes(view[position + HEADER_BYTES : stop])), stop
