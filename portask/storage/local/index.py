"""Segment indexes: where to begin reading for an offset or a time.

    file := magic "PTSKINDX" format:u32 count:u32 crc:u32 base_offset:u64* position:u64* max_timestamp:i64*

One entry for the first frame in every 64 KiB, with the newest timestamp of all frames from there to
the next entry. An index holds nothing that its segment does not: one that is missing, torn or too
short is built anew.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from struct import Struct

from crc32c import crc32c

from portask.errors import CorruptError

MAGIC = b"PTSKINDX"
FORMAT = 1
_HEADER = Struct(">8sIII")
_ENTRY_BYTES = 24
SPACING = 64 * 1024


class Index:
    """The entries of one segment, in parallel arrays."""

    __slots__ = ("bases", "positions", "times")

    def __init__(self) -> None:
        self.bases = array("Q")
        self.positions = array("Q")
        self.times = array("q")

    def add(self, base_offset: int, position: int, timestamp: int) -> None:
        """Take in the frame that follows those before."""
        if not self.positions or position - self.positions[-1] >= SPACING:
            self.bases.append(base_offset)
            self.positions.append(position)
            self.times.append(timestamp)
        elif timestamp > self.times[-1]:
            self.times[-1] = timestamp

    def find(self, offset: int) -> int:
        """The position from which to look for *offset*."""
        return self.positions[max(bisect_right(self.bases, offset) - 1, 0)]

    def encode(self) -> bytes:
        """The file's content."""
        count = len(self.bases)
        body = Struct(f">{2 * count}Q{count}q").pack(*self.bases, *self.positions, *self.times)
        return _HEADER.pack(MAGIC, FORMAT, count, crc32c(body)) + body


def decode_index(data: bytes) -> Index:
    """The index that *data* holds. Raises CorruptError."""
    if len(data) < _HEADER.size:
        raise CorruptError("the header is cut short")
    magic, format_, count, crc = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    if magic != MAGIC or format_ != FORMAT or not count:
        raise CorruptError(f"not an index of format {FORMAT}")
    if len(body) != count * _ENTRY_BYTES or crc32c(body) != crc:
        raise CorruptError("the checksum is wrong")
    entries = Struct(f">{2 * count}Q{count}q").unpack(body)
    index = Index()
    index.bases.extend(entries[:count])
    index.positions.extend(entries[count : 2 * count])
    index.times.extend(entries[2 * count :])
    return index
