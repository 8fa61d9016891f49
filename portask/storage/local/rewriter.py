"""The rewriter: puts segments with fewer frames in place of those that are there.

Neighbours that fit into one segment are rewritten together, so small ones do not pile up. What is to stay
goes into a new file under a name of its own, which is synced; then a snapshot that counts it instead of
the old ones is put in place, as after a move, and only then do the old files go. A crash leaves the old
files or the new one in the snapshot, and the next start removes what is in none.

Only segments are rewritten, not the journal. The mover goes on meanwhile, but begins a new segment rather
than extending one that is being read here. It waits only while a new snapshot is put in place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import is_not

from portask.errors import CorruptError, StorageError
from portask.storage.base import Frame, Transform, check_transformed
from portask.storage.local.disk import Disk
from portask.storage.local.layout import Layout, SegmentName
from portask.storage.local.log import Log, Segment, replace_segments
from portask.storage.local.mover import PIECE_FRAMES, Mover
from portask.storage.local.reader import Reader
from portask.storage.local.recovery import read_snapshot
from portask.storage.local.segment import HEADER_BYTES, scan
from portask.storage.local.segment_writer import SegmentWriter
from portask.storage.local.snapshot import Snapshot
from portask.storage.local.state import Dead, State
from portask.storage.local.workers import Workers

_PIECE_BYTES = 512 * 1024
"""Bytes handed to a transform at once; with what it makes of them, this is all that a rewrite holds in memory."""


class _Gone(Exception):  # noqa: N818  # not an error: there is nothing left to rewrite
    """The log was dropped meanwhile."""


class Rewriter:
    """Rewrites one log at a time."""

    def __init__(
        self,
        disk: Disk,
        layout: Layout,
        state: State,
        reader: Reader,
        workers: Workers,
        mover: Mover,
        segment_bytes: int,
        sync: Callable[[], None],
    ) -> None:
        self._disk = disk
        self._layout = layout
        self._state = state
        self._reader = reader
        self._workers = workers
        self._mover = mover
        self._segment_bytes = segment_bytes
        self._sync = sync
        self.rewritten_bytes = 0
        """Bytes of the segments that were gone through."""
        self._is_placed = False
        """Whether the snapshot may count what is being written."""

    def rewrite(self, log_: Log, end_offset: int, transform: Transform) -> None:
        """See `Storage.rewrite`. Raises OSError when the disk refuses."""
        start_offset = log_.start_offset
        # What is trimmed by now is durable after this, and need not be kept.
        self._sync()
        with self._mover.turn:
            self._mover.sweep()
            segments = [segment for segment in log_.segments if segment.base_offset < end_offset]
            log_.growing_from = segments[-1].next_offset if segments else 0
        try:
            for group in self._groups(segments):
                self._rewrite_group(log_, group, start_offset, end_offset, transform)
        except _Gone:
            pass
        finally:
            log_.growing_from = 0

    def _groups(self, segments: list[Segment]) -> Iterator[list[Segment]]:
        """Neighbours whose frames fit into one segment."""
        group: list[Segment] = []
        room = 0
        for segment in segments:
            if group and segment.frame_bytes > room:
                yield group
                group = []
            room = (room if group else self._segment_bytes) - segment.frame_bytes
            group.append(segment)
        if group:
            yield group

    def _rewrite_group(
        self, log_: Log, group: list[Segment], start_offset: int, end_offset: int, transform: Transform
    ) -> None:
        name = group[0].base_offset, max(segment.generation for segment in group) + 1
        self._is_placed = False
        new: Segment | None = None
        try:
            writer = self._workers.run(SegmentWriter, self._disk, self._layout, log_.number, name, None)
            is_changed = len(group) > 1
            try:
                for segment in group:
                    is_changed |= self._rewrite_segment(log_, segment, writer, start_offset, end_offset, transform)
                if is_changed and writer.size > HEADER_BYTES:
                    new = self._workers.run(writer.finish)
            finally:
                writer.close()
            if is_changed:
                self._place(log_, group, new)
        except FileNotFoundError:
            # The directory goes with the log.
            self._check(log_)
            raise
        finally:
            if new is None or not self._is_placed:
                self._workers.run(self._discard, log_.number, name)

    def _rewrite_segment(
        self,
        log_: Log,
        segment: Segment,
        writer: SegmentWriter,
        start_offset: int,
        end_offset: int,
        transform: Transform,
    ) -> bool:
        """Append what is to stay of *segment*, and return whether it is less."""
        path = self._layout.segment_file(log_.number, segment.name)
        try:
            handle = self._reader.hold(path)
        except FileNotFoundError:
            self._check(log_)
            if segment in log_.segments:
                raise self._layout.damaged(path, "the file is missing") from None
            return True
        is_changed = False
        frames = scan(self._disk, handle.descriptor, HEADER_BYTES, segment.size, _PIECE_BYTES)
        try:
            while piece := self._take(frames, path):
                self._check(log_)
                first = bisect_right(piece, start_offset, key=_next_offset)
                stop = bisect_right(piece, end_offset, first, key=_next_offset)
                before = piece[first:stop]
                after = transform(before) if before else []
                check_transformed(before, after)
                is_changed |= first > 0 or len(after) != len(before) or any(map(is_not, after, before))
                if kept := [*after, *piece[stop:]]:
                    self._workers.run(writer.append, kept)
        finally:
            handle.release()
        self.rewritten_bytes += segment.frame_bytes
        return is_changed

    def _take(self, frames: Iterator[tuple[int, Frame]], path: str) -> list[Frame]:
        try:
            return self._workers.run(_take, frames)
        except CorruptError as error:
            raise self._layout.damaged(path, str(error)) from error

    def _place(self, log_: Log, group: list[Segment], new: Segment | None) -> None:
        """Let *new* count instead of *group*, durably, unless nothing of that is needed any more."""
        number, mover, state = log_.number, self._mover, self._state
        with mover.turn:
            self._check(log_)
            if not any(segment in log_.segments for segment in group):
                return
            if new is not None:
                mover.sync_names(number)
            saved = self._workers.run(read_snapshot, self._disk, self._layout)
            self._is_placed = True
            try:
                mover.replace_snapshot(_exchange(saved, number, group, new))
            except OSError:
                self._is_placed = False
                raise
            # Some may have been trimmed meanwhile; those are removed when that is durable.
            replaced = [segment for segment in log_.segments if segment in group]
            log_.rewritten(group, new)
            for segment in group:
                self._reader.forget_segment(number, segment.name)
            # If the log was dropped meanwhile, its files go with its directory.
            if state.logs.get(number) is log_:
                state.dead.insert(0, Dead(0, log_, replaced))
                state.dead.append(Dead(state.sequence, log_, log_.free_segments()))
                mover.wake()

    def _check(self, log_: Log) -> None:
        if self._state.logs.get(log_.number) is not log_:
            raise _Gone
        if self._mover.is_stopping:
            raise StorageError("the storage is not open")

    def _discard(self, number: int, name: SegmentName) -> None:
        for path in (self._layout.index_file(number, name), self._layout.segment_file(number, name)):
            with suppress(OSError):
                self._disk.remove(path)


def _next_offset(frame: Frame) -> int:
    return frame.next_offset


def _take(frames: Iterator[tuple[int, Frame]]) -> list[Frame]:
    """The next *frames*: a piece's worth."""
    piece: list[Frame] = []
    size = 0
    while len(piece) < PIECE_FRAMES and size < _PIECE_BYTES and (found := next(frames, None)) is not None:
        piece.append(found[1])
        size += len(found[1].body)
    return piece


def _exchange(saved: Snapshot, number: int, old: list[Segment], new: Segment | None) -> Snapshot:
    """*saved* with *new* in place of the *old* segments of a log."""
    logs = [
        log._replace(segments=replace_segments(log.segments, old, new)) if log.number == number else log
        for log in saved.logs
    ]
    return saved._replace(logs=logs)
