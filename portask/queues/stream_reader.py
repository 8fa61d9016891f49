"""Readers of a stream: every consumer has a cursor of its own over the log, which keeps what was read.

A reader begins where its consumer says and delivers what is durable, in order, each message once. To acknowledge,
to reject or to requeue a message of a stream means the same: its consumer may get one more. Nothing is stored
of it, and what was not acknowledged is not delivered again, unless a new consumer begins before it.

To a Queue its StreamReaders are what a Subscription is to others: it attaches consumers, settles for them, and cancels
them when the stream is deleted. They read whatever partitions the topic has, as it does for one that a stream queue
was declared over.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from portask.errors import NotInFlightError, PortaskError, ShuttingDownError, UnavailableError, UnknownTopicError
from portask.partition import Partition, Run
from portask.start import Start
from portask.subscriptions.consumer import Consumer, Delivery
from portask.subscriptions.offset_set import OffsetSet

if TYPE_CHECKING:
    from portask.topic import Topic

log = logging.getLogger(__name__)

TURN_MESSAGES = 256
"""The most in one delivery."""
YIELD_MESSAGES = 2048
"""After so many messages in one go other greenlets have their turn."""
READ_BYTES = 64 * 1024
"""What a reader reads at once of one partition."""
RETRY_S = 1.0
"""How long to wait when storage is unavailable."""


class _Cursor:
    """The place of one reader in one partition."""

    __slots__ = ("_runs", "next_offset", "partition")

    def __init__(self, partition: Partition, offset: int) -> None:
        self.partition = partition
        self.next_offset = offset
        self._runs: deque[Run] = deque()

    def has_more(self) -> bool:
        """Whether something durable follows."""
        return self.next_offset < self.partition.high_watermark

    def take(self, limit: int) -> Delivery | None:
        """The next messages, at most *limit*; None when there are none after all. May block."""
        partition, runs = self.partition, self._runs
        # Retention does not wait for readers.
        self.next_offset = max(self.next_offset, partition.log_start_offset)
        while runs and runs[0].next_offset <= self.next_offset:
            runs.popleft()
        if not runs:
            runs.extend(partition.read_runs(self.next_offset, READ_BYTES))
        if not runs:
            # Compaction has left nothing up to the end.
            self.next_offset = max(self.next_offset, partition.high_watermark)
            return None
        base_offset, timestamp, records = runs[0]
        start = max(base_offset, self.next_offset)
        stop = min(start + limit, base_offset + len(records), partition.high_watermark)
        if start >= stop:
            self.next_offset = max(self.next_offset, min(start, partition.high_watermark))
            return None
        if stop - start < len(records):
            records = records[start - base_offset : stop - base_offset]
        self.next_offset = stop
        return Delivery(partition, start, timestamp, records, 0)


class StreamReader:
    """Feeds one consumer. Made by StreamReaders."""

    def __init__(self, topic: Topic, consumer: Consumer, start: Start) -> None:
        """May block, to find a time in the log."""
        self.consumer = consumer
        self._topic = topic
        self._cursors = [_Cursor(partition, start.offset_in(partition)) for partition in topic.partitions]
        self._turn = 0
        self._wake = Event()
        self._stopped = False
        for cursor in self._cursors:
            cursor.partition.watch(self._wake.set)
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = f"stream reader {topic.name}"

    @property
    def lag(self) -> int:
        """How many durable messages follow."""
        return sum(max(0, cursor.partition.high_watermark - cursor.next_offset) for cursor in self._cursors)

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    def stop(self) -> None:
        """Deliver nothing more. Does not block; a second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        for cursor in self._cursors:
            cursor.partition.unwatch(self._wake.set)
        if self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(block=False)

    def _run(self) -> None:
        """Deliver until it is stopped. The greenlet."""
        while not self._stopped:
            self._wake.clear()
            try:
                self._deliver()
            except UnavailableError as error:
                log.warning("stream reader waits for storage", extra=self._fields(error))
                gevent.sleep(RETRY_S)
                continue
            except Exception as error:
                # Above all a CorruptError: the consumer learns of it, and nothing is skipped.
                if not isinstance(error, PortaskError):
                    log.exception("stream reader failed", extra=self._fields(error))
                    error = PortaskError(f"stream {self._topic.name} failed: {error}")
                readers = self.consumer.subscription
                if readers is not None:
                    readers.leave(self.consumer)
                self.consumer.cancelled(error)
                return
            self._wake.wait()

    def _fields(self, error: Exception) -> dict[str, str]:
        return {"topic": self._topic.name, "error": str(error)}

    def _deliver(self) -> None:
        consumer = self.consumer
        delivered = 0
        while not self._stopped and consumer.credit > 0 and not self._topic.closed:
            cursor = self._next_cursor()
            if cursor is None:
                return
            delivery = cursor.take(min(consumer.credit, TURN_MESSAGES))
            if delivery is None:
                continue
            if self._stopped:
                return
            size = len(delivery.records)
            if consumer.credit < size:
                # To read may take a while: meanwhile the consumer was paused.
                cursor.next_offset = delivery.base_offset
                continue
            held = consumer.held.setdefault(cursor.partition.number, OffsetSet())
            held.add_range(delivery.base_offset, delivery.next_offset)
            consumer.count(size)
            consumer.deliver([delivery])
            delivered += size
            if delivered >= YIELD_MESSAGES:
                delivered = 0
                gevent.sleep(0)

    def _next_cursor(self) -> _Cursor | None:
        """The next partition in turn that has something to deliver."""
        cursors = self._cursors
        for step in range(1, len(cursors) + 1):
            turn = (self._turn + step) % len(cursors)
            if cursors[turn].has_more():
                self._turn = turn
                return cursors[turn]
        return None


class StreamReaders:
    """All readers of one stream."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self._readers: dict[Consumer, StreamReader] = {}
        self._in_flight: set[Consumer] = set()
        """Those that may have something in flight, attached or not."""
        self._ended: PortaskError | None = None

    @property
    def consumers(self) -> list[Consumer]:
        """Those that are fed."""
        return list(self._readers)

    @property
    def in_flight(self) -> int:
        """Messages delivered and not acknowledged."""
        return sum(consumer.in_flight for consumer in self._in_flight)

    def attach(self, consumer: Consumer, start: Start = Start.NEXT) -> None:
        """Begin to feed *consumer*, which must be new, from *start* on. May block. Raises why it cannot."""
        if self._ended is not None:
            raise self._ended
        reader = StreamReader(self.topic, consumer, start)
        if self._ended is not None:
            reader.stop()
            raise self._ended
        self._readers[consumer] = reader
        self._in_flight.add(consumer)
        consumer.subscription = self  # type: ignore[assignment]  # to a consumer it is what feeds it
        reader.wake()

    def leave(self, consumer: Consumer) -> None:
        """Feed *consumer* no more; what it has in flight it may still acknowledge. A second call does nothing."""
        reader = self._readers.pop(consumer, None)
        if reader is not None:
            consumer.subscription = None
            reader.stop()

    def release(self, consumer: Consumer) -> None:
        """Forget what *consumer* has in flight."""
        self._in_flight.discard(consumer)
        consumer.held = {}
        if consumer.in_flight:
            consumer.count(-consumer.in_flight)

    def ack(self, consumer: Consumer, partition: int, first: int, last: int) -> None:
        """*first* to *last* have been taken care of, one way or another: *consumer* may get as many more.

        Raises NotInFlightError, and changes nothing, unless all of them are in flight for *consumer*.
        """
        held = consumer.held.get(partition)
        if held is None or not 0 <= first <= last or not held.take_range(first, last + 1):
            raise NotInFlightError(
                f"{first} to {last} of partition {partition} of {self.topic.name} are not all in flight for this reader"
            )
        consumer.count(first - last - 1)
        self.credit_changed(consumer)

    def credit_changed(self, consumer: Consumer) -> None:
        """*consumer* may have got credit."""
        reader = self._readers.get(consumer)
        if reader is not None:
            reader.wake()

    def cancel(self, error: PortaskError | None = None) -> None:
        """The stream was deleted: cancel every consumer with *error*."""
        self._end(error or UnknownTopicError(f"stream {self.topic.name} has been deleted"), error)

    def close(self) -> None:
        """The broker stops: consumers are cancelled without an error. A second call does nothing."""
        self._end(ShuttingDownError("the broker is shutting down"), None)

    def _end(self, reason: PortaskError, told: PortaskError | None) -> None:
        if self._ended is not None:
            return
        self._ended = reason
        for consumer in self.consumers:
            self.leave(consumer)
            self.release(consumer)
            consumer.cancelled(told)
