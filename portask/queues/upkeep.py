"""The upkeep of a queue: everything that only some queues need, and that happens by itself or when a message dies.

Dead lettering, expiry, limits, the delivery limit, the consumer timeout and the end of a queue that nobody
uses. A queue that has none of them has no Upkeep, and costs nothing. Whatever is taken out of the queue is
in flight for the *holder* of the upkeep, which is nobody's consumer, until it is settled.

One greenlet looks after the queue when something has come, was given back or is due, and ends when all is
done; the broker's reaper knows when the next thing is due. What must be true when a publisher has its
answer is done at once where it needs no reading: a queue that may hold ten messages holds no more then.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import gevent

from portask.errors import PortaskError, QueueFullError
from portask.queues.dead_letter import DeadLetters
from portask.queues.death import Reason
from portask.queues.delivery_timeout import DeliveryTimeouts, timeout_error
from portask.queues.expiry import Expiry
from portask.queues.limits import QueueLimits, is_limited
from portask.subscriptions.consumer import Consumer, Delivery
from portask.subscriptions.offset_set import OffsetSet

if TYPE_CHECKING:
    from portask.broker import Broker
    from portask.bus import Append, Item
    from portask.message import Record
    from portask.partition import Partition
    from portask.queues.arguments import QueueArguments
    from portask.queues.queue import Queue
    from portask.storage.base import Round
    from portask.subscriptions.feed import Feed

log = logging.getLogger(__name__)

NEVER = float("inf")
RETRY_S = 1.0
"""How long to wait when storage is unavailable."""
PATIENCE_S = 0.1
"""So long what is ready may still be on its way to consumers that wait for it."""
STEP_S = 0.001


def needs_upkeep(settings: QueueArguments) -> bool:
    """Whether a queue with *settings* needs any."""
    return is_limited(settings) or any(
        value is not None
        for value in (
            settings.message_ttl_ms,
            settings.expires_ms,
            settings.dead_letter_exchange,
            settings.delivery_limit,
            settings.consumer_timeout_ms,
        )
    )


class Upkeep:
    """The upkeep of one queue."""

    def __init__(self, queue: Queue, broker: Broker, rows: Mapping[bytes, bytes] | None = None) -> None:
        """*rows* are those of the table "expiry" when the queue is restored. Raises CorruptError."""
        self.id = queue.name
        self.wake_at = NEVER
        self._queue = queue
        self._broker = broker
        self._clock = broker.clock
        self._holder = Consumer(_never_fed, 0, _never_cancelled)
        self.dead_letters = DeadLetters(queue, self._holder, broker.clock)
        self._expiry = Expiry(queue, broker, self._holder, self.dead_letters.put)
        self._limits = QueueLimits(queue, self._holder, self.dead_letters.put)
        self._timeouts = DeliveryTimeouts()
        self._watched: list[Partition] = []
        self._greenlet: gevent.Greenlet | None = None
        self._again = False
        self._closed = False
        queue.subscription.returned = self.returned
        self._expiry_at = NEVER
        """When the next message may expire, as far as that is known."""
        if rows is not None:
            self._expiry.restore(rows)
        self.configure()

    def configure(self) -> None:
        """The queue's settings may have changed. Must not block."""
        if self._is_expiring() or self._queue.settings.consumer_timeout_ms:
            self._queue.subscription.hand_out.screen = self._screen
        if self._is_expiring() or is_limited(self._queue.settings):
            if not self._watched:
                self._expiry.waited()
            self._watch()
        self._wake()

    def _watch(self) -> None:
        for feed in self._queue.subscription.feeds[len(self._watched) :]:
            feed.partition.watch(self.grown)
            self._watched.append(feed.partition)

    def close(self) -> None:
        """Do nothing more: the queue is gone, or the broker stops. Must not block."""
        self._closed = True
        # Else it would be kept until its next deadline, which may be a day away, and the queue with it.
        self._broker.queue_reaper.forget(self)
        self.dead_letters.close()
        self._queue.subscription.returned = None
        # Those that were on their way out have not failed.
        self._queue.subscription.release(self._holder, is_failure=False)
        for partition in self._watched:
            partition.unwatch(self.grown)
        self._watched.clear()
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(block=False)
        self._greenlet = None

    def collect_deletion(self, round_: Round) -> None:
        """Put the deletion of what is stored of the queue's upkeep into *round_*."""
        self._expiry.collect_deletion(round_)

    # -- publishing -------------------------------------------------------------------------------

    def admit(self, records: list[Record]) -> PortaskError | None:
        """Why *records* are not taken, or None. May block."""
        if not self._limits.is_rejecting or not self._limits.is_full_for(records):
            return None
        refusal = QueueFullError(f"{self._queue.description} is full")
        if self._queue.settings.overflow == "reject-publish-dlx":
            self.dead_letters.send(records, Reason.MAXLEN)
            refusal.is_dead_lettered = True
        return refusal

    def accepted(self, append: Append) -> None:
        """*append*, which was admitted, is on its way."""
        if self._limits.is_rejecting:
            self._limits.accepted(append)

    def expect_expiry(self, into: list[Item] | None) -> None:
        """Messages with an expiration of their own are about to be published, with *into* in the round of these."""
        if not self._expiry.is_own:
            self._expiry.expect(into)
            self.configure()

    def grown(self) -> None:
        """Something has come into the log, or has left it. Must not block."""
        if self._closed or not self._watched:
            return
        if self._is_being_served():
            self._wake()
            return
        self._expiry.waited()
        self._limits.enforce()
        # What comes lives as long as what is there or longer, unless it says so itself.
        if self._limits.must_read or self._expiry.is_own or (self._is_expiring() and self._expiry_at == NEVER):
            self._wake()

    # -- settling ---------------------------------------------------------------------------------

    def reject(self, consumer: Consumer, partition: int, first: int, last: int) -> None:
        """What *consumer* has in flight is dead. Must not block. Raises NotInFlightError."""
        self._queue.subscription.move(consumer, partition, first, last, self._holder)
        self.dead_letters.put(Reason.REJECTED, partition, OffsetSet.of_range(first, last + 1))

    def returned(self, partition: int | None, first: int, last: int) -> None:
        """*first* to *last* of *partition*, or anything anywhere, was given back to the queue. Must not block."""
        limit = self._queue.settings.delivery_limit
        feeds = self._queue.subscription.feeds
        if partition is not None:
            feeds = [feeds[partition]]
        if limit is not None:
            for feed in feeds:
                self._give_up_failed(feed, first, last + 1, limit)
        self._limits.enforce()
        self._expiry.returned(feeds, first, last + 1)
        if self._is_expiring():
            self._wake()

    def used(self) -> None:
        """Somebody has used the queue, or has just stopped using it. Must not block."""
        if self._queue.settings.expires_ms is not None and not self._closed:
            self._broker.queue_reaper.wake(self, self._expires_at())

    def _give_up_failed(self, feed: Feed, begin: int, end: int, limit: int) -> None:
        """Take out of *feed* what was given back between *begin* and *end* and has failed more than *limit* times."""
        failed = OffsetSet()
        for start, stop in feed.requeued.ranges(begin, end):
            for part_start, part_stop, _, failures in feed.settlement.redeliveries(start, stop):
                if failures > limit:
                    failed.add_range(part_start, part_stop)
        if failed.count:
            number = feed.partition.number
            taken = self._queue.subscription.withdraw(self._holder, number, failed)
            self.dead_letters.put(Reason.DELIVERY_LIMIT, number, taken)

    def _screen(self, consumer: Consumer, feed: Feed, deliveries: list[Delivery]) -> list[Delivery]:
        if self._is_expiring():
            deliveries = self._expiry.screen(feed, deliveries)
        timeout_ms = self._queue.settings.consumer_timeout_ms
        if deliveries and timeout_ms:
            now = self._clock.monotonic()
            self._timeouts.note(consumer, deliveries, now)
            self._broker.queue_reaper.wake(self, now + timeout_ms / 1000)
        return deliveries

    # -- what is due ------------------------------------------------------------------------------

    def tick(self, now: float) -> float:
        """Something may be due at *now*; the greenlet sees to it, and says when it is to be called again."""
        self._wake()
        return NEVER

    def wait(self) -> None:
        """Wait until the queue's limits hold for everything that is in the log. Blocks."""
        if self._limits.must_read and not self._closed:
            self._limits.catch_up()
            self._limits.enforce()

    def _is_expiring(self) -> bool:
        return self._queue.settings.message_ttl_ms is not None or self._expiry.is_own

    def _is_being_served(self) -> bool:
        """Whether there are messages that consumers can take who wait."""
        subscription = self._queue.subscription
        return bool(subscription.hand_out.line) and subscription.ready() > 0

    def _wake(self) -> None:
        if self._closed:
            return
        self._again = True
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
            self._greenlet.name = f"upkeep of {self._queue.description}"

    def _run(self) -> None:
        """Look after the queue until nothing is left to do now. The greenlet."""
        deadline = NEVER
        try:
            while self._again and not self._closed:
                self._again = False
                self._let_be_served()
                deadline = self._look()
        except PortaskError as error:
            log.warning("upkeep of a queue waits", extra={"queue": self._queue.name, "error": str(error)})
            deadline = self._clock.monotonic() + RETRY_S
        except Exception:
            log.exception("upkeep of a queue failed", extra={"queue": self._queue.name})
            deadline = self._clock.monotonic() + RETRY_S
        finally:
            self._greenlet = None
        if not self._closed:
            self._broker.queue_reaper.wake(self, deadline)

    def _let_be_served(self) -> None:
        """Let consumers who wait have what they can take. Blocks."""
        left_s = PATIENCE_S
        while left_s > 0 and not self._closed and self._is_being_served():
            left_s -= STEP_S
            gevent.sleep(STEP_S)

    def _look(self) -> float:
        """Do all that is due; return when the next thing is, on the monotonic clock. Blocks."""
        settings = self._queue.settings
        if self._watched:
            # The topic may have got more partitions.
            self._watch()
        self._expiry.waited()
        if self._limits.must_read:
            self._limits.catch_up()
        self._limits.enforce()
        deadline = self._expiry_at = NEVER
        if self._is_expiring():
            due_ms = self._expiry.expire()
            if due_ms is not None:
                deadline = self._expiry_at = self._clock.monotonic() + max(0, due_ms - self._clock.now_ms()) / 1000
        if settings.consumer_timeout_ms:
            deadline = min(deadline, self._end_late_consumers(settings.consumer_timeout_ms))
        if settings.expires_ms is not None:
            deadline = min(deadline, self._end_unused())
        return deadline

    def _end_late_consumers(self, timeout_ms: int) -> float:
        late, deadline = self._timeouts.late(self._clock.monotonic(), timeout_ms)
        for consumer in late:
            log.warning("consumer did not settle in time", extra={"queue": self._queue.name, "timeout_ms": timeout_ms})
            self._queue.subscription.leave(consumer)
            consumer.cancelled(timeout_error(timeout_ms))
        return deadline

    def _end_unused(self) -> float:
        """Delete the queue if nobody has used it for as long as it says; else return when that may be. Blocks."""
        at = self._expires_at()
        if at > self._clock.monotonic():
            return at
        if self._queue.consumer_count == 0:
            log.info("queue expired", extra={"queue": self._queue.name})
            self._queue.delete_unused()
        return NEVER

    def _expires_at(self) -> float:
        """When the queue would be unused for too long, on the monotonic clock; never while it has consumers."""
        expires_ms = self._queue.settings.expires_ms
        if expires_ms is None or self._queue.consumer_count:
            return NEVER
        return self._clock.monotonic() + (self._queue.last_used_ms + expires_ms - self._clock.now_ms()) / 1000


def _never_fed(_: list[Delivery]) -> None:
    """The holder is not attached."""


def _never_cancelled(_: PortaskError | None) -> None:
    """Nor does anyone wait for it."""
