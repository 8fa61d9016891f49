"""How many bytes wait in a queue that may hold only so many.

For each partition the sizes of the bodies are summed up along the log, so that any run of offsets is
one subtraction: 8 bytes of memory per message that is not trimmed yet. Only queues with `x-max-length-bytes` pay
for that, and what they hold is bounded.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from portask.message import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portask.subscriptions.feed import Feed

READ_BYTES = 256 * 1024
_CUT_AT = 4096
"""Sums of trimmed messages are let go when there are so many."""


def body_bytes(records: Iterable[Record]) -> int:
    """Bytes of the bodies of *records*: what RabbitMQ's limit counts."""
    return sum(len(record if isinstance(record, bytes) else record[0] or b"") for record in records)


class ReadyBytes:
    """The sizes of one partition's messages, as far as they have been looked at."""

    __slots__ = ("_base", "_feed", "_sums")

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._base = feed.settlement.floor
        self._sums = array("Q", [0])
        """Of the bodies before offset `_base`, before the one after it, and so on."""

    @property
    def end(self) -> int:
        """Where nothing has been looked at yet."""
        return self._base + len(self._sums) - 1

    def catch_up(self) -> None:
        """Look at everything that is in the log. Blocks."""
        partition = self._feed.partition
        while self.end < partition.written_offset:
            end = self.end
            runs = partition.read_runs(max(end, partition.log_start_offset), READ_BYTES)
            if self.end != end:
                # Somebody else has read the same meanwhile.
                continue
            for run in runs:
                self._skip(run.base_offset)
                total = self._sums[-1]
                for record in run.records:
                    total += len(record if isinstance(record, bytes) else record[0] or b"")
                    self._sums.append(total)
            if not runs:
                self._skip(partition.written_offset)
        self._forget()

    def of_waiting(self) -> int:
        """Bytes of those that wait to be handed out."""
        return sum(self._between(start, stop) for start, stop in self._feed.waiting())

    def prefix(self, excess: int) -> list[tuple[int, int]]:
        """The first of those that wait, as many as have *excess* bytes together."""
        ranges = []
        for start, stop in self._feed.waiting():
            if excess <= 0:
                break
            size = self._between(start, stop)
            end = stop
            if size > excess:
                wanted = self._sum_at(start) + excess
                end = self._base + bisect_left(self._sums, wanted, lo=max(0, start - self._base))
            ranges.append((start, end))
            excess -= size
        return ranges

    def _between(self, start: int, stop: int) -> int:
        return self._sum_at(stop) - self._sum_at(start)

    def _sum_at(self, offset: int) -> int:
        return self._sums[min(max(offset - self._base, 0), len(self._sums) - 1)]

    def _skip(self, offset: int) -> None:
        """There is nothing before *offset* that has not been looked at."""
        missing = offset - self.end
        if missing > 0:
            self._sums.extend([self._sums[-1]] * missing)

    def _forget(self) -> None:
        settled = min(self._feed.settlement.floor, self.end) - self._base
        if settled >= _CUT_AT and settled * 2 >= len(self._sums):
            del self._sums[:settled]
            self._base += settled
