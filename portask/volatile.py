"""Volatile partitions: logs of queues that do not outlive the broker, in memory and beyond a bound in spill files.

    log_start_offset <= first spilled block <= first chunk in memory <= written_offset == high_watermark

What is appended is there at once, as the records that came: no bus, no encoding, no sync. All volatile partitions
share one bound on memory. When an append would exceed it, the partition that holds most gives its oldest
records away, in blocks, to a file that has no name and is never synced (portask.spill). So queues that keep up
are never slowed down by one that does not. What has been trimmed is freed, in memory and on disk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, NamedTuple

from portask.errors import ProtocolError, StorageError, StorageFullError, UnknownTopicError
from portask.message import Record, decode_cbor, encode_cbor
from portask.partition import Run
from portask.spill import Spill, SpillFile

if TYPE_CHECKING:
    from portask.config import Settings
    from portask.subscriptions.subscription import Subscription
    from portask.topic import Topic

BLOCK_BYTES = 64 * 1024
"""About the size of a spilled block; a chunk that is larger has its own."""
MIXED_BYTES = 16 * 1024
"""Blocks below this go to files that partitions share."""
ROOM_PARTS = 64
"""Memory that is full is emptied by one part of so many, so that the holder of most is looked for less often."""
CHUNK_OVERHEAD_BYTES = 130
"""What an append in memory costs beyond its records: measured on appends of one message."""
RECORD_OVERHEAD_BYTES = 150
"""What a record costs beyond its bytes: the objects of body, routing key and properties and what holds them."""
_COMPACT_AT = 256
_base_offset = attrgetter("base_offset")
_memory_bytes = attrgetter("memory_bytes")


class VolatileMemory:
    """What all volatile partitions of a broker may hold in memory together."""

    def __init__(self, settings: Settings) -> None:
        """Spill files are made in the data directory when storage is there, else where temporary files are."""
        self.limit_bytes: int = settings.volatile_memory_bytes
        self.directory: str | None = settings.data_dir if settings.storage == "local" else None
        self.used_bytes = 0
        self.spilled_bytes_total = 0
        """Bytes ever written to spill files."""
        self.holders: dict[VolatilePartition, None] = {}
        """The partitions that have something in memory."""
        self.mixed = Spill(self.directory)
        """Where small blocks go: a file for each partition that has few would take too many descriptors."""
        settings.on_change("volatile_memory_bytes", self._set_limit)

    def make_room(self, size_bytes: int) -> None:
        """Have partitions spill until *size_bytes* more may be used, or nothing is left to spill.

        Raises StorageFullError when the disk took no more.
        """
        wanted = max(0, self.limit_bytes - self.limit_bytes // ROOM_PARTS - size_bytes)
        while self.used_bytes > wanted and self.holders:
            # Those with at least half of what is the average hold half of all, or more.
            least = self.used_bytes // len(self.holders) // 2
            for holder in sorted(self.holders, key=_memory_bytes, reverse=True):
                while self.used_bytes > wanted and holder.memory_bytes and holder.memory_bytes >= least:
                    self._spill(holder)

    def _spill(self, holder: VolatilePartition) -> None:
        try:
            self.spilled_bytes_total += holder.spill()
        except OSError as error:
            raise StorageFullError(f"messages of volatile queues cannot be spilled: {error}") from error

    def _set_limit(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes


class _Chunk:
    """One append in memory."""

    __slots__ = ("base_offset", "cost_bytes", "next_offset", "records", "timestamp")

    def __init__(self, base_offset: int, timestamp: int, records: list[Record], cost_bytes: int) -> None:
        self.base_offset = base_offset
        self.next_offset = base_offset + len(records)
        self.timestamp = timestamp
        self.records = records
        self.cost_bytes = cost_bytes


class _Block(NamedTuple):
    """Some appends in a spill file: a CBOR array of [timestamp, records]."""

    base_offset: int
    next_offset: int
    file: SpillFile
    position: int
    size_bytes: int

    def free(self) -> None:
        """It is not read again."""
        self.file.free(self.size_bytes)


class VolatilePartition:
    """A log that is gone with the broker. To a Subscription it is what a Partition is."""

    __slots__ = (
        "_blocks",
        "_blocks_head",
        "_chunks",
        "_head",
        "_memory",
        "_spill",
        "_watchers",
        "closed",
        "log_start_offset",
        "memory_bytes",
        "number",
        "subscriptions",
        "topic",
        "written_offset",
    )

    def __init__(self, topic: Topic, number: int, memory: VolatileMemory) -> None:
        self.topic = topic
        self.number = number
        self.log_start_offset = 0
        self.written_offset = 0
        self.memory_bytes = 0
        """What its chunks in memory cost."""
        self.closed = False
        self.subscriptions: list[Subscription] = []
        self._memory = memory
        # Oldest first; places before the head are empty and closed up now and then, as in Partition.
        self._chunks: list[_Chunk] = []
        self._head = 0
        self._blocks: list[_Block] = []
        self._blocks_head = 0
        self._spill: Spill | None = None
        self._watchers: list[Callable[[], None]] = []

    @property
    def high_watermark(self) -> int:
        """The end: nothing here gets any safer."""
        return self.written_offset

    @property
    def spilled_bytes(self) -> int:
        """Bytes of its blocks on disk that are not trimmed."""
        return sum(block.size_bytes for block in self._blocks[self._blocks_head :])

    def append(self, records: list[Record], size_bytes: int, now_ms: int) -> int:
        """Append *records*, *size_bytes* of them, and return the first one's offset. Does not switch.

        The list belongs to the partition from now on, or to several of them: nobody may change it. *now_ms* is the
        time of arrival. Raises StorageFullError when memory is full and the disk too, UnknownTopicError
        once closed; then nothing was appended.
        """
        if self.closed:
            raise UnknownTopicError(f"topic {self.topic.name} has been deleted")
        memory = self._memory
        cost = size_bytes + RECORD_OVERHEAD_BYTES * len(records) + CHUNK_OVERHEAD_BYTES
        if memory.used_bytes + cost > memory.limit_bytes:
            memory.make_room(cost)
        base_offset = self.written_offset
        chunk = _Chunk(base_offset, now_ms, records, cost)
        self._chunks.append(chunk)
        if not self.memory_bytes:
            memory.holders[self] = None
        self.memory_bytes += cost
        memory.used_bytes += cost
        self.written_offset = chunk.next_offset
        for subscription in self.subscriptions:
            subscription.arrived(self.number, base_offset, now_ms, records)
        for call in self._watchers:
            call()
        return base_offset

    def trimmed(self, offset: int) -> None:
        """Give up everything before *offset*; an append goes when all of it is before. Does not wake subscriptions."""
        if offset <= self.log_start_offset:
            return
        self.log_start_offset = offset
        blocks = self._blocks
        if blocks:
            head = self._blocks_head
            while head < len(blocks) and blocks[head].next_offset <= offset:
                blocks[head].free()
                head += 1
            self._blocks_head = head
            if head == len(blocks):
                blocks.clear()
                self._blocks_head = 0
            elif head >= _COMPACT_AT and head * 2 >= len(blocks):
                del blocks[:head]
                self._blocks_head = 0
        chunks, head = self._chunks, self._head
        freed = 0
        while head < len(chunks) and chunks[head].next_offset <= offset:
            freed += chunks[head].cost_bytes
            head += 1
        if freed:
            self._let_go(head, freed)
        for call in self._watchers:
            call()

    def close(self) -> None:
        """The queue was deleted: free everything. A second call does nothing."""
        self.closed = True
        for block in self._blocks[self._blocks_head :]:
            block.free()
        self._blocks.clear()
        self._blocks_head = 0
        self._let_go(len(self._chunks), self.memory_bytes)
        for call in self._watchers:
            call()

    def read_runs(self, offset: int, max_bytes: int) -> list[Run]:
        """Records from *offset* on, at most about *max_bytes* unless one append is larger; empty at the end. May block.

        Raises StorageError when a spill file cannot be read.
        """
        offset = max(offset, self.log_start_offset)
        if offset >= self.written_offset or self.closed:
            return []
        chunks, head = self._chunks, self._head
        if head == len(chunks) or offset < chunks[head].base_offset:
            return self._read_blocks(offset, max_bytes)
        index = len(chunks) - 1
        if offset < chunks[index].base_offset:
            index = bisect_right(chunks, offset, lo=head, key=_base_offset) - 1
        runs = []
        size = 0
        for position in range(index, len(chunks)):
            chunk = chunks[position]
            if size and size + chunk.cost_bytes > max_bytes:
                break
            size += chunk.cost_bytes
            runs.append(_slice(chunk.base_offset, chunk.timestamp, chunk.records, offset))
        return runs

    def watch(self, call: Callable[[], None]) -> None:
        """Call *call* whenever something was appended or trimmed, and at the end. It must not block."""
        self._watchers.append(call)

    def unwatch(self, call: Callable[[], None]) -> None:
        """Take a `watch` back."""
        self._watchers.remove(call)

    def find_time(self, timestamp: int) -> int:
        """The first offset that arrived at *timestamp* (ms) or later, as far as that is in memory; else the end."""
        for chunk in self._chunks[self._head :]:
            if chunk.timestamp >= timestamp:
                return max(chunk.base_offset, self.log_start_offset)
        return self.written_offset

    def spill(self) -> int:
        """Write about BLOCK_BYTES of the oldest that is in memory to disk; how many bytes that were.

        Raises OSError, and changes nothing, when the disk takes no more.
        """
        chunks, stop, cost = self._chunks, self._head, 0
        while stop < len(chunks) and (not cost or cost + chunks[stop].cost_bytes <= BLOCK_BYTES):
            cost += chunks[stop].cost_bytes
            stop += 1
        spilled = chunks[self._head : stop]
        # Appends of the same millisecond are one run when they come back.
        body = encode_cbor(
            [
                [timestamp, [record for chunk in group for record in chunk.records]]
                for timestamp, group in groupby(spilled, attrgetter("timestamp"))
            ]
        )
        if len(body) < MIXED_BYTES:
            spill = self._memory.mixed
        else:
            spill = self._spill = self._spill or Spill(self._memory.directory)
        file, position = spill.write(body)
        self._blocks.append(_Block(spilled[0].base_offset, spilled[-1].next_offset, file, position, len(body)))
        self._let_go(stop, cost)
        return len(body)

    def _read_blocks(self, offset: int, max_bytes: int) -> list[Run]:
        index = bisect_right(self._blocks, offset, lo=self._blocks_head, key=itemgetter(0)) - 1
        wanted = []
        size = 0
        for position in range(index, len(self._blocks)):
            block = self._blocks[position]
            if size and size + block.size_bytes > max_bytes:
                break
            size += block.size_bytes
            wanted.append(block)
        # While one is read all may be trimmed.
        for block in wanted:
            block.file.hold()
        try:
            return [run for block in wanted for run in _read(block, offset)]
        finally:
            for block in wanted:
                block.file.release()

    def _let_go(self, head: int, cost_bytes: int) -> None:
        """Nothing before place *head* is in memory any more, which cost *cost_bytes*."""
        chunks = self._chunks
        if head == len(chunks):
            chunks.clear()
            head = 0
        elif head >= _COMPACT_AT and head * 2 >= len(chunks):
            del chunks[:head]
            head = 0
        else:
            for place in range(self._head, head):
                chunks[place] = _GONE
        self._head = head
        self.memory_bytes -= cost_bytes
        self._memory.used_bytes -= cost_bytes
        if not self.memory_bytes:
            self._memory.holders.pop(self, None)


def _read(block: _Block, offset: int) -> Iterator[Run]:
    """The records of *block* from *offset* on. Blocks."""
    try:
        groups = decode_cbor(block.file.read(block.position, block.size_bytes))
    except (OSError, ProtocolError) as error:
        raise StorageError(f"spilled messages from offset {block.base_offset} on are lost: {error}") from error
    base_offset = block.base_offset
    for timestamp, records in groups:
        if base_offset + len(records) > offset:
            yield _slice(base_offset, timestamp, records, offset)
        base_offset += len(records)


def _slice(base_offset: int, timestamp: int, records: list[Record], offset: int) -> Run:
    if offset <= base_offset:
        return Run(base_offset, timestamp, records)
    return Run(offset, timestamp, records[offset - base_offset :])


_GONE = _Chunk(-1, 0, [], 0)
"""Stands before the head, where nobody looks."""
