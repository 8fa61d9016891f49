"""Handing out: which messages go to which consumer of a subscription next.

Partitions take turns, or the one with the highest number goes first; consumers take turns in the order
of their line. Nothing here switches to another greenlet but reading, and what was settled, requeued or
withdrawn meanwhile is looked at anew after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakSet

import gevent

from portask.subscriptions.consumer import Consumer, Delivery
from portask.subscriptions.feed import Feed
from portask.subscriptions.line import Line
from portask.subscriptions.offset_set import OffsetSet

if TYPE_CHECKING:
    from portask.message import Record
    from portask.topic import Topic

TURN_MESSAGES = 256
"""The most that one consumer gets before the next one's turn."""
HAND_ON_MESSAGES = 16
"""The most that is handed on as it arrives: with more the way through the greenlet costs next to nothing, and the
next round is written meanwhile."""
YIELD_MESSAGES = 2048
"""After so many messages in one go other greenlets have their turn: about half a millisecond."""
READ_AHEAD_BYTES = 64 * 1024 * 1024
"""In memory, for all subscriptions that have consumers together."""
MOST_AHEAD_BYTES = 1024 * 1024
"""For one subscription."""
LEAST_AHEAD_BYTES = 32 * 1024
"""For each partition of it."""

Screen = Callable[[Consumer, Feed, list[Delivery]], list[Delivery]]
"""Given what is about to be handed to a consumer from a feed, what of it is really given, in order. What it leaves out
it has settled, or given to somebody else with `Subscription.hold`. Must not block."""


class HandOut:
    """The hand-out of one subscription."""

    active: ClassVar[WeakSet[HandOut]] = WeakSet()
    """Those that have somebody to feed: they share the memory for reading ahead."""

    def __init__(self, topic: Topic, feeds: list[Feed], save: Callable[..., None]) -> None:
        """*feeds* are the subscription's, one for each partition; *save* stores what has changed in them."""
        self.line = Line()
        """Consumers that have credit."""
        self.is_by_priority = False
        """Whether a partition with a higher number goes before the others; else they take turns."""
        self.screen: Screen | None = None
        """Looks at what is handed out, and may keep some of it back."""
        self.in_flight = 0
        """Messages handed out and not settled."""
        self.deliveries_total = 0
        """Messages handed out."""
        self.redeliveries_total = 0
        """Messages handed out that may have been handed out before."""
        self._topic = topic
        self._feeds = feeds
        self._save = save
        self._lap = 0
        """Turns until everyone in line has had one; as long everyone's share stays the same."""
        self._share = 0
        self._turn = 0
        """The partition that was last looked at."""

    def run(self) -> None:
        """Give out whatever can be given out. Blocks."""
        max_bytes = min(MOST_AHEAD_BYTES, READ_AHEAD_BYTES // max(1, len(HandOut.active)))
        max_bytes = max(LEAST_AHEAD_BYTES, max_bytes // len(self._feeds))
        handed_out = 0
        while self.line and not self._topic.closed:
            feed = self._next_feed()
            if feed is None:
                self._lap = 0
                return
            if feed.must_read():
                feed.read(max_bytes)
                continue
            handed_out += self._take_turn(feed)
            if handed_out >= YIELD_MESSAGES:
                handed_out = 0
                gevent.sleep(0)

    def hand_on(self, number: int, base_offset: int, timestamp: int, records: list[Record]) -> bool:
        """Give *records*, which partition *number* has just got, to the one whose turn it is; False if it can't be.

        That is when nothing else waits, and one consumer may have them all. A queue that keeps up so needs no
        greenlet of its own to run: 1,000 queues took a third less for each message. Does not switch.
        """
        line, count = self.line, len(records)
        if not line or self._topic.closed or self.screen is not None or self.is_by_priority:
            return False
        consumer = line.first()
        if count > HAND_ON_MESSAGES or consumer.credit < count or (count > 1 and line.width() > 1):
            return False
        feed = self._feeds[number]
        delivery = feed.take_new(base_offset, timestamp, records)
        if delivery is None:
            return False
        self._lap = 0
        if feed.reserve():
            self._save()
        self._serve(consumer, feed, [delivery])
        return True

    def get(self, consumer: Consumer) -> Delivery | None:
        """One message, in flight for *consumer*; None when there is none to be handed out now. Blocks."""
        while not self._topic.closed and (feed := self._next_feed()) is not None:
            if feed.must_read():
                feed.read(LEAST_AHEAD_BYTES)
                continue
            deliveries = feed.take(1)
            if deliveries and self.screen is not None:
                deliveries = self.screen(consumer, feed, deliveries)
            if deliveries:
                self._give(consumer, feed, deliveries)
                return deliveries[0]
        return None

    def count(self, consumer: Consumer, change: int) -> None:
        """*change* more messages are in flight for *consumer*."""
        self.in_flight += change
        consumer.count(change)

    def _next_feed(self) -> Feed | None:
        """The next partition in turn that has something to hand out."""
        feeds = self._feeds
        count = len(feeds)
        for step in range(1, count + 1):
            turn = count - step if self.is_by_priority else (self._turn + step) % count
            feed = feeds[turn]
            available = feed.available()
            if feed.reserve():
                self._save()
            if available:
                self._turn = turn
                return feed
        return None

    def _take_turn(self, feed: Feed) -> int:
        """Give the consumer whose turn it is its share of *feed*; return how many messages were taken."""
        line = self.line
        consumer = line.first()
        credit = consumer.credit
        if credit <= 0:
            # Others of its channel have used up what they share.
            line.leave(consumer)
            return 0
        if self._lap == 0:
            self._lap = line.width()
            self._share = -(-feed.available() // self._lap)
        deliveries = feed.take(min(self._share, credit, TURN_MESSAGES))
        if not deliveries:
            return 0
        taken = sum(len(delivery.records) for delivery in deliveries)
        if self.screen is not None:
            deliveries = self.screen(consumer, feed, deliveries)
        if deliveries:
            self._lap -= 1
            self._serve(consumer, feed, deliveries)
        return taken

    def _serve(self, consumer: Consumer, feed: Feed, deliveries: list[Delivery]) -> None:
        """Give *deliveries* to *consumer*, whose turn it is."""
        self._give(consumer, feed, deliveries)
        if consumer.credit > 0:
            self.line.step_back(consumer)
        else:
            self.line.leave(consumer)
        consumer.deliver(deliveries)

    def _give(self, consumer: Consumer, feed: Feed, deliveries: list[Delivery]) -> None:
        """Count *deliveries* as in flight for *consumer*, or settle them if it does not ack."""
        count = 0
        for delivery in deliveries:
            size = len(delivery.records)
            count += size
            if delivery.redeliveries:
                self.redeliveries_total += size
        self.deliveries_total += count
        if consumer.no_ack:
            settle = feed.settlement.settle
            for delivery in deliveries:
                settle(delivery.base_offset, delivery.base_offset + len(delivery.records))
            self._save(is_urgent=False)
            return
        number = feed.partition.number
        held = consumer.held.get(number)
        if held is None:
            held = consumer.held[number] = OffsetSet()
        for delivery in deliveries:
            held.add_range(delivery.base_offset, delivery.base_offset + len(delivery.records))
        self.count(consumer, count)
