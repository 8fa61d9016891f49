"""Deduplication: which messages have been here before, by a header of theirs.

The header is `x-deduplication-header`, or the one that the argument `x-deduplication-header` of the exchange or
queue names. A message without it is never a duplicate. What was seen is forgotten after `x-cache-ttl` ms (of the
message's headers, else of the arguments; without either never), and the oldest when more than `x-cache-size`
are known. It is kept in memory alone: after a restart of the broker each message is new again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portask.errors import PreconditionError
from portask.exchange_headers import comparable

if TYPE_CHECKING:
    from portask.clock import Clock

ARGUMENT = "x-message-deduplication"
"""An exchange type, and an argument of queues and of exchanges of any type."""
HEADER = "x-deduplication-header"
SIZE = "x-cache-size"
TTL = "x-cache-ttl"
MAX_SIZE = 10_000_000
"""Entries without a size in the arguments; one takes about 200 bytes."""


class Deduplication:
    """What one exchange or queue has seen."""

    def __init__(self, arguments: Mapping[str, Any], clock: Clock) -> None:
        """Raises PreconditionError for arguments that cannot be."""
        self._size = _positive(arguments, SIZE) or MAX_SIZE
        self._ttl_ms = _positive(arguments, TTL)
        header = arguments.get(HEADER, HEADER)
        if not isinstance(header, str):
            raise PreconditionError(f"{HEADER} must be the name of a header, not {header!r}")
        self._header = header
        self._clock = clock
        self._seen: dict[Any, float | None] = {}
        """Value -> when it is forgotten, on the monotonic clock; the oldest first."""
        self.duplicates = 0
        """How many were turned away, for metrics."""

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, headers: Mapping[str, Any]) -> bool:
        """Whether a message with these headers is new; from now on it is known."""
        value = headers.get(self._header)
        if value is None:
            return True
        value = _hashable(comparable(value))
        now = self._clock.monotonic()
        if value in self._seen:
            until = self._seen[value]
            if until is None or now < until:
                self.duplicates += 1
                return False
            del self._seen[value]
        ttl_ms = headers.get(TTL)
        if type(ttl_ms) is not int or ttl_ms < 1:
            ttl_ms = self._ttl_ms
        if len(self._seen) >= self._size:
            del self._seen[next(iter(self._seen))]
        self._seen[value] = None if ttl_ms is None else now + ttl_ms / 1000
        return True

    def forget(self, headers: Mapping[str, Any]) -> None:
        """Take the next message with these headers for a new one: this one has left the queue, or never came in."""
        value = headers.get(self._header)
        if value is not None:
            self._seen.pop(_hashable(comparable(value)), None)


def _positive(arguments: Mapping[str, Any], name: str) -> int | None:
    value = arguments.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise PreconditionError(f"invalid arg '{name}': it must be a number above 0, not {value!r}")
    return value


def _hashable(value: Any) -> Any:
    return repr(value) if isinstance(value, dict | list) else value
