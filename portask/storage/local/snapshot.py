"""The snapshot: tables and logs as they were at the end of a journal file that has been moved.

    snapshot := copy copy
    copy     := magic "PTSKSNAP" format:u32 length:u64 crc:u32 body
    body     := CBOR [journal, sequence, {table: {key: value}}, [log...]]
    log      := [number, start, next, [[base, next, size, max_timestamp, generation]...]]

`journal` is the file with which recovery begins, `sequence` the last round before it, `length` and
`crc` (CRC32C) are those of the body. Both copies are the same: a repair takes the one that is whole.
A new snapshot replaces the old by a rename.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Any, NamedTuple

import cbor2
from crc32c import crc32c

from portask.errors import CorruptError
from portask.storage.local.disk import Disk
from portask.storage.local.log import Log, Segment

NAME = "snapshot"
UNFINISHED = "snapshot.tmp"
MAGIC = b"PTSKSNAP"
FORMAT = 1
_HEADER = Struct(">8sIQI")


class SavedLog(NamedTuple):
    """One log of a snapshot."""

    number: int
    start_offset: int
    next_offset: int
    segments: list[Segment]

    def restore(self) -> Log:
        return Log(self.number, self.start_offset, self.next_offset, list(self.segments))


class Snapshot(NamedTuple):
    """What recovery starts from."""

    journal: int
    sequence: int
    tables: Mapping[str, dict[bytes, bytes]]
    logs: Iterable[SavedLog]


EMPTY = Snapshot(1, 0, {}, ())


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The file's content."""
    body = cbor2.dumps([snapshot.journal, snapshot.sequence, snapshot.tables, list(snapshot.logs)])
    return (_HEADER.pack(MAGIC, FORMAT, len(body), crc32c(body)) + body) * 2


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot that *data* holds twice. Raises CorruptError when either copy is damaged."""
    if len(data) % 2 or data[: len(data) // 2] != data[len(data) // 2 :]:
        raise CorruptError("the two copies differ")
    return decode_copy(data, 0)


def decode_copy(data: bytes, position: int) -> Snapshot:
    """The copy at *position*. Raises CorruptError."""
    if len(data) - position < _HEADER.size:
        raise CorruptError("the header is cut short")
    magic, format_, length, crc = _HEADER.unpack_from(data, position)
    start = position + _HEADER.size
    if magic != MAGIC or format_ != FORMAT:
        raise CorruptError(f"not a snapshot of format {FORMAT}")
    if length > len(data) - start or crc32c(data[start : start + length]) != crc:
        raise CorruptError("the checksum is wrong")
    journal, sequence, tables, logs = _decode_body(data[start : start + length])
    return Snapshot(journal, sequence, tables, logs)


def _decode_body(body: bytes) -> Any:
    try:
        journal, sequence, tables, logs = cbor2.loads(body)
        saved = [
            SavedLog(number, start, next_, [Segment(*segment) for segment in segments])
            for number, start, next_, segments in logs
        ]
    except (cbor2.CBORError, TypeError, ValueError) as error:
        raise CorruptError(f"the body makes no sense: {error}") from error
    return journal, sequence, tables, saved


def save_snapshot(disk: Disk, directory: str, snapshot: Snapshot) -> None:
    """Write the next snapshot under the name UNFINISHED, durably. Raises OSError. Blocks the thread."""
    descriptor = disk.open(f"{directory}/{UNFINISHED}", create=True)
    try:
        disk.write(descriptor, encode_snapshot(snapshot), 0)
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)


def replace_snapshot(disk: Disk, directory: str) -> None:
    """Put the saved snapshot in place of the old. Raises OSError, the old one is there then. Blocks the thread."""
    disk.rename(f"{directory}/{UNFINISHED}", f"{directory}/{NAME}")
