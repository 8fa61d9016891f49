"""Storage in memory: the reference for the others, and for brokers that may forget.

Logs are lists of frames, tables are dictionaries. Nothing survives `close`; a sync has nothing to do.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate

from portask.errors import StorageError
from portask.storage.base import Append, Bounds, Frame, Round, Storage, Transform, check_transformed
from portask.storage.frame import HEADER_BYTES

_STEP = 256
"""Frames that a transform is given at once."""


class _Log:
    __slots__ = ("bases", "frames", "next_offset", "size_bytes", "start_offset")

    def __init__(self, start_offset: int) -> None:
        self.bases: list[int] = []
        self.frames: list[Frame] = []
        self.start_offset = start_offset
        self.next_offset = start_offset
        self.size_bytes = 0

    def append(self, append: Append) -> None:
        frame = Frame(append.base_offset, append.count, append.max_timestamp, b"".join(append.body))
        self.bases.append(frame.base_offset)
        self.frames.append(frame)
        self.next_offset = frame.next_offset
        self.size_bytes += HEADER_BYTES + len(frame.body)

    def find(self, offset: int) -> int:
        """The position of the first frame that ends beyond *offset*."""
        position = bisect_right(self.bases, offset)
        if position and self.frames[position - 1].next_offset > offset:
            position -= 1
        return position

    def trim(self, offset: int) -> None:
        self.start_offset = max(self.start_offset, min(offset, self.next_offset))
        gone = self.find(self.start_offset)
        self.size_bytes -= sum(HEADER_BYTES + len(frame.body) for frame in self.frames[:gone])
        del self.frames[:gone], self.bases[:gone]

    def replace(self, before: list[Frame], after: list[Frame]) -> None:
        """Put the frames *after* in place of those *before* that are still there."""
        first = bisect_left(self.bases, before[0].base_offset)
        stop = bisect_left(self.bases, before[-1].next_offset)
        self.size_bytes -= sum(HEADER_BYTES + len(frame.body) for frame in self.frames[first:stop])
        kept = [frame for frame in after if frame.next_offset > self.start_offset]
        self.frames[first:stop] = kept
        self.bases[first:stop] = [frame.base_offset for frame in kept]
        self.size_bytes += sum(HEADER_BYTES + len(frame.body) for frame in kept)


class MemoryStorage(Storage):
    """Everything in dictionaries of this process."""

    def __init__(self) -> None:
        self._logs: dict[int, _Log] = {}
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._rounds = 0
        self._is_open = False

    def open(self) -> None:
        self._is_open = True

    def close(self) -> None:
        self._is_open = False

    def write(self, round_: Round) -> None:
        self._check_open()
        round_.check(lambda log: self.bounds(log).next_offset)
        for log in round_.drops:
            self._logs.pop(log, None)
        for append in round_.appends:
            self._logs.setdefault(append.log, _Log(append.base_offset)).append(append)
        for log, offset in round_.trims.items():
            if log in self._logs:
                self._logs[log].trim(offset)
        for (table, key), value in round_.puts.items():
            if value is None:
                self._tables.get(table, {}).pop(key, None)
            else:
                self._tables.setdefault(table, {})[key] = bytes(value)
        self._rounds += 1

    def sync(self) -> None:
        self._check_open()

    def read(self, log: int, offset: int, max_bytes: int) -> list[Frame]:
        kept = self._logs.get(log)
        if kept is None:
            return []
        frames: list[Frame] = []
        for frame in kept.frames[kept.find(offset) :]:
            max_bytes -= len(frame.body)
            if max_bytes < 0 and frames:
                break
            frames.append(frame)
        return frames

    def bounds(self, log: int) -> Bounds:
        kept = self._logs.get(log)
        return Bounds(kept.start_offset, kept.next_offset, kept.size_bytes) if kept else Bounds(0, 0, 0)

    def find_time(self, log: int, timestamp: int) -> int | None:
        kept = self._logs.get(log)
        for frame in kept.frames if kept else ():
            if frame.max_timestamp >= timestamp:
                return max(frame.base_offset, self._logs[log].start_offset)
        return None

    def find_size(self, log: int, keep_bytes: int) -> int:
        kept = self._logs.get(log)
        if kept is None:
            return 0
        spare = kept.size_bytes - keep_bytes
        sizes = accumulate(HEADER_BYTES + len(frame.body) for frame in kept.frames)
        gone = sum(size <= spare for size in sizes)
        return max(kept.start_offset, kept.frames[gone - 1].next_offset) if gone else kept.start_offset

    def rewritable(self, log: int, gather: bool = False) -> Bounds:
        self._check_open()
        return self.bounds(log)

    def rewrite(self, log: int, end_offset: int, transform: Transform) -> None:
        self._check_open()
        kept = self._logs.get(log)
        offset = kept.start_offset if kept else 0
        end_offset = min(end_offset, kept.next_offset if kept else 0)
        # The log may be trimmed or dropped while transform blocks.
        while kept is not None and self._logs.get(log) is kept:
            first = kept.find(offset)
            before = [frame for frame in kept.frames[first : first + _STEP] if frame.next_offset <= end_offset]
            if not before:
                return
            after = transform(list(before))
            check_transformed(before, after)
            kept.replace(before, after)
            offset = before[-1].next_offset

    def load(self, table: str) -> dict[bytes, bytes]:
        return dict(self._tables.get(table, {}))

    def logs(self) -> Iterable[int]:
        return list(self._logs)

    def stats(self) -> dict[str, float]:
        size = sum(log.size_bytes for log in self._logs.values())
        return {"logs": len(self._logs), "rounds": self._rounds, "bytes": size}

    def _check_open(self) -> None:
        if not self._is_open:
            raise StorageError("the storage is not open")
