"""One log as storage sees it in memory: where it begins and ends, and where its frames are.

Frames that are still in journal files are listed one by one, in parallel arrays (32 bytes each);
older ones are in segments, of which only the ends are known here. A place is the number of a journal
file and a position in it: number << 32 | position. Trimmed frames stay listed until their file is
moved, because a trim that is not yet durable may be undone by a crash.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from portask.storage.base import Bounds
from portask.storage.local.layout import SegmentName
from portask.storage.local.segment import HEADER_BYTES

PLACE_BITS = 32
POSITION_MASK = (1 << PLACE_BITS) - 1


class Segment(NamedTuple):
    """What is known of a segment without opening it."""

    base_offset: int
    next_offset: int
    size: int
    """Bytes that count; what the file has beyond them is the rest of a move that a crash cut off."""
    max_timestamp: int
    generation: int = 0
    """How often what it holds was rewritten: a part of the file's name."""

    @property
    def name(self) -> SegmentName:
        """What its files are called by; no other segment of the log is, or was since it was made."""
        return self.base_offset, self.generation

    @property
    def frame_bytes(self) -> int:
        """Bytes of the frames alone."""
        return self.size - HEADER_BYTES


class Log:
    """The state of one log. Changed only between switches."""

    __slots__ = (
        "bases",
        "counts",
        "first",
        "growing_from",
        "journal_bytes",
        "next_offset",
        "number",
        "places",
        "segment_bytes",
        "segments",
        "sizes",
        "start_offset",
        "times",
    )

    def __init__(self, number: int, start_offset: int, next_offset: int, segments: list[Segment]) -> None:
        self.number = number
        self.start_offset = start_offset
        self.next_offset = next_offset
        self.segments = segments
        self.segment_bytes = sum(segment.frame_bytes for segment in segments)
        self.journal_bytes = 0
        self.growing_from = 0
        """A segment that begins below gets no more frames: it is being rewritten."""
        self.first = 0
        """Position in the arrays of the first frame that is not trimmed."""
        self.bases = array("Q")
        self.counts = array("I")
        self.times = array("q")
        self.places = array("Q")
        self.sizes = array("I")

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.start_offset, self.next_offset, self.segment_bytes + self.journal_bytes)

    def append(self, base_offset: int, count: int, timestamp: int, place: int, size: int) -> None:
        """List a frame that was written to the journal."""
        self.bases.append(base_offset)
        self.counts.append(count)
        self.times.append(timestamp)
        self.places.append(place)
        self.sizes.append(size)
        self.next_offset = base_offset + count
        self.journal_bytes += size

    def position(self, offset: int) -> int:
        """The position in the arrays of the first frame that ends beyond *offset*."""
        position = bisect_right(self.bases, offset)
        if position and self.bases[position - 1] + self.counts[position - 1] > offset:
            position -= 1
        return position

    def find_segment(self, offset: int) -> Segment | None:
        """The first segment that ends beyond *offset*."""
        position = bisect_right(self.segments, offset, key=lambda segment: segment.next_offset)
        return self.segments[position] if position < len(self.segments) else None

    def find_size(self, keep_bytes: int) -> int:
        """The highest start, behind a whole segment or frame, that leaves *keep_bytes* or more."""
        offset = self.start_offset
        spare = self.segment_bytes + self.journal_bytes - keep_bytes
        for segment in self.segments:
            if segment.frame_bytes > spare:
                return offset
            spare -= segment.frame_bytes
            offset = segment.next_offset
        count = bisect_right(list(accumulate(self.sizes[self.first :])), spare)
        return self.bases[self.first + count - 1] + self.counts[self.first + count - 1] if count else offset

    def trim(self, offset: int) -> list[Segment]:
        """Move the start forward to *offset* and return the segments that nobody can read any more."""
        offset = min(offset, self.next_offset)
        if offset <= self.start_offset:
            return []
        self.start_offset = offset
        first = self.position(offset)
        self.journal_bytes -= sum(self.sizes[self.first : first])
        self.first = first
        return self.free_segments()

    def free_segments(self) -> list[Segment]:
        """Take out the segments that end at or before the start."""
        count = bisect_right(self.segments, self.start_offset, key=lambda segment: segment.next_offset)
        freed = self.segments[:count]
        if freed:
            del self.segments[:count]
            self.segment_bytes -= sum(segment.frame_bytes for segment in freed)
        return freed

    def journal_frames(self, journal: int) -> int:
        """How many of the listed frames lie in journal files up to *journal*."""
        return bisect_left(self.places, (journal + 1) << PLACE_BITS)

    def moved(self, journal: int, segments: list[Segment]) -> None:
        """Forget the frames in files up to *journal*: what is kept of them is in *segments*, new or longer now."""
        count = self.journal_frames(journal)
        self.journal_bytes -= sum(self.sizes[self.first : count])
        self.first = max(0, self.first - count)
        for column in (self.bases, self.counts, self.times, self.places, self.sizes):
            del column[:count]
        known = {segment.name: segment for segment in self.segments}
        known.update((segment.name, segment) for segment in segments)
        self._set_segments(known.values())

    def rewritten(self, old: list[Segment], new: Segment | None) -> None:
        """Let *new* stand in place of the *old* segments, of which some may have been freed."""
        self._set_segments(replace_segments(self.segments, old, new))

    def _set_segments(self, segments: Iterable[Segment]) -> None:
        self.segments = sorted(segments)
        self.segment_bytes = sum(segment.frame_bytes for segment in self.segments)


def replace_segments(segments: list[Segment], old: list[Segment], new: Segment | None) -> list[Segment]:
    """*segments* with *new* in place of the *old* ones."""
    kept = [segment for segment in segments if segment not in old]
    return kept if new is None else sorted([*kept, new])
