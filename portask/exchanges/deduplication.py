"""Deduplication: which messages have been here before, by a header of theirs.

The header is `x-deduplication-header`, or the one that the argument `x-deduplication-header` of the exchange or
queue names. A message without it is never a duplicate. What was seen is forgotten after `x-cache-ttl` ms (of the
message's headers, else of the arguments; without either never), and the oldest when more than `x-cache-size`
are known. It is kept in memory alone: after a restart of the broker each message is new again. A message that could
not be stored is forgotten, and so is one that an exchange has led to nobody: the publisher will send it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from portask.errors import PortaskError, PreconditionError
from portask.exchanges.headers import comparable
from portask.properties import properties_of

if TYPE_CHECKING:
    from portask.bus import Item
    from portask.clock import Clock
    from portask.exchanges.exchange import Destination, Done
    from portask.message import Record

ARGUMENT = "x-message-deduplication"
"""An exchange type, and an argument of queues and of exchanges of any type."""
HEADER = "x-deduplication-header"
SIZE = "x-cache-size"
TTL = "x-cache-ttl"
MAX_SIZE = 10_000_000
"""Entries without a size in the arguments; one takes about 200 bytes."""
_DIGEST_BYTES = 32
"""Values that are no shorter are known by a digest of so many bytes: a header may have a hundred thousand."""


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
        # A plain dict takes longer to find its first entry with each that was taken off before: 11 us at 200,000.
        self._seen: OrderedDict[Any, float | None] = OrderedDict()
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
        value = _known_by(value)
        now = self._clock.monotonic()
        self._forget_old(now)
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
            self._seen.popitem(last=False)
        self._seen[value] = None if ttl_ms is None else now + ttl_ms / 1000
        return True

    def _forget_old(self, now: float) -> None:
        """Forget the oldest whose time is over. Those behind one that is known for longer wait for it."""
        while self._seen:
            until = next(iter(self._seen.values()))
            if until is None or now < until:
                return
            self._seen.popitem(last=False)

    def forget(self, headers: Mapping[str, Any]) -> None:
        """Take the next message with these headers for a new one: this one has not been stored."""
        value = headers.get(self._header)
        if value is not None:
            self._seen.pop(_known_by(value), None)

    def screen(self, records: list[Record], done: Done | None) -> tuple[list[Record], Done]:
        """Those of *records* that are new, and what to call in place of *done*."""
        new = []
        admitted = []
        for record in records:
            headers = _headers_of(record)
            if self.admit(headers):
                new.append(record)
                admitted.append(headers)

        def forget() -> None:
            for headers in admitted:
                self.forget(headers)

        return new, _forgetting(forget, done)

    def forget_records(self, records: list[Record]) -> None:
        """Take the next messages like *records* for new ones."""
        for record in records:
            self.forget(_headers_of(record))


class Remembered:
    """A destination of a message that an exchange has taken for new; when it is not stored, that is forgotten."""

    __slots__ = ("_forget", "destination")

    def __init__(self, destination: Destination, forget: Callable[[], None]) -> None:
        self.destination = destination
        self._forget = forget

    @property
    def takes_many(self) -> bool:
        """See Destination."""
        return self.destination.takes_many

    def publish(
        self,
        records: list[Record],
        size_bytes: int,
        done: Done | None,
        *,
        expiring: bool = False,
        into: list[Item] | None = None,
    ) -> None:
        """See Destination."""
        answer = _forgetting(self._forget, done)
        try:
            self.destination.publish(records, size_bytes, answer, expiring=expiring, into=into)
        except PortaskError:
            self._forget()
            raise


def _forgetting(forget: Callable[[], None], done: Done | None) -> Done:
    """*done*, with *forget* called before an error is told."""

    def answer(error: PortaskError | None) -> None:
        if error is not None:
            forget()
        if done is not None:
            done(error)

    return answer


def _headers_of(record: Record) -> Mapping[str, Any]:
    properties = None if isinstance(record, bytes) or len(record) < 5 else record[4]
    return properties_of(properties).headers or {}


def _positive(arguments: Mapping[str, Any], name: str) -> int | None:
    value = arguments.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise PreconditionError(f"invalid arg '{name}': it must be a number above 0, not {value!r}")
    return value


def _known_by(value: Any) -> Any:
    """What stands for the *value* of a header: hashable, equal where values are, and never long."""
    value = comparable(value)
    if isinstance(value, dict | list):
        # In a tuple, so that it is not the text that spells it.
        return (_short(repr(value).encode()),)
    return _short(value) if isinstance(value, bytes) else value


def _short(value: bytes) -> bytes:
    return value if len(value) < _DIGEST_BYTES else blake2b(value, digest_size=_DIGEST_BYTES).digest()
