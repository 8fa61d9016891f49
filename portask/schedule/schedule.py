"""The schedule: messages that are kept back until they are due.

A message waits in a bucket (portask.schedule.bucket), a log of its own for all that is due within the same minute,
hour, day or longer, the longer the farther away that is. So a million messages for next week cost disk and nothing
else, and one timer serves them all. Shortly before its time a bucket is read in the order in which its messages came,
and from then on its index has them in the order of their times. When messages are due they are *fired*: handed to a
function with the target that they came with, those of one time in the order in which they came. When it has answered
that they are as safe as configured they are settled, as those of a subscription are. A crash in between fires them
again; none is lost, and none is fired twice otherwise.

    table "schedule"   topic id (16 bytes) -> CBOR [start_ms, end_ms], of each bucket
    table "settled"    what has been fired or cancelled, see subscriptions/settlement.py; its subscription id is the
                       bucket's log
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import AsyncResult, Event

from portask.bus import Append, Bus, Change, Item
from portask.claim import Claims
from portask.errors import (
    CorruptError,
    PortaskError,
    ProtocolError,
    ShuttingDownError,
    StorageError,
    StorageFailedError,
    UnknownTopicError,
)
from portask.message import Record, decode_cbor, encode_cbor
from portask.schedule.bucket import MAX_DUE_MS, Bucket, Scheduled, due_of, offset_of, pack
from portask.schedule.index import Waiting, cost_of
from portask.spill import Spill
from portask.storage.base import Round, Storage
from portask.subscriptions.settlement import TABLE as SETTLED
from portask.subscriptions.settlement import Collected, load_settlements

if TYPE_CHECKING:
    from portask.catalog import Catalog
    from portask.clock import Clock
    from portask.topic import Topic

log = logging.getLogger(__name__)

TABLE = "schedule"
TOPIC_NAME = "(schedule)"
TOPIC_CONFIG = {"retention_ms": "-1", "retention_bytes": "-1", "cleanup_policy": ""}
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WIDTHS_MS = ((15 * MINUTE_MS, MINUTE_MS), (DAY_MS, HOUR_MS), (60 * DAY_MS, DAY_MS), (MAX_DUE_MS, 60 * DAY_MS))
"""What is due within the first goes to a bucket as long as the second; so there are never many."""
LEAD_MS = 5000
"""So long before its time a bucket is read at least."""
SCAN_MESSAGES_PER_MS = 50
"""What is near is read as early as it takes at this pace; 1,000,000 messages were read and sorted at 116 a ms."""
FIRE_MESSAGES = 500
"""The most that are fired in one go."""
FIRE_BYTES = 4 * 1024 * 1024
"""No more follow what takes as much memory."""
MAX_FIRING = 5000
"""The most that are fired and not settled."""
LONGEST_WAIT_S = 5.0
"""Wall time may jump: the clock is looked at so often at least."""
RETRY_MS = 1000
RETRY_S = RETRY_MS / 1000
"""How long to wait after messages could not be fired, or storage refused a round."""
MAX_DIGITS = 20
"""Of each number in a message's id: all of 64 bits."""
STOP_S = 5.0
"""How long a stop waits for what is being fired."""

Done = Callable[[PortaskError | None], None]


class Fired(Protocol):
    """Answers what was fired."""

    def __call__(self, error: PortaskError | None, places: Sequence[int] | None = None, /) -> None:
        """The records at *places*, all that have no answer yet if None, are safe, or with *error* to be fired again."""


Fire = Callable[[bytes, Sequence[Record], Fired], None]
"""Publishes records, which are due, to their target, in order, and answers each of them once, when it is as safe as
configured or has failed. May block."""
_Due = tuple[Bucket, Waiting]


class Schedule:
    """All messages that wait for their time."""

    def __init__(
        self, bus: Bus, storage: Storage, catalog: Catalog, clock: Clock, fire: Fire, directory: str | None
    ) -> None:
        """The order of what is near goes to files without a name in *directory*, None: where temporary files are."""
        self._bus = bus
        self._storage = storage
        self._catalog = catalog
        self._clock = clock
        self._fire = fire
        self._spill = Spill(directory)
        self._buckets: dict[tuple[int, int], Bucket] = {}
        """By start and end."""
        self._listed: Bucket | None = None
        """Where the last page ended."""
        self._claims = Claims()
        self._firing = 0
        """Messages fired and not settled."""
        self._dirty: dict[Bucket, None] = {}
        self._is_saving = False
        self._save_after = 0.0
        """On the monotonic clock; storage has refused a round shortly before."""
        self._refused: list[list[_Due]] = []
        """What could not be fired, until the greenlet puts it back."""
        self._wake = Event()
        self._stopped = False
        self._greenlet: gevent.Greenlet | None = None
        self.fired_total = 0
        """Messages fired and settled."""

    # -- life -------------------------------------------------------------------------------------

    def load(self) -> None:
        """Restore the buckets; the catalog is loaded already. Blocks. Raises CorruptError."""
        rows = self._storage.load(TABLE)
        if not rows:
            return
        found: dict[int, tuple[Topic, int, int]] = {}
        for key, value in rows.items():
            topic = self._catalog.log_of_queue(key.hex())
            try:
                start_ms, end_ms = map(int, decode_cbor(value))
            except (ProtocolError, ValueError, TypeError) as error:
                raise CorruptError(f"row {key.hex()} of table {TABLE} is broken: {error}") from error
            if topic is None:
                raise CorruptError(f"row {key.hex()} of table {TABLE} belongs to a topic that does not exist")
            found[topic.partitions[0].log] = topic, start_ms, end_ms
        own = {key: row for key, row in self._storage.load(SETTLED).items() if int.from_bytes(key[:8], "big") in found}
        settlements = load_settlements(own)
        for number, (topic, start_ms, end_ms) in found.items():
            bucket = Bucket(topic, start_ms, end_ms, self._spill, settlements.get((number, 0)))
            self._buckets[start_ms, end_ms] = bucket

    def start(self) -> None:
        """Begin to fire."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = "schedule"

    def stop(self) -> None:
        """Fire nothing more, and have what was fired settled. To be called before the bus is closed. Blocks."""
        self._stopped = True
        self._wake.set()
        with gevent.Timeout(STOP_S, False):
            if self._greenlet is not None:
                self._greenlet.join()
            while self._firing or self._is_saving:
                self._wake.clear()
                self._wake.wait()
        for bucket in self._buckets.values():
            bucket.close()

    def wake(self) -> None:
        """Look at the clock: something may be due."""
        self._wake.set()

    # -- what waits -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return sum(bucket.waiting for bucket in self._buckets.values())

    def add(
        self,
        records: Sequence[Record],
        size_bytes: int,
        due_ms: int,
        target: bytes,
        done: Done | None,
        *,
        into: list[Item] | None = None,
    ) -> None:
        """Keep *records* until *due_ms* (since 1970), then fire them with *target*; at once if that is past.

        *done* is called when they are as safe as configured, or with the error that kept them from it. With *into*
        they go into the round of these items instead of the bus. Blocks; raises as `Bus.put`.
        """
        due_ms = min(due_ms, MAX_DUE_MS - 1)
        bucket = self._bucket_for(due_ms)
        item = Append(
            bucket.partition,
            pack(records, due_ms, target),
            size_bytes + (len(target) + 16) * len(records),
            lambda item: self._added(bucket, due_ms, item, done),
        )
        bucket.adding += 1
        if into is not None:
            into.append(item)
            return
        try:
            self._bus.put(item)
        except BaseException:
            bucket.adding -= 1
            raise

    def page(self, after: str = "", limit: int = 100) -> list[Scheduled]:
        """Up to *limit* messages that wait, those that follow the one with the id *after*. Blocks.

        In the order of their buckets, about that of their times, and inside of a bucket as they came.
        """
        start_ms, log_number, offset = _split(after)
        found: list[Scheduled] = []
        for bucket in sorted(self._buckets.values(), key=_place):
            if _place(bucket) >= (start_ms, log_number):
                first = offset + 1 if bucket.partition.log == log_number else 0
                if self._listed is not None and self._listed is not bucket:
                    self._listed.forget_page()
                self._listed = bucket
                found += bucket.page(first, limit - len(found))
                if len(found) >= limit:
                    break
        return found

    def cancel(self, message_id: str) -> bool:
        """Never fire that message; False when it has been fired, is being fired, or never was. Blocks until durable."""
        start_ms, log_number, offset = _split(message_id)
        for bucket in self._buckets.values():
            if _place(bucket) == (start_ms, log_number) and bucket.is_waiting(offset):
                bucket.settle(offset, offset + 1)
                self._dirty[bucket] = None
                answer = AsyncResult()
                self._bus.put(self._saving(answer.set))
                change: Change = answer.get()
                if change.error is not None:
                    raise change.error
                return True
        return False

    def _bucket_for(self, due_ms: int) -> Bucket:
        """The bucket for what is due at *due_ms*. Blocks when it is the first in its bucket."""
        now_ms = self._clock.now_ms()
        place_ms = max(due_ms, now_ms)
        width_ms = next(width_ms for reach_ms, width_ms in WIDTHS_MS if place_ms - now_ms <= reach_ms)
        start_ms = place_ms // width_ms * width_ms
        key = start_ms, start_ms + width_ms
        bucket = self._buckets.get(key)
        if bucket is not None:
            return bucket
        with self._claims.claim(key):
            bucket = self._buckets.get(key)
            if bucket is None:

                def collect(topic: Topic, round_: Round) -> None:
                    round_.puts[TABLE, bytes.fromhex(topic.id)] = encode_cbor(list(key))

                topic = self._catalog.create_log(
                    f"{TOPIC_NAME} {start_ms}", 1, TOPIC_CONFIG, None, collect, is_hidden=True
                )
                bucket = self._buckets[key] = Bucket(topic, *key, self._spill)
                self._wake.set()
        return bucket

    def _added(self, bucket: Bucket, due_ms: int, item: Append, done: Done | None) -> None:
        bucket.adding -= 1
        if item.error is None:
            is_first = due_ms < min(bucket.head_ms, bucket.unknown_ms)
            bucket.added(due_ms, item.base_offset, item.count)
            if is_first:
                self._wake.set()
        if done is not None:
            done(item.error)

    # -- firing -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            try:
                left_s = self._step()
            except PortaskError as error:
                log.warning("schedule waits for storage", extra={"error": str(error)})
                left_s = RETRY_S
            except Exception:  # the mistake of one target must not keep the messages of all others
                log.exception("schedule failed")
                left_s = RETRY_S
            if left_s > 0:
                self._wake.wait(left_s)
            else:
                gevent.sleep(0)

    def _step(self) -> float:
        """Do what is due; the seconds until there may be more. Blocks."""
        self._take_back()
        if self._dirty:
            self._save()
        if self._firing >= MAX_FIRING:
            return LONGEST_WAIT_S
        fired = self._take()
        self._fire_all(fired)
        # One piece at a time: a large bucket that comes near does not keep what is due now.
        if self._scan() or fired:
            return 0
        now_ms = self._clock.now_ms()
        next_ms = MAX_DUE_MS
        for key, bucket in list(self._buckets.items()):
            if bucket.is_over(now_ms):
                self._remove(key, bucket)
            else:
                next_ms = min(next_ms, bucket.head_ms, _scan_ms(bucket))
        left_s = (next_ms - self._clock.now_ms()) / 1000
        if self._dirty:
            left_s = min(left_s, RETRY_S)
        return min(max(left_s, 0.0), LONGEST_WAIT_S)

    def _scan(self) -> bool:
        """Read a piece of the bucket that may hold the next message, if that is near; whether there was one. Blocks."""
        bucket = min(self._buckets.values(), key=_unknown_ms, default=None)
        if bucket is None or _scan_ms(bucket) > self._clock.now_ms():
            return False
        bucket.scan()
        return True

    def _take(self) -> list[_Due]:
        """What is due now, in the order of its times, as much as may be fired in one go. Blocks."""
        fired: list[_Due] = []
        size = 0
        now_ms = self._clock.now_ms()
        near = [bucket for bucket in self._buckets.values() if bucket.head_ms <= now_ms]
        if not near:
            return fired
        # Those that are unknown may hold something that is due before all that is known.
        end_ms = min(now_ms + 1, *map(_unknown_ms, self._buckets.values()))
        try:
            while near and len(fired) < FIRE_MESSAGES and size < FIRE_BYTES:
                bucket = min(near, key=_head_ms)
                if bucket.head_ms >= end_ms:
                    break
                waiting = bucket.take()
                if waiting is not None:
                    fired.append((bucket, waiting))
                    size += cost_of(*waiting[1:])
        except StorageError as error:
            log.warning("schedule is read again", extra={"error": str(error)})
        self._firing += len(fired)
        return fired

    def _fire_all(self, fired: list[_Due]) -> None:
        """Fire *fired*, in order. Blocks."""
        for target, group in groupby(fired, _target):
            self._fire_some(target, list(group))

    def _fire_some(self, target: bytes, fired: list[_Due]) -> None:
        unanswered = dict.fromkeys(range(len(fired)))

        def done(error: PortaskError | None, places: Sequence[int] | None = None, /) -> None:
            answered = [fired[place] for place in places or list(unanswered)]
            for place in places or list(unanswered):
                del unanswered[place]
            if error is None:
                self._settle(answered)
            else:
                self._failed(answered, error)

        try:
            self._fire(target, [waiting[2] for _, waiting in fired], done)
        except Exception as error:  # the mistake of one target must not keep the messages of all others
            if not isinstance(error, PortaskError):
                log.exception("firing failed")
                error = PortaskError(f"firing failed: {error}")
            if unanswered:
                done(error)

    def _failed(self, fired: list[_Due], error: PortaskError) -> None:
        """*fired* are to be fired again later. Must not block."""
        if not isinstance(error, ShuttingDownError | StorageFailedError):
            log.warning("messages could not be fired", extra={"messages": len(fired), "error": str(error)})
        self._firing -= len(fired)
        self._refused.append(fired)
        self._wake.set()

    def _take_back(self) -> None:
        """Put what could not be fired back, for later, in the same order."""
        refused, self._refused = self._refused, []
        again_ms = self._clock.now_ms() + RETRY_MS
        for fired in refused:
            # Those that failed before are due later than they were, and may be so by less than others.
            delay_ms = max(0, again_ms - due_of(fired[0][1]))
            for bucket, waiting in fired:
                bucket.put_back(waiting, delay_ms)

    # -- settling ---------------------------------------------------------------------------------

    def _settle(self, fired: list[_Due]) -> None:
        """*fired* have been fired. Must not block."""
        self._firing -= len(fired)
        self.fired_total += len(fired)
        for bucket, waiting in fired:
            offset = offset_of(waiting)
            bucket.settle(offset, offset + 1)
            self._dirty[bucket] = None
        self._save()
        self._wake.set()

    def _save(self) -> None:
        """Have the next round store what has been settled. Must not block."""
        if self._is_saving or self._clock.monotonic() < self._save_after:
            return
        self._is_saving = True
        try:
            self._bus.put(self._saving(self._saved))
        except ShuttingDownError:
            self._is_saving = False

    def _saving(self, done: Callable[[Change], None]) -> Change:
        """A change that stores what has been settled until its round is made."""
        collected: list[tuple[Bucket, Collected, int]] = []

        def collect(round_: Round) -> None:
            buckets = [bucket for bucket in self._dirty if not bucket.topic.closed]
            self._dirty.clear()
            for bucket in buckets:
                floor = bucket.settlement.floor
                collected.append((bucket, bucket.settlement.collect(round_.puts), floor))
                if floor > bucket.partition.log_start_offset:
                    round_.trims[bucket.partition.log] = floor

        def finish(change: Change) -> None:
            for bucket, rows, floor in collected:
                if change.error is None:
                    bucket.settlement.stored(rows)
                    bucket.partition.trimmed(floor)
                else:
                    bucket.settlement.refused(rows)
                    self._dirty[bucket] = None
            done(change)

        return Change(collect, finish)

    def _saved(self, change: Change) -> None:
        self._is_saving = False
        if change.error is not None:
            self._save_after = self._clock.monotonic() + RETRY_S
        elif self._dirty:
            self._save()
        self._wake.set()

    def _remove(self, key: tuple[int, int], bucket: Bucket) -> None:
        """Remove a bucket that is over. Blocks until durable."""
        del self._buckets[key]
        bucket.close()
        if self._listed is bucket:
            self._listed = None

        def collect(round_: Round) -> None:
            round_.puts[TABLE, bytes.fromhex(bucket.topic.id)] = None
            bucket.settlement.erase(round_.puts)

        try:
            self._catalog.delete_log(bucket.topic, collect)
        except UnknownTopicError:
            return
        except BaseException:
            self._buckets.setdefault(key, bucket)
            raise


def _place(bucket: Bucket) -> tuple[int, int]:
    return bucket.start_ms, bucket.partition.log


def _head_ms(bucket: Bucket) -> int:
    return bucket.head_ms


def _unknown_ms(bucket: Bucket) -> int:
    return bucket.unknown_ms


def _scan_ms(bucket: Bucket) -> int:
    """When the bucket is to be read, so that it has been when its first message is due."""
    return bucket.unknown_ms - LEAD_MS - bucket.unscanned // SCAN_MESSAGES_PER_MS


def _target(due: _Due) -> bytes:
    return due[1][1]


def _split(message_id: str) -> tuple[int, int, int]:
    """Start of the bucket, its log, and the offset of a message; of what is no id, such as are of no message."""
    parts = message_id.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) <= MAX_DIGITS for part in parts):
        return -1, -1, -1
    return int(parts[0]), int(parts[1]), int(parts[2])
