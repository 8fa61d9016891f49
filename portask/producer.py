"""Producers: who may append what next, so that a repeated batch is not stored twice.

A producer has an id that the broker gave it, an epoch that outdates older holders of that id, and numbers
its records in each partition. A batch is taken when its first number follows the last one. One whose
answer was lost comes again; the last five batches are known by their numbers, so it is answered with the
offset that it was stored at.

    table "producers"   log u64, producer id i64  -> epoch:i16 entry*     oldest first, at most five
    entry               := first_sequence:i32 last_sequence:i32 base_offset:i64 timestamp:i64
    table "counters"    "next producer id"        -> i64, the lowest id never given out

The row is written in the round of the batch, so what is known after a crash is exactly what is stored.
Checks are made when the batcher makes a round, one batch after the other in the order of the log: what
has been checked can then only fail together with all that follows it in the round, and is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from portask.bus import Bus
from portask.catalog import COUNTERS, Catalog, commit
from portask.errors import CorruptError, OutOfOrderSequenceError, ProducerFencedError
from portask.storage.base import Round, Storage

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.config import Settings
    from portask.partition import Partition
    from portask.topic import Topic

PRODUCERS = "producers"
WINDOW = 5
"""A client has at most five batches unanswered, so a repeated one is among the last five."""
MAX_SEQUENCE = (1 << 31) - 1
_NEXT_ID = b"next producer id"
_BLOCK = 1000
"""Ids that are reserved with one write; those left over at a stop are never used."""
_KEY = Struct(">Qq")
_EPOCH = Struct(">h")
_ENTRY = Struct(">iiqq")


class Entry:
    """A batch that is known by its sequence numbers."""

    __slots__ = ("base_offset", "first_sequence", "last_sequence", "timestamp")

    def __init__(self, first_sequence: int, last_sequence: int, base_offset: int, timestamp: int) -> None:
        self.first_sequence = first_sequence
        self.last_sequence = last_sequence
        self.base_offset = base_offset
        """-1 until its round is made."""
        self.timestamp = timestamp
        """When it came, in ms."""


class Producer(NamedTuple):
    """What a partition knows of one producer."""

    epoch: int
    entries: tuple[Entry, ...]
    """Oldest first, at least one, at most WINDOW."""


class Admission:
    """One batch of a producer on its way into a partition. Its methods are called by the batcher."""

    __slots__ = ("_before", "_partition", "entry", "epoch", "producer_id")

    def __init__(
        self, partition: Partition, producer_id: int, epoch: int, first_sequence: int, count: int, timestamp: int
    ) -> None:
        self._partition = partition
        self.producer_id = producer_id
        self.epoch = epoch
        last_sequence = (first_sequence + count - 1) & MAX_SEQUENCE
        self.entry = Entry(first_sequence, last_sequence, -1, timestamp)
        """The batch as it is known; an earlier one's when this one repeats it."""
        self._before: Producer | None = None

    def admit(self) -> bool:
        """Whether the batch is to be appended; False when it was before.

        Raises ProducerFencedError for an epoch that is over, OutOfOrderSequenceError when numbers are missing.
        """
        producers, entry = self._partition.producers, self.entry
        known = self._before = producers.get(self.producer_id)
        entries: tuple[Entry, ...] = ()
        # Of an unknown producer any number is taken: retention may have removed what it sent before.
        if known is not None:
            if self.epoch < known.epoch:
                raise ProducerFencedError(
                    f"producer {self.producer_id} has epoch {known.epoch}, a batch came with {self.epoch}"
                )
            if self.epoch == known.epoch:
                entries = known.entries
                for earlier in entries:
                    if earlier.first_sequence == entry.first_sequence and earlier.last_sequence == entry.last_sequence:
                        self.entry = earlier
                        return False
                expected = (entries[-1].last_sequence + 1) & MAX_SEQUENCE
            else:
                expected = 0
            if entry.first_sequence != expected:
                raise OutOfOrderSequenceError(
                    f"producer {self.producer_id} sent sequence number {entry.first_sequence}, {expected} is next"
                )
        producers[self.producer_id] = Producer(self.epoch, (*entries[1 - WINDOW :], entry))
        return True

    def place(self, base_offset: int, round_: Round) -> None:
        """The batch gets *base_offset* in *round_*: write that down."""
        self.entry.base_offset = base_offset
        key = _KEY.pack(self._partition.log, self.producer_id)
        round_.puts[PRODUCERS, key] = _encode(self._partition.producers[self.producer_id])

    def withdraw(self) -> None:
        """The round was refused: take `admit` back. Called in reverse order."""
        if self._before is None:
            self._partition.producers.pop(self.producer_id, None)
        else:
            self._partition.producers[self.producer_id] = self._before


def _encode(producer: Producer) -> bytes:
    entries = [
        _ENTRY.pack(entry.first_sequence, entry.last_sequence, entry.base_offset, entry.timestamp)
        for entry in producer.entries
    ]
    return _EPOCH.pack(producer.epoch) + b"".join(entries)


def _decode(data: bytes) -> Producer:
    count, rest = divmod(len(data) - _EPOCH.size, _ENTRY.size)
    if rest or not 1 <= count <= WINDOW:
        raise CorruptError(f"a row of table {PRODUCERS} has {len(data)} bytes, which is no number of batches")
    return Producer(
        _EPOCH.unpack_from(data)[0],
        tuple(Entry(*_ENTRY.unpack_from(data, _EPOCH.size + index * _ENTRY.size)) for index in range(count)),
    )


class Producers:
    """All producers of the node: their ids, and their rows from start to expiry."""

    def __init__(self, bus: Bus, storage: Storage, catalog: Catalog, settings: Settings, clock: Clock) -> None:
        self._bus = bus
        self._storage = storage
        self._catalog = catalog
        self._settings = settings
        self._clock = clock
        self._next_id = 0
        self._reserved = 0
        catalog.on_delete.append(_collect_deletion)

    def load(self) -> None:
        """Restore what storage's tables know, after the catalog. Raises CorruptError when a row is broken."""
        counter = self._storage.load(COUNTERS).get(_NEXT_ID)
        self._next_id = self._reserved = int.from_bytes(counter or b"\x00", "big")
        partitions = {partition.log: partition for partition in self._partitions()}
        for key, data in self._storage.load(PRODUCERS).items():
            log, producer_id = _KEY.unpack(key)
            # An id that is not from here, such as one that a copied record brought, says nothing of the next one.
            if log in partitions:
                partitions[log].producers[producer_id] = _decode(data)

    def new_id(self) -> int:
        """A producer id that was never used. Blocks now and then; raises what kept it from being durable."""
        while self._next_id >= self._reserved:
            reserved = self._next_id + _BLOCK
            commit(self._bus, _put_counter(reserved))
            self._reserved = max(self._reserved, reserved)
        self._next_id += 1
        return self._next_id - 1

    def expire(self) -> int:
        """Forget the producers that sent nothing for `producer_expiry_ms`; the number of rows. Blocks."""
        oldest = self._clock.now_ms() - self._settings.producer_expiry_ms
        gone = [
            (partition, producer_id)
            for partition in self._partitions()
            for producer_id, producer in partition.producers.items()
            if producer.entries[-1].timestamp < oldest
        ]
        if gone:

            def collect(round_: Round) -> None:
                for partition, producer_id in gone:
                    producer = partition.producers.get(producer_id)
                    if producer is not None and producer.entries[-1].timestamp < oldest:
                        del partition.producers[producer_id]
                        round_.puts[PRODUCERS, _KEY.pack(partition.log, producer_id)] = None

            commit(self._bus, collect)
        return len(gone)

    def _partitions(self) -> Iterable[Partition]:
        return [partition for topic in self._catalog.topics() for partition in topic.partitions]


def _put_counter(reserved: int) -> Callable[[Round], None]:
    def collect(round_: Round) -> None:
        round_.puts[COUNTERS, _NEXT_ID] = reserved.to_bytes(8, "big")

    return collect


def _collect_deletion(topic: Topic, round_: Round) -> None:
    for partition in topic.partitions:
        for producer_id in partition.producers:
            round_.puts[PRODUCERS, _KEY.pack(partition.log, producer_id)] = None
