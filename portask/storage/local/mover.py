"""The mover: takes what is worth keeping out of full journal files, so that they can be removed.

For each log, the frames that are not trimmed go to the end of its newest segment; then everything is
synced, a snapshot that counts them is put in place, and only then does the journal file go. A crash
in between leaves the old snapshot and the whole journal file: the move is made again, over the bytes
that it had left.

It also removes the files of trimmed segments and dropped logs, when the round that says so is
durable. Until then a crash could bring back a state that needs them. Whoever else changes segments or the
snapshot takes the mover's `turn`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from gevent.event import Event
from gevent.lock import RLock

from portask.errors import CorruptError, StorageFailedError
from portask.storage.local import snapshot
from portask.storage.local.disk import Disk
from portask.storage.local.layout import Layout, SegmentName
from portask.storage.local.log import POSITION_MASK, Log, Segment
from portask.storage.local.reader import Reader
from portask.storage.local.recovery import Sealed
from portask.storage.local.segment_writer import Place, SegmentWriter
from portask.storage.local.snapshot import SavedLog, Snapshot
from portask.storage.local.state import Dead, State
from portask.storage.local.workers import Workers

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
# A worker that checks frames holds the interpreter: 256 of them for about half a millisecond.
PIECE_FRAMES = 256
PIECE_BYTES = 4 * 1024 * 1024


class Mover:
    """One greenlet's work. Its owner runs `run` and calls `wake` when there may be something to do."""

    def __init__(
        self,
        disk: Disk,
        layout: Layout,
        state: State,
        reader: Reader,
        workers: Workers,
        segment_bytes: int,
        sync: Callable[[], None],
        fail: Callable[[OSError], StorageFailedError],
    ) -> None:
        self._disk = disk
        self._layout = layout
        self._state = state
        self._reader = reader
        self._workers = workers
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._fail = fail
        # Taken now, because a segment that is trimmed from here on may be needed until that is durable.
        self._needed = {log.number: {part.name for part in log.segments} for log in state.logs.values()}
        self._is_swept = False
        self._wake = Event()
        self.turn = RLock()
        """Held while segments are listed, extended or removed, and while the snapshot is replaced."""
        self.is_stopping = False
        self.sealed: deque[Sealed] = deque()
        """Full journal files, oldest first."""
        self.synced = state.sequence
        """The last round that is durable; the owner keeps it up to date."""
        self.progress = Event()
        """Set whenever a file was moved, an attempt failed, or the mover has stopped."""
        self.error: Exception | None = None
        """Why the last attempt failed."""
        self.moved_bytes = 0

    def wake(self) -> None:
        """Have a look soon."""
        self._wake.set()

    def stop(self) -> None:
        """Have `run` return after the step it is at."""
        self.is_stopping = True
        self._wake.set()

    def run(self) -> None:
        """Do what there is to do until told to stop. Blocks."""
        while not self.is_stopping:
            self._wake.clear()
            try:
                self._clean_up()
                while self.sealed and not self.is_stopping:
                    with self.turn:
                        self._move(self.sealed[0])
                    self._clean_up()
                self.error = None
            except StorageFailedError:
                break
            except Exception as error:
                self.error = error
                log.exception("journal file not moved, will try again")
            self.progress.set()
            self._wake.wait(RETRY_SECONDS if self.error else None)
        self.is_stopping = True
        self.progress.set()

    def _clean_up(self) -> None:
        with self.turn:
            self.sweep()
            self._remove_dead()

    def _move(self, sealed: Sealed) -> None:
        state = self._state
        live = {
            number: (log_.start_offset, list(log_.segments))
            for number, (log_, _) in sealed.logs.items()
            if state.logs.get(number) is log_
        }
        # What is trimmed or dropped by now is durable after this, and need not be moved.
        self._sync()
        path = self._layout.journal_file(sealed.number)
        grown: dict[int, list[Segment]] = {}
        saved = []
        for number, (start_offset, segments) in live.items():
            log_, next_offset = sealed.logs[number]
            grown[number] = self._move_log(path, log_, start_offset, segments, sealed.number)
            if self.is_stopping:
                return
            known = {segment.name: segment for segment in (*segments, *grown[number])}
            saved.append(SavedLog(number, min(start_offset, next_offset), next_offset, list(known.values())))
        self.replace_snapshot(Snapshot(sealed.number + 1, sealed.sequence, sealed.tables, saved))
        for number, segments in grown.items():
            log_ = sealed.logs[number][0]
            log_.moved(sealed.number, segments)
            for segment in segments:
                self._reader.forget_segment(number, segment.name)
            freed = log_.free_segments()
            # If the log was dropped meanwhile, its files go with its directory, and these names may be taken again.
            if freed and state.logs.get(number) is log_:
                state.dead.append(Dead(state.sequence, log_, freed))
        self.sealed.popleft()
        self.progress.set()
        self._workers.run(self._disk.remove, path)
        self._reader.forget(path)

    def _move_log(self, path: str, log_: Log, start_offset: int, segments: list[Segment], number: int) -> list[Segment]:
        """Copy what is kept of a log from one journal file, and return the segments that were made or have grown."""
        grown: list[Segment] = []
        position = log_.position(start_offset)
        end = log_.journal_frames(number)
        newest = segments[-1] if segments and self._may_grow(log_, segments[-1]) else None
        handle = self._reader.hold(path)
        try:
            while position < end and not self.is_stopping:
                name = newest.name if newest else (log_.bases[position], 0)
                writer = self._workers.run(SegmentWriter, self._disk, self._layout, log_.number, name, newest)
                newest = None
                try:
                    is_done = False
                    while not is_done:
                        room = max(1, self._segment_bytes - writer.size)
                        places = self._next_places(log_, position, end, room)
                        self._copy(writer, handle.descriptor, places, path)
                        position += len(places)
                        is_done = position == end or writer.size >= self._segment_bytes or self.is_stopping
                    grown.append(self._workers.run(writer.finish))
                finally:
                    writer.close()
                if grown[-1].name not in {segment.name for segment in segments}:
                    self.sync_names(log_.number)
        finally:
            handle.release()
        return grown

    def _may_grow(self, log_: Log, segment: Segment) -> bool:
        return segment.size < self._segment_bytes and segment.base_offset >= log_.growing_from

    def _copy(self, writer: SegmentWriter, descriptor: int, places: list[Place], path: str) -> None:
        try:
            self._workers.run(writer.copy, descriptor, places)
        except CorruptError as error:
            raise self._layout.damaged(path, str(error)) from error
        self.moved_bytes += sum(place[4] for place in places)

    def _next_places(self, log_: Log, position: int, end: int, room: int) -> list[Place]:
        """Where the next frames are: a piece's worth, and no more than one beyond *room* bytes."""
        places: list[Place] = []
        room = min(room, PIECE_BYTES)
        while position < end and len(places) < PIECE_FRAMES and room > 0:
            size = log_.sizes[position]
            places.append(
                (
                    log_.bases[position],
                    log_.counts[position],
                    log_.times[position],
                    log_.places[position] & POSITION_MASK,
                    size,
                )
            )
            room -= size
            position += 1
        return places

    def sync_names(self, number: int) -> None:
        """Make new files findable. A directory that cannot be synced is in an unknown state, so this is final."""
        try:
            self._workers.run(self._disk.sync_directory, self._layout.log_directory(number))
            self._workers.run(self._disk.sync_directory, self._layout.logs)
        except OSError as error:
            raise self._fail(error) from error

    def replace_snapshot(self, snapshot_: Snapshot) -> None:
        """Put a new snapshot in place, durably. After an OSError the old one is there, after a failure either."""
        directory = self._layout.directory
        self._workers.run(snapshot.save_snapshot, self._disk, directory, snapshot_)
        self._workers.run(snapshot.replace_snapshot, self._disk, directory)
        try:
            # If this failed, either snapshot may be found after a crash, and no further move would be safe.
            self._workers.run(self._disk.sync_directory, directory)
        except OSError as error:
            raise self._fail(error) from error

    def _remove_dead(self) -> None:
        dead = self._state.dead
        while dead and dead[0].sequence <= self.synced and not self.is_stopping:
            log_, segments = dead[0].log, dead[0].segments
            if segments is None:
                self._remove_segments(log_.number, set())
            else:
                # A segment that was trimmed while it was being extended is listed again.
                alive = {segment.name for segment in log_.segments}
                for segment in segments:
                    if segment.name not in alive:
                        self._remove_segment(log_.number, segment.name)
            dead.pop(0)

    def _remove_segments(self, number: int, needed: set[SegmentName]) -> None:
        """Remove the segments of a log that are not *needed*, and its directory with the last."""
        for name in self._workers.run(self._layout.segments, self._disk, number):
            if name not in needed:
                self._remove_segment(number, name)
        directory = self._layout.log_directory(number)
        if self._disk.exists(directory) and not self._disk.list(directory):
            self._workers.run(self._disk.remove_directory, directory)

    def _remove_segment(self, number: int, name: SegmentName) -> None:
        for path in (self._layout.index_file(number, name), self._layout.segment_file(number, name)):
            if self._disk.exists(path):
                self._workers.run(self._disk.remove, path)
        self._reader.forget_segment(number, name)

    def sweep(self) -> None:
        """Remove the segments of unfinished work, and those whose removal a crash prevented; only the first time."""
        if not self._is_swept:
            for number in self._workers.run(self._layout.log_numbers, self._disk):
                self._remove_segments(number, self._needed.get(number, set()))
            self._needed.clear()
            self._is_swept = True
