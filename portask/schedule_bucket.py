"""Buckets of the schedule: the messages that are due within the same time, in the order in which they came.

    record     := payload, key, headers, due (ms since 1970), ticket
    ticket     := target_length:u32 own_timestamp:i64 has_properties:u8 target properties

A bucket is a log of its own, so that what is far away costs nothing: not memory, not time. When its time comes
near, the log is read for the *index*: when each of the next messages is due, and at which offset. That is bounded;
of a bucket that has more only what is due first is in it, and when that has been fired, the log is read again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent

from portask.errors import CorruptError
from portask.message import Record
from portask.offset_set import OffsetSet
from portask.partition import Run
from portask.settlement import Settlement

if TYPE_CHECKING:
    from portask.topic import Topic

log = logging.getLogger(__name__)

INDEX_MESSAGES = 100_000
"""So many messages of a bucket are in its index at most, or twice as many until it is cut; each takes 80 bytes."""
READ_BYTES = 64 * 1024
DENSE = 4
"""Messages are read in one go when they are at least one of so many."""
MAX_DUE_MS = 1 << 62
NEVER = 1 << 110
"""An entry after all others."""

_OFFSET_BITS = 48
_OFFSETS = (1 << _OFFSET_BITS) - 1
_TICKET = Struct(">IqB")
_NO_TIMESTAMP = -1

Entry = int
"""When a message is due and its offset: one number, because a heap compares nothing faster."""


class Scheduled(NamedTuple):
    """A message that waits."""

    id: str
    """What `Schedule.cancel` takes."""
    due_ms: int
    target: bytes
    record: Record


def pack(records: Sequence[Record], due_ms: int, target: bytes) -> list[Record]:
    """*records* as a bucket keeps them."""
    packed: list[Record] = []
    tickets: dict[tuple[int | None, bytes | None], bytes] = {}
    for record in records:
        fields = (record,) if isinstance(record, bytes) else tuple(record)
        payload, key, headers, timestamp, properties = fields + (None,) * (5 - len(fields))
        ticket = tickets.get((timestamp, properties))
        if ticket is None:
            own = _NO_TIMESTAMP if timestamp is None else timestamp
            head = _TICKET.pack(len(target), own, properties is not None)
            ticket = tickets[timestamp, properties] = head + target + (properties or b"")
        packed.append((payload, key, headers, due_ms, ticket))
    return packed


def unpack(packed: Any) -> tuple[int, bytes, Record]:
    """When a record is due, its target, and the record. Raises CorruptError when a bucket cannot have it."""
    try:
        payload, key, headers, due_ms, ticket = packed
        length, own, has_properties = _TICKET.unpack_from(ticket)
        stop = _TICKET.size + length
        if due_ms is None or len(ticket) < stop:
            raise ValueError("a ticket is cut short")
    except Exception as error:  # whatever it is, it is nothing that `pack` has made
        raise CorruptError(f"a scheduled message is broken: {error}") from error
    target = ticket[_TICKET.size : stop]
    properties = ticket[stop:] if has_properties else None
    timestamp = None if own == _NO_TIMESTAMP else own
    if payload is not None and key is None and headers is None and timestamp is None and properties is None:
        return due_ms, target, payload
    return due_ms, target, (payload, key, headers, timestamp, properties)


class Bucket:
    """The messages that are due from *start_ms* to *end_ms*, or were due already when they came."""

    def __init__(self, topic: Topic, start_ms: int, end_ms: int, settlement: Settlement | None = None) -> None:
        """*topic* is its own, with one partition; without a *settlement* it is new."""
        self.topic = topic
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.partition = topic.partitions[0]
        self.settlement = settlement or Settlement(self.partition.log, 0, self.partition.log_start_offset)
        self.settlement.cut(self.partition.written_offset)
        self.adding = 0
        """Appends that are on their way."""
        self.firing = OffsetSet()
        """What has been taken from the index and is not settled yet."""
        self._heap: list[Entry] = []
        self._known: Entry = -1
        """Every message that comes no later than this is in the heap, is being fired, or is settled."""
        self._ahead: list[Run] = []
        """What was read last beyond what was wanted."""
        self._late: list[Entry] | None = None
        """What came while the log is being read."""

    @property
    def waiting(self) -> int:
        """How many messages are neither settled nor being fired."""
        settlement = self.settlement
        return self.partition.high_watermark - settlement.floor - settlement.settled_beyond - self.firing.count

    @property
    def head_ms(self) -> int:
        """When the first message in the index is due."""
        return (self._heap[0] if self._heap else NEVER) >> _OFFSET_BITS

    @property
    def unknown_ms(self) -> int:
        """No message that is not in the index is due before."""
        if self._known < 0:
            return self.start_ms
        return self._known >> _OFFSET_BITS

    def is_waiting(self, offset: int) -> bool:
        """Whether there is a message at *offset* that is neither settled nor being fired."""
        is_there = 0 <= offset < self.partition.high_watermark
        return is_there and not self.settlement.is_settled(offset) and offset not in self.firing

    def is_over(self, now_ms: int) -> bool:
        """Whether all has been fired and nothing more can come."""
        return self.end_ms < now_ms and not self.adding and self.settlement.floor >= self.partition.written_offset

    def added(self, due_ms: int, base_offset: int, count: int) -> None:
        """*count* messages due at *due_ms* are durable from *base_offset* on."""
        first = due_ms << _OFFSET_BITS | base_offset
        if self._late is not None:
            self._late += range(first, first + count)
            return
        for entry in range(first, first + count):
            if entry <= self._known:
                heappush(self._heap, entry)
        if len(self._heap) > 2 * INDEX_MESSAGES:
            self._heap.sort()
            self._cut(self._heap)

    def put_back(self, entry: Entry) -> None:
        """A message that was taken is to be fired again."""
        offset = entry & _OFFSETS
        self.firing.remove_range(offset, offset + 1)
        if self._late is not None:
            self._late.append(entry)
        elif entry <= self._known:
            heappush(self._heap, entry)

    def scan(self) -> None:
        """Read the log for what is due next. Blocks. Raises what storage raises; then nothing is known any more."""
        # What is durable now has been announced by `added`; what becomes durable from now on will be.
        end = self.partition.high_watermark
        self._late = []
        self._heap, self._known = [], -1
        heap: list[Entry] = []
        known = NEVER
        try:
            for run in self._runs(end):
                for offset, record in enumerate(run.records, run.base_offset):
                    entry = unpack(record)[0] << _OFFSET_BITS | offset
                    if entry <= known and offset < end and self.is_waiting(offset):
                        heap.append(entry)
                if len(heap) > 2 * INDEX_MESSAGES:
                    heap.sort()
                    known = _cut(heap)
            # What was put back meanwhile may have been found as well.
            self._heap = sorted({*heap, *(entry for entry in self._late if entry <= known)})
            self._known = known
        finally:
            self._late = None

    def _runs(self, end: int) -> Iterator[Run]:
        """What is in the log before *end* and is not settled, about. Blocks between them.

        Where messages are missing, because the log was repaired, they are settled. Those that cannot be read are left.
        """
        offset = self.settlement.floor
        while (offset := self.settlement.unsettled(offset)[0]) < end:
            try:
                runs = self.partition.read_runs(offset, READ_BYTES)
            except CorruptError as error:
                log.error("scheduled messages are damaged", extra={"error": str(error)})  # noqa: TRY400  # says where
                offset += 1
                continue
            for run in runs:
                if run.base_offset > offset:
                    self.settle(offset, min(run.base_offset, end))
                yield run
                offset = run.next_offset
            if not runs:
                self.settle(offset, end)
            gevent.sleep(0)

    def take(self) -> Entry | None:
        """The first message of the index, which is being fired from now on; None when it was settled meanwhile."""
        entry = heappop(self._heap)
        offset = entry & _OFFSETS
        if self.settlement.is_settled(offset):
            return None
        self.firing.add_range(offset, offset + 1)
        return entry

    def settle(self, start: int, stop: int) -> None:
        """*start* to *stop* have been fired, or cancelled."""
        self.firing.remove_range(start, stop)
        self.settlement.settle(start, stop)

    def read(self, offsets: Sequence[int]) -> dict[int, tuple[bytes, Record]]:
        """Target and record of each of *offsets* that the log has; they ascend. Blocks."""
        found: dict[int, tuple[bytes, Record]] = {}
        runs, self._ahead = self._ahead, []
        # Of messages that lie far apart one batch each: to read on would cost 20 times as much.
        is_dense = offsets[-1] - offsets[0] < DENSE * len(offsets)
        max_bytes = READ_BYTES if is_dense else 1
        for offset in offsets:
            while runs and runs[0].next_offset <= offset:
                runs.pop(0)
            if not runs or runs[0].base_offset > offset:
                runs = self.partition.read_runs(offset, max_bytes)
            if runs and runs[0].base_offset <= offset:
                _, target, record = unpack(runs[0].records[offset - runs[0].base_offset])
                found[offset] = target, record
        if is_dense:
            self._ahead = runs
        return found

    def page(self, offset: int, limit: int) -> list[Scheduled]:
        """Up to *limit* messages that wait, from *offset* on, in the order in which they came. Blocks."""
        found: list[Scheduled] = []
        end = self.partition.high_watermark
        while len(found) < limit:
            offset = self.settlement.unsettled(offset)[0]
            runs = self.partition.read_runs(offset, READ_BYTES) if offset < end else []
            if not runs:
                break
            for run in runs:
                for place, packed in enumerate(run.records, run.base_offset):
                    if place < end and not self.settlement.is_settled(place) and len(found) < limit:
                        found.append(Scheduled(f"{self.start_ms}-{self.partition.log}-{place}", *unpack(packed)))
            offset = runs[-1].next_offset
        return found

    def _cut(self, entries: list[Entry]) -> None:
        self._known = _cut(entries)


def offset_of(entry: Entry) -> int:
    """Where in the log the message of *entry* is."""
    return entry & _OFFSETS


def _cut(entries: list[Entry]) -> Entry:
    """Leave the first INDEX_MESSAGES of sorted *entries*, and return the last of them."""
    del entries[INDEX_MESSAGES:]
    return entries[-1]
