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
from portask.exchanges.exchange import Exchange

if TYPE_CHECKING:
    from portask.exchanges.binding import Binding
    from portask.exchanges.published import Published

PROPERTIES = ("correlation_id", "message_id", "timestamp")
MAX_WEIGHT = 1_000_000
POINTS = 100
"""Points on the ring per unit of weight: ten bindings of weight 1 then get 8 to 12 percent each."""
MAX_RING_WEIGHT = 100
"""Placing the points of one takes 10 to 20 ms; it is done in one go."""


class HashExchange(Exchange):
    """Bindings of which each message goes along one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        header, self._property = hashed(self.arguments)
        self._header = header
        self._is_ring = self.arguments.get("x-algorithm") == "ring"
        self._shares: dict[Binding, list[int]] = {}
        """Where each binding's points are on the ring, or else its weight alone."""
        self._is_placed = True
        self._order: list[Binding] = []
        """Bindings by bucket, or by place on the ring."""
        self._ends: list[int] = []
        """For each of them where its buckets end, or its place."""

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
        limit = MAX_RING_WEIGHT if self._is_ring else MAX_WEIGHT
        if weight > limit:
            raise PreconditionError(f"The binding key must not be greater than {limit}")

    def add(self, binding: Binding) -> None:
        weight = int(binding.routing_key)
        if self._is_ring:
            name = f"{binding.identity.kind} {binding.identity.destination} ".encode("utf-8", "surrogateescape")
            self._shares[binding] = [_hash(name + str(number).encode()) for number in range(weight * POINTS)]
        else:
            self._shares[binding] = [weight]
        self._is_placed = False

    def remove(self, binding: Binding) -> None:
        del self._shares[binding]
        self._is_placed = False

    def _place(self) -> None:
        if self._is_ring:
            ring = [(place, binding) for binding, places in self._shares.items() for place in places]
            ring.sort(key=lambda point: point[0])
            self._order = [binding for _, binding in ring]
            self._ends = [place for place, _ in ring]
        else:
            self._order = list(self._shares)
            self._ends = list(accumulate(weight for (weight,) in self._shares.values()))
        self._is_placed = True

    def match(self, message: Published) -> Iterable[Binding]:
        if not self._is_placed:
            # Once for all bindings that came since the last message: a thousand may be restored at a start.
            self._place()
        if not self._order:
            return ()
        place = _hash(self._value(message))
        if self._is_ring:
            return (self._order[bisect_right(self._ends, place) % len(self._ends)],)
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
    if algorithm not in ("jump", "ring"):
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
