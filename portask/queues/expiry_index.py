"""When messages with an expiration of their own are due, without an entry for each.

Of every 1,024 offsets, a *page*, the earliest deadline is kept, in a heap. Of some pages all deadlines are in
memory as well, those *open*: the ones that are due first. When the turn of another has come, it is read. So a queue
whose messages expire one by one reads none of its pages again and again, and a queue of ten million costs ten
thousand numbers.

A deadline is one integer, milliseconds since 1970 and behind them the last bits of the offset.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heappop, heappush

from portask.subscriptions.offset_set import PAGE_BITS, PAGE_OFFSETS

MAX_OPEN = 512
"""Open pages of one queue: about 45 bytes for each message there, 23 MB together."""

Page = tuple[int, int]
"""A partition's number, and an offset without its last PAGE_BITS."""


def deadline(due_ms: int, offset: int) -> int:
    """The deadline of the message at *offset*."""
    return due_ms << PAGE_BITS | offset & PAGE_OFFSETS - 1


def offsets_of(page: Page, deadlines: Sequence[int]) -> list[int]:
    """The offsets of *deadlines* in *page*."""
    return [page[1] << PAGE_BITS | each & PAGE_OFFSETS - 1 for each in deadlines]


class ExpiryIndex:
    """The pages of one queue that have something to expire."""

    def __init__(self) -> None:
        self._earliest: dict[Page, int] = {}
        """Milliseconds since 1970; of every page that has a deadline."""
        self._heap: list[tuple[int, Page]] = []
        self._open: dict[Page, list[int]] = {}
        """All deadlines of a page, ascending. No empty lists."""

    def __len__(self) -> int:
        return len(self._earliest)

    def add(self, page: Page, deadlines: list[int]) -> None:
        """*deadlines*, one or more, belong to *page* too."""
        known = self._open.get(page)
        if known is not None:
            self._open[page] = sorted(known + deadlines)
        elif page not in self._earliest:
            self._open[page] = sorted(deadlines)
        self._set(page, min(deadlines) >> PAGE_BITS)
        self._close_some()

    def doubt(self, page: Page, now_ms: int) -> None:
        """There may be more in *page* than is known, due *now_ms* or later: it is to be read."""
        self._open.pop(page, None)
        self._set(page, now_ms)

    def next_due(self) -> int | None:
        """When the next one may be due (ms); None if none ever is."""
        heap = self._heap
        while heap and self._earliest.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def first_due(self, now_ms: int) -> Page | None:
        """A page that has a message due at *now_ms*, or may have one."""
        due_ms = self.next_due()
        return None if due_ms is None or due_ms > now_ms else self._heap[0][1]

    def must_read(self, page: Page) -> bool:
        """Whether the deadlines of *page* are to be read and given to `learn`; not if it has none."""
        return page in self._earliest and page not in self._open

    def learn(self, page: Page, deadlines: list[int]) -> None:
        """*deadlines* are all that *page* has."""
        self._forget(page)
        if deadlines:
            self.add(page, deadlines)

    def take_due(self, page: Page, now_ms: int) -> list[int]:
        """The offsets in *page*, which is open, that are due at *now_ms*; they are forgotten."""
        deadlines = self._open.get(page)
        if deadlines is None:
            return []
        count = bisect_left(deadlines, (now_ms + 1) << PAGE_BITS)
        self.learn(page, deadlines[count:])
        return offsets_of(page, deadlines[:count])

    def _set(self, page: Page, due_ms: int) -> None:
        known = self._earliest.get(page)
        if known is None or due_ms < known:
            self._earliest[page] = due_ms
            heappush(self._heap, (due_ms, page))

    def _forget(self, page: Page) -> None:
        self._open.pop(page, None)
        self._earliest.pop(page, None)

    def _close_some(self) -> None:
        while len(self._open) > MAX_OPEN:
            del self._open[max(self._open, key=self._earliest.__getitem__)]
