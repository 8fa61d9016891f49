"""Segment files: the frames of one log that have left the journal.

    file   := header frame*
    header := magic "PTSKSGMT" format:u32 log:u64 base_offset:u64 crc:u32

Frames stand in offset order, as they came from the journal. How many bytes count, the snapshot says;
what follows them is the rest of a move that a crash cut off, and is overwritten by the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from crc32c import crc32c

from portask.errors import CorruptError
from portask.storage.base import Frame
from portask.storage.frame import HEADER_BYTES as FRAME_HEADER_BYTES
from portask.storage.frame import decode_frame, frame_size
from portask.storage.local.disk import Disk
from portask.storage.local.index import SPACING, Index, decode_index

MAGIC = b"PTSKSGMT"
FORMAT = 1
_HEADER = Struct(">8sIQQ")
_CRC = Struct(">I")
HEADER_BYTES = _HEADER.size + _CRC.size
_CHUNK = 256 * 1024


def encode_header(log: int, base_offset: int) -> bytes:
    """The header of a segment file."""
    head = _HEADER.pack(MAGIC, FORMAT, log, base_offset)
    return head + _CRC.pack(crc32c(head))


def scan(disk: Disk, descriptor: int, position: int, end: int, chunk: int = _CHUNK) -> Iterator[tuple[int, Frame]]:
    """The frames between two positions, each with its own. Raises CorruptError, OSError. Blocks the thread."""
    while position < end:
        data = disk.read(descriptor, min(chunk, end - position), position)
        at = 0
        needed = FRAME_HEADER_BYTES
        try:
            while at + needed <= len(data):
                needed = frame_size(data, at)
                if at + needed <= len(data):
                    frame, stop = decode_frame(data, at, len(data))
                    yield position + at, frame
                    at, needed = stop, FRAME_HEADER_BYTES
        except CorruptError as error:
            raise CorruptError(f"position {position + at}: {error}") from error
        position += at
        if not at:
            if position + needed > end or len(data) < min(chunk, end - position):
                raise CorruptError(f"position {position}: a frame is cut short")
            chunk = max(chunk, needed)


def read_frames(
    disk: Disk, descriptor: int, index: Index, size: int, offset: int, max_bytes: int, always_one: bool
) -> list[Frame]:
    """The frames of a segment of *size* bytes that end beyond *offset*, as many as fit. Blocks the thread.

    Raises CorruptError when there is damage before the first; damage further on ends what is returned.
    """
    frames: list[Frame] = []
    chunk = max(SPACING, min(_CHUNK, max_bytes + SPACING))
    try:
        for _, frame in scan(disk, descriptor, index.find(offset), size, chunk):
            if frame.next_offset > offset:
                max_bytes -= len(frame.body)
                if max_bytes < 0 and (frames or not always_one):
                    break
                frames.append(frame)
    except CorruptError:
        if not frames:
            raise
    return frames


def find_time(disk: Disk, descriptor: int, index: Index, size: int, offset: int, timestamp: int) -> int | None:
    """The base offset of the first frame that ends beyond *offset* and is not older. Blocks the thread."""
    positions = [*index.positions, size]
    for entry, newest in enumerate(index.times):
        if newest >= timestamp:
            for _, frame in scan(disk, descriptor, positions[entry], positions[entry + 1]):
                if frame.max_timestamp >= timestamp and frame.next_offset > offset:
                    return frame.base_offset
    return None


def load_index(disk: Disk, path: str, descriptor: int, size: int) -> tuple[Index, str | None]:
    """The index at *path*, cut to the first *size* bytes of its segment, and why it was built anew, if it was.

    Raises CorruptError when the segment itself is damaged. Blocks the thread.
    """
    try:
        found = decode_index(disk.read_file(path))
    except (CorruptError, FileNotFoundError) as error:
        return build_index(disk, descriptor, size), str(error)
    index = Index()
    for base_offset, position, timestamp in zip(found.bases, found.positions, found.times, strict=True):
        if position < size:
            index.add(base_offset, position, timestamp)
    return index, None


def build_index(disk: Disk, descriptor: int, size: int) -> Index:
    """The index of a segment of *size* bytes, made from its frames. Raises CorruptError. Blocks the thread."""
    index = Index()
    for position, frame in scan(disk, descriptor, HEADER_BYTES, size):
        index.add(frame.base_offset, position, frame.max_timestamp)
    return index
