"""Unsettled deliveries of a channel: which delivery tag stands for which message.

Deliveries come in runs of consecutive offsets and get consecutive tags, so a run is five fields however many
messages it has, and to settle everything up to a tag takes as many calls as there are runs. A run from whose
middle one message is settled becomes two.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from handlers.amqp.delivery import AmqpConsumer
    from handlers.amqp.getter import Getter

    Holder: TypeAlias = AmqpConsumer | Getter


class Settled(NamedTuple):
    """Offsets *first* to *last* of a partition, handed to *consumer* with the tags from *tag* on."""

    consumer: Holder
    partition: int
    first: int
    last: int
    tag: int


class _Run:
    __slots__ = ("base", "consumer", "first", "last", "partition")

    def __init__(self, first: int, last: int, base: int, partition: int, consumer: Holder) -> None:
        self.first = first
        self.last = last
        self.base = base
        """The offset of the message with tag *first*."""
        self.partition = partition
        self.consumer = consumer

    def part(self, first: int, last: int) -> Settled:
        """What tags *first* to *last* stand for."""
        offset = self.base - self.first
        return Settled(self.consumer, self.partition, first + offset, last + offset, first)


class UnknownTagError(Exception):
    """No unsettled delivery has the tag."""

    def __init__(self, tag: int) -> None:
        super().__init__(f"unknown delivery tag {tag}")
        self.taken: list[Settled] = []
        """Deliveries before it that were taken."""


class Unsettled:
    """The unsettled deliveries of one channel, by tag."""

    __slots__ = ("_head", "_runs", "next_tag")

    def __init__(self) -> None:
        self.next_tag = 1
        self._runs: list[_Run] = []
        # Runs are settled from the front; the places that they leave are closed up now and then.
        self._head = 0

    def add(self, count: int, base: int, partition: int, consumer: Holder) -> None:
        """The next *count* tags stand for the offsets from *base* on."""
        first = self.next_tag
        self.next_tag = first + count
        self._runs.append(_Run(first, first + count - 1, base, partition, consumer))

    def put_back(self, taken: list[Settled]) -> None:
        """Have again what was taken."""
        self._runs = [
            *self._live(),
            *(
                _Run(tag, tag + last - first, first, partition, consumer)
                for consumer, partition, first, last, tag in taken
            ),
        ]
        self._runs.sort(key=_first)
        self._head = 0

    def skip(self, count: int) -> None:
        """The next *count* tags are of messages that need no settling."""
        self.next_tag += count

    def take_all(self) -> list[Settled]:
        """Everything, oldest first; nothing is left."""
        taken = [run.part(run.first, run.last) for run in self._live()]
        self._runs.clear()
        self._head = 0
        return taken

    def take_up_to(self, tag: int) -> list[Settled]:
        """Everything up to *tag*, oldest first. Raises UnknownTagError when there is nothing, or no such tag yet."""
        if tag >= self.next_tag:
            raise UnknownTagError(tag)
        runs, head = self._runs, self._head
        taken: list[Settled] = []
        while head < len(runs) and runs[head].first <= tag:
            run = runs[head]
            last = min(run.last, tag)
            taken.append(run.part(run.first, last))
            if last < run.last:
                run.base += last + 1 - run.first
                run.first = last + 1
                break
            head += 1
        self._cut(head)
        if not taken:
            raise UnknownTagError(tag)
        return taken

    def take(self, first: int, last: int) -> list[Settled]:
        """The tags *first* to *last*.

        Raises UnknownTagError at the first of them that is not there; those before it have been taken then, and
        are in the error's *taken*.
        """
        taken: list[Settled] = []
        while first <= last:
            index = self._find(first)
            if index is None:
                error = UnknownTagError(first)
                error.taken = taken
                raise error
            run = self._runs[index]
            end = min(run.last, last)
            taken.append(run.part(first, end))
            self._remove(index, run, first, end)
            first = end + 1
        return taken

    def _live(self) -> Iterator[_Run]:
        return iter(self._runs[self._head :])

    def _find(self, tag: int) -> int | None:
        runs, head = self._runs, self._head
        if head == len(runs):
            return None
        if runs[head].first <= tag <= runs[head].last:
            return head
        index = bisect_right(runs, tag, lo=head, key=_first) - 1
        return index if index >= head and tag <= runs[index].last else None

    def _remove(self, index: int, run: _Run, first: int, last: int) -> None:
        if first > run.first:
            if last < run.last:
                rest = _Run(last + 1, run.last, run.base + last + 1 - run.first, run.partition, run.consumer)
                self._runs.insert(index + 1, rest)
            run.last = first - 1
        elif last < run.last:
            run.base += last + 1 - first
            run.first = last + 1
        elif index == self._head:
            self._cut(index + 1)
        else:
            del self._runs[index]

    def _cut(self, head: int) -> None:
        self._head = head
        if head > 64 and head * 2 > len(self._runs):
            del self._runs[:head]
            self._head = 0


def _first(run: _Run) -> int:
    return run.first
