"""Slots: the places of answers that cannot be given at once, in the order of their commands.

A slot's `encode` is the answer, or None while it isn't known. PUBLISH waits for its gathers, ACK and
NACK for their ranges; what is refused or trivial is answered already, and only waits for its turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from handlers.native.codec import Encoding
from handlers.native.command import Result, Stored
from handlers.native.errors import code_of
from portask.errors import PortaskError
from portask.storage.base import Buffer

if TYPE_CHECKING:
    from portask.bus import Change
    from portask.message import Record
    from portask.partition import Partition


class Gather:
    """The records that one read brought for one partition."""

    __slots__ = ("base_offset", "error", "finished", "partition", "records", "size_bytes")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.records: list[Record] = []
        self.size_bytes = 0
        self.finished = False
        self.base_offset = -1
        self.error: PortaskError | None = None


class Answered:
    """A slot whose answer is known."""

    __slots__ = ("correlation", "error", "result")

    def __init__(self, correlation: int | None, result: Result, error: PortaskError | None = None) -> None:
        self.correlation = correlation
        self.result = result
        self.error = error

    def encode(self, encoding: Encoding) -> list[Buffer] | None:
        """The answer, or None while it isn't known."""
        if self.error is not None:
            return encoding.error(self.correlation, code_of(self.error), str(self.error))
        return encoding.answer(self.correlation, self.result)


class Publishing:
    """The slot of a publish: each part is (gather, index of the first record in it, count)."""

    __slots__ = ("correlation", "parts", "topic")

    def __init__(self, correlation: int | None, topic: str, parts: list[tuple[Gather, int, int]]) -> None:
        self.correlation = correlation
        self.topic = topic
        self.parts = parts

    def encode(self, encoding: Encoding) -> list[Buffer] | None:
        """The answer, or None while a part isn't finished."""
        runs = []
        error = None
        for gather, index, count in self.parts:
            if not gather.finished:
                return None
            error = error or gather.error
            runs.append((gather.partition.number, gather.base_offset + index, count))
        if error is not None:
            return encoding.error(self.correlation, code_of(error), str(error))
        return encoding.answer(self.correlation, Stored(self.topic, runs))


class Settling:
    """The slot of an ACK or NACK, open until all its ranges are durable."""

    __slots__ = ("correlation", "count", "error", "flush", "pending")

    def __init__(self, flush: Callable[[], None], correlation: int | None, pending: int) -> None:
        self.flush = flush
        self.correlation = correlation
        self.pending = pending
        self.count = 0
        self.error: PortaskError | None = None

    def done(self, change: Change) -> None:
        """One range is settled, or is not."""
        self.error = self.error or change.error
        self.pending -= 1
        if not self.pending:
            self.flush()

    def encode(self, encoding: Encoding) -> list[Buffer] | None:
        """The answer, or None while a range is open."""
        if self.error is not None:
            return encoding.error(self.correlation, code_of(self.error), str(self.error))
        return None if self.pending else encoding.answer(self.correlation, self.count)


Slot = Answered | Publishing | Settling
