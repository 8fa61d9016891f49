"""Deduplication: which messages have been here before, by a header of theirs.

The header is `x-deduplication-header`, or the one that the argument `x-deduplication-header` of the exchange or
queue names. A message without it is never a duplicate. What was seen is forgotten after `x-cache-ttl` ms (of the
message's headers, else of the arguments; without either never), and the oldest when more than `x-cache-size`
are known. It is kept in memory alone: after a restart of the broker each message is new again. A message that could
not be stored is forgotten, and so is one that an exchange has led to nobody: the publisher will send it again. One that
is not stored yet is an `Original`; its repetitions wait for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from portask.errors import PortaskError, PreconditionError
from portask.exchanges.gathering import Gathering
from portask.exchanges.headers import comparable
from portask.exchanges.original import Original
from portask.properties import properties_of

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.exchanges.exchange import Done
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
        self._unstored: dict[Any, Original] = {}
        """Value -> the message that has it and is on its way."""
        self.duplicates = 0
        """How many were turned away, for metrics."""

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, headers: Mapping[str, Any], message: Original) -> bool:
        """Whether *message*, which has these headers, is new; from now on it is known."""
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
                original = self._unstored.get(value)
                if original is not None and original is not message:
                    message.repeats.append(original)
                return False
            del self._seen[value]
        ttl_ms = headers.get(TTL)
        if type(ttl_ms) is not int or ttl_ms < 1:
            ttl_ms = self._ttl_ms
        if len(self._seen) >= self._size:
            self._seen.popitem(last=False)
        self._seen[value] = None if ttl_ms is None else now + ttl_ms / 1000
        self._unstored[value] = message
        message.known(self, value)
        return True

    def _forget_old(self, now: float) -> None:
        """Forget the oldest whose time is over. Those behind one that is known for longer wait for it."""
        while self._seen:
            until = next(iter(self._seen.values()))
            if until is None or now < until:
                return
            self._seen.popitem(last=False)

    def ended(self, value: Any, original: Original, *, is_stored: bool) -> None:
        """*original*, known by *value*, is stored; or it is not, and the next one with that value is new."""
        # It may have been forgotten in the meantime, and another one be known by the value.
        if self._unstored.get(value) is original:
            del self._unstored[value]
            if not is_stored:
                self._seen.pop(value, None)

    def screen(self, records: list[Record], done: Done | None) -> Screened:
        """Those of *records* that are new, and what to call in place of *done*."""
        original = Original()
        new = [record for record in records if self.admit(_headers_of(record), original)]
        original.expect()
        if original.repeats and done is not None:
            gathering = Gathering(done)
            done = gathering.part()
            for one in original.repeats:
                one.wait(gathering.part())
            gathering.close()

        def answer(error: PortaskError | None) -> None:
            original.answer(error)
            if done is not None:
                done(error)

        return Screened(new, answer, original)


class Screened(NamedTuple):
    """What is left of some records for one who deduplicates."""

    records: list[Record]
    done: Done
    original: Original
    """To be answered where *done* may not be called, because an error is raised."""


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
