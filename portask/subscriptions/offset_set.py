"""Sets of offsets that are cheap while they are mostly runs.

An `OffsetSet` keeps the bits of 1,024 consecutive offsets in one integer, a *page*, and has only the
pages that are not empty. So every operation costs what the pages touched cost, not the offsets: to
take ten thousand offsets out is ten operations. A full page is one shared integer, so a long run
beyond a hole costs a dictionary entry per 1,024 offsets.

Ranges are half-open, as in `range`. A set must not be changed while `ranges` walks over it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

PAGE_BITS = 10
PAGE_OFFSETS = 1 << PAGE_BITS
MAX_OFFSET = (1 << 63) - 1
_IN_PAGE = PAGE_OFFSETS - 1
FULL_PAGE = (1 << PAGE_OFFSETS) - 1


class OffsetSet:
    """A set of offsets."""

    __slots__ = ("_order", "_pages", "count")

    def __init__(self) -> None:
        self.count = 0
        """How many offsets are inside."""
        self._pages: dict[int, int] = {}
        self._order: list[int] = []
        """The keys of `_pages`, ascending."""

    @classmethod
    def of_range(cls, start: int, stop: int) -> OffsetSet:
        """A new set of *start* to *stop*."""
        offsets = cls()
        offsets.add_range(start, stop)
        return offsets

    def __contains__(self, offset: int) -> bool:
        return self._pages.get(offset >> PAGE_BITS, 0) >> (offset & _IN_PAGE) & 1 == 1

    @property
    def pages(self) -> int:
        """How many pages the set takes: what it costs in memory."""
        return len(self._order)

    def add_range(self, start: int, stop: int) -> None:
        """Put *start* to *stop* in; those that are in already stay."""
        while start < stop:
            page = start >> PAGE_BITS
            end = min(stop, (page + 1) << PAGE_BITS)
            mask = ((1 << (end - start)) - 1) << (start & _IN_PAGE)
            old = self._pages.get(page, 0)
            new = old | mask
            if not old:
                self._insert(page)
            self._pages[page] = FULL_PAGE if new == FULL_PAGE else new
            self.count += new.bit_count() - old.bit_count()
            start = end

    def remove_range(self, start: int, stop: int) -> None:
        """Take *start* to *stop* out; those that are not in do not matter."""
        order, pages = self._order, self._pages
        begin = bisect_left(order, start >> PAGE_BITS)
        end = bisect_right(order, (stop - 1) >> PAGE_BITS, begin)
        kept = []
        for page in order[begin:end]:
            bits = pages[page]
            hit = bits & _mask(page, start, stop)
            self.count -= hit.bit_count()
            if hit == bits:
                del pages[page]
            else:
                pages[page] = bits ^ hit
                kept.append(page)
        order[begin:end] = kept

    def take_range(self, start: int, stop: int) -> bool:
        """Take *start* to *stop* out and return True if all of them are in; else change nothing."""
        page = start >> PAGE_BITS
        if page == (stop - 1) >> PAGE_BITS:
            # One acknowledged message, or a short run: the path of every ack.
            mask = ((1 << (stop - start)) - 1) << (start & _IN_PAGE)
            bits = self._pages.get(page, 0)
            if bits & mask != mask:
                return False
            if bits == mask:
                del self._pages[page]
                del self._order[bisect_left(self._order, page)]
            else:
                self._pages[page] = bits ^ mask
            self.count -= stop - start
            return True
        if not self.contains_range(start, stop):
            return False
        self.remove_range(start, stop)
        return True

    def contains_range(self, start: int, stop: int) -> bool:
        """Whether all of *start* to *stop* are in."""
        # The count bounds the loop below for whatever range a peer names.
        if stop - start > self.count:
            return False
        pages = self._pages
        for page in range(start >> PAGE_BITS, ((stop - 1) >> PAGE_BITS) + 1):
            mask = _mask(page, start, stop)
            if pages.get(page, 0) & mask != mask:
                return False
        return True

    def intersects(self, start: int, stop: int) -> bool:
        """Whether any of *start* to *stop* is in."""
        order = self._order
        begin = bisect_left(order, start >> PAGE_BITS)
        end = bisect_right(order, (stop - 1) >> PAGE_BITS, begin)
        return any(self._pages[page] & _mask(page, start, stop) for page in order[begin:end])

    def add(self, other: OffsetSet) -> None:
        """Put all of *other* in."""
        for page, bits in other._pages.items():
            self.add_bits(page, bits)

    def remove(self, other: OffsetSet) -> None:
        """Take all of *other* out; those that are not in do not matter."""
        for page, bits in other._pages.items():
            old = self._pages.get(page, 0)
            hit = old & bits
            self.count -= hit.bit_count()
            if hit and hit == old:
                del self._pages[page]
                del self._order[bisect_left(self._order, page)]
            elif hit:
                self._pages[page] = old ^ hit

    def common(self, other: OffsetSet) -> OffsetSet:
        """A new set of what is in both."""
        both = OffsetSet()
        for page in self._order:
            bits = self._pages[page] & other._pages.get(page, 0)
            if bits:
                both._append(page, bits)
        return both

    def part(self, start: int, stop: int = MAX_OFFSET) -> OffsetSet:
        """A new set of what is inside between *start* and *stop*."""
        part = OffsetSet()
        order = self._order
        begin = bisect_left(order, start >> PAGE_BITS)
        end = bisect_right(order, (stop - 1) >> PAGE_BITS, begin)
        for page in order[begin:end]:
            bits = self._pages[page] & _mask(page, start, stop)
            if bits:
                part._append(page, bits)
        return part

    def bits(self, page: int) -> int:
        """The offsets of *page* as bits, the first one the lowest."""
        return self._pages.get(page, 0)

    def add_bits(self, page: int, bits: int) -> None:
        """Put in what `bits` has said of *page*."""
        old = self._pages.get(page, 0)
        new = old | bits
        if new != old:
            if not old:
                self._insert(page)
            self._pages[page] = FULL_PAGE if new == FULL_PAGE else new
            self.count += new.bit_count() - old.bit_count()

    def page_numbers(self) -> list[int]:
        """The pages that the set takes, ascending: offset >> PAGE_BITS."""
        return list(self._order)

    def first(self) -> int:
        """The lowest offset inside. Raises IndexError when the set is empty."""
        page = self._order[0]
        bits = self._pages[page]
        return (page << PAGE_BITS) + (bits & -bits).bit_length() - 1

    def last(self) -> int:
        """The highest offset inside. Raises IndexError when the set is empty."""
        page = self._order[-1]
        return (page << PAGE_BITS) + self._pages[page].bit_length() - 1

    def ranges(self, start: int = 0, stop: int = MAX_OFFSET) -> Iterator[tuple[int, int]]:
        """The runs of what is inside between *start* and *stop*, ascending, each as long as it can be."""
        order = self._order
        run_start = run_stop = -1
        for index in range(bisect_left(order, start >> PAGE_BITS), len(order)):
            page = order[index]
            position = page << PAGE_BITS
            if position >= stop:
                break
            bits = self._pages[page]
            if position < start or position + PAGE_OFFSETS > stop:
                bits &= _mask(page, start, stop)
            while bits:
                zeros = (bits & -bits).bit_length() - 1
                bits >>= zeros
                ones = (~bits & (bits + 1)).bit_length() - 1
                bits >>= ones
                position += zeros
                if position != run_stop:
                    if run_start >= 0:
                        yield run_start, run_stop
                    run_start = position
                position = run_stop = position + ones
        if run_start >= 0:
            yield run_start, run_stop

    def _append(self, page: int, bits: int) -> None:
        self._order.append(page)
        self._pages[page] = FULL_PAGE if bits == FULL_PAGE else bits
        self.count += bits.bit_count()

    def _insert(self, page: int) -> None:
        order = self._order
        if not order or page > order[-1]:
            order.append(page)
        else:
            insort(order, page)


def _mask(page: int, start: int, stop: int) -> int:
    """The bits of *page* that stand for offsets from *start* to *stop*; the two must overlap."""
    base = page << PAGE_BITS
    low = max(start - base, 0)
    high = min(stop - base, PAGE_OFFSETS)
    return ((1 << (high - low)) - 1) << low
