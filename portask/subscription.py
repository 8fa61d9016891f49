"""Subscriptions: competing consumers over all partitions of a topic.

One greenlet per subscription hands out while there are consumers: runs of messages, in turns, to whoever
has credit. What is settled goes into the ledger (portask.ledger), which stores it.

Messages are handed out when storage has taken them, before they are safe from the loss of power. An ack
of such a message is collected for a later round than the message, so after a crash no ack can be there
whose message is not.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from portask.consumer import Consumer, Delivery
from portask.errors import CorruptError, NotInFlightError, PortaskError, ShuttingDownError, UnavailableError
from portask.feed import Feed
from portask.ledger import TABLE, Done, Ledger, SubscriptionRow
from portask.offset_set import OffsetSet
from portask.settlement import TABLE as SETTLED
from portask.settlement import Settlement, load_settlements
from portask.start import Start
from portask.storage.base import Round

if TYPE_CHECKING:
    from portask.bus import Change
    from portask.partition import Partition
    from portask.topic import Topic

__all__ = ["TABLE", "Consumer", "Delivery", "Start", "Subscription", "restore_subscriptions"]

log = logging.getLogger(__name__)

TURN_MESSAGES = 256
"""The most that one consumer gets before the next one's turn."""
YIELD_MESSAGES = 2048
"""After so many messages in one go other greenlets have their turn: about half a millisecond."""
READ_AHEAD_BYTES = 256 * 1024
"""For all partitions together, but at least LEAST_READ_BYTES for each."""
LEAST_READ_BYTES = 16 * 1024
RETRY_S = 1.0
"""How long to wait when storage is unavailable."""


class Subscription:
    """A shared reading position in one topic."""

    def __init__(
        self,
        topic: Topic,
        subscription_id: int,
        name: str,
        start: Start,
        settlements: list[Settlement],
        submit: Callable[[Change], None],
    ) -> None:
        """*settlements* has one for each partition, in order; *submit* is `Bus.put`."""
        self.topic = topic
        self.id = subscription_id
        self.name = name
        self.start = start
        self.consumers: list[Consumer] = []
        self.redeliveries_total = 0
        """Messages handed out that may have been handed out before."""
        self.deliveries_total = 0
        """Messages handed out."""
        self.feeds = [
            Feed(partition, settlement) for partition, settlement in zip(topic.partitions, settlements, strict=True)
        ]
        row = SubscriptionRow(subscription_id, topic.id, name, start)
        self._ledger = Ledger(row, settlements, submit, self.wake)
        self._ready: deque[Consumer] = deque()
        """Consumers that have credit, in the order of their turns."""
        self._lap = 0
        """Turns until everyone in line has had one; as long everyone's share stays the same."""
        self._share = 0
        self._turn = 0
        """The partition that was last looked at."""
        self._wake = Event()
        self._greenlet: gevent.Greenlet | None = None
        self._ended: PortaskError | None = None
        """Why there can be no consumers any more."""

    @classmethod
    def begin(
        cls, topic: Topic, subscription_id: int, name: str, start: Start, submit: Callable[[Change], None]
    ) -> Subscription:
        """A new subscription, to be stored with `collect_creation` before it is used. May block."""
        settlements = [
            Settlement(subscription_id, partition.number, start.offset_in(partition)) for partition in topic.partitions
        ]
        return cls(topic, subscription_id, name, start, settlements, submit)

    # -- consumers --------------------------------------------------------------------------------

    def attach(self, consumer: Consumer) -> None:
        """Begin to feed *consumer*, which must be new. Raises the reason when the subscription has ended."""
        if self._ended is not None:
            raise self._ended
        consumer.subscription = self
        self.consumers.append(consumer)
        self.credit_changed(consumer)
        if self._greenlet is None:
            self._spawn(0)

    def detach(self, consumer: Consumer) -> None:
        """Feed *consumer* no more; what it had in flight goes back, redelivered. A second call does nothing."""
        if consumer not in self.consumers:
            return
        self.consumers.remove(consumer)
        consumer.subscription = None
        self._leave_line(consumer)
        for number, held in consumer.held.items():
            self.feeds[number].give_back(held)
        consumer.held.clear()
        if consumer.in_flight:
            consumer.in_flight = 0
            self._ledger.save()
        self._wake.set()

    def ack(
        self,
        consumer: Consumer,
        partition: int,
        first: int,
        last: int,
        done: Done | None = None,
    ) -> None:
        """Settle *first* to *last*; *done* is called when that is durable, or with the error that kept it from it.

        Raises NotInFlightError, and settles nothing, unless all of them are in flight for *consumer*.
        *done* must not block; it may be called before this returns, when the broker is shutting down.
        """
        self._release(consumer, partition, first, last).settlement.settle(first, last + 1)
        self._ledger.save(done)

    def nack(
        self,
        consumer: Consumer,
        partition: int,
        first: int,
        last: int,
        done: Done | None = None,
    ) -> None:
        """Give *first* to *last* back to their original position, to be handed out again. Else as `ack`."""
        feed = self._release(consumer, partition, first, last)
        returned = OffsetSet()
        returned.add_range(first, last + 1)
        feed.give_back(returned)
        self._wake.set()
        self._ledger.save(done)

    def credit_changed(self, consumer: Consumer) -> None:
        """*consumer* may have got credit, or lost it."""
        if consumer.credit <= 0:
            self._leave_line(consumer)
        elif not consumer.is_ready:
            consumer.is_ready = True
            self._ready.append(consumer)
            self._wake.set()

    def _release(self, consumer: Consumer, partition: int, first: int, last: int) -> Feed:
        held = consumer.held.get(partition)
        if held is None or not 0 <= first <= last or not held.take_range(first, last + 1):
            raise NotInFlightError(
                f"{first} to {last} of partition {partition} of {self.topic.name} are not all in flight for this"
                f" consumer of group {self.name}"
            )
        consumer.in_flight -= last + 1 - first
        if not consumer.is_ready:
            self.credit_changed(consumer)
        return self.feeds[partition]

    def _leave_line(self, consumer: Consumer) -> None:
        if consumer.is_ready:
            consumer.is_ready = False
            self._ready.remove(consumer)

    def add_partition(self, partition: Partition) -> None:
        """The topic has got *partition*, which follows the last one: all of it is still to be handed out."""
        settlement = Settlement(self.id, partition.number, partition.log_start_offset)
        self.feeds.append(Feed(partition, settlement))
        self._ledger.add(settlement)
        partition.subscriptions.append(self)

    # -- what is known of it ----------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Messages handed out and not settled."""
        return sum(consumer.in_flight for consumer in self.consumers)

    @property
    def requeued(self) -> int:
        """Messages that wait to be handed out again."""
        return sum(feed.requeued.count for feed in self.feeds)

    def lag(self) -> int:
        """Messages that are not settled, handed out or not."""
        return sum(feed.lag() for feed in self.feeds)

    def describe(self) -> dict[str, Any]:
        """Everything about it, ready for JSON."""
        return {
            "topic": self.topic.name,
            "name": self.name,
            "start": str(self.start),
            "consumers": len(self.consumers),
            "in_flight": self.in_flight,
            "requeued": self.requeued,
            "lag": self.lag(),
            "deliveries_total": self.deliveries_total,
            "redeliveries_total": self.redeliveries_total,
            "partitions": [
                {
                    "partition": number,
                    "floor": feed.settlement.floor,
                    "next": feed.next,
                    "settled_beyond_floor": feed.settlement.settled_beyond,
                    "in_flight": sum(
                        consumer.held[number].count for consumer in self.consumers if number in consumer.held
                    ),
                    "requeued": feed.requeued.count,
                    "lag": feed.lag(),
                }
                for number, feed in enumerate(self.feeds)
            ],
        }

    # -- handing out ------------------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something new to hand out."""
        self._wake.set()

    def _spawn(self, delay_s: float) -> None:
        self._greenlet = gevent.spawn_later(delay_s, self._run) if delay_s else gevent.spawn(self._run)
        self._greenlet.name = f"subscription {self.topic.name}/{self.name}"

    def _run(self) -> None:
        """Hand out until the last consumer has gone. The greenlet."""
        try:
            while self.consumers:
                self._wake.clear()
                self._hand_out()
                # A topic that is being deleted hands out nothing; should that fail, it goes on.
                self._wake.wait(RETRY_S if self.topic.closed else None)
        except UnavailableError as error:
            log.warning("subscription waits for storage", extra=self._fields(error))
            self._spawn(RETRY_S)
            return
        except Exception as error:
            # Above all a CorruptError: the consumers learn of it, and nothing is skipped or tried over and over.
            if not isinstance(error, PortaskError):
                log.exception("subscription failed", extra=self._fields(error))
                error = PortaskError(f"group {self.name} of topic {self.topic.name} failed: {error}")
            elif self.consumers:
                log.error("subscription cannot read", extra=self._fields(error))  # noqa: TRY400  # the text says where
            self._greenlet = None
            self._cancel_consumers(error)
            return
        self._greenlet = None
        for feed in self.feeds:
            feed.forget()

    def _fields(self, error: Exception) -> dict[str, str]:
        return {"topic": self.topic.name, "subscription": self.name, "error": str(error)}

    def _hand_out(self) -> None:
        """Give out whatever can be given out. Blocks."""
        max_bytes = max(LEAST_READ_BYTES, READ_AHEAD_BYTES // len(self.feeds))
        handed_out = 0
        while self._ready and not self.topic.closed:
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

    def _next_feed(self) -> Feed | None:
        """The next partition in turn that has something to hand out."""
        feeds = self.feeds
        count = len(feeds)
        for step in range(1, count + 1):
            turn = (self._turn + step) % count
            feed = feeds[turn]
            available = feed.available()
            if feed.reserve():
                self._ledger.save()
            if available:
                self._turn = turn
                return feed
        return None

    def _take_turn(self, feed: Feed) -> int:
        """Give the consumer whose turn it is its share of *feed*; return how many messages that were."""
        consumer = self._ready[0]
        if self._lap == 0:
            self._lap = len(self._ready)
            self._share = -(-feed.available() // self._lap)
        deliveries = feed.take(min(self._share, consumer.credit, TURN_MESSAGES))
        if not deliveries:
            return 0
        number = feed.partition.number
        held = consumer.held.get(number)
        if held is None:
            held = consumer.held[number] = OffsetSet()
        count = 0
        for delivery in deliveries:
            size = len(delivery.records)
            held.add_range(delivery.base_offset, delivery.base_offset + size)
            count += size
            if delivery.redeliveries:
                self.redeliveries_total += size
        consumer.in_flight += count
        self._lap -= 1
        self.deliveries_total += count
        self._ready.popleft()
        if consumer.credit > 0:
            self._ready.append(consumer)
        else:
            consumer.is_ready = False
        consumer.deliver(deliveries)
        return count

    # -- beginning and end ------------------------------------------------------------------------

    def collect_creation(self, round_: Round) -> None:
        """Put the rows of a new subscription into *round_*. Nobody may attach before that is durable."""
        self._ledger.collect_creation(round_)

    def collect_deletion(self, round_: Round) -> None:
        """Put the deletion of all rows into *round_*. `cancel` is to follow when that is durable."""
        self._ledger.collect_deletion(round_)

    def close(self) -> None:
        """End in good order: consumers are cancelled without an error, and a last save is on its way.

        To be called before the bus is closed. A second call does nothing.
        """
        if self._ended is None:
            self._end(ShuttingDownError("the broker is shutting down"), None)
            for feed in self.feeds:
                feed.release()
            self._ledger.close()

    def cancel(self, error: PortaskError) -> None:
        """The subscription was deleted: cancel every consumer with *error*, and store nothing more."""
        self._ledger.drop()
        self._end(error, error)

    def _end(self, reason: PortaskError, told: PortaskError | None) -> None:
        self._ended = reason
        self._cancel_consumers(told)
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(block=False)
        self._greenlet = None

    def _cancel_consumers(self, error: PortaskError | None) -> None:
        for consumer in list(self.consumers):
            self.detach(consumer)
            consumer.cancelled(error)


def restore_subscriptions(
    load: Callable[[str], Mapping[bytes, bytes]], topics: Mapping[str, Topic], submit: Callable[[Change], None]
) -> Iterator[Subscription]:
    """Every stored subscription of *topics* (by id), known to its partitions; *load* gives the rows of a table.

    Raises CorruptError when a row breaks its format or names a topic that does not exist.
    """
    settlements = load_settlements(load(SETTLED))
    for key, value in load(TABLE).items():
        row = SubscriptionRow.decode(key, value)
        topic = topics.get(row.topic_id)
        if topic is None:
            raise CorruptError(f"subscription {row.name} belongs to topic {row.topic_id}, which does not exist")
        found = [
            # A partition that was added later is read from its start: all of it is newer than the subscription.
            settlements.get((row.id, partition.number))
            or Settlement(row.id, partition.number, partition.log_start_offset)
            for partition in topic.partitions
        ]
        subscription = Subscription(topic, row.id, row.name, row.start, found, submit)
        for partition in topic.partitions:
            partition.subscriptions.append(subscription)
        yield subscription
