"""A partition: one log as the broker sees it, with its recent batches in memory.

    log_start_offset <= high_watermark <= written_offset == next base offset

`written_offset` is the end of what storage has taken; subscriptions hand out up to there. `high_watermark`
is the end of what is as safe as configured; cursors read up to there, and only there. Both only grow.
Offsets are given by the batcher when it makes a round, so a refused write leaves no gap.

The newest batches of all partitions stay in the tail cache, as records where they came as records, so
that a subscription that keeps up costs neither a read nor a decode.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

from portask.batch import Batch, decode, decode_batch, decode_records
from portask.errors import OffsetOutOfRangeError
from portask.message import Record
from portask.storage.base import Frame, Storage

if TYPE_CHECKING:
    from portask.producer import Producer
    from portask.subscriptions.subscription import Subscription
    from portask.topic import Topic

_COMPACT_AT = 256
_EVICTED = cast("TailBatch", None)
"""Stands before the head, where nobody looks; the batch itself would be kept in memory there."""


class Run(NamedTuple):
    """Records at consecutive offsets; those without a timestamp of their own have the batch's *timestamp*."""

    base_offset: int
    timestamp: int
    records: list[Record]

    @property
    def next_offset(self) -> int:
        """The offset that follows the last record."""
        return self.base_offset + len(self.records)


class TailBatch:
    """One batch in the tail cache; its records may still have to be decoded."""

    __slots__ = (
        "base_offset",
        "frame",
        "max_timestamp",
        "next_offset",
        "partition",
        "records",
        "size_bytes",
        "timestamp",
    )

    def __init__(
        self, partition: Partition, frame: Frame, records: list[Record] | None, timestamp: int, size_bytes: int
    ) -> None:
        self.partition = partition
        self.base_offset = frame.base_offset
        self.next_offset = frame.next_offset
        self.max_timestamp = frame.max_timestamp
        self.frame = frame
        self.records = records
        self.timestamp = timestamp
        self.size_bytes = size_bytes


class TailCache:
    """The newest batches of all partitions, oldest evicted first, bounded in bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._order: deque[TailBatch] = deque()

    def add(self, batch: TailBatch) -> None:
        """Keep *batch*, at the cost of the oldest ones."""
        self._order.append(batch)
        self.used_bytes += batch.size_bytes
        while self.used_bytes > self.limit_bytes and len(self._order) > 1:
            oldest = self._order.popleft()
            self.used_bytes -= oldest.size_bytes
            oldest.partition.evict(oldest)


class Partition:
    """One log of a topic. Created by Topic; written by the batcher only."""

    def __init__(self, topic: Topic, number: int, log: int, storage: Storage, cache: TailCache) -> None:
        bounds = storage.bounds(log)
        self.topic = topic
        self.number = number
        self.log = log
        self.log_start_offset = bounds.start_offset
        self.high_watermark = bounds.next_offset
        self.written_offset = bounds.next_offset
        self.leader_epoch = 0
        self.producers: dict[int, Producer] = {}
        """What is known of those who number their batches, by producer id; kept by portask.producer."""
        self.closed = False
        self.subscriptions: list[Subscription] = []
        self._storage = storage
        self._cache = cache
        self._tail: list[TailBatch] = []
        # Evicted batches leave empty places at the front that are closed up now and then: a deque would make
        # every look-up in the middle walk its blocks.
        self._head = 0
        self._waiters: list[tuple[int, Callable[[], None]]] = []
        self._watchers: list[Callable[[], None]] = []

    # -- what the batcher tells -------------------------------------------------------------------

    def wrote(self, batches: list[TailBatch]) -> None:
        """Storage has taken *batches*: keep them in the cache and let subscriptions hand them out."""
        for batch in batches:
            self._tail.append(batch)
            self.written_offset = batch.next_offset
            self._cache.add(batch)
            for subscription in self.subscriptions:
                subscription.arrived(self.number, batch.base_offset, batch.timestamp, batch.records)

    def synced(self, offset: int) -> None:
        """Everything before *offset* is as safe as configured: readers may see it."""
        self.high_watermark = offset
        waiters = self._waiters
        if waiters:
            self._waiters = [waiter for waiter in waiters if waiter[0] >= offset]
            for wanted, call in waiters:
                if wanted < offset:
                    call()
        for call in self._watchers:
            call()

    def trimmed(self, offset: int) -> None:
        """Everything before *offset* is gone."""
        self.log_start_offset = max(self.log_start_offset, offset)
        for call in self._watchers:
            call()
        for subscription in self.subscriptions:
            subscription.wake()

    def evict(self, batch: TailBatch) -> None:
        """The tail cache drops *batch*, the oldest of this partition."""
        if self._head < len(self._tail) and self._tail[self._head] is batch:
            self._tail[self._head] = _EVICTED
            self._head += 1
            if self._head >= _COMPACT_AT and self._head * 2 >= len(self._tail):
                del self._tail[: self._head]
                self._head = 0

    def compacted(self, offset: int) -> None:
        """Storage has less of what is before *offset*: let nobody find the rest in the cache."""
        while self._head < len(self._tail) and self._tail[self._head].next_offset <= offset:
            self.evict(self._tail[self._head])

    def close(self) -> None:
        """The topic was deleted: wake everyone who waits."""
        self.closed = True
        waiters, self._waiters = self._waiters, []
        for _, call in waiters:
            call()
        for call in self._watchers:
            call()
        self._tail.clear()
        self._head = 0

    # -- reading ----------------------------------------------------------------------------------

    def read(self, offset: int, max_bytes: int) -> list[Batch]:
        """Durable batches from the one that holds *offset* on; empty at the high watermark. May block.

        Raises OffsetOutOfRangeError when *offset* lies outside log start offset to high watermark.
        """
        return [decode_batch(frame) for frame in self.read_frames(offset, max_bytes)]

    def read_frames(self, offset: int, max_bytes: int) -> list[Frame]:
        """As `read`, the batches still in their frames."""
        if not self.log_start_offset <= offset <= self.high_watermark:
            raise OffsetOutOfRangeError(
                f"offset {offset} is outside {self.log_start_offset} to {self.high_watermark}"
                f" of {self.topic.name}/{self.number}"
            )
        if offset == self.high_watermark:
            return []
        frames = self._frames(offset, max_bytes)
        while frames and frames[-1].next_offset > self.high_watermark:
            frames.pop()
        return frames

    def read_runs(self, offset: int, max_bytes: int) -> list[Run]:
        """Records of what storage has taken, from *offset* on, durable or not; empty at the end. May block.

        Where offsets are missing a run ends and another begins. For subscriptions; cursors use `read`.
        """
        while (index := self._tail_index(offset)) is None:
            frames = self._storage.read(self.log, offset, max_bytes)
            found = [run for frame in frames for run in cut_runs(decode_batch(frame), offset)]
            if found or not frames:
                return found
            # Compaction has left nothing but empty batches here.
            offset = frames[-1].next_offset
        runs, size = [], 0
        for position in range(index, len(self._tail)):
            batch = self._tail[position]
            if size and size + batch.size_bytes > max_bytes:
                break
            size += batch.size_bytes
            if batch.records is None:
                batch.records = decode_records(decode_batch(batch.frame))
            runs.append(_slice(batch.base_offset, batch.timestamp, batch.records, offset))
        return runs

    def notify(self, offset: int, call: Callable[[], None]) -> None:
        """Call *call* once, when the high watermark passes *offset* or the partition closes; at once if it has."""
        if self.closed or self.high_watermark > offset:
            call()
        else:
            self._waiters.append((offset, call))

    def forget(self, call: Callable[[], None]) -> None:
        """Take a `notify` back."""
        self._waiters = [waiter for waiter in self._waiters if waiter[1] != call]

    def watch(self, call: Callable[[], None]) -> None:
        """Call *call* whenever the log's start or high watermark has moved, and when the partition closes.

        It must not block, nor watch or unwatch anything.
        """
        self._watchers.append(call)

    def unwatch(self, call: Callable[[], None]) -> None:
        """Take a `watch` back."""
        self._watchers.remove(call)

    def find_time(self, timestamp: int) -> int:
        """The first offset whose record may be as new as *timestamp* (ms); the high watermark if none is. May block."""
        found = self._storage.find_time(self.log, timestamp)
        return self.high_watermark if found is None else max(found, self.log_start_offset)

    def _frames(self, offset: int, max_bytes: int) -> list[Frame]:
        index = self._tail_index(offset)
        if index is None:
            return self._storage.read(self.log, offset, max_bytes)
        frames: list[Frame] = []
        size = 0
        for position in range(index, len(self._tail)):
            frame = self._tail[position].frame
            size += len(frame.body)
            if frames and size > max_bytes:
                break
            frames.append(frame)
        return frames

    def _tail_index(self, offset: int) -> int | None:
        """Where in the tail *offset* is or would be next; None when it is older than the tail."""
        tail, head = self._tail, self._head
        if offset >= self.written_offset:
            return len(tail)
        if head == len(tail) or offset < tail[head].base_offset:
            return None
        index = len(tail) - 1
        if offset < tail[index].base_offset:
            index = bisect_right(tail, offset, lo=head, key=_base_offset) - 1
        return index if tail[index].next_offset > offset else index + 1


def _base_offset(batch: TailBatch) -> int:
    return batch.base_offset


def cut_runs(batch: Batch, offset: int) -> list[Run]:
    """The records of *batch* from *offset* on. Raises CorruptError when they make no sense."""
    timestamp = batch.envelope.timestamp
    records, offsets = decode(batch)
    if offsets is None:
        return [_slice(batch.base_offset, timestamp, records, offset)]
    first = bisect_left(offsets, offset)
    runs: list[Run] = []
    for stop in range(first + 1, len(offsets) + 1):
        if stop == len(offsets) or offsets[stop] != offsets[stop - 1] + 1:
            runs.append(Run(offsets[first], timestamp, records[first:stop]))
            first = stop
    return runs


def _slice(base_offset: int, timestamp: int, records: list[Record], offset: int) -> Run:
    if offset <= base_offset:
        return Run(base_offset, timestamp, records)
    return Run(offset, timestamp, records[offset - base_offset :])
