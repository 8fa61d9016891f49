"""The mover: takes what is worth keeping out of full journal files, so that they can be removed.

For each log, the frames that are not trimmed go to the end of its newest segment; then everything is
synced, a snapshot that counts them is put in place, and only then does the journal file go. A crash
in between leaves the old snapshot and the whole journal file: the move is made again, over the bytes
that it had left.

It also removes the files of trimmed segments and dropped logs, when the round that says so is
durable. Until then a crash could bring back a state that needs them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from gevent.event import Event

from portask.errors import CorruptError, StorageFailedError
from portask.storage.local import journal, snapshot
from portask.storage.local.disk import Disk
from portask.storage.local.index import Index
from portask.storage.local.layout import Layout
from portask.storage.local.log import POSITION_MASK, Log, Segment
from portask.storage.local.reader import Reader
from portask.storage.local.recovery import Sealed
from portask.storage.local.segment import HEADER_BYTES, encode_header, load_index
from portask.storage.local.snapshot import SavedLog, Snapshot
from portask.storage.local.state import Dead, State
from portask.storage.local.workers import Workers

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
# A worker that checks frames holds the interpreter: 256 of them for about half a millisecond.
PIECE_FRAMES = 256
PIECE_BYTES = 4 * 1024 * 1024
_OLDEST = -(1 << 63)

Place = tuple[int, int, int, int, int]
"""Base offset, count, max timestamp, position in the journal file, size."""


class Writer:
    """A segment that is being extended. Its methods block the thread and raise OSError."""

    def __init__(self, disk: Disk, layout: Layout, log: int, segment: Segment | None, base_offset: int) -> None:
        """Continue *segment*, or begin one at *base_offset*."""
        self._disk = disk
        self._layout = layout
        self._log = log
        self.base_offset = segment.base_offset if segment else base_offset
        self.path = layout.segment_file(log, self.base_offset)
        self._index_path = layout.index_file(log, self.base_offset)
        self._is_new = segment is None
        if segment is None:
            disk.make_directory(layout.log_directory(log))
            self._descriptor = disk.open(self.path, create=True)
            self.size, self.max_timestamp, self.next_offset = HEADER_BYTES, _OLDEST, base_offset
        else:
            self._descriptor = disk.open(self.path)
            self.size, self.max_timestamp, self.next_offset = segment.size, segment.max_timestamp, segment.next_offset
        try:
            if segment is None:
                self.index = Index()
                disk.write(self._descriptor, encode_header(log, base_offset), 0)
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
        return Segment(self.base_offset, self.next_offset, self.size, self.max_timestamp)

    def close(self) -> None:
        self._disk.close(self._descriptor)


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
        self._needed = {log.number: {part.base_offset for part in log.segments} for log in state.logs.values()}
        self._wake = Event()
        self._is_stopping = False
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
        self._is_stopping = True
        self._wake.set()

    def run(self) -> None:
        """Do what there is to do until told to stop. Blocks."""
        is_swept = False
        while not self._is_stopping:
            self._wake.clear()
            try:
                if not is_swept:
                    self._sweep()
                    is_swept = True
                self._remove_dead()
                while self.sealed and not self._is_stopping:
                    self._move(self.sealed[0])
                    self._remove_dead()
                self.error = None
            except StorageFailedError:
                break
            except Exception as error:
                self.error = error
                log.exception("journal file not moved, will try again")
            self.progress.set()
            self._wake.wait(RETRY_SECONDS if self.error else None)
        self._is_stopping = True
        self.progress.set()

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
            if self._is_stopping:
                return
            known = {segment.base_offset: segment for segment in (*segments, *grown[number])}
            saved.append(SavedLog(number, min(start_offset, next_offset), next_offset, list(known.values())))
        self._replace_snapshot(Snapshot(sealed.number + 1, sealed.sequence, sealed.tables, saved))
        for number, segments in grown.items():
            log_ = sealed.logs[number][0]
            log_.moved(sealed.number, segments)
            for segment in segments:
                self._reader.forget_segment(number, segment.base_offset)
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
        newest = segments[-1] if segments and segments[-1].size < self._segment_bytes else None
        handle = self._reader.hold(path)
        try:
            while position < end and not self._is_stopping:
                writer = self._workers.run(Writer, self._disk, self._layout, log_.number, newest, log_.bases[position])
                newest = None
                try:
                    is_done = False
                    while not is_done:
                        room = max(1, self._segment_bytes - writer.size)
                        places = self._next_places(log_, position, end, room)
                        self._copy(writer, handle.descriptor, places, path)
                        position += len(places)
                        is_done = position == end or writer.size >= self._segment_bytes or self._is_stopping
                    grown.append(self._workers.run(writer.finish))
                finally:
                    writer.close()
                if grown[-1].base_offset not in {segment.base_offset for segment in segments}:
                    self._sync_names(log_.number)
        finally:
            handle.release()
        return grown

    def _copy(self, writer: Writer, descriptor: int, places: list[Place], path: str) -> None:
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

    def _sync_names(self, number: int) -> None:
        """Make new files findable. A directory that cannot be synced is in an unknown state, so this is final."""
        try:
            self._workers.run(self._disk.sync_directory, self._layout.log_directory(number))
            self._workers.run(self._disk.sync_directory, self._layout.logs)
        except OSError as error:
            raise self._fail(error) from error

    def _replace_snapshot(self, snapshot_: Snapshot) -> None:
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
        while dead and dead[0].sequence <= self.synced and not self._is_stopping:
            log_, segments = dead[0].log, dead[0].segments
            if segments is None:
                self._remove_segments(log_.number, set())
            else:
                # A segment that was trimmed while it was being extended is listed again.
                alive = {segment.base_offset for segment in log_.segments}
                for segment in segments:
                    if segment.base_offset not in alive:
                        self._remove_segment(log_.number, segment.base_offset)
            dead.pop(0)

    def _remove_segments(self, number: int, needed: set[int]) -> None:
        """Remove the segments of a log that are not *needed*, and its directory with the last."""
        for base_offset in self._workers.run(self._layout.segments, self._disk, number):
            if base_offset not in needed:
                self._remove_segment(number, base_offset)
        directory = self._layout.log_directory(number)
        if self._disk.exists(directory) and not self._disk.list(directory):
            self._workers.run(self._disk.remove_directory, directory)

    def _remove_segment(self, number: int, base_offset: int) -> None:
        for path in (self._layout.index_file(number, base_offset), self._layout.segment_file(number, base_offset)):
            if self._disk.exists(path):
                self._workers.run(self._disk.remove, path)
        self._reader.forget_segment(number, base_offset)

    def _sweep(self) -> None:
        """Remove the segments of unfinished moves, and those whose removal a crash prevented."""
        for number in self._workers.run(self._layout.log_numbers, self._disk):
            self._remove_segments(number, self._needed.get(number, set()))
        self._needed.clear()
