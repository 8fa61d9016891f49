"""Where a new subscription begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Literal

from portask.errors import UsageError

if TYPE_CHECKING:
    from portask.partition import Partition

Kind = Literal["first", "last", "next", "offset", "timestamp"]
_MAX = (1 << 63) - 1
_NUMBER = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Start:
    """A place in every partition of a topic.

    first: where the log begins. last: the last message that is stored, then new ones. next: new ones
    only. offset: the one that *value* says, or the nearest that the log has. timestamp: the first
    message that is at least as new as *value*, in ms since 1970.
    """

    kind: Kind
    value: int = 0

    FIRST: ClassVar[Start]
    LAST: ClassVar[Start]
    NEXT: ClassVar[Start]

    @classmethod
    def parse(cls, text: str) -> Start:
        """The start that *text* names: first, last, next, an offset, @milliseconds or @date-and-time.

        A time without a zone is UTC. Raises UsageError.
        """
        match text:
            case "first" | "last" | "next":
                return cls(text)
        if _NUMBER.fullmatch(text) and int(text) <= _MAX:
            return cls("offset", int(text))
        if text.startswith("@"):
            if _NUMBER.fullmatch(text, 1) and int(text[1:]) <= _MAX:
                return cls("timestamp", int(text[1:]))
            value = _milliseconds(text[1:])
            if value is not None:
                return cls("timestamp", value)
        raise UsageError(
            f"{text[:80]!r} is no start; say first, last, next, an offset, @milliseconds or @2026-11-23T10:00:00Z"
        )

    def offset_in(self, partition: Partition) -> int:
        """The offset where this start is in *partition*. May block."""
        low, high = partition.log_start_offset, partition.written_offset
        match self.kind:
            case "first":
                wanted = low
            case "last":
                wanted = high - 1
            case "next":
                wanted = high
            case "offset":
                wanted = self.value
            case _:
                wanted = partition.find_time(self.value)
        return max(low, min(wanted, high))

    def __str__(self) -> str:
        match self.kind:
            case "offset":
                return str(self.value)
            case "timestamp":
                return f"@{self.value}"
        return self.kind


Start.FIRST = Start("first")
Start.LAST = Start("last")
Start.NEXT = Start("next")


def _milliseconds(text: str) -> int | None:
    """The time that *text* says in the manner of ISO 8601, in ms since 1970; None when it says none."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        value = round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return value if value >= 0 else None
