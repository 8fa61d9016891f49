"""Checking journal files round by round, and writing them anew without what is damaged."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import NamedTuple

from portask.errors import CorruptError
from portask.storage.frame import decode_frame
from portask.storage.local import journal
from portask.storage.local.disk import Disk
from portask.storage.local.layout import Layout
from portask.storage.local.recovery import find_synced, last_byte
from portask.storage.local.report import Lost, Tally
from portask.storage.local.round import (
    DROP,
    ENTRY,
    MARK_BYTES,
    ROUND_BYTES,
    check_round,
    decode_entries,
    encode_round,
)
from portask.storage.local.state import State


class Entries:
    """The entries of one round, checked down to their frames before any of them counts."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        """Raises CorruptError."""
        self._data = data
        self._end = end
        self.appends: list[tuple[int, int, int, int, int, int]] = []
        self.puts: list[tuple[str, bytes, bytes | None]] = []
        self.trims: list[tuple[int, int]] = []
        self.drops: list[int] = []
        decode_entries(data, position, end, 0, self)

    def append(self, number: int, base_offset: int, count: int, timestamp: int, place: int, size: int) -> None:
        decode_frame(self._data, place, self._end)
        self.appends.append((number, base_offset, count, timestamp, place, size))

    def put(self, table: str, key: bytes, value: bytes | None) -> None:
        self.puts.append((table, key, value))

    def trim(self, number: int, offset: int) -> None:
        self.trims.append((number, offset))

    def drop(self, number: int) -> None:
        self.drops.append(number)


class File(NamedTuple):
    """One journal file while it is checked."""

    path: str
    name: str
    data: bytes
    mark: bytes
    rounds: list[bytes]
    """The entries of the rounds that are kept."""
    bad: list[tuple[int, int]]


class JournalCheck:
    """Checks the journal files of one directory, oldest first; with *mend*, also repairs them.

    Rounds behind lost ones are numbered anew, so that a repaired journal is whole.
    """

    def __init__(self, disk: Disk, layout: Layout, state: State, tally: Tally, mend: bool) -> None:
        self._disk = disk
        self._layout = layout
        self._state = state
        self._tally = tally
        self._mend = mend
        self._sequence = state.sequence
        """The last round of the repaired journal."""
        self._expected = state.sequence + 1
        """The next round of the journal as it is; 0 behind damage, where it may be any from `_least` on."""
        self._least = self._expected
        self._lost_newest = 0
        """A file that must have followed the newest that is there."""
        self._suspects: dict[int, int] = {}
        """Logs that may have lost frames to the last damage found, with the offset at which they stood."""

    def check(self, first: int, numbers: list[int]) -> None:
        """Check the files *numbers*, of which the first should be *first*."""
        last = max(numbers, default=first)
        for number in range(first, last + 1):
            if number in numbers:
                self._check_file(number, number == last)
            else:
                self._missing(number)
        if self._lost_newest:
            self._missing(self._lost_newest)

    def _missing(self, number: int) -> None:
        path = self._layout.journal_file(number)
        self._find(self._layout.relative(path), 0, "the file is missing", is_missing=True)
        self._expected = 0
        if self._mend:
            mark = os.urandom(MARK_BYTES)
            self._disk.replace_file(path, journal.encode_header(number, self._sequence + 1, mark))

    def _check_file(self, number: int, is_newest: bool) -> None:
        path = self._layout.journal_file(number)
        name = self._layout.relative(path)
        data = self._disk.read_file(path)
        self._tally.add_file(len(data))
        sequence = self._sequence
        is_renumbered = is_damaged = False
        try:
            first_sequence, mark = journal.decode_header(data, number)
            if self._expected and first_sequence != self._expected:
                self._find(name, 0, f"it begins with round {first_sequence} instead of {self._expected}")
                self._expected = 0
            is_renumbered = first_sequence != sequence + 1
        except CorruptError as error:
            self._find(name, 0, str(error))
            mark = data[journal.HEADER_BYTES : journal.HEADER_BYTES + MARK_BYTES].ljust(MARK_BYTES, b"\1")
            is_damaged = True
            self._expected = 0
        file = File(path, name, data, mark, [], [])
        if is_damaged:
            file.bad.append((0, min(len(data), journal.HEADER_BYTES)))
        end = self._check_rounds(file, is_newest)
        torn = data[end : last_byte(data, end)]
        if is_newest and journal.is_sealed(data, end, mark) and not self._disk.exists(self._layout.unfinished_journal):
            self._lost_newest = number + 1
        if torn:
            self._tally.find(name, end, "torn tail", f"{len(torn)} bytes were never synced")
        if self._mend:
            self._set_aside(file, end, torn)
            if file.bad or is_renumbered:
                pieces = [journal.encode_header(number, sequence + 1, mark)]
                for count, entries in enumerate(file.rounds, sequence + 1):
                    pieces.append(encode_round(mark, count, count - 1, entries))
                self._disk.replace_file(path, b"".join(pieces))
            elif torn:
                self._disk.replace_file(path, data[:end])

    def _check_rounds(self, file: File, is_newest: bool) -> int:
        """Take in the valid rounds, and return where the file ends or its torn tail begins."""
        position = journal.HEADER_BYTES
        data = file.data
        while True:
            stop = self._take(file, position)
            if stop is not None:
                position = stop
                continue
            if is_newest and self._expected and find_synced(data, position, file.mark, self._expected) is None:
                return position
            if position >= len(data):
                return len(data)
            # A whole round that is not the next one is where to go on, unless that was tried.
            following = self._next_round(file, position if self._expected else position + 1)
            if self._expected or not file.bad or file.bad[-1][1] != position:
                self._find(file.name, position, f"round {self._least} is damaged or missing")
            file.bad.append((position, following))
            self._expected = 0
            position = following

    def _take(self, file: File, position: int) -> int | None:
        """Take in the round at *position* and return the position after it, or None when it is not the next one."""
        checked = check_round(file.data, position, len(file.data), file.mark)
        if checked is None:
            return None
        sequence, _, stop = checked
        if sequence < self._least or (self._expected and sequence != self._expected):
            return None
        try:
            entries = Entries(file.data, position + ROUND_BYTES, stop)
        except CorruptError:
            return None
        drops = self._apply(entries)
        file.rounds.append(b"".join(drops) + file.data[position + ROUND_BYTES : stop])
        self._expected = self._least = sequence + 1
        self._sequence += 1
        self._tally.rounds += 1
        self._tally.frames += len(entries.appends)
        return stop

    def _apply(self, entries: Entries) -> list[bytes]:
        """Change the state, and return the entries that a lost round must have held."""
        state = self._state
        state.sequence += 1
        implied = []
        for number in entries.drops:
            state.drop(number)
            self._suspects.pop(number, None)
        for number, base_offset, count, timestamp, place, size in entries.appends:
            log = state.logs.get(number)
            if log is not None and base_offset < log.next_offset:
                # Offsets go back only when a log is dropped and made again.
                state.drop(number)
                implied.append(ENTRY.pack(DROP, number))
                self._suspects.pop(number, None)
            stood = self._suspects.pop(number, base_offset)
            if stood < base_offset:
                self._lose(Lost(number, stood, base_offset - 1))
            state.append(number, base_offset, count, timestamp, place, size)
        for number, offset in entries.trims:
            state.trim(number, offset)
        for row in entries.puts:
            state.put(*row)
        return implied

    def _next_round(self, file: File, position: int) -> int:
        """Where the next valid round begins, at *position* or behind it, or the end."""
        at = file.data.find(file.mark, position)
        while at >= 0:
            checked = check_round(file.data, at, len(file.data), file.mark)
            if checked is not None and checked[0] >= self._least:
                return at
            at = file.data.find(file.mark, at + 1)
        return len(file.data)

    def _find(self, name: str, position: int, detail: str, is_missing: bool = False) -> None:
        self._tally.find(name, position, "missing" if is_missing else "damage", detail)
        self._suspects = {number: log.next_offset for number, log in self._state.logs.items()}

    def _lose(self, lost: Lost) -> None:
        """Add to the damage found last."""
        findings = self._tally.findings
        findings[-1] = replace(findings[-1], lost=(*findings[-1].lost, lost))

    def _set_aside(self, file: File, end: int, torn: bytes) -> None:
        parts = [(position, file.data[position:stop]) for position, stop in file.bad]
        for position, part in [*parts, (end, torn)]:
            if part:
                name = f"{file.name.replace('/', '-')}-{position}"
                self._tally.aside.append(self._layout.relative(self._layout.set_aside(self._disk, name, part)))
