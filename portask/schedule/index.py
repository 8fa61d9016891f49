"""The index of a bucket: its messages in the order of their times, some in memory and the others in sorted runs.

What is put in stays in memory as long as that is little. Then all of it is sorted and written to a file that has no
name and is never synced (portask.spill), as a *run*: chunks of messages, of which one at a time comes back when the
first message of the run is next. So each message is read once from its log and written at most once more, however
scattered the times are. The log of the bucket remains what counts: an index that is lost is made again from it.
Of 200,000 messages of 100 bytes, due at random within an hour, those of one second at a time took 24 us each, and 54 us
with their publication to a durable queue, 31 us those of ten seconds at a time; to read each by itself when it was due
took 224 to 300 us. 1,000,000 such messages took 35 MB of memory, 83 MB when 170,000 of them were overdue at the start.

    run    := chunk*
    chunk  := CBOR [[offset, ...], [due, ...], [target, ...], [record, ...]]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from operator import itemgetter
from typing import NamedTuple

import gevent

from portask.errors import ProtocolError, StorageError, StorageFullError
from portask.message import Record, decode_cbor, encode_cbor
from portask.spill import Spill, SpillFile

MEMORY_BYTES = 16 * 1024 * 1024
"""What an index holds in memory before it writes a run."""
CHUNK_BYTES = 128 * 1024
"""What a chunk costs in memory. One of each run is there: 1,000,000 messages of 100 bytes make 30 runs."""
ITEM_BYTES = 500
"""What a message costs in memory beyond its bytes: the objects of its fields and what holds them."""
OFFSET_BITS = 48
OFFSETS = (1 << OFFSET_BITS) - 1
NEVER = 1 << 110
"""An entry after all others."""

Entry = int
"""When a message is due and its offset: one number, because a heap compares nothing faster."""
Waiting = tuple[Entry, bytes, Record]
"""A message with its target."""


class _Chunk(NamedTuple):
    """A part of a run on disk."""

    file: SpillFile
    position: int
    size_bytes: int

    def free(self) -> None:
        """It is not read again."""
        self.file.free(self.size_bytes)


class _Run:
    """Messages in order: a chunk in memory, and what follows on disk."""

    __slots__ = ("chunks", "next")

    def __init__(self, first: list[Waiting]) -> None:
        self.next = first
        """What the chunk in memory still has, the last message first."""
        self.chunks: deque[_Chunk] = deque()

    def take(self) -> Waiting | None:
        """The next message; None at the end. Blocks. Raises StorageError; then the run is what it was."""
        if not self.next and self.chunks:
            self.next = _read(self.chunks[0])
            self.chunks.popleft().free()
        return self.next.pop() if self.next else None

    def close(self) -> None:
        """Give up what is on disk."""
        for chunk in self.chunks:
            chunk.free()


_Item = tuple[Entry, bytes, Record, _Run | None]


class ScheduleIndex:
    """Messages in the order of their times. One greenlet at a time may use it."""

    def __init__(self, spill: Spill) -> None:
        self.memory_bytes = 0
        """What the messages cost that are in memory and in no run."""
        self._spill = spill
        self._heap: list[_Item] = []
        """The messages in memory, and the next one of every run."""

    @property
    def head(self) -> Entry:
        """The first entry; NEVER when there is none."""
        return self._heap[0][0] if self._heap else NEVER

    @property
    def is_full(self) -> bool:
        """Whether `write_run` is due."""
        return self.memory_bytes >= MEMORY_BYTES

    def put(self, entry: Entry, target: bytes, record: Record) -> None:
        """Add a message; no other has the same entry."""
        heappush(self._heap, (entry, target, record, None))
        self.memory_bytes += cost_of(target, record)

    def take(self) -> Waiting:
        """Take the first message out; there is one. Blocks. Raises StorageError when a run is lost."""
        entry, target, record, run = self._heap[0]
        if run is None:
            heappop(self._heap)
            self.memory_bytes -= cost_of(target, record)
        elif (following := run.take()) is not None:
            heapreplace(self._heap, (*following, run))
        else:
            heappop(self._heap)
        return entry, target, record

    def write_run(self) -> None:
        """Write what is in memory to disk, but for the first chunk. Blocks.

        Raises StorageFullError; then nothing has changed.
        """
        loose = sorted((item for item in self._heap if item[3] is None), key=itemgetter(0))
        parts = list(_cut(loose))
        run = _Run([item[:3] for item in reversed(parts[0])])
        try:
            for part in parts[1:]:
                run.chunks.append(self._write(part))
                # About 1 ms each: others have their turn.
                gevent.sleep(0)
        except OSError as error:
            run.close()
            raise StorageFullError(f"the order of scheduled messages cannot be written: {error}") from error
        heads = [item for item in self._heap if item[3] is not None]
        heads.append((*run.next.pop(), run))
        heapify(heads)
        self._heap = heads
        self.memory_bytes = 0

    def clear(self) -> None:
        """Forget everything."""
        heap, self._heap = self._heap, []
        self.memory_bytes = 0
        for _, _, _, run in heap:
            if run is not None:
                run.close()

    def _write(self, items: list[_Item]) -> _Chunk:
        body = encode_cbor(
            [
                [item[0] & OFFSETS for item in items],
                [item[0] >> OFFSET_BITS for item in items],
                [item[1] for item in items],
                [item[2] for item in items],
            ]
        )
        return _Chunk(*self._spill.write(body), len(body))


def _cut(items: list[_Item]) -> Iterator[list[_Item]]:
    """*items* in parts of about CHUNK_BYTES."""
    start = size = 0
    for stop, item in enumerate(items, 1):
        size += cost_of(item[1], item[2])
        if size >= CHUNK_BYTES or stop == len(items):
            yield items[start:stop]
            start, size = stop, 0


def _read(chunk: _Chunk) -> list[Waiting]:
    """The messages of *chunk*, the last one first. Blocks. Raises StorageError."""
    chunk.file.hold()
    try:
        offsets, dues, targets, records = decode_cbor(chunk.file.read(chunk.position, chunk.size_bytes))
        entries = [due_ms << OFFSET_BITS | offset for due_ms, offset in zip(dues, offsets, strict=True)]
        return list(zip(entries, targets, records, strict=True))[::-1]
    except (OSError, ProtocolError, ValueError, TypeError) as error:
        raise StorageError(f"the order of scheduled messages is lost: {error}") from error
    finally:
        chunk.file.release()


def cost_of(target: bytes, record: Record) -> int:
    """About the bytes that a message takes in memory."""
    if isinstance(record, bytes):
        return ITEM_BYTES + len(target) + len(record)
    size = ITEM_BYTES + len(target)
    for field in record:
        if isinstance(field, bytes):
            size += len(field)
        elif isinstance(field, list | tuple):
            size += 100 * len(field) + sum(len(part) for part in field if part)
    return size
