"""Checking a data directory while no broker runs on it, and repairing what is damaged.

`verify` reads every byte that counts and changes nothing. `repair` makes the directory open again
with all that is whole: damaged bytes are copied to DIR/aside and left out, offsets that are lost become
a gap. Files are replaced one by one, each at once, so a repair that was cut short is simply made again.
"""

from __future__ import annotations

from contextlib import suppress

from portask.errors import CorruptError, StorageError
from portask.storage.base import MAX_OFFSET
from portask.storage.local import journal
from portask.storage.local.disk import Disk
from portask.storage.local.journal_check import Entries, JournalCheck
from portask.storage.local.layout import Layout, SegmentName
from portask.storage.local.lock import Lock
from portask.storage.local.log import Segment
from portask.storage.local.report import Finding, Lost, Progress, Report, Tally
from portask.storage.local.round import MARK_BYTES, ROUND_BYTES, check_round
from portask.storage.local.segment_check import SegmentCheck, Whole, examine
from portask.storage.local.snapshot import EMPTY, SavedLog, Snapshot, decode_copy, decode_snapshot, encode_snapshot
from portask.storage.local.state import State

__all__ = ["Finding", "Lost", "Report", "repair", "verify"]


def _ignore(done: int, total: int) -> None:
    """No progress wanted."""


def verify(directory: str, progress: Progress = _ignore, disk: Disk | None = None) -> Report:
    """What is wrong in a data directory. Raises LockedError when a broker runs on it, StorageError when it is none."""
    return _Check(directory, progress, disk or Disk(), mend=False).run()


def repair(directory: str, progress: Progress = _ignore, disk: Disk | None = None) -> Report:
    """What was wrong in a data directory, now set aside. Raises as `verify` does."""
    return _Check(directory, progress, disk or Disk(), mend=True).run()


class _Check:
    def __init__(self, directory: str, progress: Progress, disk: Disk, mend: bool) -> None:
        self._disk = disk
        self._layout = Layout(str(directory))
        self._mend = mend
        self._tally = Tally(0, progress)

    def run(self) -> Report:
        """Check everything."""
        directory = self._layout.directory
        if not self._disk.exists(self._layout.journal):
            raise StorageError(f"{directory} is no data directory: it has no journal; name the one given to --data-dir")
        lock = Lock(self._disk, directory)
        lock.take()
        try:
            self._tally.total = self._total()
            self._check()
            self._tally.report_progress(self._tally.total, self._tally.total)
        except OSError as error:
            raise StorageError(f"cannot check {directory}: {error}") from error
        finally:
            lock.release()
        tally = self._tally
        findings, aside = tuple(tally.findings), tuple(tally.aside)
        return Report(directory, tally.files, tally.bytes, tally.frames, tally.rounds, findings, aside)

    def _total(self) -> int:
        """Bytes to read, at most."""
        disk, layout = self._disk, self._layout
        paths = [layout.journal_file(number) for number in layout.journal_numbers(disk)]
        for log in layout.log_numbers(disk):
            paths += [layout.segment_file(log, name) for name in layout.segments(disk, log)]
        if disk.exists(layout.snapshot):
            paths.append(layout.snapshot)
        return sum(disk.size(path) for path in paths)

    def _check(self) -> None:
        numbers = self._layout.journal_numbers(self._disk)
        found = self._read_snapshot(numbers)
        saved = self._rebuild(numbers) if found is None else found
        state = State()
        state.logs = {log.number: log.restore() for log in saved.logs}
        state.sequence = saved.sequence
        restored = dict(state.logs)
        journals = JournalCheck(self._disk, self._layout, state, self._tally, self._mend)
        if numbers or saved is not EMPTY or self._layout.log_numbers(self._disk):
            journals.check(saved.journal, [number for number in numbers if number >= saved.journal])
        logs = []
        segments = SegmentCheck(self._disk, self._layout, self._tally, self._mend)
        for log in saved.logs:
            needed = restored[log.number].segments if state.logs.get(log.number) is restored[log.number] else []
            # What the journal trims or drops later may have been removed already.
            checked = [segments.check(log.number, part) if part in needed else part for part in log.segments]
            logs.append(log._replace(segments=[part for part in checked if part is not None]))
        mended = saved._replace(logs=logs)
        is_whole = saved is EMPTY or (found is not None and not self._is_snapshot_damaged)
        if self._mend and not (is_whole and logs == list(saved.logs)):
            self._disk.replace_file(self._layout.snapshot, encode_snapshot(mended))

    def _read_snapshot(self, numbers: list[int]) -> Snapshot | None:
        """The snapshot, from one copy if need be, or None when it has to be made from the segments."""
        self._is_snapshot_damaged = False
        name = self._layout.relative(self._layout.snapshot)
        if not self._disk.exists(self._layout.snapshot):
            if 1 in numbers or not (numbers or self._layout.log_numbers(self._disk)):
                return EMPTY
            self._tally.find(name, 0, "missing", "the file is missing: the rows of all tables before it are lost")
            return None
        data = self._disk.read_file(self._layout.snapshot)
        self._tally.add_file(len(data))
        try:
            return decode_snapshot(data)
        except CorruptError as error:
            self._is_snapshot_damaged = True
            if self._mend:
                self._set_aside(name, data)
            for position in (0, len(data) // 2):
                try:
                    whole = decode_copy(data, position)
                except CorruptError:
                    continue
                self._tally.find(name, 0, "damage", f"{error}; one copy is whole, nothing is lost")
                return whole
        self._tally.find(name, 0, "damage", "both copies are damaged: the rows of all tables before it are lost")
        return None

    def _rebuild(self, numbers: list[int]) -> Snapshot:
        """A snapshot of what segments and journal files say."""
        disk, layout = self._disk, self._layout
        sequence = 0
        if numbers:
            try:
                sequence = journal.decode_header(disk.read_file(layout.journal_file(numbers[0])), numbers[0])[0] - 1
            except CorruptError:
                sequence = 0
        firsts = self._first_offsets(numbers)
        logs = []
        for log in layout.log_numbers(disk):
            segments: list[Segment] = []
            # Of what was rewritten, and what it was before, both may be there: the older one is whole.
            for name in layout.segments(disk, log):
                least = segments[-1].next_offset if segments else 0
                segment = self._rebuild_segment(log, name, least, firsts.get(log, MAX_OFFSET))
                if segment is not None:
                    segments.append(segment)
            if segments:
                logs.append(SavedLog(log, segments[0].base_offset, segments[-1].next_offset, segments))
        return Snapshot(min(numbers, default=1), sequence, {}, logs)

    def _first_offsets(self, numbers: list[int]) -> dict[int, int]:
        """The first offset of each log in the journal files; a log that is dropped there counts up to that."""
        firsts: dict[int, int] = {}
        for number in numbers:
            data = self._disk.read_file(self._layout.journal_file(number))
            mark = data[journal.HEADER_BYTES : journal.HEADER_BYTES + MARK_BYTES]
            at = data.find(mark, journal.HEADER_BYTES) if any(mark) else -1
            while at >= 0:
                checked = check_round(data, at, len(data), mark)
                if checked is not None:
                    with suppress(CorruptError):
                        entries = Entries(data, at + ROUND_BYTES, checked[2])
                        for dropped in entries.drops:
                            firsts.setdefault(dropped, MAX_OFFSET)
                        for log, base_offset, *_ in entries.appends:
                            firsts.setdefault(log, base_offset)
                at = data.find(mark, at + 1 if checked is None else checked[2])
        return firsts

    def _rebuild_segment(self, log: int, name: SegmentName, least: int, end: int) -> Segment | None:
        """A segment as far as its frames are not in the journal as well, None when there is no such frame.

        Those below *least* are in a segment before it.
        """
        path = self._layout.segment_file(log, name)
        data = self._disk.read_file(path)
        frames, bad = examine(data, name[0], MAX_OFFSET)
        kept: list[Whole] = [frame for frame in frames if least <= frame.base_offset < frame.next_offset <= end]
        stop = kept[-1].position + kept[-1].size if kept else 0
        if self._mend and any(part.position >= stop for part in bad):
            self._set_aside(self._layout.relative(path), data[stop:])
        if not kept:
            return None
        newest = max(frame.max_timestamp for frame in kept)
        return Segment(name[0], kept[-1].next_offset, stop, newest, name[1])

    def _set_aside(self, name: str, data: bytes) -> None:
        path = self._layout.set_aside(self._disk, name.replace("/", "-"), data)
        self._tally.aside.append(self._layout.relative(path))
