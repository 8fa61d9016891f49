"""Buckets of the schedule: the messages that are due within the same time, in the order in which they came.

    record     := payload, key, headers, due (ms since 1970), ticket
    ticket     := target_length:u32 own_timestamp:i64 has_properties:u8 target properties

A bucket is a log of its own, so that what is far away costs nothing: not memory, not time. When its time comes
near, the log is read once, from front to back, into the *index* (portask.schedule.index), which has the messages in
the order of their times. What comes later is read when the first of it is near, together with all that came since.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from portask.errors import CorruptError, StorageError
from portask.message import Record
from portask.partition import Run
from portask.schedule.index import NEVER, OFFSET_BITS, OFFSETS, ScheduleIndex, Waiting
from portask.subscriptions.offset_set import OffsetSet
from portask.subscriptions.settlement import Settlement

if TYPE_CHECKING:
    from portask.spill import Spill
    from portask.topic import Topic

log = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
MAX_DUE_MS = 1 << 62
NEVER_MS = NEVER >> OFFSET_BITS

_TICKET = Struct(">IqB")
_NO_TIMESTAMP = -1


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

    def __init__(
        self, topic: Topic, start_ms: int, end_ms: int, spill: Spill, settlement: Settlement | None = None
    ) -> None:
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
        self._index = ScheduleIndex(spill)
        self._scanned = self.settlement.floor
        """What comes before is in the index, is being fired, is settled, or cannot be read."""
        self._added = self.partition.high_watermark
        """The end of what is known to be durable."""
        self.unknown_ms = start_ms if self._scanned < self._added else NEVER_MS
        """No message that the index does not have is due before."""
        self._damaged = -1
        """Where reading failed last."""
        self._listed: list[Run] = []
        """What was read last for a page."""

    @property
    def waiting(self) -> int:
        """How many messages are neither settled nor being fired."""
        settlement = self.settlement
        return self.partition.high_watermark - settlement.floor - settlement.settled_beyond - self.firing.count

    @property
    def unscanned(self) -> int:
        """How many messages the index does not have, about."""
        return self._added - self._scanned

    @property
    def head_ms(self) -> int:
        """When the first message in the index is due."""
        return self._index.head >> OFFSET_BITS

    def is_waiting(self, offset: int) -> bool:
        """Whether there is a message at *offset* that is neither settled nor being fired."""
        is_there = 0 <= offset < self.partition.high_watermark
        return is_there and not self.settlement.is_settled(offset) and offset not in self.firing

    def is_over(self, now_ms: int) -> bool:
        """Whether all has been fired and nothing more can come."""
        return self.end_ms < now_ms and not self.adding and self.settlement.floor >= self.partition.written_offset

    def added(self, due_ms: int, base_offset: int, count: int) -> None:
        """*count* messages due at *due_ms* are durable from *base_offset* on."""
        self._added = max(self._added, base_offset + count)
        self.unknown_ms = min(self.unknown_ms, due_ms)

    def put_back(self, waiting: Waiting, delay_ms: int) -> None:
        """A message that was taken is to be fired again, so much later than it was due."""
        entry, target, record = waiting
        offset = entry & OFFSETS
        self.firing.remove_range(offset, offset + 1)
        if offset < self._scanned:
            self._index.put(entry + (delay_ms << OFFSET_BITS), target, record)

    def scan(self) -> None:
        """Read the next piece of what the index does not have. Blocks. Raises StorageError; then it may be repeated.

        Where messages are missing, because the log was repaired, they are settled. Those that cannot be read are left.
        """
        if self._index.is_full:
            self._index.write_run()
        # What is durable now has been announced by `added`, or will be.
        end = self.partition.high_watermark
        start = self.settlement.unsettled(self._scanned)[0]
        runs, start = self._read(start, end)
        for run in runs:
            if run.base_offset > start:
                self.settle(start, min(run.base_offset, end))
            self._enter(run, end)
            start = run.next_offset
        self._scanned = min(start, end)
        if self._scanned >= self._added:
            self.unknown_ms = NEVER_MS

    def _enter(self, run: Run, end: int) -> None:
        """Put what waits of *run*, before *end*, into the index."""
        put, is_waiting = self._index.put, self.is_waiting
        records = run.records if run.next_offset <= end else run.records[: max(0, end - run.base_offset)]
        all_wait = not self.settlement.settled_beyond and not self.firing.count
        for offset, packed in enumerate(records, run.base_offset):
            if all_wait or is_waiting(offset):
                try:
                    due_ms, target, record = unpack(packed)
                except CorruptError as error:
                    log.error("scheduled message is damaged", extra=self._fields(offset, error))  # noqa: TRY400  # says where
                    continue
                put(due_ms << OFFSET_BITS | offset, target, record)

    def take(self) -> Waiting | None:
        """The first message of the index, which is being fired from now on; None when it was settled meanwhile.

        Blocks. Raises StorageError when the index is lost: it has to be made again.
        """
        try:
            waiting = self._index.take()
        except StorageError:
            self._index.clear()
            self._scanned = self.settlement.floor
            self.unknown_ms = self.start_ms
            raise
        offset = waiting[0] & OFFSETS
        if self.settlement.is_settled(offset):
            return None
        self.firing.add_range(offset, offset + 1)
        return waiting

    def settle(self, start: int, stop: int) -> None:
        """*start* to *stop* have been fired, or cancelled."""
        self.firing.remove_range(start, stop)
        self.settlement.settle(start, stop)

    def close(self) -> None:
        """Forget the index."""
        self._index.clear()

    def page(self, offset: int, limit: int) -> list[Scheduled]:
        """Up to *limit* messages that wait, from *offset* on, in the order in which they came. Blocks."""
        found: list[Scheduled] = []
        end = self.partition.high_watermark
        while (offset := self.settlement.unsettled(offset)[0]) < end:
            # What the last page ended in is decoded once, not again for every page that it is cut into.
            runs = [run for run in self._listed if run.next_offset > offset]
            if not runs or runs[0].base_offset > offset:
                runs, offset = self._read(offset, end)
            self._listed = runs
            for run in runs:
                start = max(offset, run.base_offset)
                for place, packed in enumerate(run.records[start - run.base_offset :], start):
                    if not self.is_waiting(place):
                        continue
                    try:
                        found.append(Scheduled(self._id(place), *unpack(packed)))
                    except CorruptError:
                        continue
                    if len(found) >= limit:
                        return found
                offset = run.next_offset
        self.forget_page()
        return found

    def forget_page(self) -> None:
        """No page follows the last one."""
        self._listed = []

    def _read(self, offset: int, end: int) -> tuple[list[Run], int]:
        """What the log has from *offset* on, and where that begins: behind what cannot be read. Blocks."""
        while offset < end:
            try:
                runs = self.partition.read_runs(offset, READ_BYTES)
            except CorruptError as error:
                if offset != self._damaged + 1:
                    log.error("scheduled messages are damaged", extra=self._fields(offset, error))  # noqa: TRY400  # says where
                self._damaged = offset
                offset += 1
            else:
                return runs or [Run(end, 0, [])], offset
        return [], end

    def _id(self, offset: int) -> str:
        return f"{self.start_ms}-{self.partition.log}-{offset}"

    def _fields(self, offset: int, error: CorruptError) -> dict[str, str]:
        return {"id": self._id(offset), "error": str(error)}


def offset_of(waiting: Waiting) -> int:
    """Where in the log the message is."""
    return waiting[0] & OFFSETS


def due_of(waiting: Waiting) -> int:
    """When the message is due."""
    return waiting[0] >> OFFSET_BITS
