"""Checking a segment frame by frame, and writing it anew without what is damaged."""

from __future__ import annotations

from typing import NamedTuple

from portask.errors import CorruptError
from portask.storage.frame import HEADER, decode_frame
from portask.storage.frame import HEADER_BYTES as FRAME_HEADER_BYTES
from portask.storage.local.disk import Disk
from portask.storage.local.index import Index, decode_index
from portask.storage.local.layout import Layout
from portask.storage.local.log import Segment
from portask.storage.local.report import Lost, Tally
from portask.storage.local.segment import HEADER_BYTES, encode_header

_OLDEST = -(1 << 63)
_FRAME_LENGTH_BYTES = 4


class Whole(NamedTuple):
    """A frame that is as it was written."""

    position: int
    size: int
    base_offset: int
    next_offset: int
    max_timestamp: int


class Bad(NamedTuple):
    """A run of bytes that is not."""

    position: int
    end: int
    detail: str


def examine(data: bytes, first_offset: int, end_offset: int) -> tuple[list[Whole], list[Bad]]:
    """The whole frames in a segment's content, and what lies between them.

    Frames hold offsets from *first_offset* to below *end_offset*, in order.
    """
    frames: list[Whole] = []
    bad: list[Bad] = []
    position = HEADER_BYTES
    while position < len(data):
        try:
            frame = _frame_at(data, position, first_offset, end_offset)
        except CorruptError as error:
            start = position
            position = _next_frame(data, position, first_offset, end_offset)
            bad.append(Bad(start, position, str(error)))
            continue
        frames.append(frame)
        position += frame.size
        first_offset = frame.next_offset
    return frames, bad


def _frame_at(data: bytes, position: int, first_offset: int, end_offset: int) -> Whole:
    frame, stop = decode_frame(data, position, len(data))
    if not first_offset <= frame.base_offset < frame.next_offset <= end_offset:
        raise CorruptError(f"offsets {frame.base_offset} to {frame.next_offset} do not belong here")
    return Whole(position, stop - position, frame.base_offset, frame.next_offset, frame.max_timestamp)


def _next_frame(data: bytes, position: int, first_offset: int, end_offset: int) -> int:
    """Where the next whole frame begins behind a damaged one, or the end."""
    length = int.from_bytes(data[position : position + _FRAME_LENGTH_BYTES], "big")
    if _is_chained(data, position + _FRAME_LENGTH_BYTES + length, first_offset, end_offset):
        return position + _FRAME_LENGTH_BYTES + length
    # The length itself is damaged. A frame inside a message is not taken for one of the log's own,
    # unless it ends where another frame begins.
    for candidate in range(position + 1, len(data) - FRAME_HEADER_BYTES + 1):
        size = HEADER.unpack_from(data, candidate)[0] + _FRAME_LENGTH_BYTES
        if FRAME_HEADER_BYTES <= size <= len(data) - candidate and _is_chained(
            data, candidate, first_offset, end_offset
        ):
            return candidate
    return len(data)


def _is_chained(data: bytes, position: int, first_offset: int, end_offset: int) -> bool:
    """Whether a whole frame stands here, followed by another or the end."""
    try:
        frame = _frame_at(data, position, first_offset, end_offset)
        if position + frame.size < len(data):
            _frame_at(data, position + frame.size, frame.next_offset, end_offset)
    except CorruptError:
        return False
    return True


class SegmentCheck:
    """Checks the segments of one directory; with *mend*, also repairs them."""

    def __init__(self, disk: Disk, layout: Layout, tally: Tally, mend: bool) -> None:
        self._disk = disk
        self._layout = layout
        self._tally = tally
        self._mend = mend

    def check(self, log: int, segment: Segment) -> Segment | None:
        """The segment as it is after a repair, None when nothing is left of it; the same when it is sound."""
        path = self._layout.segment_file(log, segment.name)
        name = self._layout.relative(path)
        all_lost = Lost(log, segment.base_offset, segment.next_offset - 1)
        if not self._disk.exists(path):
            self._tally.find(name, 0, "missing", "the file is missing", (all_lost,))
            return None
        data = self._disk.read_file(path)[: segment.size]
        self._tally.add_file(len(data))
        frames, bad = examine(data, segment.base_offset, segment.next_offset)
        if len(data) < segment.size:
            cut = bad.pop() if bad and bad[-1].end == len(data) else Bad(len(data), len(data), "")
            bad.append(cut._replace(detail=f"{len(data)} bytes are left of {segment.size}"))
        if data[:HEADER_BYTES] != encode_header(log, segment.base_offset):
            bad.insert(0, Bad(0, min(HEADER_BYTES, len(data)), "the header is damaged"))
        self._tally.frames += len(frames)
        self._report(name, log, segment, frames, bad)
        index = Index()
        position = HEADER_BYTES
        for frame in frames:
            index.add(frame.base_offset, position, frame.max_timestamp)
            position += frame.size
        if not bad:
            self._check_index(log, segment, index)
            return segment
        if self._mend:
            for part in bad:
                if part.end > part.position:
                    self._set_aside(path, part.position, data[part.position : part.end])
            if frames:
                self._rewrite(log, segment, data, frames)
                self._write_index(log, segment, index)
        newest = max((frame.max_timestamp for frame in frames), default=_OLDEST)
        end = frames[-1].next_offset if frames else segment.base_offset
        return segment._replace(next_offset=end, size=position, max_timestamp=newest) if frames else None

    def _report(self, name: str, log: int, segment: Segment, frames: list[Whole], bad: list[Bad]) -> None:
        """One finding for each damaged run, the offsets missing around it with it."""
        starts = [*(frame.position for frame in frames), segment.size + 1]
        bases = [*(frame.base_offset for frame in frames), segment.next_offset]
        ends = [segment.base_offset, *(frame.next_offset for frame in frames)]
        for part in bad:
            following = next(place for place, start in enumerate(starts) if start >= part.end)
            first, last = ends[following], bases[following] - 1
            lost = (Lost(log, first, last),) if first <= last and part.position else ()
            self._tally.find(name, part.position, "damage", part.detail, lost)

    def _check_index(self, log: int, segment: Segment, index: Index) -> None:
        path = self._layout.index_file(log, segment.name)
        name = self._layout.relative(path)
        if not self._disk.exists(path):
            self._tally.find(name, 0, "missing", "the file is missing; it is built anew when needed")
        else:
            data = self._disk.read_file(path)
            try:
                found = decode_index(data)
                pairs = list(zip(found.bases, found.positions, strict=True))[: len(index.bases)]
                if pairs != list(zip(index.bases, index.positions, strict=True)):
                    raise CorruptError("it does not fit its segment")
            except CorruptError as error:
                self._tally.find(name, 0, "damage", str(error))
                if self._mend:
                    self._set_aside(path, 0, data)
            else:
                return
        if self._mend:
            self._write_index(log, segment, index)

    def _set_aside(self, path: str, position: int, data: bytes) -> None:
        name = f"{self._layout.relative(path).replace('/', '-')}-{position}"
        self._tally.aside.append(self._layout.relative(self._layout.set_aside(self._disk, name, data)))

    def _rewrite(self, log: int, segment: Segment, data: bytes, frames: list[Whole]) -> None:
        pieces = [data[frame.position : frame.position + frame.size] for frame in frames]
        content = encode_header(log, segment.base_offset) + b"".join(pieces)
        self._disk.replace_file(self._layout.segment_file(log, segment.name), content)

    def _write_index(self, log: int, segment: Segment, index: Index) -> None:
        self._disk.replace_file(self._layout.index_file(log, segment.name), index.encode())
