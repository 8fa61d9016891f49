"""The schedule: messages that are kept back until they are due.

A message waits in a bucket (portask.schedule_bucket), a log of its own for all that is due within the same minute,
hour, day or longer, the longer the farther away that is. So a million messages for next week cost disk and nothing
else, and one timer serves them all. When messages are due they are *fired*: handed to a function with the
target that they came with, those of one time in the order in which they came. When it has answered that they are as
safe as configured they are settled, as those of a subscription are. A crash in between fires them again; none is
lost, and none is fired twice otherwise.

    table "schedule"   topic id (16 bytes) -> CBOR [start_ms, end_ms], of each bucket
    table "settled"    what has been fired or cancelled, see portask.settlement; its subscription id is the bucket's log
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

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
from portask.schedule_bucket import MAX_DUE_MS, Bucket, Entry, Scheduled, offset_of, pack
from portask.settlement import TABLE as SETTLED
from portask.settlement import Collected, load_settlements
from portask.storage.base import Round, Storage

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
"""So long before its time a bucket is read."""
FIRE_MESSAGES = 500
"""The most that are fired in one go."""
MAX_FIRING = 5000
"""The most that are fired and not settled."""
LONGEST_WAIT_S = 5.0
"""Wall time may jump: the clock is looked at so often at least."""
RETRY_S = 1.0
"""How long to wait after messages could not be fired, or storage refused a round."""
STOP_S = 5.0
"""How long a stop waits for what is being fired."""

Done = Callable[[PortaskError | None], None]
Fire = Callable[[bytes, Sequence[Record], Done], None]
"""Publishes records, which are due, to their target, in order, and calls the last argument once when all are as safe
as configured, or with an error when they are to be fired again. May block."""


class Schedule:
    """All messages that wait for their time."""

    def __init__(self, bus: Bus, storage: Storage, catalog: Catalog, clock: Clock, fire: Fire) -> None:
        self._bus = bus
        self._storage = storage
        self._catalog = catalog
        self._clock = clock
        self._fire = fire
        self._buckets: dict[tuple[int, int], Bucket] = {}
        """By start and end."""
        self._claims = Claims()
        self._firing = 0
        """Messages fired and not settled."""
        self._dirty: dict[Bucket, None] = {}
        self._is_saving = False
        self._save_after = 0.0
        """On the monotonic clock; storage has refused a round shortly before."""
        self._retries: list[tuple[float, Bucket, Entry]] = []
        """What could not be fired, with the time of the next try; in that order."""
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
            bucket = Bucket(topic, start_ms, end_ms, settlements.get((number, 0)))
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
                bucket = self._buckets[key] = Bucket(topic, *key)
                self._wake.set()
        return bucket

    def _added(self, bucket: Bucket, due_ms: int, item: Append, done: Done | None) -> None:
        bucket.adding -= 1
        if item.error is None:
            before_ms = bucket.head_ms
            bucket.added(due_ms, item.base_offset, item.count)
            if bucket.head_ms < before_ms:
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
        entries = self._take()
        if entries:
            self._fire_all(entries)
            return 0
        now_ms = self._clock.now_ms()
        for key, bucket in list(self._buckets.items()):
            if bucket.is_over(now_ms):
                self._remove(key, bucket)
        next_ms = min(map(_head_ms, self._buckets.values()), default=MAX_DUE_MS)
        unknown_ms = min(map(_unknown_ms, self._buckets.values()), default=MAX_DUE_MS)
        if unknown_ms <= next_ms:
            next_ms = unknown_ms - LEAD_MS
        left_s = (next_ms - self._clock.now_ms()) / 1000
        if self._dirty:
            left_s = min(left_s, RETRY_S)
        if self._retries:
            left_s = min(left_s, self._retries[0][0] - self._clock.monotonic())
        return min(max(left_s, 0.0), LONGEST_WAIT_S)

    def _take(self) -> list[tuple[Bucket, Entry]]:
        """What is due now, in the order of its times, no more than FIRE_MESSAGES. Blocks."""
        taken: list[tuple[Bucket, Entry]] = []
        now_ms = self._clock.now_ms()
        while len(taken) < FIRE_MESSAGES:
            if not self._buckets:
                break
            # Those that are unknown may hold something that is due before all that is known.
            unknown = min(self._buckets.values(), key=_unknown_ms)
            first = min(self._buckets.values(), key=_head_ms)
            if unknown.unknown_ms <= min(first.head_ms, now_ms + LEAD_MS):
                if taken and unknown.unknown_ms > now_ms:
                    break
                unknown.scan()
                continue
            if first.head_ms > now_ms:
                break
            entry = first.take()
            if entry is not None:
                taken.append((first, entry))
        self._firing += len(taken)
        return taken

    def _fire_all(self, entries: list[tuple[Bucket, Entry]]) -> None:
        """Fire *entries*, in order. Blocks."""
        by_bucket: dict[Bucket, list[int]] = {}
        for bucket, entry in entries:
            by_bucket.setdefault(bucket, []).append(offset_of(entry))
        contents: dict[Bucket, dict[int, tuple[bytes, Record]]] = {}
        for bucket, offsets in by_bucket.items():
            try:
                contents[bucket] = bucket.read(sorted(offsets))
            except CorruptError as error:
                contents[bucket] = self._read_each(bucket, offsets, error)
            except StorageError as error:
                self._failed(entries, error)
                return
        found = [(bucket, entry, *contents[bucket].get(offset_of(entry), _MISSING)) for bucket, entry in entries]
        for target, group in groupby(found, itemgetter(2)):
            part = list(group)
            if target is None:
                self._forget([(bucket, entry) for bucket, entry, _, _ in part])
            else:
                self._fire_some(target, part)

    def _fire_some(self, target: bytes, part: list[tuple[Bucket, Entry, bytes | None, Record]]) -> None:
        fired = [(bucket, entry) for bucket, entry, _, _ in part]
        answered = False

        def done(error: PortaskError | None) -> None:
            nonlocal answered
            assert not answered
            answered = True
            if error is None:
                self._settle(fired)
            else:
                self._failed(fired, error)

        try:
            self._fire(target, [record for _, _, _, record in part], done)
        except Exception as error:  # the mistake of one target must not keep the messages of all others
            if not isinstance(error, PortaskError):
                log.exception("firing failed")
                error = PortaskError(f"firing failed: {error}")
            if not answered:
                done(error)

    def _read_each(
        self, bucket: Bucket, offsets: Iterable[int], error: CorruptError
    ) -> dict[int, tuple[bytes, Record]]:
        """What can be read of *offsets*, one by one, because some cannot. Blocks."""
        log.error("scheduled messages are damaged", extra={"error": str(error)})
        found: dict[int, tuple[bytes, Record]] = {}
        for offset in offsets:
            try:
                found |= bucket.read([offset])
            except CorruptError:
                continue
        return found

    def _forget(self, entries: list[tuple[Bucket, Entry]]) -> None:
        """*entries* cannot be read; they stay where they are for those who repair."""
        log.error("scheduled messages are skipped until the next start", extra={"messages": len(entries)})
        self._firing -= len(entries)

    def _failed(self, entries: list[tuple[Bucket, Entry]], error: PortaskError) -> None:
        """*entries* are to be fired again later. Must not block."""
        if not isinstance(error, ShuttingDownError | StorageFailedError):
            log.warning("messages could not be fired", extra={"messages": len(entries), "error": str(error)})
        again = self._clock.monotonic() + RETRY_S
        self._firing -= len(entries)
        self._retries += [(again, bucket, entry) for bucket, entry in entries]
        self._wake.set()

    def _take_back(self) -> None:
        now = self._clock.monotonic()
        ripe = [retry for retry in self._retries if retry[0] <= now]
        del self._retries[: len(ripe)]
        for _, bucket, entry in ripe:
            bucket.put_back(entry)

    # -- settling ---------------------------------------------------------------------------------

    def _settle(self, entries: list[tuple[Bucket, Entry]]) -> None:
        """*entries* have been fired. Must not block."""
        self._firing -= len(entries)
        self.fired_total += len(entries)
        for bucket, entry in entries:
            offset = offset_of(entry)
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


_MISSING: tuple[None, Record] = (None, b"")


def _place(bucket: Bucket) -> tuple[int, int]:
    return bucket.start_ms, bucket.partition.log


def _head_ms(bucket: Bucket) -> int:
    return bucket.head_ms


def _unknown_ms(bucket: Bucket) -> int:
    return bucket.unknown_ms


def _split(message_id: str) -> tuple[int, int, int]:
    """Start of the bucket, its log, and the offset of a message; of what is no id, such as are of no message."""
    parts = message_id.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
        return -1, -1, -1
    return int(parts[0]), int(parts[1]), int(parts[2])
