"""Subscriptions: competing consumers over all partitions of a topic.

One greenlet per subscription hands out while there are consumers: runs of messages, in turns, to whoever
has credit. What is settled goes into the ledger (portask.subscriptions.ledger), which stores it. A consumer that takes
single messages, or that is fed no more, holds what it got until that is settled or released.

Messages are handed out when storage has taken them, before they are safe from the loss of power. An ack
of such a message is collected for a later round than the message, so after a crash no ack can be there
whose message is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import AsyncResult, Event

from portask.errors import CorruptError, NotInFlightError, PortaskError, ShuttingDownError, UnavailableError
from portask.start import Start
from portask.storage.base import Round
from portask.subscriptions.consumer import Consumer, Delivery
from portask.subscriptions.feed import Feed
from portask.subscriptions.hand_out import HandOut
from portask.subscriptions.ledger import TABLE, Done, Ledger, SubscriptionRow, VolatileLedger
from portask.subscriptions.offset_set import MAX_OFFSET, OffsetSet
from portask.subscriptions.settlement import TABLE as SETTLED
from portask.subscriptions.settlement import Settlement, load_settlements

if TYPE_CHECKING:
    from portask.bus import Change, Item
    from portask.message import Record
    from portask.partition import Partition
    from portask.topic import Topic

__all__ = ["TABLE", "Consumer", "Delivery", "Start", "Subscription", "restore_subscriptions"]

log = logging.getLogger(__name__)

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
        submit: Callable[[Change], None] | None,
    ) -> None:
        """*settlements* has one for each partition, in order; *submit* is `Bus.put`, None where nothing is stored."""
        self.topic, self.id, self.name, self.start = topic, subscription_id, name, start
        self.consumers: list[Consumer] = []
        self.has_single_consumer = False
        """Whether only one consumer is fed at a time, the next when it has gone."""
        self.yields_to_priority = False
        """Whether that one gives way at once to a new consumer of a higher priority."""
        self.active: Consumer | None = None
        """That one."""
        self.feeds = [
            Feed(partition, settlement) for partition, settlement in zip(topic.partitions, settlements, strict=True)
        ]
        self._ledger: Ledger | VolatileLedger
        if submit is None:
            self._ledger = VolatileLedger(settlements, topic.partitions)
        else:
            row = SubscriptionRow(subscription_id, topic.id, name, start)
            self._ledger = Ledger(row, settlements, submit, self.wake)
        self.hand_out = HandOut(topic, self.feeds, self._ledger.save)
        self.returned: Callable[[int | None, int, int], None] | None = None
        """Told the partition, the first and the last offset of what was given back; None for all. Must not block."""
        self._holders: set[Consumer] = set()
        """Consumers that may hold something, attached or not."""
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

    @classmethod
    def volatile(cls, topic: Topic, name: str) -> Subscription:
        """A subscription to a topic that is gone with the broker."""
        settlements = [Settlement.volatile(partition.number) for partition in topic.partitions]
        return cls(topic, 0, name, Start.FIRST, settlements, None)

    # -- consumers --------------------------------------------------------------------------------

    def attach(self, consumer: Consumer) -> None:
        """Begin to feed *consumer*, which must be new. Raises the reason when the subscription has ended."""
        if self._ended is not None:
            raise self._ended
        consumer.subscription = self
        self.consumers.append(consumer)
        self._holders.add(consumer)
        if consumer.shared is not None:
            consumer.shared.consumers.append(consumer)
        former = self.active
        if former is None or (self.yields_to_priority and consumer.priority > former.priority):
            self.active = consumer
            if former is not None and self.has_single_consumer:
                self.hand_out.line.leave(former)
        self.credit_changed(consumer)
        if self._greenlet is None:
            self._spawn(0)

    def leave(self, consumer: Consumer) -> None:
        """Feed *consumer* no more; what it has in flight it keeps. A second call does nothing."""
        if consumer not in self.consumers:
            return
        self.consumers.remove(consumer)
        consumer.subscription = None
        self.hand_out.line.leave(consumer)
        if consumer.shared is not None:
            consumer.shared.consumers.remove(consumer)
        if consumer is self.active:
            # The one of the highest priority follows; of several the one that has waited longest.
            self.active = max(self.consumers, key=_priority, default=None)
            if self.active is not None:
                self.credit_changed(self.active)
        self._wake.set()

    def release(self, consumer: Consumer, is_failure: bool = True) -> None:
        """Take back everything that *consumer* has in flight, to be redelivered."""
        self._holders.discard(consumer)
        held, consumer.held = consumer.held, {}
        for number, offsets in held.items():
            self._give_back(self.feeds[number], offsets, is_failure)
        if consumer.in_flight:
            self.hand_out.count(consumer, -consumer.in_flight)
            self._ledger.save()
            if self.returned is not None:
                self.returned(None, 0, MAX_OFFSET - 1)

    def detach(self, consumer: Consumer) -> None:
        """Feed *consumer* no more; what it had in flight goes back, redelivered. A second call does nothing."""
        self.leave(consumer)
        if consumer in self._holders:
            self.release(consumer)

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
        self._take_back(consumer, partition, first, last).settlement.settle(first, last + 1)
        self._ledger.save(done, is_urgent=done is not None)

    def ack_in(self, consumer: Consumer, partition: int, first: int, last: int, items: list[Item]) -> None:
        """Settle *first* to *last* with the round that has all of *items*, which get a change for it.

        Should that round be refused they go back, to be redelivered. Raises NotInFlightError as `ack`.
        """
        feed = self._take_back(consumer, partition, first, last)
        count = last + 1 - first
        # Until the round is made nobody holds them, and they do not wait either.
        self.hand_out.in_flight += count

        def settle() -> None:
            self.hand_out.in_flight -= count
            feed.settlement.settle(first, last + 1)

        def refused(is_settled: bool) -> None:
            if is_settled:
                feed.settlement.unsettle(first, last + 1)
            else:
                self.hand_out.in_flight -= count
            self._give_back(feed, OffsetSet.of_range(first, last + 1), False)

        self._ledger.settle_in(items, settle, refused)

    def nack(
        self,
        consumer: Consumer,
        partition: int,
        first: int,
        last: int,
        done: Done | None = None,
        is_failure: bool = True,
    ) -> None:
        """Give *first* to *last* back to their original position, to be handed out again. Else as `ack`.

        With *is_failure* one more failure is counted for each.
        """
        self._give_back(
            self._take_back(consumer, partition, first, last), OffsetSet.of_range(first, last + 1), is_failure
        )
        self._ledger.save(done)
        if self.returned is not None:
            self.returned(partition, first, last)

    def move(self, consumer: Consumer, partition: int, first: int, last: int, holder: Consumer) -> None:
        """Let *holder* have in flight what *consumer* had. Raises NotInFlightError as `ack`."""
        self._take_back(consumer, partition, first, last)
        self.hold(holder, partition, OffsetSet.of_range(first, last + 1))

    def hold(self, holder: Consumer, partition: int, offsets: OffsetSet) -> None:
        """Count *offsets*, which were taken from that partition's feed, as in flight for *holder*.

        It need not be attached. It gives them up by `ack`, `nack` and `release`.
        """
        self._holders.add(holder)
        held = holder.held.get(partition)
        if held is None:
            held = holder.held[partition] = OffsetSet()
        held.add(offsets)
        self.hand_out.count(holder, offsets.count)

    def withdraw(self, holder: Consumer, partition: int, offsets: OffsetSet) -> OffsetSet:
        """Let *holder* have in flight those of *offsets* that wait to be handed out; return which these are."""
        taken = self.feeds[partition].withdraw(offsets)
        self.hold(holder, partition, taken)
        return taken

    def purge(self) -> int:
        """Settle everything that waits to be handed out; return how many messages that were. Blocks until durable."""
        count = sum(feed.purge() for feed in self.feeds)
        self.save()
        return count

    def credit_changed(self, consumer: Consumer) -> None:
        """*consumer* may have got credit, or lost it."""
        if consumer.credit <= 0:
            self.hand_out.line.leave(consumer)
        elif not consumer.is_ready and (not self.has_single_consumer or consumer is self.active):
            self.hand_out.line.enter(consumer)
            self._wake.set()

    def _give_back(self, feed: Feed, offsets: OffsetSet, is_failure: bool) -> None:
        feed.give_back(offsets, is_failure)
        self._wake.set()

    def _take_back(self, consumer: Consumer, partition: int, first: int, last: int) -> Feed:
        held = consumer.held.get(partition)
        if held is None or not 0 <= first <= last or not held.take_range(first, last + 1):
            raise NotInFlightError(
                f"{first} to {last} of partition {partition} of {self.topic.name} are not all in flight for this"
                f" consumer of group {self.name}"
            )
        self.hand_out.count(consumer, first - last - 1)
        if not consumer.is_ready and consumer.subscription is self:
            self.credit_changed(consumer)
        return self.feeds[partition]

    def add_partition(self, partition: Partition) -> None:
        """The topic has got *partition*, which follows the last one: all of it is still to be handed out."""
        settlement = Settlement(self.id, partition.number, partition.log_start_offset)
        self.feeds.append(Feed(partition, settlement))
        assert isinstance(self._ledger, Ledger)
        self._ledger.add(settlement, partition)
        partition.subscriptions.append(self)

    def trim_settled(self) -> None:
        """From now on the logs are trimmed to what is settled: nobody else is to read them."""
        if isinstance(self._ledger, Ledger):
            self._ledger.trimmed = [feed.partition for feed in self.feeds]

    # -- what is known of it ----------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Messages handed out and not settled."""
        return self.hand_out.in_flight

    @property
    def key(self) -> bytes:
        """What the keys of its rows begin with."""
        return SubscriptionRow(self.id, self.topic.id, self.name, self.start).key

    @property
    def deliveries_total(self) -> int:
        """Messages handed out."""
        return self.hand_out.deliveries_total

    @property
    def redeliveries_total(self) -> int:
        """Messages handed out that may have been handed out before."""
        return self.hand_out.redeliveries_total

    @property
    def requeued(self) -> int:
        """Messages that wait to be handed out again."""
        return sum(feed.requeued.count for feed in self.feeds)

    def lag(self) -> int:
        """Messages that are not settled, handed out or not."""
        return sum(feed.lag() for feed in self.feeds)

    def ready(self) -> int:
        """Messages that wait to be handed out."""
        return max(0, self.lag() - self.in_flight)

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
                        consumer.held[number].count for consumer in self._holders if number in consumer.held
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

    def arrived(self, number: int, base_offset: int, timestamp: int, records: list[Record] | None) -> None:
        """Partition *number* has got a batch, of which the *records* may be known. Does not switch."""
        try:
            if records is not None and self.hand_out.hand_on(number, base_offset, timestamp, records):
                return
        except Exception as error:  # one consumer's mistake must not end the greenlet that serves all others
            self._fail(error)
        self._wake.set()

    def _spawn(self, delay_s: float) -> None:
        HandOut.active.add(self.hand_out)
        self._greenlet = gevent.spawn_later(delay_s, self._run) if delay_s else gevent.spawn(self._run)
        self._greenlet.name = f"subscription {self.topic.name}/{self.name}"

    def _run(self) -> None:
        """Hand out until the last consumer has gone. The greenlet."""
        try:
            while self.consumers:
                self._wake.clear()
                self.hand_out.run()
                # A topic that is being deleted hands out nothing; should that fail, it goes on.
                self._wake.wait(RETRY_S if self.topic.closed else None)
        except UnavailableError as error:
            log.warning("subscription waits for storage", extra=self._fields(error))
            self._spawn(RETRY_S)
            return
        except Exception as error:
            # Above all a CorruptError: the consumers learn of it, and nothing is skipped or tried over and over.
            self._greenlet = None
            self._rest()
            self._fail(error)
            return
        self._greenlet = None
        self._rest()

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, PortaskError):
            log.error("subscription failed", exc_info=error, extra=self._fields(error))
            error = PortaskError(f"group {self.name} of topic {self.topic.name} failed: {error}")
        elif self.consumers:
            log.error("subscription cannot read", extra=self._fields(error))
        self._cancel_consumers(error)

    def _rest(self) -> None:
        """Keep nothing in memory: nobody waits for it."""
        HandOut.active.discard(self.hand_out)
        for feed in self.feeds:
            feed.forget()

    def _fields(self, error: Exception) -> dict[str, str]:
        return {"topic": self.topic.name, "subscription": self.name, "error": str(error)}

    def get(self, consumer: Consumer) -> Delivery | None:
        """One message, in flight for *consumer*, which need not be attached; None when there is none. Blocks.

        Raises what kept it from being read.
        """
        if not consumer.no_ack:
            self._holders.add(consumer)
        while self._ended is None:
            delivery = self.hand_out.get(consumer)
            if delivery is not None:
                return delivery
            if not any(feed.is_held_up() for feed in self.feeds):
                break
            self.save()
        if not self.consumers:
            self._rest()
        return None

    def save(self) -> None:
        """Have everything stored that has changed. Blocks; raises what kept it from that."""
        answer = AsyncResult()
        self._ledger.save(answer.set)
        change: Change = answer.get()
        if change.error is not None:
            raise change.error

    # -- beginning and end ------------------------------------------------------------------------

    def collect_creation(self, round_: Round) -> None:
        """Put the rows of a new subscription into *round_*. Nobody may attach before that is durable."""
        assert isinstance(self._ledger, Ledger)
        self._ledger.collect_creation(round_)

    def collect_deletion(self, round_: Round) -> None:
        """Put the deletion of all rows into *round_*. `cancel` is to follow when that is durable."""
        assert isinstance(self._ledger, Ledger)
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
        self.returned = None
        self._cancel_consumers(told)
        for consumer in list(self._holders):
            self.release(consumer)
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(block=False)
        self._greenlet = None
        self._rest()

    def _cancel_consumers(self, error: PortaskError | None) -> None:
        for consumer in list(self.consumers):
            self.detach(consumer)
            consumer.cancelled(error)


def _priority(consumer: Consumer) -> int:
    return consumer.priority


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
