"""Rounds as bytes: what a journal file holds after its header.

    round  := mark:4 length:u32 crc:u32 sequence:u64 synced:u64 entry*
    mark   := four bytes that the header of the file names; chosen at random for each file
    length := bytes after the length and crc fields (16 + entries)
    crc    := CRC32C of those bytes
    entry  := 1 log:u64 frame                                          append
            | 2 table_length:u8 table key_length:u16 key value_length:u32 value   put
            | 3 table_length:u8 table key_length:u16 key               delete
            | 4 log:u64 offset:u64                                     trim
            | 5 log:u64                                                drop

All numbers are big-endian. `sequence` counts rounds without a gap, across files. `synced` is the
highest sequence that was known to be durable when this round was written: it tells a torn tail, which
nobody was promised, from damage. The mark lets a reader find the next round after bytes that make no
sense; because it is random, no message can contain something that passes for a round.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Protocol

from crc32c import crc32c

from portask.errors import CorruptError
from portask.storage.base import Buffer, Round
from portask.storage.frame import HEADER, HEADER_BYTES, MAX_FRAME_BYTES, encode_frame

MARK_BYTES = 4
ROUND = Struct(">4sIIQQ")
ROUND_BYTES = ROUND.size
_SEQUENCES = Struct(">QQ")
_PREFIX_BYTES = ROUND_BYTES - _SEQUENCES.size
MAX_ROUND_BYTES = 1 << 31

APPEND = 1
PUT = 2
DELETE = 3
TRIM = 4
DROP = 5
_ROWS = (PUT, DELETE)

ENTRY = Struct(">BQ")
ENTRY_BYTES = ENTRY.size
_TRIM = Struct(">BQQ")
_U16 = Struct(">H")
_U32 = Struct(">I")
_FRAME_LENGTH_BYTES = 4

Appended = tuple[int, int, int, int, int, int]
"""Log, base offset, count, max timestamp, position of the frame, its size."""


class Encoded:
    """A round in pieces, complete but for its header, which depends on the file it goes to."""

    __slots__ = ("appended", "pieces", "size")

    def __init__(self, round_: Round) -> None:
        """Raises ValueError when the round is too large for any file."""
        pieces: list[Buffer] = [b"", *(ENTRY.pack(DROP, log) for log in round_.drops)]
        position = ROUND_BYTES + ENTRY_BYTES * len(round_.drops)
        self.appended: list[Appended] = []
        for log, base_offset, count, timestamp, body in round_.appends:
            frame = encode_frame(base_offset, count, timestamp, body)
            size = sum(map(len, frame))
            pieces.append(ENTRY.pack(APPEND, log))
            pieces += frame
            position += ENTRY_BYTES
            self.appended.append((log, base_offset, count, timestamp, position, size))
            position += size
        small = [_TRIM.pack(TRIM, log, offset) for log, offset in round_.trims.items()]
        for (table, key), value in round_.puts.items():
            name = table.encode()
            head = bytes((DELETE if value is None else PUT, len(name))) + name + _U16.pack(len(key)) + key
            small.append(head if value is None else head + _U32.pack(len(value)) + value)
        pieces += small
        self.pieces = pieces
        self.size = position + sum(map(len, small))
        if self.size > MAX_ROUND_BYTES:
            raise ValueError(f"a round of {self.size} bytes is larger than {MAX_ROUND_BYTES}")

    def finish(self, mark: bytes, sequence: int, synced: int) -> bytes:
        """The whole round."""
        pieces = self.pieces
        crc = crc32c(_SEQUENCES.pack(sequence, synced))
        for piece in pieces[1:]:
            crc = crc32c(piece, crc)
        pieces[0] = ROUND.pack(mark, self.size - _PREFIX_BYTES, crc, sequence, synced)
        return b"".join(pieces)


def check_round(data: Buffer, position: int, end: int, mark: bytes) -> tuple[int, int, int] | None:
    """Sequence, synced and the position after the round at *position*, or None when there is no valid one."""
    if end - position < ROUND_BYTES:
        return None
    found, length, crc, sequence, synced = ROUND.unpack_from(data, position)
    stop = position + _PREFIX_BYTES + length
    if found != mark or length < _SEQUENCES.size or stop > end:
        return None
    with memoryview(data) as view:
        if crc32c(view[position + _PREFIX_BYTES : stop]) != crc:
            return None
    return sequence, synced, stop


class Changes(Protocol):
    """Who takes in the entries of a round."""

    def append(self, number: int, base_offset: int, count: int, timestamp: int, place: int, size: int) -> None: ...
    def put(self, table: str, key: bytes, value: bytes | None) -> None: ...
    def trim(self, number: int, offset: int) -> None: ...
    def drop(self, number: int) -> None: ...


def decode_entries(data: bytes, position: int, end: int, place: int, changes: Changes) -> None:
    """Hand the entries of a valid round to *changes*; frames lie at *place* plus their position in *data*.

    Raises CorruptError when the entries do not fill the round exactly.
    """
    try:
        while position < end:
            kind = data[position]
            if kind == APPEND:
                _, log = ENTRY.unpack_from(data, position)
                position += ENTRY_BYTES
                length, _, base_offset, count, timestamp = HEADER.unpack_from(data, position)
                size = length + _FRAME_LENGTH_BYTES
                if not HEADER_BYTES <= size <= MAX_FRAME_BYTES or position + size > end or not count:
                    raise CorruptError(f"an impossible frame of {size} bytes")
                changes.append(log, base_offset, count, timestamp, place + position, size)
                position += size
            elif kind in _ROWS:
                position = _decode_row(data, position, end, changes)
            elif kind == TRIM:
                _, log, offset = _TRIM.unpack_from(data, position)
                position += _TRIM.size
                changes.trim(log, offset)
            elif kind == DROP:
                _, log = ENTRY.unpack_from(data, position)
                position += ENTRY_BYTES
                changes.drop(log)
            else:
                raise CorruptError(f"an entry of the unknown kind {kind}")
    except (StructError, IndexError, UnicodeDecodeError) as error:
        raise CorruptError(f"an entry is cut short: {error}") from error
    if position != end:
        raise CorruptError("the last entry is cut short")


def _decode_row(data: bytes, position: int, end: int, changes: Changes) -> int:
    """Hand over a put or delete, if all of it is there, and return the position after it."""
    start = position + 2
    stop: int = start + data[position + 1]
    table = str(data[start:stop], "utf-8")
    start = stop + _U16.size
    stop = start + _U16.unpack_from(data, stop)[0]
    key, value = data[start:stop], None
    if data[position] == PUT:
        start = stop + _U32.size
        stop = start + _U32.unpack_from(data, stop)[0]
        value = data[start:stop]
    if stop <= end:
        changes.put(table, key, value)
    return stop


def encode_round(mark: bytes, sequence: int, synced: int, entries: bytes) -> bytes:
    """A round of entries that are bytes already."""
    crc = crc32c(entries, crc32c(_SEQUENCES.pack(sequence, synced)))
    return ROUND.pack(mark, _SEQUENCES.size + len(entries), crc, sequence, synced) + entries
