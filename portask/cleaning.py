"""Cleaning: one pass of compaction over one partition.

First the keys are read: of each the newest offset, as far as the table has room. Then storage rewrites the
log from its start, without the records that have a newer one in the table and without tombstones that
have been there long enough.

Batches are taken apart on the loop's thread in turns with everything else, large ones in another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import gevent
from gevent.event import Event

from portask.batch import Batch, decode_batch, encode_batch, encoding_of
from portask.errors import CorruptError, PortaskError, ProtocolError
from portask.key_table import KeyTable
from portask.offload import offload
from portask.storage.base import Frame, Storage
from portask.storage.frame import HEADER_BYTES

if TYPE_CHECKING:
    from portask.encoding import Entry
    from portask.partition import Partition

A = TypeVarTuple("A")
T = TypeVar("T")

READ_BYTES = 256 * 1024
THREAD_BYTES = 128 * 1024
"""Batches from this size on are taken apart in a thread: 1,000 records of 100 bytes take 1.5 ms."""
TURN_S = 0.001
"""Work on the loop's thread goes on for so long before others have as much time."""
TURN_ENTRIES = 256


class CleaningStoppedError(PortaskError):
    """The broker stops; the rest is cleaned after the next start."""


class Cleaning:
    """One pass over one partition."""

    def __init__(
        self, storage: Storage, partition: Partition, expired_before: int, memory_bytes: int, stopped: Event
    ) -> None:
        """Tombstones below *expired_before* may go; it ends with CleaningStoppedError soon after *stopped* is set."""
        self.kept_bytes = 0
        """What storage keeps of what was cleaned."""
        self.tombstones = 0
        """How many of the records kept are tombstones that may go some time."""
        self.removed = 0
        self._storage = storage
        self._partition = partition
        self._memory_bytes = memory_bytes
        self._stopped = stopped
        self._expired_before = expired_before
        self._last_offset = partition.high_watermark
        self._keys = KeyTable(0, 0)
        self._stop = 0
        """Where the table ends: records from here on stay."""
        self._end = 0
        """Where the last batch ends that has a record below it."""
        self._turn_began = time.monotonic()

    def read(self, offset: int, end_offset: int) -> int:
        """Note the keys from *offset* on, and return how far the table has room, at most to *end_offset*. Blocks."""
        storage, partition = self._storage, self._partition
        self._keys = keys = KeyTable(end_offset - max(offset, partition.log_start_offset), self._memory_bytes)
        self._stop = self._end = end_offset
        position = offset
        while position < end_offset and (frames := storage.read(partition.log, position, READ_BYTES)):
            for frame in frames:
                if frame.base_offset >= end_offset:
                    return end_offset
                for entry in self._in_turns(self._entries(decode_batch(frame))):
                    if offset <= entry.offset and entry.key is not None and not keys.put(entry.key, entry.offset):
                        self._stop, self._end = entry.offset, frame.next_offset
                        return entry.offset
            position = frames[-1].next_offset
        return end_offset

    def rewrite(self) -> None:
        """Take away what the table outdates. Blocks."""
        self._storage.rewrite(self._partition.log, self._end, self._thin_out)

    def _thin_out(self, frames: list[Frame]) -> list[Frame]:
        thinner = [kept for frame in frames if (kept := self._thin(frame)) is not None]
        self.kept_bytes += sum(HEADER_BYTES + len(frame.body) for frame in thinner)
        return thinner

    def _thin(self, frame: Frame) -> Frame | None:
        batch = decode_batch(frame)
        entries = self._entries(batch)
        kept = [entry for entry in self._in_turns(entries) if self._stays(entry)]
        self.tombstones += sum(entry.is_tombstone and entry.key is not None for entry in kept)
        is_last = frame.next_offset >= self._last_offset
        if is_last and entries and (not kept or kept[-1] is not entries[-1]):
            kept.append(entries[-1])
        self.removed += len(entries) - len(kept)
        if len(kept) == len(entries) and (entries or is_last):
            return frame
        if not kept:
            return None
        payload = self._run(batch, encoding_of(batch).keep, batch, frozenset(entry.offset for entry in kept))
        assert payload is not None
        newest = max(entry.timestamp for entry in kept)
        return frame._replace(max_timestamp=newest, body=b"".join(encode_batch(batch.envelope, [payload])))

    def _stays(self, entry: Entry) -> bool:
        offset, key, is_tombstone, _ = entry
        if key is None or offset >= self._stop:
            return True
        return self._keys.newest(key) <= offset and not (is_tombstone and offset < self._expired_before)

    def _in_turns(self, entries: list[Entry]) -> Iterator[Entry]:
        """*entries*, giving others their turn now and then."""
        for start in range(0, len(entries), TURN_ENTRIES):
            yield from entries[start : start + TURN_ENTRIES]
            self._give_turn()

    def _entries(self, batch: Batch) -> list[Entry]:
        return self._run(batch, encoding_of(batch).entries, batch)

    def _run(self, batch: Batch, function: Callable[[Unpack[A]], T], *args: *A) -> T:
        """What *function* makes of *batch*: in a thread if that is large, and giving others their turn if not."""
        if self._stopped.is_set():
            raise CleaningStoppedError
        try:
            if max(len(batch.payload), batch.envelope.size) >= THREAD_BYTES:
                result = offload(function, *args)
            else:
                result = function(*args)
        except ProtocolError as error:
            raise CorruptError(f"batch at offset {batch.base_offset}: {error}") from error
        self._give_turn()
        return result

    def _give_turn(self) -> None:
        if time.monotonic() - self._turn_began >= TURN_S:
            # At most half of the processor, and of the disk, is for this.
            gevent.sleep(TURN_S)
            self._turn_began = time.monotonic()
