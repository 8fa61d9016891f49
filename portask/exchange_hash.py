"""The consistent-hash exchange: each message goes to one of the bound, chosen by a hash.

A binding's key is its weight: of all messages it gets that share. What is hashed is the routing key, or what the
exchange's arguments name: a header (`hash-header`, `x-hash-on`) or a property (`hash-property`: correlation_id,
message_id or timestamp). A message without it counts as one with an empty value.

Each binding has as many buckets as its weight, in the order in which bindings came, and Lamping and Veach's jump
hash chooses one; so a binding that is added takes its share evenly from the others, and no message
moves between those. With the argument `x-algorithm` = `ring` buckets are points on a ring instead: then
a binding that goes, too, moves no message but its own; the shares are less even for that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from portask.errors import PreconditionError
from portask.exchange import Exchange

if TYPE_CHECKING:
    from portask.binding import Binding
    from portask.published import Published

PROPERTIES = ("correlation_id", "message_id", "timestamp")
MAX_WEIGHT = 1_000_000
POINTS = 100
"""Points on the ring per unit of weight: ten bindings of weight 1 then get 7 to 13 percent each."""
MAX_POINTS = 100_000
"""Of one binding; it would take a second to place more."""


class HashExchange(Exchange):
    """Bindings of which each message goes along one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        header, self._property = hashed(self.arguments)
        self._header = header
        self._is_ring = self.arguments.get("x-algorithm") == "ring"
        self._weights: dict[Binding, int] = {}
        self._order: list[Binding] = []
        self._ends: list[int] = []
        self._ring: list[tuple[int, Binding]] = []
        self._points: list[int] = []

    @property
    def is_constant(self) -> bool:  # type: ignore[override]  # here it depends on the arguments
        return self._header is None and self._property is None

    def check_binding(self, routing_key: str, arguments: Mapping[str, Any]) -> None:
        try:
            weight = int(routing_key)
        except ValueError:
            raise PreconditionError(f"The binding key must be an integer: '{routing_key}'") from None
        if weight < 1:
            raise PreconditionError("The binding key must be greater than 0")
        if weight > MAX_WEIGHT:
            raise PreconditionError(f"The binding key must not be greater than {MAX_WEIGHT}")

    def add(self, binding: Binding) -> None:
        self._weights[binding] = int(binding.routing_key)
        self._place()

    def remove(self, binding: Binding) -> None:
        del self._weights[binding]
        self._place()

    def _place(self) -> None:
        self._order = list(self._weights)
        if not self._is_ring:
            self._ends = list(accumulate(self._weights.values()))
            return
        ring = [
            (
                _hash(
                    f"{binding.identity.kind} {binding.identity.destination} {number}".encode(
                        "utf-8", "surrogateescape"
                    )
                ),
                binding,
            )
            for binding, weight in self._weights.items()
            for number in range(min(weight * POINTS, MAX_POINTS))
        ]
        ring.sort(key=lambda point: point[0])
        self._ring = ring
        self._points = [place for place, _ in ring]

    def match(self, message: Published) -> Iterable[Binding]:
        if not self._order:
            return ()
        place = _hash(self._value(message))
        if self._is_ring:
            return (self._ring[bisect_right(self._points, place) % len(self._points)][1],)
        return (self._order[bisect_right(self._ends, jump(place, self._ends[-1]))],)

    def _value(self, message: Published) -> bytes:
        if self._header is not None:
            value = message.headers.get(self._header)
        elif self._property is not None:
            value = getattr(message.properties, self._property)
        else:
            value = message.keys[0]
        if value is None:
            return b""
        return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def hashed(arguments: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The header and the property that *arguments* have hashed, one of them at most. Raises PreconditionError."""
    header = arguments.get("hash-header", arguments.get("x-hash-on"))
    name = arguments.get("hash-property")
    if header is not None and name is not None:
        raise PreconditionError("hash-header and hash-property are mutually exclusive")
    if name is not None and name not in PROPERTIES:
        raise PreconditionError(f"Unsupported property: {name}")
    if not isinstance(header, str | None):
        raise PreconditionError(f"hash-header must be the name of a header, not {header!r}")
    algorithm = arguments.get("x-algorithm", "jump")
    if algorithm not in {"jump", "ring"}:
        raise PreconditionError(f"x-algorithm must be jump or ring, not {algorithm!r}")
    return header, name


def jump(key: int, buckets: int) -> int:
    """The one of *buckets* buckets that *key* is in: "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014)."""
    bucket, following = -1, 0
    while following < buckets:
        bucket = following
        key = (key * 2862933555777941757 + 1) & 0xFFFF_FFFF_FFFF_FFFF
        following = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket


def _hash(value: bytes) -> int:
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "big")
