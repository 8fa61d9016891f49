"""Journal files: where every round goes first.

    file   := header round*  zeros
    header := magic "PTSKJRNL" format:u32 number:u64 first_sequence:u64 mark:4 crc:u32

A file is made under another name, its space reserved, its header and that name synced, and only then
put in place; the one before it has been synced, sealed and cut to its length by then. So the newest
file alone may end in a torn round, and a bad header is always damage. The seal is a round without
entries whose `synced` is its own sequence: a file that ends in one must be followed by another, or by
the unfinished one that a crash kept from its place. Rounds with appends fill a file up to its capacity; the
rest, a reserve, is for rounds that free space (trims, drops, what was settled), which must go on when
the disk is full.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from struct import Struct

from crc32c import crc32c

from portask.errors import CorruptError
from portask.storage.base import Frame
from portask.storage.frame import decode_frame
from portask.storage.local.disk import Disk
from portask.storage.local.handles import Handle
from portask.storage.local.round import MARK_BYTES, ROUND_BYTES, check_round, encode_round

MAGIC = b"PTSKJRNL"
FORMAT = 1
_HEADER = Struct(">8sIQQ4s")
_CRC = Struct(">I")
HEADER_BYTES = _HEADER.size + _CRC.size
RESERVE_BYTES = 1024 * 1024
SUFFIX = ".journal"
UNFINISHED = "next.tmp"
_NEAR_BYTES = 4096
_RUN_BYTES = 1024 * 1024

Piece = tuple[bytes, int, int]
"""Some bytes, and where in them a frame begins and how long it is."""


def file_name(number: int) -> str:
    """The name of a journal file inside DIR/journal."""
    return f"{number:016d}{SUFFIX}"


def encode_header(number: int, first_sequence: int, mark: bytes) -> bytes:
    """The header of a journal file."""
    head = _HEADER.pack(MAGIC, FORMAT, number, first_sequence, mark)
    return head + _CRC.pack(crc32c(head))


def decode_header(data: bytes, number: int) -> tuple[int, bytes]:
    """First sequence and mark from the header of file *number*. Raises CorruptError."""
    if len(data) < HEADER_BYTES:
        raise CorruptError("the header is cut short")
    magic, format_, found, first_sequence, mark = _HEADER.unpack_from(data)
    if _CRC.unpack_from(data, _HEADER.size)[0] != crc32c(data[: _HEADER.size]):
        raise CorruptError("the checksum of the header is wrong")
    if magic != MAGIC or format_ != FORMAT:
        raise CorruptError(f"not a journal file of format {FORMAT}")
    if found != number:
        raise CorruptError(f"the header is that of file {found}")
    return first_sequence, mark


class JournalFile:
    """The newest journal file, open for writing."""

    __slots__ = ("capacity", "handle", "mark", "number", "position")

    def __init__(self, number: int, handle: Handle, mark: bytes, position: int, capacity: int) -> None:
        self.number = number
        self.handle = handle
        self.mark = mark
        self.position = position
        """Where the next round goes. Moves on only when a round was written in full."""
        self.capacity = capacity
        """Where the reserve begins."""

    def has_room(self, size: int, use_reserve: bool) -> bool:
        """Whether a round of *size* bytes fits, and a seal behind it."""
        return self.position + size + ROUND_BYTES <= self.capacity + (RESERVE_BYTES if use_reserve else 0)


def create(disk: Disk, directory: str, number: int, first_sequence: int, capacity: int) -> JournalFile:
    """Make file *number*, complete and synced but named UNFINISHED. Blocks the thread.

    Raises OSError, and leaves nothing then.
    """
    mark = os.urandom(MARK_BYTES)
    unfinished = f"{directory}/{UNFINISHED}"
    handle = Handle(disk, disk.open(unfinished, create=True))
    try:
        disk.reserve(handle.descriptor, capacity + RESERVE_BYTES)
        disk.write(handle.descriptor, encode_header(number, first_sequence, mark), 0)
        disk.sync(handle.descriptor)
        disk.sync_directory(directory)
    except OSError:
        handle.release()
        with suppress(OSError):
            disk.remove(unfinished)
        raise
    return JournalFile(number, handle, mark, HEADER_BYTES, capacity)


def finish(disk: Disk, directory: str, created: JournalFile) -> None:
    """Put *created* in place. Blocks the thread. Raises OSError; whether it is there is then unknown."""
    disk.rename(f"{directory}/{UNFINISHED}", f"{directory}/{file_name(created.number)}")
    disk.sync_directory(directory)


def seal(disk: Disk, file: JournalFile, sequence: int) -> None:
    """End *file* with round *sequence*, durably. Blocks the thread. Raises OSError; how it ends is then unknown."""
    descriptor = file.handle.descriptor
    # The seal says that all before it is synced, so that has to be true first.
    disk.sync(descriptor)
    disk.write(descriptor, encode_round(file.mark, sequence, sequence, b""), file.position)
    file.position += ROUND_BYTES
    disk.truncate(descriptor, file.position)
    disk.sync(descriptor)


def is_sealed(data: bytes, end: int, mark: bytes) -> bool:
    """Whether the round that ends at *end* is a seal."""
    if end < HEADER_BYTES + ROUND_BYTES:
        return False
    checked = check_round(data, end - ROUND_BYTES, end, mark)
    return checked is not None and checked[0] == checked[1]


def read_frames(disk: Disk, descriptor: int, positions: Sequence[int], sizes: Sequence[int]) -> Iterator[Piece]:
    """The frames at *positions*, unchecked. Raises CorruptError where the file has ended, OSError.

    Frames that are near each other are read at once: a journal of one-message rounds has about thirty
    bytes between two frames of a log, and a call for each would cost more than reading those.
    """
    first = 0
    while first < len(positions):
        start = positions[first]
        last = first
        end = start + sizes[first]
        while (
            last + 1 < len(positions)
            and positions[last + 1] - end <= _NEAR_BYTES
            and positions[last + 1] + sizes[last + 1] - start <= _RUN_BYTES
        ):
            last += 1
            end = positions[last] + sizes[last]
        data = disk.read(descriptor, end - start, start)
        if len(data) < end - start:
            raise CorruptError(f"position {start + len(data)}: the file has ended")
        for frame in range(first, last + 1):
            yield data, positions[frame] - start, sizes[frame]
        first = last + 1


def check_frame(data: bytes, at: int, size: int, position: int, base_offset: int) -> Frame:
    """The frame that stands *at* a place in *data*. Raises CorruptError when it is not that of *base_offset*."""
    try:
        frame, _ = decode_frame(data, at, at + size)
        if frame.base_offset != base_offset:
            raise CorruptError(f"offset {frame.base_offset} stands in place of {base_offset}")
    except CorruptError as error:
        raise CorruptError(f"position {position}: {error}") from error
    return frame
