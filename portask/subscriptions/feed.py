"""One partition as a subscription hands it out.

Every offset below `next` is settled, in flight with a consumer, requeued, or does not exist. What was
requeued goes first, lowest offset first, and so at its original position; then fresh messages from
`next` on, up to what storage has taken and to what is reserved (portask.subscriptions.settlement).

Nothing here switches to another greenlet but `read`, and `read` changes nothing but the read-ahead. So
what was settled, trimmed or requeued while it waited needs no special care.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from portask.message import Record
from portask.partition import Partition, Run
from portask.subscriptions.consumer import Delivery
from portask.subscriptions.offset_set import MAX_OFFSET, OffsetSet
from portask.subscriptions.settlement import MAX_RESERVE, RESERVE, Settlement

FIRST_READ_BYTES = 4 * 1024
KEPT_PARTS = 4
"""A batch that is larger than asked for is kept whole up to so many times that size: each part of it that is read
again costs decoding all of it."""
RECORD_BYTES = 40
"""What a field of a record costs beyond its bytes."""


class ReadAhead:
    """The runs that the last read brought, as far as they have not been handed out.

    It knows all there is from *start* to *stop*: an offset in between that is in no run does not exist.
    """

    __slots__ = ("_runs", "_start", "_stored_bytes", "stop")

    def __init__(self) -> None:
        self._runs: deque[Run] = deque()
        self._start = 0
        self._stored_bytes = FIRST_READ_BYTES
        """What to ask storage for: it counts bytes as they are stored, which may be a tenth of what they become."""
        self.stop = 0

    def covers(self, offset: int) -> bool:
        """Whether `find` can tell of *offset*."""
        return self._start <= offset < self.stop

    def read(self, partition: Partition, offset: int, max_bytes: int) -> None:
        """Read on from *offset*, which must be below the written offset, about *max_bytes* in memory. May block."""
        written = partition.written_offset
        stored_bytes = min(self._stored_bytes, max_bytes)
        runs = partition.read_runs(offset, stored_bytes)
        if runs:
            memory_bytes = sum(len(run.records) * _memory_bytes(run.records[0]) for run in runs)
            if memory_bytes * 2 <= max_bytes:
                self._stored_bytes = stored_bytes * 2
            elif memory_bytes > max_bytes:
                self._stored_bytes = max(FIRST_READ_BYTES, stored_bytes // 2)
                if memory_bytes > KEPT_PARTS * max_bytes:
                    runs = _first(runs, KEPT_PARTS * max_bytes)
        self._runs = deque(runs)
        self._start = offset
        self.stop = runs[-1].next_offset if runs else written

    def find(self, offset: int) -> Run | None:
        """The run that holds *offset* or else the next after it; forgets all before it."""
        self._start = offset
        runs = self._runs
        while runs and runs[0].next_offset <= offset:
            runs.popleft()
        return runs[0] if runs else None

    def clear(self) -> None:
        """Forget everything."""
        self._runs.clear()
        self.stop = self._start


def _memory_bytes(record: Record) -> int:
    """About what *record* takes in memory."""
    if isinstance(record, bytes):
        return RECORD_BYTES + len(record)
    return RECORD_BYTES * len(record) + sum(len(field) for field in record if isinstance(field, bytes))


def _first(runs: list[Run], max_bytes: int) -> list[Run]:
    """The beginning of *runs*, about *max_bytes* in memory."""
    kept: list[Run] = []
    for run in runs:
        count = max_bytes // _memory_bytes(run.records[0])
        if count < len(run.records):
            # A list of its own, else all the others would be kept with it.
            kept.append(Run(run.base_offset, run.timestamp, run.records[: max(count, 1)]))
            break
        max_bytes -= len(run.records) * _memory_bytes(run.records[0])
        kept.append(run)
    return kept


class Feed:
    """The place of one subscription in one partition."""

    __slots__ = (
        "_again",
        "_fresh",
        "_settled_end",
        "_starved",
        "_window",
        "away",
        "next",
        "partition",
        "requeued",
        "settlement",
    )

    def __init__(self, partition: Partition, settlement: Settlement) -> None:
        settlement.cut(partition.written_offset)
        self.partition = partition
        self.settlement = settlement
        self.next = settlement.floor
        """Where fresh messages go on."""
        self.away = OffsetSet()
        """Offsets from `next` on that are in flight or settled all the same, because they were withdrawn."""
        self.requeued = OffsetSet()
        self._settled_end = settlement.end
        self._window = RESERVE
        self._starved = False
        """Whether hand-out had to wait for a reservation since the last one was made."""
        self._fresh = ReadAhead()
        self._again = ReadAhead()

    def available(self) -> int:
        """About how many messages could be handed out now; 0 is exact."""
        settlement, partition = self.settlement, self.partition
        if partition.log_start_offset > settlement.floor:
            self._trim(partition.log_start_offset)
        if self.next < self._settled_end or self.away.count:
            self._fresh_run()
        written_offset, durable_reserved = partition.written_offset, settlement.durable_reserved
        if self.next >= durable_reserved and written_offset > durable_reserved:
            self._starved = True
        end = min(written_offset, durable_reserved)
        fresh = end - self.next
        if fresh > 0 and self.away.count:
            fresh -= self.away.part(self.next, end).count
        return self.requeued.count + fresh if fresh > 0 else self.requeued.count

    def is_held_up(self) -> bool:
        """Whether there are messages that wait only for a reservation to become durable."""
        return self.next >= self.settlement.durable_reserved and self.partition.written_offset > self.next

    def lag(self) -> int:
        """How many messages are not settled, handed out or not."""
        settlement, partition = self.settlement, self.partition
        beyond = partition.written_offset - max(settlement.floor, partition.log_start_offset)
        return max(0, beyond - settlement.settled_beyond)

    def reserve(self) -> bool:
        """Whether it was time to reserve more offsets; then the settlement is dirty."""
        if self.next + self._window // 2 <= self.settlement.reserved:
            return False
        # A backlog that is read faster than rows become durable: without this each window would wait for a
        # sync (650,000 messages/s instead of 350,000). Caught up, it is back to flagging few after a crash.
        self._window = min(self._window * 2, MAX_RESERVE) if self._starved else RESERVE
        self._starved = False
        self.settlement.reserve(self.next + self._window)
        return True

    def release(self) -> None:
        """Reserve nothing beyond what was handed out: nothing more will be."""
        exact = max(self.next, self.settlement.handed_out_before)
        if exact < self.settlement.reserved:
            self.settlement.reserve(exact)

    def forget(self) -> None:
        """Give up the read-ahead: nobody waits for it."""
        self._fresh.clear()
        self._again.clear()

    def must_read(self) -> bool:
        """Whether `take` has to wait for `read`; only to be asked while something is available."""
        return not self._ahead().covers(self._place())

    def read(self, max_bytes: int) -> None:
        """Read what comes next. May block. Raises what the partition's storage raises."""
        self._ahead().read(self.partition, self._place(), max_bytes)

    def take(self, limit: int) -> list[Delivery]:
        """Up to *limit* messages that count as in flight from now on, as far as they have been read."""
        deliveries: list[Delivery] = []
        while limit > 0 and self.available():
            again = self.requeued.count > 0
            start, stop = self._wanted(limit)
            ahead = self._ahead()
            if not ahead.covers(start):
                break
            run = ahead.find(start)
            if run is None or run.base_offset > start:
                self._skip(start, ahead.stop if run is None else run.base_offset)
                continue
            stop = min(stop, run.next_offset)
            self._cut(run, start, stop, deliveries)
            if again:
                self.requeued.remove_range(start, stop)
            else:
                self.next = stop
            limit -= stop - start
        return deliveries

    def take_new(self, base_offset: int, timestamp: int, records: list[Record]) -> Delivery | None:
        """All of *records*, which the log has just got, when they come next; else None, and nothing has changed."""
        settlement = self.settlement
        end = base_offset + len(records)
        if (
            self.next != base_offset
            or self.requeued.count
            or self.away.count
            or base_offset < self._settled_end
            or end > settlement.durable_reserved
        ):
            return None
        self.next = end
        return Delivery(self.partition, base_offset, timestamp, records, 0)

    def give_back(self, offsets: OffsetSet, is_failure: bool = True) -> None:
        """Put *offsets*, which were in flight, back to their original position."""
        # What was trimmed meanwhile lies below the floor and does not come back.
        kept = offsets.part(self.settlement.floor)
        if kept.count:
            self.settlement.requeue(kept, is_failure)
            self.away.remove(kept)
            self.requeued.add(kept.part(0, self.next))

    def withdraw(self, offsets: OffsetSet) -> OffsetSet:
        """Those of *offsets* that wait to be handed out; they count as in flight from now on, out of turn."""
        again = self.requeued.common(offsets)
        self.requeued.remove(again)
        taken = offsets.part(self.next, self.partition.written_offset)
        taken.remove(self.away)
        for start, stop in list(taken.ranges()):
            place = start
            while place < stop:
                begin, end = self.settlement.unsettled(place)
                taken.remove_range(place, min(begin, stop))
                place = end
        self.away.add(taken)
        taken.add(again)
        return taken

    def waiting(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """The runs of offsets that wait to be handed out, from *start* on, ascending. Nothing may change meanwhile."""
        yield from self.requeued.ranges(start)
        end = self.partition.written_offset
        start, stop = self._run_from(max(start, self.next))
        while start < end:
            yield start, min(stop, end)
            start, stop = self._run_from(stop)

    def purge(self) -> int:
        """Settle everything that waits to be handed out; return how many messages that were."""
        settlement = self.settlement
        self.available()
        count = self.requeued.count
        for start, stop in list(self.requeued.ranges()):
            settlement.settle(start, stop)
        self.requeued = OffsetSet()
        while self.next < self.partition.written_offset:
            start, stop = self._fresh_run()
            stop = min(stop, self.partition.written_offset)
            if start >= stop:
                break
            count += stop - start
            settlement.settle(start, stop)
            self.next = stop
        return count

    def _ahead(self) -> ReadAhead:
        return self._again if self.requeued.count else self._fresh

    def _place(self) -> int:
        return self.requeued.first() if self.requeued.count else self.next

    def _wanted(self, limit: int) -> tuple[int, int]:
        """The run of offsets that comes next, at most *limit*; something must be available."""
        if self.requeued.count:
            start = self.requeued.first()
            return next(self.requeued.ranges(start, start + limit))
        start, stop = self._fresh_run()
        return start, min(stop, start + limit, self.partition.written_offset, self.settlement.durable_reserved)

    def _fresh_run(self) -> tuple[int, int]:
        """The first run of offsets from `next` on that are neither settled nor away; `next` moves up to it."""
        start, stop = self._run_from(self.next)
        if start != self.next:
            self.next = start
            if self.away.count:
                self.away.remove_range(0, start)
        return start, stop

    def _run_from(self, start: int) -> tuple[int, int]:
        """The first run of offsets at or after *start*, at least `next`, that are neither settled nor away."""
        while True:
            begin, stop = self.settlement.unsettled(start) if start < self._settled_end else (start, MAX_OFFSET)
            if not self.away.count:
                return begin, stop
            away = next(self.away.ranges(begin, stop), None)
            if away is None:
                return begin, stop
            if away[0] > begin:
                return begin, away[0]
            start = away[1]

    def _cut(self, run: Run, start: int, stop: int, deliveries: list[Delivery]) -> None:
        """Append *start* to *stop* of *run* to *deliveries*, in parts of the same redelivery count."""
        base_offset, timestamp, records = run
        for part_start, part_stop, redeliveries, failures in self.settlement.redeliveries(start, stop):
            part = records
            if part_stop - part_start != len(records):
                part = records[part_start - base_offset : part_stop - base_offset]
            deliveries.append(Delivery(self.partition, part_start, timestamp, part, redeliveries, failures))

    def _skip(self, start: int, stop: int) -> None:
        """Settle *start* to *stop*, of which the log has nothing, as far as it was to be handed out."""
        if self.requeued.count:
            for gap_start, gap_stop in list(self.requeued.ranges(start, stop)):
                self.settlement.settle(gap_start, gap_stop)
            self.requeued.remove_range(start, stop)
        else:
            self.settlement.settle(start, stop)
            self.next = stop

    def _trim(self, log_start: int) -> None:
        self.settlement.settle(self.settlement.floor, log_start)
        self.requeued.remove_range(0, log_start)
        if self.away.count:
            self.away.remove_range(0, self.settlement.floor)
        self.next = max(self.next, self.settlement.floor)
