"""All that a round can change, in memory: the tables and the logs."""

from __future__ import annotations

from collections.abc import Mapping

from portask.errors import CorruptError
from portask.storage.base import Round
from portask.storage.local.log import Log, Segment
from portask.storage.local.round import Appended

Table = dict[bytes, bytes]


class Dead:
    """Files that no later state needs, once the round that says so is durable."""

    __slots__ = ("log", "segments", "sequence")

    def __init__(self, sequence: int, log: Log, segments: list[Segment] | None) -> None:
        self.sequence = sequence
        self.log = log
        self.segments = segments
        """None: all that the log has when the time comes, and its directory."""


class State:
    """Tables and logs, and the files that are waiting to be removed."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.logs: dict[int, Log] = {}
        self.sequence = 0
        self.dead: list[Dead] = []

    def apply(self, round_: Round, appended: list[Appended], sequence: int, place: int) -> None:
        """Take in a round that was written at *place*; it was checked before."""
        self.sequence = sequence
        for log in round_.drops:
            self.drop(log)
        for number, base_offset, count, timestamp, position, size in appended:
            self.append(number, base_offset, count, timestamp, place + position, size)
        for log, offset in round_.trims.items():
            self.trim(log, offset)
        for (table, key), value in round_.puts.items():
            self.put(table, key, value)

    def append(self, number: int, base_offset: int, count: int, timestamp: int, place: int, size: int) -> None:
        """Take in a frame. Raises CorruptError when the log is beyond it already."""
        log = self.logs.get(number)
        if log is None:
            log = self.logs[number] = Log(number, base_offset, base_offset, [])
        elif base_offset < log.next_offset:
            raise CorruptError(f"log {number} stands at {log.next_offset} and is given offset {base_offset}")
        log.append(base_offset, count, timestamp, place, size)

    def put(self, table: str, key: bytes, value: bytes | None) -> None:
        """Give *key* a value, or none."""
        if value is not None:
            self.tables.setdefault(table, {})[key] = value
        elif table in self.tables:
            self.tables[table].pop(key, None)

    def trim(self, number: int, offset: int) -> None:
        """Move the start of a log forward, if there is such a log."""
        log = self.logs.get(number)
        if log is not None:
            freed = log.trim(offset)
            if freed:
                self.dead.append(Dead(self.sequence, log, freed))

    def drop(self, number: int) -> None:
        """Forget a log."""
        log = self.logs.pop(number, None)
        if log is not None:
            self.dead.append(Dead(self.sequence, log, None))

    def copy_tables(self) -> Mapping[str, Table]:
        """The tables as they are now; the keys and values themselves are shared."""
        return {name: dict(table) for name, table in self.tables.items()}
