"""The embedded storage: a journal for all rounds, segments for what lasts, a snapshot for the rest.

A round is one write at the end of the newest journal file; a sync is one `fdatasync` of that file,
whatever the round touched. What is in journal files is known frame by frame, so reading needs no
search. The mover (portask.storage.local.mover) turns full files into segments in the background.

After a write or a sync that left the disk in an unknown state the storage has failed for good: reads
go on, all else raises StorageFailedError until the directory is opened anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from portask.errors import StorageError, StorageFailedError, StorageFullError
from portask.storage.base import Bounds, Frame, Round, Storage, Transform
from portask.storage.local import journal
from portask.storage.local.disk import FULL, Disk
from portask.storage.local.journal import JournalFile
from portask.storage.local.layout import Layout
from portask.storage.local.lock import Lock
from portask.storage.local.log import PLACE_BITS, Log
from portask.storage.local.mover import Mover
from portask.storage.local.options import LocalOptions
from portask.storage.local.reader import Reader
from portask.storage.local.recovery import recover, seal
from portask.storage.local.rewriter import Rewriter
from portask.storage.local.round import ROUND_BYTES, Encoded
from portask.storage.local.state import State
from portask.storage.local.syncer import Syncer
from portask.storage.local.workers import Workers

log = logging.getLogger(__name__)

_INLINE_BYTES = 1024 * 1024
"""Rounds up to this size are copied to the page cache at once, larger ones in a thread."""
_WORKERS = 3
_IDLE_SECONDS = 1.0
_READ_ATTEMPTS = 5


class LocalStorage(Storage):
    """Everything below one directory of this machine."""

    def __init__(self, options: LocalOptions, disk: Disk | None = None) -> None:
        self._options = options
        self._disk = disk or Disk()
        self._layout = Layout(str(options.directory))
        self._lock = Lock(self._disk, self._layout.directory)
        self._state = State()
        self._file: JournalFile | None = None
        self._is_open = False
        self._failure: Exception | None = None
        self._writing = Semaphore()
        self._rewriting = Semaphore()
        self._last_sequence = 0
        self._vouched = 0
        self._rounds = self._written_bytes = self._synced_bytes = 0

    def open(self) -> None:
        self._lock.take()
        try:
            self._layout.make(self._disk)
            found = recover(self._disk, self._layout, self._options.journal_bytes)
            self._state = found.state
            self._file = found.newest or self._create_first()
        except OSError as error:
            self._lock.release()
            raise StorageError(f"cannot open {self._layout.directory}: {error}") from error
        except BaseException:
            self._lock.release()
            raise
        if found.cut_bytes:
            log.warning(
                "torn tail cut off the journal",
                extra={"file": self._layout.journal_file(self._file.number), "bytes": found.cut_bytes},
            )
        self._last_sequence = self._state.sequence
        self._vouched = 0
        self._failure = None
        self._workers = Workers(_WORKERS)
        self._syncer = Syncer(self._disk)
        self._reader = Reader(self._disk, self._layout, self._workers, self._options.open_files)
        self._mover = Mover(
            self._disk,
            self._layout,
            self._state,
            self._reader,
            self._workers,
            self._options.segment_bytes,
            self._sync_now,
            self._fail,
        )
        self._mover.sealed.extend(found.sealed)
        self._rewriter = Rewriter(
            self._disk,
            self._layout,
            self._state,
            self._reader,
            self._workers,
            self._mover,
            self._options.segment_bytes,
            self._sync_now,
        )
        self._closing = Event()
        self._greenlets = [gevent.spawn(self._mover.run), gevent.spawn(self._vouch_when_idle)]
        if self._options.sync == "interval":
            self._greenlets.append(gevent.spawn(self._sync_often))
        self._is_open = True

    def _create_first(self) -> JournalFile:
        directory = self._layout.journal
        created = journal.create(self._disk, directory, 1, 1, self._options.journal_bytes)
        journal.finish(self._disk, directory, created)
        return created

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._closing.set()
        self._mover.stop()
        for greenlet in self._greenlets:
            greenlet.join()
        # A write that runs uses the file, and may be making another; a rewrite stops at its next step.
        with self._rewriting, self._writing:
            self._close_files()

    def _close_files(self) -> None:
        try:
            if self._failure is None:
                self._sync_now()
                self._vouch()
                self._sync_now()
        finally:
            self._reader.close()
            self._newest.handle.release()
            self._workers.close()
            self._syncer.close()
            self._lock.release()

    def _vouch(self) -> None:
        """Write an empty round, so that the last one before it cannot pass for a torn tail when it is damaged."""
        encoded = Encoded(Round())
        is_due = self._vouched < self._last_sequence <= self._mover.synced
        if is_due and self._newest.has_room(encoded.size, use_reserve=True):
            self._put(Round(), encoded)

    def _vouch_when_idle(self) -> None:
        while not self._closing.wait(_IDLE_SECONDS):
            with suppress(StorageError):
                self._check()
                if not self._writing.locked():
                    self._vouch()

    def write(self, round_: Round) -> None:
        self._check()
        logs = self._state.logs
        round_.check(lambda number: logs[number].next_offset if number in logs else 0)
        if not round_:
            return
        encoded = Encoded(round_)
        with self._writing:
            if not self._newest.has_room(encoded.size, use_reserve=not round_.appends):
                self._rotate(encoded.size, bool(round_.appends))
            self._put(round_, encoded)
        self._last_sequence = self._state.sequence

    def _put(self, round_: Round, encoded: Encoded) -> None:
        file, state = self._newest, self._state
        sequence, synced = state.sequence + 1, self._mover.synced
        data = encoded.finish(file.mark, sequence, synced)
        try:
            if len(data) <= _INLINE_BYTES:
                self._disk.write(file.handle.descriptor, data, file.position)
            else:
                self._workers.run(self._disk.write, file.handle.descriptor, data, file.position)
        except OSError as error:
            self._refuse(error)
        state.apply(round_, encoded.appended, sequence, file.number << PLACE_BITS | file.position)
        file.position += len(data)
        self._vouched = synced
        self._rounds += 1
        self._written_bytes += len(data)

    def _rotate(self, size: int, has_appends: bool) -> None:
        """Begin a journal file with room for a round of *size* bytes. Blocks."""
        mover = self._mover
        while has_appends and len(mover.sealed) >= self._options.journal_files:
            if mover.error is not None:
                raise StorageFullError(f"{len(mover.sealed)} full journal files wait to be moved: {mover.error}")
            mover.progress.clear()
            mover.progress.wait()
            self._check()
        file, state, directory = self._newest, self._state, self._layout.journal
        capacity = max(self._options.journal_bytes, journal.HEADER_BYTES + size + ROUND_BYTES)
        number, sequence = file.number + 1, state.sequence + 1
        try:
            created = self._workers.run(journal.create, self._disk, directory, number, sequence + 1, capacity)
        except OSError as error:
            self._refuse(error)
        try:
            self._syncer.worker.run(journal.seal, self._disk, file, sequence)
            self._syncer.worker.run(journal.finish, self._disk, directory, created)
        except OSError as error:
            created.handle.release()
            raise self._fail(error) from error
        file.handle.release()
        self._file = created
        state.sequence = mover.synced = sequence
        mover.sealed.append(seal(state, file.number, file.position))
        mover.wake()
        self._check()

    def sync(self) -> None:
        self._check()
        if self._options.sync == "always":
            self._sync_now()

    def _sync_now(self) -> None:
        """Make what is written durable, whatever the policy. Blocks. Raises StorageFailedError."""
        sequence, written_bytes = self._state.sequence, self._written_bytes
        if sequence > self._mover.synced:
            handle = self._newest.handle.hold()
            try:
                self._syncer.sync(handle.descriptor, self._written_bytes - self._synced_bytes)
            except OSError as error:
                raise self._fail(error) from error
            finally:
                handle.release()
            self._synced_bytes = written_bytes
        if self._failure is not None:
            raise self._failed()
        self._mover.synced = max(self._mover.synced, sequence)
        if self._state.dead:
            self._mover.wake()

    def _sync_often(self) -> None:
        while not self._closing.wait(self._options.sync_interval_ms / 1000):
            try:
                self._sync_now()
            except StorageFailedError:
                return

    def read(self, log: int, offset: int, max_bytes: int) -> list[Frame]:
        for _ in range(_READ_ATTEMPTS):
            kept = self._find(log)
            if kept is None:
                return []
            try:
                return self._reader.read(kept, offset, max_bytes)
            except FileNotFoundError as error:
                # The mover has moved or removed it since the log was asked where it is.
                missing = error
            except OSError as error:
                raise self._unreadable(error) from error
        raise self._layout.damaged(str(missing.filename), "the file is missing")

    def find_time(self, log: int, timestamp: int) -> int | None:
        for _ in range(_READ_ATTEMPTS):
            kept = self._find(log)
            if kept is None:
                return None
            try:
                return self._reader.find_time(kept, timestamp)
            except FileNotFoundError as error:
                # The mover has moved or removed it since the log was asked where it is.
                missing = error
            except OSError as error:
                raise self._unreadable(error) from error
        raise self._layout.damaged(str(missing.filename), "the file is missing")

    def bounds(self, log: int) -> Bounds:
        kept = self._state.logs.get(log)
        return kept.bounds if kept else Bounds(0, 0, 0)

    def find_size(self, log: int, keep_bytes: int) -> int:
        kept = self._state.logs.get(log)
        return kept.find_size(keep_bytes) if kept else 0

    def rewritable(self, log: int, gather: bool = False) -> Bounds:
        if gather:
            self._gather(log)
        kept = self._state.logs.get(log)
        if kept is None:
            return Bounds(0, 0, 0)
        end_offset = kept.segments[-1].next_offset if kept.segments else kept.start_offset
        return Bounds(kept.start_offset, max(kept.start_offset, end_offset), kept.segment_bytes)

    def _gather(self, number: int) -> None:
        """Have all journal files that hold frames of a log moved. Blocks."""
        self._check()
        kept = self._state.logs.get(number)
        if kept is None or not kept.places:
            return
        mover, last = self._mover, kept.places[-1] >> PLACE_BITS
        with self._writing:
            if last == self._newest.number:
                self._rotate(0, has_appends=False)
        while mover.sealed and mover.sealed[0].number <= last:
            if mover.error is not None:
                raise StorageError(f"the journal cannot be moved: {mover.error}") from mover.error
            mover.progress.clear()
            mover.progress.wait()
            self._check()

    def rewrite(self, log: int, end_offset: int, transform: Transform) -> None:
        with self._rewriting:
            self._check()
            kept = self._state.logs.get(log)
            if kept is None:
                return
            try:
                self._rewriter.rewrite(kept, end_offset, transform)
            except OSError as error:
                what = f"cannot rewrite a log below {self._layout.directory}: {error}"
                raise StorageFullError(what) if error.errno in FULL else StorageError(what) from error

    def load(self, table: str) -> dict[bytes, bytes]:
        return dict(self._state.tables.get(table, {}))

    def logs(self) -> Iterable[int]:
        return list(self._state.logs)

    def stats(self) -> dict[str, float]:
        logs, sealed = self._state.logs.values(), self._mover.sealed
        figures: dict[str, float] = {
            "logs": len(logs),
            "journal_files": len(sealed) + 1,
            "journal_bytes": sum(file.size for file in sealed) + self._newest.position,
            "segment_files": sum(len(kept.segments) for kept in logs),
            "segment_bytes": sum(kept.segment_bytes for kept in logs),
            "syncs": self._syncer.count,
            "sync_seconds": self._syncer.seconds,
            "rounds": self._rounds,
            "written_bytes": self._written_bytes,
            "moved_bytes": self._mover.moved_bytes,
            "rewritten_bytes": self._rewriter.rewritten_bytes,
            "failed": self._failure is not None,
        }
        # A disk that does not answer must not take the other figures with it.
        with suppress(OSError):
            figures["free_bytes"] = self._disk.free_bytes(self._layout.directory)
        return figures

    @property
    def _newest(self) -> JournalFile:
        assert self._file is not None
        return self._file

    def _find(self, number: int) -> Log | None:
        if not self._is_open:
            raise StorageError("the storage is not open")
        return self._state.logs.get(number)

    def _unreadable(self, error: OSError) -> StorageError:
        return StorageError(f"cannot read below {self._layout.directory}: {error}; check the disk")

    def _check(self) -> None:
        if not self._is_open:
            raise StorageError("the storage is not open")
        if self._failure is not None:
            raise self._failed()

    def _refuse(self, error: OSError) -> NoReturn:
        """Raise what a failed write means."""
        if error.errno in FULL:
            raise StorageFullError(f"no space left for {self._layout.directory}: {error.strerror}") from error
        raise self._fail(error) from error

    def _fail(self, error: OSError) -> StorageFailedError:
        """Stop for good, and return what to raise."""
        if self._failure is None:
            self._failure = error
            log.critical("storage failed", extra={"directory": self._layout.directory, "error": str(error)})
        return self._failed()

    def _failed(self) -> StorageFailedError:
        return StorageFailedError(
            f"{self._layout.directory} has failed: {self._failure}; check the disk, then start again"
        )
