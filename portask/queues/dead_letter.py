"""Dead letters: messages that a queue gives up, on their way to its dead letter exchange.

What is dead is in flight for a *holder* until everyone who gets it has it, as safe as configured; only then is
it settled. So a broker that dies in between loses nothing: the message is back in its queue, and may come
to the dead letter exchange a second time. One greenlet takes the dead in the order in which they died, reads
them from the log and publishes them, a piece at a time. Nobody waits for it.

A message is dropped when the exchange is not there or leads nowhere, when a queue refuses it, and when it has come
round to a queue where it died before without any client having rejected it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from portask.errors import NotInFlightError, PortaskError, ShuttingDownError, StorageFailedError, UsageError
from portask.message import Record
from portask.queues.death import DeadMessage, Reason, bury, cycling
from portask.subscriptions.consumer import Consumer
from portask.subscriptions.offset_set import OffsetSet

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.exchanges.exchange import Destination, Route
    from portask.queues.queue import Queue
    from portask.virtual_host import VirtualHost

log = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
"""About as much is read at once, and waits for the disk together."""
RETRY_S = 1.0
"""How long to wait after storage refused a piece."""


class DeadLetters:
    """The dead of one queue."""

    def __init__(self, queue: Queue, holder: Consumer, clock: Clock) -> None:
        """*holder* has all that is put here in flight."""
        self.totals = dict.fromkeys(Reason, 0)
        """Messages that died, by reason, whether there was a place for them or not."""
        self._queue = queue
        self._holder = holder
        self._clock = clock
        self._waiting: deque[tuple[Reason, int, int, int]] = deque()
        """Reason, partition, first offset and the one after the last, in the order of their deaths."""
        self._greenlet: gevent.Greenlet | None = None
        self._closed = False

    def put(self, reason: Reason, partition: int, offsets: OffsetSet) -> None:
        """Send *offsets*, which *holder* has in flight, to the dead letter exchange, or drop them if there is none."""
        self.totals[reason] += offsets.count
        if self._closed:
            return
        if self._queue.settings.dead_letter_exchange is None and not self._waiting:
            self._settle(partition, offsets.ranges())
            return
        for start, stop in offsets.ranges():
            self._put(reason, partition, start, stop)
        if self._greenlet is None and self._waiting:
            self._greenlet = gevent.spawn(self._run)
            self._greenlet.name = f"dead letters of {self._queue.description}"

    def send(self, records: list[Record], reason: Reason) -> None:
        """Send *records*, which the queue never had, to the dead letter exchange. Blocks; raises as publishing does."""
        self.totals[reason] += len(records)
        self._publish(records, reason)

    def close(self) -> None:
        """Send nothing more: what is not through stays in the queue."""
        self._closed = True
        self._waiting.clear()
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(block=False)
        self._greenlet = None

    def _put(self, reason: Reason, partition: int, start: int, stop: int) -> None:
        # Single messages that are rejected one after the other are one entry, however many wait.
        if self._waiting and self._waiting[-1][:2] == (reason, partition) and self._waiting[-1][3] == start:
            start = self._waiting.pop()[2]
        self._waiting.append((reason, partition, start, stop))

    def _run(self) -> None:
        """Send on what waits. The greenlet."""
        while self._waiting:
            reason, partition, start, stop = self._waiting.popleft()
            try:
                while start < stop:
                    start = self._send_piece(reason, partition, start, stop)
            except (ShuttingDownError, StorageFailedError):
                break
            except Exception as error:  # the messages must go on waiting, whatever was wrong
                fields = {"queue": self._queue.name, "error": str(error)}
                if isinstance(error, PortaskError):
                    log.warning("dead letters wait", extra=fields)
                else:
                    log.exception("dead letters wait", extra=fields)
                self._waiting.appendleft((reason, partition, start, stop))
                gevent.sleep(RETRY_S)
        self._greenlet = None

    def _send_piece(self, reason: Reason, partition: int, start: int, stop: int) -> int:
        """Send on a piece of what begins at *start* and return where the next one begins. Blocks."""
        log_of = self._queue.topic.partitions[partition]
        runs = log_of.read_runs(start, PIECE_BYTES) if self._queue.settings.dead_letter_exchange is not None else []
        records: list[Record] = []
        # What is not in the log any more was trimmed or compacted.
        end = min(stop, runs[-1].next_offset) if runs else stop
        for run in runs:
            if run.base_offset < end:
                records += run.records[: end - run.base_offset]
        self._publish(records, reason)
        self._settle(partition, [(start, end)])
        return end

    def _settle(self, partition: int, ranges: Iterable[tuple[int, int]]) -> None:
        for start, stop in list(ranges):
            try:
                self._queue.subscription.ack(self._holder, partition, start, stop - 1)
            except NotInFlightError:
                # The subscription has ended meanwhile, or has lost some of them.
                log.info("dead letters were settled already", extra={"queue": self._queue.name})

    # -- publishing -------------------------------------------------------------------------------

    def _publish(self, records: list[Record], reason: Reason) -> None:
        """Give *records* to all who are to have them. Blocks until they are as safe as configured.

        Raises what kept them from it and may be over later.
        """
        queue = self._queue
        virtual_host: VirtualHost = queue.virtual_host
        name = queue.settings.dead_letter_exchange
        exchange = None if name is None else virtual_host.exchanges.get(name)
        if exchange is None or name is None or not records:
            return
        now_ms = self._clock.now_ms()
        routing_key = queue.settings.dead_letter_routing_key
        groups: dict[Destination, list[Record]] = {}
        # Messages of one publisher are much the same: this is 35 us for each and 3 us for those like the one before.
        known: _Shape | None = None
        is_constant = False
        destinations: list[Destination] = []
        rest: list[Any] = []
        for record in records:
            shape = _shape(record)
            if shape is None or shape != known or not is_constant:
                dead = bury(record, queue.name, reason, now_ms, name, routing_key)
                route: Route = virtual_host.route(exchange, dead.keys, dead.header)
                looped = self._looped(dead)
                known, is_constant = shape, route.is_constant
                destinations = [destination for destination in route.destinations if destination not in looped]
                body, *rest = dead.record
            else:
                body = record[0]
            for destination in destinations:
                groups.setdefault(destination, []).append((body, *rest))
        answers = _Answers()
        for destination, group in groups.items():
            parts = [group] if destination.takes_many else [[record] for record in group]
            for part in parts:
                answers.publish(destination, part)
        answers.wait()

    def _looped(self, dead: DeadMessage) -> set[object]:
        """The queues that *dead* must not come to again."""
        names = cycling(dead.deaths)
        return {self._queue.virtual_host.queues.find(name) for name in names} if names else set()


_Shape = tuple[int, bytes | None, bytes | None]


def _shape(record: Record) -> _Shape | None:
    """What two records must have in common to be the same but for their bodies; None when it is not that simple."""
    if (
        isinstance(record, bytes)
        or len(record) != 5
        or record[0] is None
        or record[2:4] not in ((None, None), [None, None])
    ):
        return None
    return len(record[0]), record[1], record[4]


class _Answers:
    """Gathers what the destinations of some messages answer."""

    __slots__ = ("_error", "_event", "_left")

    def __init__(self) -> None:
        self._left = 0
        self._error: PortaskError | None = None
        self._event = Event()

    def publish(self, destination: Destination, records: list[Record]) -> None:
        """Give *records* to *destination*. Blocks while the bus is full."""
        self._left += 1
        try:
            destination.publish(records, _size(records), self.one)
        except UsageError:
            self._left -= 1

    def one(self, error: PortaskError | None) -> None:
        """An answer. What a queue refuses for good it does not get."""
        if error is not None and not isinstance(error, UsageError):
            self._error = error
        self._left -= 1
        if not self._left:
            self._event.set()

    def wait(self) -> None:
        """Wait for all answers. Blocks; raises what may be over later."""
        if self._left:
            self._event.clear()
            self._event.wait()
        if self._error is not None:
            raise self._error


def _size(records: list[Record]) -> int:
    """Bytes of dead *records*, which all have a key and properties."""
    return sum(len(record[0]) + len(record[1]) + len(record[4]) for record in records if not isinstance(record, bytes))


Discard = Callable[[Reason, int, OffsetSet], None]
"""What becomes of messages that a queue has taken out of itself: `DeadLetters.put`."""
