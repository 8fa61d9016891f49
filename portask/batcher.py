"""The batcher: turns what is on the bus into rounds, and tells everyone when a round is safe.

Two greenlets. The first takes all that is on the bus, makes batches of it, gives them their offsets,
compresses them and has storage write them as one round; from then on subscriptions hand them out. The
second syncs: one sync covers every round written before it, and then their publishers are answered.
While one round is being synced the next are gathered and written: group commit without a timer. What
is not a message, acks above all, waits a moment for the next message's round.

A refused write changes nothing: offsets are only taken when storage has taken the round. After a failed
sync nothing is acknowledged any more, by storage's word.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from portask.bus import Admission, Append, Bus, Change, Item
from portask.encoder import Encoder
from portask.errors import PortaskError, StorageError, StorageFailedError, UnknownTopicError
from portask.partition import Partition
from portask.storage.base import Round, Storage

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.config import Settings

log = logging.getLogger(__name__)

SETTLED_S = 0.01
"""Changes that nobody waits for are written this much later, or with the next message: above all acks that
have no answer. After a crash what they settled comes back, flagged as redelivered. With an ack for every 100
messages that is a tenth of the rounds and syncs, and 40 % less time in all for messages that come and go."""
COMPANY_S = 0.001
"""Changes are written when so much time has passed since the last round, or with the next message. At
1,000 messages/s, each acked by itself, that halves rounds and syncs."""
ROUND_BYTES = 4 * 1024 * 1024
"""Appends of one round; more would keep the loop's thread in one write for over a millisecond."""
SYNC_BUCKETS_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


class BatcherStats:
    """Plain numbers, read by metrics when scraped."""

    def __init__(self) -> None:
        self.rounds = 0
        self.round_messages = 0
        self.batches = 0
        self.plain_bytes = 0
        """Bytes of the records that came in."""
        self.stored_bytes = 0
        """Bytes of the batches that they became."""
        self.syncs = 0
        self.sync_seconds = 0.0
        self.sync_buckets = [0] * (len(SYNC_BUCKETS_S) + 1)
        """Syncs by time, each counted once, in the first bucket of SYNC_BUCKETS_S that it fits."""
        self.failed_rounds = 0

    def wrote(self, encoder: Encoder) -> None:
        """Count one round, with what *encoder* made."""
        self.rounds += 1
        self.round_messages += encoder.messages
        self.batches += encoder.batches
        self.plain_bytes += encoder.plain_bytes
        self.stored_bytes += encoder.stored_bytes

    def synced(self, seconds: float) -> None:
        """Count one sync."""
        self.syncs += 1
        self.sync_seconds += seconds
        for position, limit in enumerate(SYNC_BUCKETS_S):
            if seconds <= limit:
                self.sync_buckets[position] += 1
                return
        self.sync_buckets[-1] += 1


class _Written:
    """A round that storage has taken and that is not synced yet."""

    __slots__ = ("ends", "items")

    def __init__(self, items: list[Item], ends: list[tuple[Partition, int]]) -> None:
        """*ends* are the partitions appended to, each with its next offset."""
        self.items = items
        self.ends = ends


class Batcher:
    """Owns the two greenlets between the bus and storage."""

    def __init__(self, bus: Bus, storage: Storage, settings: Settings, clock: Clock) -> None:
        self.stats = BatcherStats()
        self.failure: StorageError | None = None
        """Why nothing is acknowledged any more, once a sync has failed, or a write for good."""
        self._bus = bus
        self._storage = storage
        self._settings = settings
        self._clock = clock
        self._taken: deque[list[Item]] = deque()
        """Rounds to be, taken from the bus."""
        self._written: list[_Written] = []
        self._to_sync = Event()
        self._finished = False
        self._is_syncing = True
        self._round_began = -COMPANY_S
        self._greenlets: list[gevent.Greenlet] = []

    def start(self) -> None:
        """Begin to take from the bus."""
        works = (self._write_rounds, self._end_writing), (self._sync_rounds, self._end_syncing)
        self._greenlets = [gevent.spawn(self._guard, *work) for work in works]
        for greenlet, name in zip(self._greenlets, ("batcher", "syncer"), strict=True):
            greenlet.name = name

    def join(self, timeout_s: float) -> bool:
        """Wait until a closed bus is empty and all of it is answered; False when *timeout_s* was too short. Blocks."""
        return len(gevent.joinall(self._greenlets, timeout=timeout_s)) == len(self._greenlets)

    def _guard(self, work: Callable[[], None], end: Callable[[StorageError], None]) -> None:
        """The life of a greenlet. If it ends before its time nothing is taken any more, and nobody waits for ever."""
        try:
            work()
        except Exception as error:  # the mistake of someone who is told of rounds
            log.critical("batcher has ended, nothing is acknowledged any more", exc_info=True)
            self.failure = self.failure or StorageFailedError(f"the batcher has ended: {error}")
            self._bus.close()
            end(self.failure)

    def _end_writing(self, failure: StorageError) -> None:
        self._refuse([*chain.from_iterable(self._taken), *self._bus.take_more()], failure)
        self._finished = True
        self._to_sync.set()

    def _end_syncing(self, failure: StorageError) -> None:
        self._is_syncing = False
        for written in self._written:
            self._refuse(written.items, failure)

    def _write_rounds(self) -> None:
        while items := self._bus.take():
            self._wait_for_company(items)
            if self._settings.linger_ms:
                gevent.sleep(self._settings.linger_ms / 1000)
                items += self._bus.take_more()
            self._taken += _split(items)
            while self._taken:
                self._write_round(self._taken.popleft())
        self._finished = True
        self._to_sync.set()

    def _wait_for_company(self, items: list[Item]) -> None:
        """Take more into *items* until a message is among them, or they have waited long enough. Blocks."""
        while all(isinstance(item, Change) for item in items):
            patience_s = COMPANY_S if any(map(_is_urgent, items)) else SETTLED_S
            left_s = self._round_began + patience_s - self._clock.monotonic()
            next_item = self._bus.take_one(left_s) if left_s > 0 else None
            if next_item is None:
                break
            items += [next_item, *self._bus.take_more()]
        self._round_began = self._clock.monotonic()

    def _write_round(self, items: list[Item]) -> None:
        if self.failure is not None and not self._is_syncing:
            self._refuse(items, self.failure)
            return
        round_ = Round()
        appends: dict[Partition, list[Append]] = {}
        admitted: list[Admission] = []
        live = [item for item in items if isinstance(item, Change) or self._admit(item, appends, admitted)]
        try:
            for item in live:
                if isinstance(item, Change):
                    item.collect(round_)
            encoder = Encoder(round_, self._settings, self._clock.now_ms(), len(appends) > 1)
            batches = [(partition, encoder.encode(partition, group)) for partition, group in appends.items()]
            if round_:
                self._storage.write(round_)
        except Exception as error:  # one handler's mistake must not end the greenlet that serves all others
            if not isinstance(error, PortaskError):
                log.exception("round failed")
                error = StorageError(f"the round could not be written: {error}")
            if isinstance(error, StorageFailedError):
                self.failure = self.failure or error
            for admission in reversed(admitted):
                admission.withdraw()
            self._refuse(live, error)
            return
        self.stats.wrote(encoder)
        written = _Written(live, [])
        try:
            for partition, tail in batches:
                partition.wrote(tail)
                written.ends.append((partition, partition.written_offset))
        finally:
            self._written.append(written)
            self._to_sync.set()

    def _admit(self, item: Append, appends: dict[Partition, list[Append]], admitted: list[Admission]) -> bool:
        """Put *item* to *appends* unless it is a repetition; False when it is refused, and answered."""
        error: PortaskError | None = None
        if item.partition.closed:
            error = UnknownTopicError(f"topic {item.partition.topic.name} has been deleted")
        elif item.admission is not None:
            try:
                if not item.admission.admit():
                    return True
                admitted.append(item.admission)
            except Exception as refusal:  # one handler's mistake must not end the greenlet that serves all others
                if not isinstance(refusal, PortaskError):
                    log.exception("admission failed")
                    refusal = StorageError(f"the append could not be checked: {refusal}")
                error = refusal
        if error is not None:
            self._answer(item, error)
            return False
        appends.setdefault(item.partition, []).append(item)
        return True

    def _sync_rounds(self) -> None:
        while True:
            self._to_sync.wait()
            self._to_sync.clear()
            # Storage may sync in place: what was written is handed out and sent first.
            gevent.sleep(0)
            rounds, self._written = self._written, []
            if rounds:
                self._sync(rounds)
            elif self._finished:
                return
            if self._finished:
                self._to_sync.set()

    def _sync(self, rounds: list[_Written]) -> None:
        started = self._clock.monotonic()
        try:
            self._storage.sync()
        except Exception as error:  # without an answer, all publishers would wait for ever
            if not isinstance(error, StorageError):
                log.exception("sync failed for a reason of its own")
                error = StorageFailedError(f"sync failed: {error}")
            log.critical("sync failed, nothing is acknowledged any more", extra={"error": str(error)})
            self.failure = error
            for written in rounds:
                self._refuse(written.items, error)
            return
        self.stats.synced(self._clock.monotonic() - started)
        for position, written in enumerate(rounds):
            try:
                for partition, end in written.ends:
                    partition.synced(end)
            except Exception:
                self._written = rounds[position:] + self._written
                raise
            for item in written.items:
                self._answer(item, None)

    def _refuse(self, items: list[Item], error: PortaskError) -> None:
        self.stats.failed_rounds += 1
        log.error("round refused", extra={"items": len(items), "error": str(error)})
        for item in items:
            self._answer(item, error)

    def _answer(self, item: Item, error: PortaskError | None) -> None:
        item.error = error
        if isinstance(item, Append):
            self._bus.release(item.size_bytes)
        try:
            item.done(item)  # type: ignore[arg-type]  # each kind of item is answered with itself
        except Exception:  # one handler's mistake must not stop the answers of all others
            log.exception("answering failed")


def _is_urgent(item: Item) -> bool:
    return isinstance(item, Append) or item.is_urgent


def _split(items: list[Item]) -> list[list[Item]]:
    """*items* in order, in groups of about ROUND_BYTES; what is joined stays together."""
    groups: list[list[Item]] = [[]]
    size = 0
    for item in items:
        if isinstance(item, Append):
            if size and size + item.size_bytes > ROUND_BYTES and not item.is_joined:
                groups.append([])
                size = 0
            size += item.size_bytes
        groups[-1].append(item)
    return groups
