"""Where in a partition a time is.

Storage finds the batch by its newest timestamp; the record is found inside. Decoding a large batch takes
milliseconds, so that is done in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from portask.batch import Batch, decode
from portask.message import to_message
from portask.offload import offload

if TYPE_CHECKING:
    from portask.partition import Partition

READ_BYTES = 64 * 1024
POOL_BYTES = 16 * 1024
"""From this size on, a batch is decoded in the thread pool."""
_MAX_TIMESTAMP = (1 << 63) - 1

Found = tuple[int, int]
"""The timestamp of a record (ms) and its offset."""


def find_record(partition: Partition, timestamp: int) -> Found | None:
    """The first durable record that is at least as new as *timestamp* (ms); None if there is none. May block."""
    offset = partition.find_time(timestamp)
    while offset < partition.high_watermark:
        # What was found may have been trimmed since.
        offset = max(offset, partition.log_start_offset)
        batches = partition.read(offset, READ_BYTES)
        if not batches:
            return None
        for batch in batches:
            if batch.max_timestamp >= timestamp:
                for found in _records(batch):
                    if found[0] >= timestamp and found[1] >= partition.log_start_offset:
                        return found
            offset = batch.base_offset + batch.count
    return None


def find_newest(partition: Partition) -> Found | None:
    """The first of the durable records with the newest timestamp; None when there are no records. May block."""
    # Storage says for any time whether there is something as new: sixty-four answers find the newest.
    low, high = -1, _MAX_TIMESTAMP
    if partition.find_time(low) >= partition.high_watermark:
        return None
    while low < high:
        middle = low + (high - low + 1) // 2
        if partition.find_time(middle) < partition.high_watermark:
            low = middle
        else:
            high = middle - 1
    newest: Found | None = None
    offset = max(partition.find_time(low), partition.log_start_offset)
    # A batch may claim a newer timestamp than any of its records has, so what it holds counts.
    for batch in partition.read(offset, 1) if offset < partition.high_watermark else ():
        for found in _records(batch):
            if found[1] >= partition.log_start_offset and (newest is None or found[0] > newest[0]):
                newest = found
    return newest


def _records(batch: Batch) -> Iterator[Found]:
    is_small = len(batch.payload) < POOL_BYTES
    decoded = decode(batch) if is_small else offload(decode, batch)
    offsets = decoded.offsets or range(batch.base_offset, batch.base_offset + batch.count)
    for offset, record in zip(offsets, decoded.records, strict=True):
        yield to_message(record, batch.envelope.timestamp).timestamp, offset
