"""Queues: what AMQP clients publish to and consume from, on a log and the subscription over it.

A queue is made and removed by Queues (portask.queues.queues). Its messages are a topic's: one of its own, whose
log is trimmed as they are settled, or one that was there before and that it is *attached* to, which keeps
what it has. A durable queue's topic is in the catalog, any other's is volatile and known to nobody else. A priority
queue has a partition for each priority. A stream has no subscription: cursors read it (stream_reader.py).

What a queue does besides keeping messages is its upkeep (upkeep.py), None unless arguments, policies or messages
ask for some; it costs one test then. What the upkeep takes out of the queue is in flight for a holder of its
own until it is settled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gevent

from portask.bus import Append, Change, Item
from portask.catalog import commit
from portask.errors import (
    AccessRefusedError,
    LockedQueueError,
    NotImplementedHereError,
    PortaskError,
    UnknownTopicError,
)
from portask.exchanges.deduplication import Deduplication
from portask.message import Record
from portask.properties import priority_of
from portask.queues.arguments import QUORUM, STREAM, QueueArguments
from portask.queues.stream_reader import StreamReaders
from portask.queues.upkeep import Upkeep, needs_upkeep
from portask.resource_name import describe, encode_name
from portask.start import Start

if TYPE_CHECKING:
    from portask.broker import Broker
    from portask.partition import Partition
    from portask.queues.queues import Queues
    from portask.subscriptions.consumer import Consumer, Delivery
    from portask.subscriptions.subscription import Subscription
    from portask.topic import Topic
    from portask.volatile import VolatilePartition

log = logging.getLogger(__name__)

SUBSCRIPTION = "default"
Done = Callable[[PortaskError | None], None]


class Queue:
    """One queue of one virtual host; a Destination of messages."""

    def __init__(
        self,
        queues: Queues,
        name: str,
        *,
        durable: bool,
        exclusive: object | None,
        auto_delete: bool,
        arguments: Mapping[str, Any],
        settings: QueueArguments,
        topic: Topic,
        is_attached: bool,
    ) -> None:
        """*exclusive* is the connection that alone may use it; *settings* what arguments and policies mean."""
        self.name = name
        self.virtual_host = queues.virtual_host
        self.durable = durable
        self.exclusive = exclusive
        self.auto_delete = auto_delete
        self.arguments = dict(arguments)
        """As declared."""
        self.settings = settings
        self.topic = topic
        self.is_attached = is_attached
        self.closed = False
        """Whether it is gone, or on its way."""
        self.last_used_ms = queues.broker.clock.now_ms()
        """When it was declared, consumed from or asked for a message for the last time."""
        self.upkeep: Upkeep | None = None
        self.deduplication = Deduplication(arguments, queues.broker.clock) if settings.deduplicates else None
        self.published_total = 0
        """Messages accepted."""
        self._queues = queues
        self._broker: Broker = queues.broker
        self.readers = StreamReaders(topic) if settings.type == STREAM else None
        """What a stream has in place of a subscription."""
        self._subscription = None if self.readers is not None else topic.subscriptions.get(SUBSCRIPTION)
        self._exclusive_consumer: Consumer | None = None
        self._had_consumers = False
        self._unwritten = 0
        """Appends that are on their way."""
        self._own_key = encode_name(name)
        topic.queue = self
        if self._subscription is not None:
            self._subscription.hand_out.is_by_priority = not is_attached and settings.max_priority is not None
            self._subscription.has_single_consumer = settings.single_active_consumer
            self._subscription.yields_to_priority = settings.type == QUORUM
            if not is_attached:
                self._subscription.trim_settled()

    # -- what it is -------------------------------------------------------------------------------

    @property
    def type(self) -> str:
        """classic, quorum or stream."""
        return self.settings.type

    @property
    def is_stream(self) -> bool:
        """Whether it is read by cursors and keeps what was read."""
        return self.settings.type == STREAM

    @property
    def counts_deliveries(self) -> bool:
        """Whether a message that failed says how often."""
        return self.settings.type == QUORUM

    @property
    def takes_many(self) -> bool:
        """Whether one answer will do for several messages: none of them is refused for what it is or when it comes."""
        settings = self.settings
        return settings.overflow == "drop-head" or (settings.max_length is None and settings.max_length_bytes is None)

    @property
    def subscription(self) -> Subscription:
        """What its consumers share. Not for streams."""
        assert self._subscription is not None
        return self._subscription

    @property
    def description(self) -> str:
        """How an error speaks of it."""
        return describe("queue", self.name, self.virtual_host.name)

    @property
    def ready(self) -> int:
        """Messages that wait to be handed out."""
        if self._subscription is None:
            return sum(one.written_offset - one.log_start_offset for one in self.topic.partitions)
        return self._subscription.ready()

    @property
    def unacked(self) -> int:
        """Messages handed out and not settled."""
        return (self.readers or self.subscription).in_flight

    @property
    def consumer_count(self) -> int:
        """How many consumers it feeds."""
        return len((self.readers or self.subscription).consumers)

    def check_owner(self, owner: object | None) -> None:
        """Raise LockedQueueError when the queue belongs to another connection than *owner*."""
        if self.exclusive is not None and self.exclusive is not owner:
            raise self.locked()

    def locked(self) -> LockedQueueError:
        """What is said to those who may not use it."""
        return LockedQueueError(
            f"cannot obtain exclusive access to locked {self.description}. It could be originally declared on another "
            "connection or the exclusive property value does not match that of the original declaration."
        )

    # -- publishing -------------------------------------------------------------------------------

    def publish(
        self,
        records: list[Record],
        size_bytes: int,
        done: Done | None,
        *,
        expiring: bool = False,
        into: list[Item] | None = None,
    ) -> None:
        """See Destination.publish. *records* must not be changed any more. Blocks while the bus is full.

        A queue that has been deleted answers with UnknownTopicError, one that is full with QueueFullError; never
        before this has returned.
        """
        if self.closed:
            self._later(done, UnknownTopicError(f"{self.description} has been deleted"))
            return
        if self.deduplication is None:
            self._publish(records, size_bytes, done, expiring, into)
            return
        records, done, original = self.deduplication.screen(records, done)
        if not records:
            self._later(done, None)
            return
        try:
            self._publish(records, size_bytes, done, expiring, into)
        except PortaskError as error:
            original.answer(error)
            raise

    def _publish(
        self, records: list[Record], size_bytes: int, done: Done | None, expiring: bool, into: list[Item] | None
    ) -> None:
        upkeep = self.upkeep
        if expiring and not self.is_stream:
            upkeep = upkeep or self._begin_upkeep()
            upkeep.expect_expiry(into)
        if upkeep is not None:
            refusal = upkeep.admit(records)
            if refusal is not None:
                self._later(done, refusal)
                return
        groups = (
            self._split(records, size_bytes)
            if len(self.topic.partitions) > 1
            else [(self.topic.partitions[0], records, size_bytes)]
        )
        if not self.durable:
            self._publish_volatile(groups, done, into)
            return
        answer = _Answers(self, len(groups), done).one
        for position, (partition, group, group_bytes) in enumerate(groups):
            self._unwritten += 1
            item = Append(partition, group, group_bytes, answer)
            if upkeep is not None:
                upkeep.accepted(item)
            if into is not None:
                into.append(item)
                continue
            try:
                self._broker.append(item)
            except PortaskError as error:
                item.error = error
                if not position:
                    self._unwritten -= 1
                    raise
                # Some of them are on their way already.
                answer(item)
        self.published_total += len(records)

    def _publish_volatile(
        self, groups: list[tuple[Partition, list[Record], int]], done: Done | None, into: list[Item] | None
    ) -> None:
        def append() -> None:
            now_ms = self._broker.clock.now_ms()
            for partition, group, group_bytes in groups:
                volatile: VolatilePartition = partition  # type: ignore[assignment]  # the topic of this queue has no other
                volatile.append(group, group_bytes, now_ms)
                self.published_total += len(group)

        def appended(change: Change) -> None:
            error = change.error
            if error is None:
                try:
                    append()
                except PortaskError as refusal:
                    error = refusal
            if done is not None:
                done(error)

        if into is not None:
            # With the rest of the transaction, which may yet be refused.
            into.append(Change(_nothing, appended))
            return
        append()
        self._later(done, None)

    def _split(self, records: list[Record], size_bytes: int) -> list[tuple[Partition, list[Record], int]]:
        """*records* by the partitions that they go to, each group in order."""
        groups: dict[Partition, list[Record]] = {}
        if self.is_attached or self.settings.max_priority is None:
            for record in records:
                key = None if isinstance(record, bytes) or len(record) < 2 else record[1]
                # To name the queue is not to choose a partition.
                partition = self.topic.partition_for(None if key == self._own_key else key or None)
                groups.setdefault(partition, []).append(record)
        else:
            partitions = self.topic.partitions
            highest = len(partitions) - 1
            for record in records:
                properties = None if isinstance(record, bytes) or len(record) < 5 else record[4]
                priority = priority_of(properties) if properties else 0
                groups.setdefault(partitions[min(priority, highest)], []).append(record)
        if len(groups) == 1:
            return [(partition, records, size_bytes) for partition in groups]
        return [(partition, group, size_bytes * len(group) // len(records)) for partition, group in groups.items()]

    def _later(self, done: Done | None, error: PortaskError | None) -> None:
        if done is not None:
            gevent.get_hub().loop.run_callback(done, error)

    def answered(self) -> None:
        """One append is as safe as configured, or refused."""
        self._unwritten -= 1

    def flush(self) -> None:
        """Wait until everything accepted so far is in the log. Blocks."""
        if self._unwritten:
            commit(self._broker.bus, _nothing)
        if self.upkeep is not None:
            self.upkeep.wait()

    # -- consuming --------------------------------------------------------------------------------

    def check_consumer(self, consumer: Consumer, *, exclusive: bool = False) -> None:
        """Raise what `consume` would raise as things are."""
        if self.closed:
            raise UnknownTopicError(f"{self.description} has been deleted")
        if self._exclusive_consumer is not None or (
            exclusive and (self.consumer_count or self.settings.single_active_consumer)
        ):
            raise AccessRefusedError(f"{self.description} in exclusive use")

    def consume(self, consumer: Consumer, *, exclusive: bool = False, start: Start | None = None) -> None:
        """Begin to feed *consumer*, which must be new; with *exclusive* nobody else. *start* is for streams.

        Raises AccessRefusedError when the queue is in exclusive use, or is in use and is wanted so.
        """
        self.check_consumer(consumer, exclusive=exclusive)
        self.touch()
        self._had_consumers = True
        if self.readers is not None:
            self.readers.attach(consumer, start or Start.NEXT)
        else:
            self.subscription.attach(consumer)
        if exclusive:
            self._exclusive_consumer = consumer

    def cancel(self, consumer: Consumer) -> None:
        """Feed *consumer* no more; what it has in flight it keeps until that is settled or released.

        Blocks when the queue goes with its last consumer, until it is gone.
        """
        self._leave(consumer)
        if self._is_left():
            self._queues.delete_left(self)

    def release(self, consumer: Consumer) -> None:
        """Take back what *consumer* has in flight, and feed it no more. Does not block."""
        self._leave(consumer)
        # Also on its way out: should storage refuse that, the queue goes on.
        (self.readers or self.subscription).release(consumer)
        if self._is_left():
            self._queues.delete_later(self)

    def forget(self, consumer: Consumer) -> None:
        """*consumer*, which is not fed, has nothing in flight and will have nothing any more. Does not block."""
        (self.readers or self.subscription).release(consumer)

    def _leave(self, consumer: Consumer) -> None:
        (self.readers or self.subscription).leave(consumer)
        if self._exclusive_consumer is consumer:
            self._exclusive_consumer = None
        self.touch()

    def _is_left(self) -> bool:
        return (
            self.auto_delete
            and self._had_consumers
            and not self.closed
            and not self.consumer_count
            # Those who go now go because the broker does.
            and not self._broker.stopping
        )

    def get(self, consumer: Consumer) -> tuple[Delivery, int] | None:
        """One message, in flight for *consumer* (which is not attached), and how many are left. Blocks.

        None when there is none. Sees everything that was accepted before the call.
        """
        if self.is_stream:
            raise NotImplementedHereError(f"basic.get not supported by stream queues {self.description}")
        if self.settings.type == QUORUM and self.settings.single_active_consumer:
            raise LockedQueueError(
                f"cannot obtain access to locked {self.description}. basic.get operations are not supported by quorum"
                " queues with single active consumer"
            )
        self.touch()
        self.flush()
        delivery = self.subscription.get(consumer)
        return None if delivery is None else (delivery, self.ready)

    def delete_unused(self) -> None:
        """Remove the queue unless it has consumers. Blocks until durable."""
        self._queues.delete_left(self)

    def delete_with_topic(self) -> None:
        """Remove the queue together with its topic. Blocks until durable."""
        self._queues.delete_with_topic(self)

    def touch(self) -> None:
        """The queue is in use."""
        self.last_used_ms = self._broker.clock.now_ms()
        if self.upkeep is not None:
            self.upkeep.used()

    # -- settling ---------------------------------------------------------------------------------

    def ack(self, consumer: Consumer, partition: int, first: int, last: int, into: list[Item] | None = None) -> None:
        """Settle *first* to *last*, which must be in flight for *consumer*; with *into* by the round of those items.

        Raises NotInFlightError and settles nothing otherwise. Does not block.
        """
        if self.readers is not None:
            self.readers.ack(consumer, partition, first, last)
        elif into is None:
            self.subscription.ack(consumer, partition, first, last)
        else:
            self.subscription.ack_in(consumer, partition, first, last, into)

    def requeue(self, consumer: Consumer, partition: int, first: int, last: int, counted: bool = False) -> None:
        """Give *first* to *last* back to their original position; *counted* as failures. As `ack` otherwise."""
        if self.readers is not None:
            self.readers.ack(consumer, partition, first, last)
            return
        self.subscription.nack(consumer, partition, first, last, is_failure=counted)

    def reject(self, consumer: Consumer, partition: int, first: int, last: int) -> None:
        """Give *first* to *last* up: they are dead letters, or dropped where there is no place for these."""
        if self.upkeep is not None:
            self.upkeep.reject(consumer, partition, first, last)
        else:
            (self.readers or self.subscription).ack(consumer, partition, first, last)

    def purge(self) -> int:
        """Drop everything that waits to be handed out; return how many messages that were. Blocks until durable."""
        if self.is_stream:
            raise NotImplementedHereError(f"queue.purge not supported by stream queues {self.description}")
        self.flush()
        return self.subscription.purge()

    # -- settings ---------------------------------------------------------------------------------

    def follow(self, settings: QueueArguments) -> None:
        """Work by *settings* from now on: policies have changed. Does not block."""
        self.settings = settings
        if self.upkeep is not None:
            self.upkeep.configure()
        elif needs_upkeep(settings) and not self.is_stream:
            self._begin_upkeep()

    def begin_upkeep(self, rows: Mapping[bytes, bytes] | None = None) -> None:
        """Take up what the queue does besides, when it is restored by the *rows* of table "expiry".

        Raises CorruptError.
        """
        if not self.is_stream and (needs_upkeep(self.settings) or (rows and self.subscription.key in rows)):
            self.upkeep = Upkeep(self, self._broker, rows)

    def _begin_upkeep(self) -> Upkeep:
        self.upkeep = Upkeep(self, self._broker)
        return self.upkeep


class _Answers:
    """Gathers the answers to the parts of one publish."""

    __slots__ = ("_done", "_error", "_left", "_queue")

    def __init__(self, queue: Queue, parts: int, done: Done | None) -> None:
        self._queue = queue
        self._left = parts
        self._done = done
        self._error: PortaskError | None = None

    def one(self, item: Append) -> None:
        """A part is answered."""
        self._queue.answered()
        self._error = self._error or item.error
        self._left -= 1
        if not self._left and self._done is not None:
            self._done(self._error)


def _nothing(_: object) -> None:
    """A change that changes nothing: it comes after what was put on the bus before."""
