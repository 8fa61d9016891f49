"""The bus: what handlers hand to the batcher, bounded in bytes.

Every handler's greenlet puts items here and the batcher takes all of them at once. An item is what one
read of a socket produced for one partition, never one message. While more than `limit_bytes` are on
their way to storage, a greenlet that brings an append waits, so its socket is no longer read and TCP
tells the publisher. Changes (settled offsets, topics, trims) are small and never wait: they free
memory, and a full bus must not keep them out.

Bytes count from `put` until `release`, that is until the round was synced or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.queue import Empty, SimpleQueue

from portask.errors import PortaskError, ShuttingDownError, UnavailableError
from portask.message import Record
from portask.storage.base import Buffer, Round

if TYPE_CHECKING:
    from portask.partition import Partition


class Opaque:
    """A run of records that a handler keeps in an encoding of its own.

    *encode* is called once, when the batcher has fixed the base offset and the leader epoch, and returns
    the envelope's codec and the payload in pieces. It may block, for what has been going on since.
    """

    __slots__ = ("count", "encode", "encoding", "max_timestamp", "size")

    def __init__(
        self,
        encoding: int,
        count: int,
        max_timestamp: int,
        size: int,
        encode: Callable[[int, int], tuple[int, list[Buffer]]],
    ) -> None:
        self.encoding = encoding
        self.count = count
        self.max_timestamp = max_timestamp
        self.size = size
        """Bytes of the payload before compression."""
        self.encode = encode


class Admission(Protocol):
    """A check that belongs right before an append, with all that comes before it in the log decided."""

    def admit(self) -> bool:
        """Whether to append; False when it was done before. Raises PortaskError to refuse. Must not block."""

    def place(self, base_offset: int, round_: Round) -> None:
        """The append gets *base_offset*: add the rows that go with it to *round_*."""

    def withdraw(self) -> None:
        """The round was refused: forget what `admit` noted. Called in reverse order."""


class Append:
    """Records for one partition, in order.

    *done* is called exactly once, from the batcher's greenlets, and must not block: with `error` None
    when every record is as safe as configured, from `base_offset` on without a gap; else with `error`
    saying why none is acknowledged. `base_offset` is -1 when the records were not appended, because
    their admission knows that they are there already, as safe as configured too.
    """

    __slots__ = (
        "admission",
        "base_offset",
        "count",
        "done",
        "error",
        "is_joined",
        "opaque",
        "partition",
        "records",
        "size_bytes",
    )

    def __init__(
        self,
        partition: Partition,
        records: list[Record],
        size_bytes: int,
        done: Callable[[Append], None],
        opaque: Opaque | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.partition = partition
        self.records = records
        self.opaque = opaque
        """In place of records: a run in a handler's own encoding."""
        self.size_bytes = size_bytes
        self.count = len(records) if opaque is None else opaque.count
        self.done = done
        self.admission = admission
        """What decides, when the round is made, whether the records are appended at all."""
        self.base_offset = -1
        self.error: PortaskError | None = None
        self.is_joined = False
        """Whether it belongs into the round of the item before it. Kept by the bus."""


class Change:
    """Rows, trims and drops for the next round, collected when the round is made.

    So a thousand acks that arrive while a round is being written cost one row, not a thousand.
    *done* as for Append.
    """

    __slots__ = ("collect", "done", "error", "is_joined", "is_urgent")

    def __init__(
        self, collect: Callable[[Round], None], done: Callable[[Change], None], *, is_urgent: bool = True
    ) -> None:
        self.collect = collect
        self.done = done
        self.error: PortaskError | None = None
        self.is_joined = False
        """As for Append."""
        self.is_urgent = is_urgent
        """Whether somebody waits for it; else it may wait for a round that is written anyway."""


Item = Append | Change


class Bus:
    """The bounded queue between handlers and the batcher."""

    def __init__(self, limit_bytes: int, timeout_s: float) -> None:
        self.limit_bytes = limit_bytes
        self.timeout_s = timeout_s
        self.used_bytes = 0
        self.waits = 0
        """How often a publisher had to wait, for metrics."""
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._door = Semaphore()
        self._room = Event()
        self._room.set()
        self._closed = False

    def __len__(self) -> int:
        return int(self._queue.qsize())

    def put(self, item: Item) -> None:
        """Hand *item* to the batcher. Blocks while the bus is full, an Append only.

        Raises UnavailableError when there was no room in time, ShuttingDownError after close; then
        `done` is not called.
        """
        self._enter(item.size_bytes if isinstance(item, Append) else 0)
        self._queue.put(item)

    def put_all(self, items: Sequence[Item]) -> None:
        """Hand *items* to the batcher for one round, however large that gets: all of them are stored or none is.

        An append to a partition that is gone by then is refused by itself. Blocks while the bus is full; raises as
        `put`, and then no `done` is called.
        """
        self._enter(sum([item.size_bytes for item in items if isinstance(item, Append)]))
        is_joined = False
        # Nothing here switches, so whoever takes from the queue finds all of them or none.
        for item in items:
            item.is_joined = is_joined
            is_joined = True
            self._queue.put(item)

    def _enter(self, size_bytes: int) -> None:
        if size_bytes and (self.used_bytes >= self.limit_bytes or self._door.locked()):
            self._wait_for_room()
        if self._closed:
            raise ShuttingDownError("the broker is shutting down")
        self.used_bytes += size_bytes
        if self.used_bytes >= self.limit_bytes:
            self._room.clear()

    def _wait_for_room(self) -> None:
        self.waits += 1
        # One at a time at the door, the others in line behind: else newcomers would take the room again and
        # again before those who wait for it are awake.
        with gevent.Timeout(self.timeout_s, False), self._door:
            # An item may be larger than the whole bus; it goes in as soon as there is any room at all.
            while self.used_bytes >= self.limit_bytes and not self._closed:
                self._room.wait()
            return
        raise UnavailableError(f"storage did not keep up for {self.timeout_s:g} s; retry, or publish more slowly")

    def take(self) -> list[Item]:
        """All items that are there, at least one. Blocks; after close an empty list says that it is over."""
        if self._closed and not self._queue.qsize():
            return []
        first = self._queue.get()
        return [*([] if first is _END else [first]), *self.take_more()]

    def take_one(self, timeout_s: float) -> Item | None:
        """The next item; None when there is none for *timeout_s*, and at the end. Blocks."""
        try:
            item: Item = self._queue.get(timeout=timeout_s)
        except Empty:
            return None
        if item is _END:
            self._queue.put(_END)
            return None
        return item

    def take_more(self) -> list[Item]:
        """All items that are there, possibly none."""
        items = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        return [item for item in items if item is not _END]

    def release(self, size_bytes: int) -> None:
        """Say that appends of *size_bytes* have been answered."""
        self.used_bytes -= size_bytes
        if self.used_bytes < self.limit_bytes and not self._room.is_set():
            self._room.set()

    def close(self) -> None:
        """Take nothing new; what is inside is still taken."""
        if not self._closed:
            self._closed = True
            self._queue.put(_END)
            self._room.set()


def _ignore(_: object) -> None:
    """Nobody waits for the end mark."""


_END = Change(_ignore, _ignore)
