"""The storage interface: what a round is and what every storage promises.

A *log* is an append-only sequence of frames, named by a number that the caller chose. A *frame* is a
run of consecutive offsets with an opaque body. Offsets only grow; between two frames there may be a
gap (compaction, repair), and what a body says of the offsets of its frame is not storage's business.
A *table* is a small map from bytes to bytes that fits in memory.

All change that is to be seen comes in *rounds*. `write` makes a round visible to `read` of this process and safe from
the death of the process; `sync` makes everything written before it safe from the loss of power. Rounds
become durable in the order in which they were written, each whole or not at all: what is left after
a crash is a prefix of the rounds that holds at least every round that a sync covered. Beside them
`rewrite` puts less in place of what is stored already, for compaction; the offsets stay what they were.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview

MAX_LOG = (1 << 63) - 1
MAX_OFFSET = (1 << 63) - 1
MAX_COUNT = (1 << 32) - 1
MAX_BODY_BYTES = (1 << 30) - 64
MAX_TABLE_NAME = 255
MAX_KEY_BYTES = (1 << 16) - 1
MAX_VALUE_BYTES = 1 << 28


class Frame(NamedTuple):
    """A stored run of offsets: *count* of them from *base_offset* on."""

    base_offset: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    max_timestamp: int
    """Milliseconds since 1970 of the newest record inside; what retention by time goes by."""
    body: bytes

    @property
    def next_offset(self) -> int:
        """The offset that follows this frame's last one."""
        return self.base_offset + self.count


class Append(NamedTuple):
    """One frame for one log, its body still in pieces."""

    log: int
    base_offset: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    max_timestamp: int
    body: Sequence[Buffer]


class Bounds(NamedTuple):
    """Where a log begins and ends."""

    start_offset: int
    """The first offset that is kept. A frame that straddles it is still stored whole."""
    next_offset: int
    """The lowest base offset that the next append may have."""
    size_bytes: int
    """Bytes of the frames kept, headers included; also of trimmed ones that only a whole segment can free."""


class Round:
    """What one write changes, all or nothing.

    Applied in this order: drops, appends, trims, puts. A dropped log may not be appended to in the
    same round. Appends of one log come in offset order. A trim goes at most to the log's end; one
    below the start, or of a log that does not exist, changes nothing.
    """

    __slots__ = ("appends", "drops", "puts", "trims")

    def __init__(self) -> None:
        self.appends: list[Append] = []
        self.puts: dict[tuple[str, bytes], bytes | None] = {}
        """(table, key) -> value; None deletes. The last word on a key is the one that counts."""
        self.trims: dict[int, int] = {}
        """log -> new start offset."""
        self.drops: list[int] = []
        """Logs to forget together with all that they hold."""

    def __bool__(self) -> bool:
        return bool(self.appends or self.puts or self.trims or self.drops)

    def check(self, next_offset: Callable[[int], int]) -> None:
        """Raise ValueError unless a storage may write this; *next_offset* says where each log stands before it."""
        for table, key in self.puts:
            if len(table.encode()) > MAX_TABLE_NAME or len(key) > MAX_KEY_BYTES:
                raise ValueError(f"a key of {len(key)} bytes in table {table[:40]!r} is too long")
        for value in self.puts.values():
            if value is not None and len(value) > MAX_VALUE_BYTES:
                raise ValueError(f"a value of {len(value)} bytes is larger than {MAX_VALUE_BYTES}")
        for log in (*self.drops, *self.trims):
            if not 0 <= log <= MAX_LOG:
                raise ValueError(f"no log has the number {log}")
        for offset in self.trims.values():
            if not 0 <= offset <= MAX_OFFSET:
                raise ValueError(f"no log can be trimmed to {offset}")
        ends: dict[int, int] = {}
        for append in self.appends:
            log, base_offset, count, timestamp, _ = append
            if log not in ends:
                if log in self.drops or not 0 <= log <= MAX_LOG:
                    raise ValueError(f"log {log} is dropped by the same round or cannot exist")
                ends[log] = next_offset(log)
            end = base_offset + count
            if base_offset < ends[log] or not 1 <= count <= MAX_COUNT or end > MAX_OFFSET:
                raise ValueError(f"log {log} stands at {ends[log]}: {count} offsets from {base_offset} do not fit")
            if not -MAX_OFFSET <= timestamp <= MAX_OFFSET:
                raise ValueError(f"no frame has the timestamp {timestamp}")
            if sum(map(len, append.body)) > MAX_BODY_BYTES:
                raise ValueError(f"a frame at {base_offset} is larger than {MAX_BODY_BYTES} bytes")
            ends[log] = end


Transform = Callable[[list[Frame]], list[Frame]]
"""Given some frames in offset order, what is to stand in their place; see `Storage.rewrite`."""


def check_transformed(before: Sequence[Frame], after: Sequence[Frame]) -> None:
    """Raise ValueError unless the frames *after* may stand in place of those *before*."""
    place = 0
    least = 0
    for frame in after:
        while place < len(before) and before[place].next_offset <= frame.base_offset:
            place += 1
        is_inside = place < len(before) and before[place].base_offset <= frame.base_offset
        if (
            frame.count < 1
            or frame.base_offset < least
            or not is_inside
            or frame.next_offset > before[place].next_offset
        ):
            raise ValueError(f"a frame of {frame.count} offsets from {frame.base_offset} is not part of one replaced")
        if len(frame.body) > MAX_BODY_BYTES:
            raise ValueError(f"a frame at {frame.base_offset} is larger than {MAX_BODY_BYTES} bytes")
        least = frame.next_offset


class Storage(ABC):
    """Logs and tables behind one write path.

    One greenlet calls `write`, one calls `sync`, any may call the rest. A log exists from its first
    append on, and starts there; before it, `bounds` is (0, 0, 0) and `read` finds nothing.
    """

    @abstractmethod
    def open(self) -> None:
        """Take ownership and recover. Blocks. Everything found counts as synced.

        Raises LockedError when another process owns the storage, CorruptError when what is stored
        is damaged beyond a torn tail.
        """

    @abstractmethod
    def close(self) -> None:
        """Sync, give up ownership, release everything. Blocks. A second call does nothing."""

    @abstractmethod
    def write(self, round_: Round) -> None:
        """Apply *round_* as a whole. Blocks, but not for a disk to sync.

        Raises StorageFullError when nothing was written and a later try may succeed;
        StorageFailedError when the storage has stopped; ValueError when a base offset is below the
        log's next offset (nothing was written then either).
        """

    @abstractmethod
    def sync(self) -> None:
        """Return when every round written before the call is as durable as configured. Blocks.

        Raises StorageFailedError; after that every write and sync raises it too, because a second
        sync that succeeds proves nothing about the pages that the first one lost.
        """

    @abstractmethod
    def read(self, log: int, offset: int, max_bytes: int) -> list[Frame]:
        """The frames from the one that holds *offset* on, or from the next after it if there is a gap. May block.

        At most *max_bytes* of bodies, but always one frame if there is any. Never returns a frame
        that ends at or before the log's start offset. Raises CorruptError with the
        place when the first of them is damaged; damage further on ends what is returned.
        """

    @abstractmethod
    def bounds(self, log: int) -> Bounds:
        """Start, end and size of *log*; zeros when it does not exist."""

    @abstractmethod
    def find_time(self, log: int, timestamp: int) -> int | None:
        """The base offset of the first kept frame with a max_timestamp of at least *timestamp* (ms). May block.

        None when all are older. Never below the log's start offset.
        """

    @abstractmethod
    def find_size(self, log: int, keep_bytes: int) -> int:
        """The lowest offset to trim to so that about *keep_bytes* are left; never less than asked where the log has it.

        Aligned to what can be freed at once (a segment), so trimming there costs no rewrite.
        """

    @abstractmethod
    def rewritable(self, log: int, gather: bool = False) -> Bounds:
        """The part of *log* that `rewrite` reaches: its start, its end, and its bytes.

        What was written last may lie behind it. With *gather*, all that was written before the call is made
        part of it first; that may cost as much as writing some of all logs again, blocks, and raises as
        `write` does.
        """

    @abstractmethod
    def rewrite(self, log: int, end_offset: int, transform: Transform) -> None:
        """Have *transform* thin out the frames of *log* that end at or before *end_offset*. Blocks for long.

        Called again and again with the next frames of the part that is `rewritable` at the start, *transform*
        returns those that are to stand in their place: the same ones, or some that each cover part of
        the offsets of one of them, in order. It may block. Rounds and reads go on meanwhile.

        The log is rewritten in steps of many calls, each atomic and as durable as if it had been synced: after
        a crash or an error, and to readers at any time, each step is made or not. One call at a time, by a
        greenlet that is not killed meanwhile.

        Raises what *transform* raises; ValueError when it returns what cannot stand there; CorruptError at
        a damaged frame; StorageFullError; StorageFailedError; or StorageError, when a later try may succeed.
        """

    @abstractmethod
    def load(self, table: str) -> dict[bytes, bytes]:
        """A copy of all rows of *table*; empty when it was never written."""

    @abstractmethod
    def logs(self) -> Iterable[int]:
        """The numbers of all logs that exist."""

    @abstractmethod
    def stats(self) -> dict[str, float]:
        """Plain figures for metrics, by name; cheap enough to be asked every second."""
