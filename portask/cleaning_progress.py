"""How far cleaning has come in a partition, and when, which is what tombstones go by.

table "compaction"   log u64 -> CBOR [clean, bytes, start, tombstones, [[offset, cleaned_at]...]]
clean       := everything below was cleaned
bytes       := what that took in storage then, with the log starting at `start`
tombstones  := how many were left that may go some time
offset      := everything below had been cleaned by the time `cleaned_at` (ms); both ascending
"""

from __future__ import annotations

from dataclasses import dataclass, field

from portask.errors import CorruptError, ProtocolError
from portask.message import decode_cbor, encode_cbor

TABLE = "compaction"
MARKS = 32
"""About how many times of cleanings are kept within delete_retention_ms."""


@dataclass
class Progress:
    """What cleaning has reached in one partition."""

    clean_offset: int = 0
    clean_bytes: int = 0
    start_offset: int = 0
    tombstones: int = 0
    marks: list[tuple[int, int]] = field(default_factory=list)
    """Offset and time (ms) of cleanings."""

    @classmethod
    def decode(cls, row: bytes) -> Progress:
        """Raises CorruptError when *row* is not what `encode` makes."""
        try:
            clean_offset, clean_bytes, start_offset, tombstones, marks = decode_cbor(row)
            return cls(clean_offset, clean_bytes, start_offset, tombstones, [(offset, at) for offset, at in marks])
        except (ProtocolError, ValueError, TypeError) as error:
            raise CorruptError(f"a row of table {TABLE} is broken: {error}") from error

    def encode(self) -> bytes:
        """The row."""
        return encode_cbor([self.clean_offset, self.clean_bytes, self.start_offset, self.tombstones, self.marks])

    def expired_before(self, now_ms: int, retention_ms: int) -> int:
        """Tombstones below this offset have been there long enough."""
        return max((offset for offset, at_ms in self.marks if at_ms + retention_ms <= now_ms), default=0)

    def mark(self, now_ms: int, retention_ms: int) -> None:
        """Everything below the clean offset has been cleaned now."""
        expired = [mark for mark in self.marks if mark[1] + retention_ms <= now_ms]
        marks = self.marks[max(0, len(expired) - 1) :]
        # A later time than the true one keeps tombstones longer, never shorter.
        if len(marks) > 1 and marks[-1][1] - marks[-2][1] < retention_ms // MARKS:
            marks.pop()
        self.marks = [*marks, (self.clean_offset, now_ms)]
