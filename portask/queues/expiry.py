"""Expiry of messages: after the queue's time to live or their own expiration, whichever is shorter.

Time counts from the arrival at this queue, which is the timestamp of the batch. Only what waits expires. What is
expired is never handed out, and it does not matter what stands before it: a message expires behind one
that lives longer as well. A consumer that waits gets a message whatever its time to live is, 0 too: a message
begins to wait when those have been served who could take it.

The queue's time to live needs no index: the first messages that wait are the first to expire. For expirations of
their own there is one (portask.queues.expiry_index), filled from the log as far as that has been written. Where they
begin is stored, so that after a restart only queues that have such messages are read, and not before somebody has time.

    table "expiry"   subscription id u64 -> CBOR [offset, offset, ...]: for each partition where such messages may begin
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import gevent

from portask.bus import Change, Item
from portask.catalog import commit
from portask.errors import CorruptError, ProtocolError
from portask.message import Record, decode_cbor, encode_cbor
from portask.properties import expiration_of
from portask.queues.death import Reason
from portask.queues.expiry_index import ExpiryIndex, Page, deadline
from portask.subscriptions.consumer import Consumer, Delivery
from portask.subscriptions.offset_set import MAX_OFFSET, PAGE_BITS, OffsetSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from portask.broker import Broker
    from portask.partition import Run
    from portask.queues.dead_letter import Discard
    from portask.queues.queue import Queue
    from portask.storage.base import Round
    from portask.subscriptions.feed import Feed

EXPIRY = "expiry"
READ_BYTES = 256 * 1024
READ_PAGES = 64
"""A batch may have many pages. To read it for each of them would take long, and so would to look at all of them."""
REST_PARTS = 4
"""After a page was read the reader rests so many times as long as that took: expiring behind what lives longer is
not urgent."""
_stop_of = attrgetter("stop")


class _Arrival(NamedTuple):
    """Messages that came together."""

    start: int
    stop: int
    timestamp: int


class Expiry:
    """What expires in one queue."""

    def __init__(self, queue: Queue, broker: Broker, holder: Consumer, discard: Discard) -> None:
        """*holder* gets what is expired, then *discard* is called with it."""
        self._queue = queue
        self._broker = broker
        self._clock = broker.clock
        self._holder = holder
        self._discard = discard
        self._waited: dict[int, int] = {}
        """For each partition: messages before this offset could not be handed out when they came."""
        self._begins: dict[int, int] | None = None
        """For each partition where messages with an expiration may begin; None: there are none."""
        self._was_refused = False
        """Whether storage has refused the row that says so."""
        self._scanned: dict[int, int] = {}
        """For each partition how far the index has been filled."""
        self._index = ExpiryIndex()
        self._known: dict[int, list[_Arrival]] = {}
        """For each partition what was read last to see when the first messages have come."""

    @property
    def is_own(self) -> bool:
        """Whether messages may have an expiration of their own."""
        return self._begins is not None

    # -- what comes -------------------------------------------------------------------------------

    def expect(self, into: list[Item] | None) -> None:
        """Messages with an expiration are about to be published, with *into* in the round of these items."""
        if self._begins is not None:
            return
        feeds = self._queue.subscription.feeds
        self._begins = {feed.partition.number: feed.partition.written_offset for feed in feeds}
        self._scanned = dict(self._begins)
        if self._queue.durable:
            change = Change(self._collect, self._stored)
            if into is None:
                self._broker.bus.put(change)
            else:
                into.append(change)

    def restore(self, rows: Mapping[bytes, bytes]) -> None:
        """Take what the *rows* of the table say of this queue, and that all it has has waited. Raises CorruptError."""
        subscription = self._queue.subscription
        self.waited()
        row = rows.get(subscription.key)
        if row is None:
            return
        try:
            begins = [int(offset) for offset in decode_cbor(row)]
        except (ProtocolError, TypeError, ValueError) as error:
            raise CorruptError(f"row {subscription.id} of table {EXPIRY} is broken: {error}") from error
        self._begins = dict(enumerate(begins))
        for feed in subscription.feeds:
            number = feed.partition.number
            self._scanned[number] = max(self._begins.get(number, 0), feed.settlement.floor)

    def waited(self) -> None:
        """Everyone who could take what has come so far has been served: the rest begins to wait."""
        for feed in self._queue.subscription.feeds:
            self._waited[feed.partition.number] = feed.partition.written_offset

    def returned(self, feeds: Iterable[Feed], start: int, stop: int) -> None:
        """Something from *start* to *stop* of *feeds* was given back, and may have expired meanwhile."""
        if self._begins is None:
            return
        now_ms = self._clock.now_ms()
        for feed in feeds:
            for page in feed.requeued.part(start, stop).page_numbers():
                self._index.doubt((feed.partition.number, page), now_ms)

    def collect_deletion(self, round_: Round) -> None:
        """Put the deletion of what is stored into *round_*."""
        if self._begins is not None and self._queue.durable:
            round_.puts[EXPIRY, self._queue.subscription.key] = None

    def _collect(self, round_: Round) -> None:
        begins = self._begins or {}
        round_.puts[EXPIRY, self._queue.subscription.key] = encode_cbor([begins[number] for number in sorted(begins)])

    def _stored(self, change: Change) -> None:
        self._was_refused = change.error is not None

    # -- handing out ------------------------------------------------------------------------------

    def screen(self, feed: Feed, deliveries: list[Delivery]) -> list[Delivery]:
        """*deliveries*, which were just taken from *feed*, without what is expired. Does not block."""
        number = feed.partition.number
        waited = self._waited.get(number, 0)
        if deliveries[0].base_offset >= waited:
            return deliveries
        now_ms = self._clock.now_ms()
        expired = OffsetSet()
        kept: list[Delivery] = []
        for delivery in deliveries:
            ends = self._expired(number, delivery.base_offset, delivery.timestamp, delivery.records, now_ms)
            if delivery.next_offset > waited:
                ends = ends.part(0, waited)
            if ends.count:
                expired.add(ends)
                kept += _without(delivery, ends)
            else:
                kept.append(delivery)
        if expired.count:
            self._queue.subscription.hold(self._holder, number, expired)
            self._discard(Reason.EXPIRED, number, expired)
        return kept

    def _expired(self, number: int, base_offset: int, timestamp: int, records: list[Record], now_ms: int) -> OffsetSet:
        """Those of *records* that are expired."""
        expired = OffsetSet()
        ttl_ms = self._queue.settings.message_ttl_ms
        if ttl_ms is not None and timestamp + ttl_ms <= now_ms:
            expired.add_range(base_offset, base_offset + len(records))
        elif self._begins is not None and base_offset + len(records) > self._begins.get(number, 0):
            for offset, record in enumerate(records, base_offset):
                own_ms = _expiration(record)
                if own_ms is not None and timestamp + own_ms <= now_ms:
                    expired.add_range(offset, offset + 1)
        return expired

    # -- expiring ---------------------------------------------------------------------------------

    def expire(self) -> int | None:
        """Take out everything that waits and is expired; return when the next is due (ms), or None. Blocks.

        Raises what keeps it from that, to be called again.
        """
        due: list[int | None] = []
        ttl_ms = self._queue.settings.message_ttl_ms
        for feed in list(self._queue.subscription.feeds):
            if ttl_ms is not None:
                due.append(self._expire_first(feed, ttl_ms))
            if self._begins is not None:
                self._fill(feed)
        while (page := self._index.first_due(self._clock.now_ms())) is not None:
            self._expire_page(page)
        due.append(self._index.next_due())
        if self._was_refused and not self._queue.closed:
            # The rounds of later messages may not be.
            commit(self._broker.bus, self._collect)
            self._was_refused = False
        return min((each for each in due if each is not None), default=None)

    def _expire_first(self, feed: Feed, ttl_ms: int) -> int | None:
        """Take the first messages of *feed* out as far as they are expired; return when the next one is due. Blocks."""
        number = feed.partition.number
        feed.available()
        place = 0
        while True:
            place = next((start for start, _ in feed.waiting(place)), self._waited.get(number, 0))
            if place >= self._waited.get(number, 0):
                return None
            expired = OffsetSet()
            due_ms = None
            now_ms = self._clock.now_ms()
            for start, stop, timestamp in self._arrivals(feed, place):
                if timestamp + ttl_ms > now_ms:
                    due_ms = timestamp + ttl_ms
                    break
                expired.add_range(start, min(stop, self._waited[number]))
                place = stop
            self._take_out(number, expired)
            if due_ms is not None:
                return due_ms
            if not expired.count:
                return None

    def _arrivals(self, feed: Feed, place: int) -> list[_Arrival]:
        """When messages from *place* on have come, as many as one read brings; empty when there are none. Blocks."""
        number = feed.partition.number
        known = self._known.get(number, [])
        if not (known and known[0].start <= place < known[-1].stop):
            runs = feed.partition.read_runs(place, READ_BYTES)
            # Only the times are kept: messages that expire one by one are not read one by one.
            known = [_Arrival(run.base_offset, run.next_offset, run.timestamp) for run in runs]
        known = self._known[number] = known[bisect_right(known, place, key=_stop_of) :]
        return known

    def _fill(self, feed: Feed) -> None:
        """Put into the index what has come. Blocks."""
        number = feed.partition.number
        while (place := max(self._scanned.get(number, 0), feed.settlement.floor)) < self._waited.get(number, 0):
            runs = feed.partition.read_runs(place, READ_BYTES)
            self._scanned[number] = runs[-1].next_offset if runs else self._waited[number]
            for place, deadlines in _deadlines(feed, runs).items():
                self._index.add((number, place), deadlines)

    def _expire_page(self, page: Page) -> None:
        """Take out what is expired of *page*. Blocks."""
        feed = self._queue.subscription.feeds[page[0]]
        if self._index.must_read(page):
            began = self._clock.monotonic()
            self._read(feed, page)
            took_s = self._clock.monotonic() - began
            if took_s > 0:
                gevent.sleep(took_s * REST_PARTS)
        expired = OffsetSet()
        for offset in self._index.take_due(page, self._clock.now_ms()):
            expired.add_range(offset, offset + 1)
        self._take_out(page[0], expired)

    def _read(self, feed: Feed, page: Page) -> None:
        """Have the index learn all deadlines of *page* that still matter, and of others that come with it. Blocks."""
        number, place = page
        # What has not waited yet is found when the index is filled with it.
        end = min(self._scanned.get(number, 0), (place + READ_PAGES) << PAGE_BITS)
        start = max(place << PAGE_BITS, feed.settlement.floor)
        stop = min((place + 1) << PAGE_BITS, end)
        runs: list[Run] = []
        while start < stop:
            more = feed.partition.read_runs(start, READ_BYTES)
            runs += more
            start = more[-1].next_offset if more else stop
        found = _deadlines(feed, runs, end)
        self._index.learn(page, found.get(place, []))
        for other in range(place + 1, (min(start, end) - 1 >> PAGE_BITS) + 1):
            is_whole = min((other + 1) << PAGE_BITS, end) <= start
            if is_whole and self._index.must_read((number, other)):
                self._index.learn((number, other), found.get(other, []))

    def _take_out(self, number: int, expired: OffsetSet) -> None:
        if expired.count:
            taken = self._queue.subscription.withdraw(self._holder, number, expired)
            if taken.count:
                self._discard(Reason.EXPIRED, number, taken)


def _expiration(record: Record) -> int | None:
    """Milliseconds that *record* itself says it lives."""
    return None if isinstance(record, bytes) or len(record) < 5 else expiration_of(record[4])


def _deadlines(feed: Feed, runs: list[Run], end: int = MAX_OFFSET) -> dict[int, list[int]]:
    """The deadlines of what *runs* have before *end* and is not settled, by page."""
    found: dict[int, list[int]] = {}
    is_settled = feed.settlement.is_settled
    for run in runs:
        for offset, record in enumerate(run.records[: max(0, end - run.base_offset)], run.base_offset):
            own_ms = _expiration(record)
            if own_ms is not None and not is_settled(offset):
                found.setdefault(offset >> PAGE_BITS, []).append(deadline(run.timestamp + own_ms, offset))
    return found


def _without(delivery: Delivery, expired: OffsetSet) -> list[Delivery]:
    """What is left of *delivery*."""
    base_offset = delivery.base_offset
    parts = []
    place = base_offset
    for start, stop in (*expired.ranges(), (delivery.next_offset, delivery.next_offset)):
        if start > place:
            records = delivery.records[place - base_offset : start - base_offset]
            parts.append(
                Delivery(
                    delivery.partition, place, delivery.timestamp, records, delivery.redeliveries, delivery.failures
                )
            )
        place = stop
    return parts
