"""When messages with an expiration of their own are due, without an entry for each.

Of every 1,024 offsets, a *page*, only the earliest deadline is kept, in a heap. When it has come the page is read
and all its deadlines are known for a while; those of a few pages stay in memory, so that messages which
expire one by one do not have their page read again each time.
"""

from __future__ import annotations

from heapq import heappop, heappush

from portask.offset_set import PAGE_BITS

MAX_OPEN = 64
"""Pages whose deadlines are all in memory: about 100 bytes for each message there."""

Page = tuple[int, int]
"""A partition's number, and an offset without its last PAGE_BITS."""
Deadline = tuple[int, int]
"""Milliseconds since 1970, and an offset."""


class ExpiryIndex:
    """The pages of one queue that have something to expire."""

    def __init__(self) -> None:
        self._earliest: dict[Page, int] = {}
        self._heap: list[tuple[int, Page]] = []
        self._open: dict[Page, list[Deadline]] = {}
        """All deadlines of the pages read last, each list ascending; the oldest page first."""

    def __len__(self) -> int:
        return len(self._earliest)

    def note(self, partition: int, offset: int, due_ms: int) -> None:
        """The message at *offset* expires at *due_ms*."""
        page = partition, offset >> PAGE_BITS
        # What is known of the page is not all any more.
        self._open.pop(page, None)
        self._set(page, due_ms)

    def next_due(self) -> int | None:
        """When the next one may be due; None if none ever is."""
        heap = self._heap
        while heap and self._earliest.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now_ms: int) -> Page | None:
        """A page that may have a message due at *now_ms*; it is to be put back with `keep`."""
        due_ms = self.next_due()
        if due_ms is None or due_ms > now_ms:
            return None
        page = heappop(self._heap)[1]
        del self._earliest[page]
        return page

    def known(self, page: Page) -> list[Deadline] | None:
        """All deadlines of *page*, ascending, if they are in memory."""
        return self._open.pop(page, None)

    def keep(self, page: Page, deadlines: list[Deadline]) -> None:
        """*deadlines*, ascending, are all that *page* still has."""
        if not deadlines:
            return
        # Something may have been noted since the page was taken.
        if page not in self._earliest:
            self._open[page] = deadlines
            while len(self._open) > MAX_OPEN:
                del self._open[next(iter(self._open))]
        self._set(page, deadlines[0][0])

    def _set(self, page: Page, due_ms: int) -> None:
        known = self._earliest.get(page)
        if known is None or due_ms < known:
            self._earliest[page] = due_ms
            heappush(self._heap, (due_ms, page))
