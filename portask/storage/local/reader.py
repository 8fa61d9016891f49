"""Reading frames back, from journal files in place and from segments in a thread."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from portask.errors import CorruptError
from portask.storage.base import Frame
from portask.storage.frame import HEADER_BYTES
from portask.storage.local import journal, segment
from portask.storage.local.disk import Disk
from portask.storage.local.handles import Handle, Handles
from portask.storage.local.index import Index
from portask.storage.local.layout import Layout, SegmentName
from portask.storage.local.log import PLACE_BITS, POSITION_MASK, Log, Segment
from portask.storage.local.workers import Workers

log = logging.getLogger(__name__)

_INLINE_BYTES = 256 * 1024
"""Journal reads up to this size come from the page cache at once; handing them to a thread takes longer."""
_INDEXES = 64
_BLOCK = 1024


class Reader:
    """Reads the files of one data directory, keeping some of them and their indexes open."""

    def __init__(self, disk: Disk, layout: Layout, workers: Workers, open_files: int) -> None:
        self._disk = disk
        self._layout = layout
        self._workers = workers
        self._handles = Handles(disk, open_files)
        self._indexes: dict[tuple[int, SegmentName, int], Index] = {}
        self._forgotten = 0

    def hold(self, path: str) -> Handle:
        """The file at *path*, which the caller releases. Raises OSError."""
        return self._handles.hold(path)

    def forget(self, path: str) -> None:
        """Let go of a file that is about to be removed."""
        self._handles.forget(path)

    def forget_segment(self, number: int, name: SegmentName) -> None:
        """Let go of a segment that has grown or is about to be removed."""
        self._forgotten += 1
        for key in [key for key in self._indexes if key[:2] == (number, name)]:
            del self._indexes[key]
        self._handles.forget(self._layout.segment_file(number, name))

    def close(self) -> None:
        """Close all files."""
        self._handles.close()
        self._indexes.clear()

    def read(self, log_: Log, offset: int, max_bytes: int) -> list[Frame]:
        """The frames that end beyond *offset* and the log's start. May block.

        Raises CorruptError when the first is damaged, damage further on ends what is returned; and
        FileNotFoundError when a file was moved or removed meanwhile.
        """
        offset = max(offset, log_.start_offset)
        frames: list[Frame] = []
        try:
            while (part := log_.find_segment(offset)) is not None:
                found = self._read_segment(log_, part, offset, max_bytes, not frames)
                if not found and frames:
                    return frames
                frames += found
                max_bytes -= sum(len(frame.body) for frame in found)
                if frames and (max_bytes < 0 or frames[-1].next_offset < part.next_offset):
                    return frames
                offset = part.next_offset
            return frames + self._read_journal(log_, offset, max_bytes, not frames)
        except CorruptError:
            if not frames:
                raise
            return frames

    def _read_segment(self, log_: Log, part: Segment, offset: int, max_bytes: int, always_one: bool) -> list[Frame]:
        path = self._layout.segment_file(log_.number, part.name)
        handle = self._handles.hold(path)
        try:
            index = self._index(log_, part, handle)
            return self._workers.run(
                segment.read_frames, self._disk, handle.descriptor, index, part.size, offset, max_bytes, always_one
            )
        except CorruptError as error:
            raise self._layout.damaged(path, str(error)) from error
        finally:
            handle.release()

    def _index(self, log_: Log, part: Segment, handle: Handle) -> Index:
        key = (log_.number, part.name, part.size)
        index = self._indexes.pop(key, None)
        if index is None:
            forgotten = self._forgotten
            path = self._layout.index_file(log_.number, part.name)
            index, reason = self._workers.run(segment.load_index, self._disk, path, handle.descriptor, part.size)
            if reason is not None:
                log.warning("index built anew", extra={"file": path, "reason": reason})
            if forgotten != self._forgotten:
                return index
            while len(self._indexes) >= _INDEXES:
                del self._indexes[next(iter(self._indexes))]
        self._indexes[key] = index
        return index

    def _read_journal(self, log_: Log, offset: int, max_bytes: int, always_one: bool) -> list[Frame]:
        first = last = max(log_.position(offset), log_.first)
        total = 0
        for size in log_.sizes[first : first + 1] if always_one else ():
            total, last = size - HEADER_BYTES, first + 1
        end = len(log_.sizes)
        while last < end and total + log_.sizes[last] - HEADER_BYTES <= max_bytes:
            total += log_.sizes[last] - HEADER_BYTES
            last += 1
        frames: list[Frame] = []
        places = log_.places[first:last]
        sizes = log_.sizes[first:last]
        bases = log_.bases[first:last]
        done = 0
        while done < len(places):
            number = places[done] >> PLACE_BITS
            stop = done + 1
            while stop < len(places) and places[stop] >> PLACE_BITS == number:
                stop += 1
            frames += self._read_places(number, places[done:stop], sizes[done:stop], bases[done:stop], total)
            if len(frames) < stop:
                break
            done = stop
        return frames

    def _read_places(
        self, number: int, places: Sequence[int], sizes: Sequence[int], bases: Sequence[int], total: int
    ) -> list[Frame]:
        path = self._layout.journal_file(number)
        positions = [place & POSITION_MASK for place in places]
        handle = self._handles.hold(path)
        try:
            arguments = self._disk, handle.descriptor, positions, sizes, bases
            if total <= _INLINE_BYTES:
                return _decode_places(*arguments)
            return self._workers.run(_decode_places, *arguments)
        except CorruptError as error:
            raise self._layout.damaged(path, str(error)) from error
        finally:
            handle.release()

    def find_time(self, log_: Log, timestamp: int) -> int | None:
        """The first kept base offset with a frame that is not older than *timestamp*. May block.

        Raises as `read` does.
        """
        offset = log_.start_offset
        while (part := log_.find_segment(offset)) is not None:
            if part.max_timestamp >= timestamp:
                found = self._find_in_segment(log_, part, offset, timestamp)
                if found is not None:
                    return max(found, log_.start_offset)
            offset = part.next_offset
        first = max(log_.position(offset), log_.first)
        for start in range(first, len(log_.times), _BLOCK):
            times = log_.times[start : start + _BLOCK]
            if max(times) >= timestamp:
                found = next(place for place, time in enumerate(times) if time >= timestamp)
                return max(log_.bases[start + found], log_.start_offset)
        return None

    def _find_in_segment(self, log_: Log, part: Segment, offset: int, timestamp: int) -> int | None:
        path = self._layout.segment_file(log_.number, part.name)
        handle = self._handles.hold(path)
        try:
            index = self._index(log_, part, handle)
            arguments = self._disk, handle.descriptor, index, part.size, offset, timestamp
            return self._workers.run(segment.find_time, *arguments)
        except CorruptError as error:
            raise self._layout.damaged(path, str(error)) from error
        finally:
            handle.release()


def _decode_places(
    disk: Disk, descriptor: int, positions: Sequence[int], sizes: Sequence[int], bases: Sequence[int]
) -> list[Frame]:
    frames = []
    read = journal.read_frames(disk, descriptor, positions, sizes)
    try:
        for (data, at, size), position, base_offset in zip(read, positions, bases, strict=True):
            frames.append(journal.check_frame(data, at, size, position, base_offset))
    except CorruptError:
        if not frames:
            raise
    return frames
