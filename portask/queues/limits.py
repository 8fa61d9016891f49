"""How much a queue may hold: messages and bytes of bodies that are ready, what is in flight does not count.

With the overflow `drop-head` the oldest ready messages are dead when there are more, whoever brought the new ones: a
producer by Kafka as well. Consumers that wait come first: what can be handed out is not dropped. With
`reject-publish` a message that would be too much is refused, `reject-publish-dlx` sends it to the dead letter
exchange too; what another protocol appends is not refused, and drops nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from portask.message import Record
from portask.queues.death import Reason
from portask.queues.ready_bytes import ReadyBytes, body_bytes
from portask.subscriptions.consumer import Consumer
from portask.subscriptions.offset_set import OffsetSet

if TYPE_CHECKING:
    from portask.bus import Append
    from portask.queues.arguments import QueueArguments
    from portask.queues.dead_letter import Discard
    from portask.queues.queue import Queue
    from portask.subscriptions.feed import Feed

DROP_HEAD = "drop-head"


def is_limited(settings: QueueArguments) -> bool:
    """Whether a queue with *settings* may hold only so much."""
    return settings.max_length is not None or settings.max_length_bytes is not None


class QueueLimits:
    """The limits of one queue."""

    def __init__(self, queue: Queue, holder: Consumer, discard: Discard) -> None:
        """*holder* gets what is to be dropped, then *discard* is called with it."""
        self._queue = queue
        self._holder = holder
        self._discard = discard
        self._accepted: deque[tuple[Append, int]] = deque()
        """Appends that may not be in the log yet, with the bytes of their bodies."""
        self._bytes: list[ReadyBytes] = []
        self._is_enforcing = False

    @property
    def is_rejecting(self) -> bool:
        """Whether a publisher is told that the queue is full."""
        return self._queue.settings.overflow != DROP_HEAD and is_limited(self._queue.settings)

    @property
    def must_read(self) -> bool:
        """Whether the log has to be read to know what is too much."""
        return self._queue.settings.max_length_bytes is not None

    def is_full_for(self, records: list[Record]) -> bool:
        """Whether *records* are more than there is room for. May block."""
        settings = self._queue.settings
        if settings.max_length_bytes is not None:
            self.catch_up()
        while self._accepted and _is_written(self._accepted[0][0]):
            self._accepted.popleft()
        waiting = [(append.count, size) for append, size in self._accepted if not _is_written(append)]
        count = self._queue.ready + sum(count for count, _ in waiting)
        # What was accepted and is not written yet goes to those who wait for it.
        served = min(count, self._queue.subscription.hand_out.line.credit()) if count else 0
        if settings.max_length is not None and count - served + len(records) > settings.max_length:
            return True
        if settings.max_length_bytes is None:
            return False
        ready = sum(each.of_waiting() for each in self._bytes) + sum(size for _, size in waiting)
        if served == count:
            ready = 0
        return ready + body_bytes(records) > settings.max_length_bytes

    def accepted(self, append: Append) -> None:
        """*append* is on its way to the log."""
        self._accepted.append((append, body_bytes(append.records)))

    def catch_up(self) -> None:
        """Look at the sizes of all that is in the log. Blocks."""
        feeds = self._queue.subscription.feeds
        self._bytes += [ReadyBytes(feed) for feed in feeds[len(self._bytes) :]]
        for each in self._bytes:
            each.catch_up()

    def enforce(self) -> None:
        """Drop what is too much; where `must_read` that is as far as it has been looked at. Must not block."""
        settings = self._queue.settings
        if settings.overflow != DROP_HEAD or self._is_enforcing:
            return
        # What is dropped may be trimmed at once, which is told to those who watch the log, and so to us.
        self._is_enforcing = True
        try:
            if settings.max_length is not None:
                self._drop(self._queue.ready - settings.max_length)
            if settings.max_length_bytes is not None and self._bytes:
                self._drop_bytes(sum(each.of_waiting() for each in self._bytes) - settings.max_length_bytes)
        finally:
            self._is_enforcing = False

    def _feeds(self) -> list[Feed]:
        """In the order in which they are handed out, as far as there is one."""
        return self._queue.subscription.feeds[::-1]

    def _drop(self, excess: int) -> None:
        if excess <= 0:
            return
        for feed in self._feeds():
            feed.available()
            oldest = OffsetSet()
            for start, stop in feed.waiting():
                oldest.add_range(start, min(stop, start + excess - oldest.count))
                if oldest.count == excess:
                    break
            excess -= oldest.count
            self._take_out(feed, oldest)
            if not excess:
                return

    def _drop_bytes(self, excess: int) -> None:
        for each, feed in zip(self._bytes[::-1], self._feeds(), strict=True):
            if excess <= 0:
                return
            feed.available()
            oldest = OffsetSet()
            before = each.of_waiting()
            for start, stop in each.prefix(excess):
                oldest.add_range(start, stop)
            self._take_out(feed, oldest)
            excess -= before - each.of_waiting()

    def _take_out(self, feed: Feed, offsets: OffsetSet) -> None:
        if offsets.count:
            number = feed.partition.number
            taken = self._queue.subscription.withdraw(self._holder, number, offsets)
            self._discard(Reason.MAXLEN, number, taken)


def _is_written(append: Append) -> bool:
    """Whether *append* is in the log, or never will be."""
    return append.error is not None or 0 <= append.base_offset < append.partition.written_offset
