"""Writing segments: a new one, or more at the end of one that is there."""

from __future__ import annotations

from collections.abc import Sequence

from portask.errors import CorruptError
from portask.storage.base import Buffer, Frame
from portask.storage.frame import HEADER_BYTES as FRAME_HEADER_BYTES
from portask.storage.frame import encode_frame
from portask.storage.local import journal
from portask.storage.local.disk import Disk
from portask.storage.local.index import Index
from portask.storage.local.layout import Layout, SegmentName
from portask.storage.local.log import Segment
from portask.storage.local.segment import HEADER_BYTES, encode_header, load_index

_OLDEST = -(1 << 63)

Place = tuple[int, int, int, int, int]
"""Base offset, count, max timestamp, position in the journal file, size."""


class SegmentWriter:
    """A segment that is being extended. Its methods block the thread and raise OSError."""

    def __init__(self, disk: Disk, layout: Layout, log: int, name: SegmentName, segment: Segment | None) -> None:
        """Continue *segment*, or begin one of that *name*. A rewritten one goes where its log's directory is."""
        self._disk = disk
        self._layout = layout
        self._name = name
        self.path = layout.segment_file(log, name)
        self._index_path = layout.index_file(log, name)
        if segment is None:
            if not name[1]:
                disk.make_directory(layout.log_directory(log))
            self._descriptor = disk.open(self.path, create=True)
            self.size, self.max_timestamp, self.next_offset = HEADER_BYTES, _OLDEST, name[0]
        else:
            self._descriptor = disk.open(self.path)
            self.size, self.max_timestamp, self.next_offset = segment.size, segment.max_timestamp, segment.next_offset
        try:
            if segment is None:
                self.index = Index()
                disk.write(self._descriptor, encode_header(log, name[0]), 0)
            else:
                self.index, _ = load_index(disk, self._index_path, self._descriptor, self.size)
                disk.truncate(self._descriptor, self.size)
        except BaseException as error:
            self.close()
            if isinstance(error, CorruptError):
                raise layout.damaged(self.path, str(error)) from error
            raise

    def copy(self, descriptor: int, places: list[Place]) -> None:
        """Append the frames at *places* of a journal file. Raises CorruptError when one is not what it was."""
        positions = [place[3] for place in places]
        sizes = [place[4] for place in places]
        pieces = []
        read = journal.read_frames(self._disk, descriptor, positions, sizes)
        for (data, at, size), (base_offset, _, _, position, _) in zip(read, places, strict=True):
            journal.check_frame(data, at, size, position, base_offset)
            pieces.append(memoryview(data)[at : at + size])
        self._disk.write(self._descriptor, b"".join(pieces), self.size)
        for base_offset, count, timestamp, _, size in places:
            self._add(base_offset, count, timestamp, size)

    def append(self, frames: Sequence[Frame]) -> None:
        """Append *frames*."""
        pieces: list[Buffer] = []
        for frame in frames:
            pieces += encode_frame(frame.base_offset, frame.count, frame.max_timestamp, [frame.body])
        self._disk.write(self._descriptor, b"".join(pieces), self.size)
        for frame in frames:
            self._add(frame.base_offset, frame.count, frame.max_timestamp, FRAME_HEADER_BYTES + len(frame.body))

    def _add(self, base_offset: int, count: int, timestamp: int, size: int) -> None:
        self.index.add(base_offset, self.size, timestamp)
        self.size += size
        self.next_offset = base_offset + count
        self.max_timestamp = max(self.max_timestamp, timestamp)

    def finish(self) -> Segment:
        """Make all of it durable but for the names."""
        disk = self._disk
        disk.sync(self._descriptor)
        descriptor = disk.open(self._index_path, create=True)
        try:
            disk.write(descriptor, self.index.encode(), 0)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        return Segment(self._name[0], self.next_offset, self.size, self.max_timestamp, self._name[1])

    def close(self) -> None:
        self._disk.close(self._descriptor)
