"""Consumers that do not settle in time.

Every hand-out is noted with its time, in runs; when the oldest one of a consumer that is not wholly settled is
older than the queue's `x-consumer-timeout`, that consumer is cancelled with an error. Off unless a queue asks for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from portask.errors import ConsumerTimeoutError

if TYPE_CHECKING:
    from portask.subscriptions.consumer import Consumer, Delivery

NEVER = float("inf")


class _Given(NamedTuple):
    at: float
    """On the monotonic clock."""
    partition: int
    start: int
    stop: int


class DeliveryTimeouts:
    """What the consumers of one queue were given, and when."""

    def __init__(self) -> None:
        self._given: dict[Consumer, deque[_Given]] = {}

    def note(self, consumer: Consumer, deliveries: list[Delivery], now: float) -> None:
        """*consumer* gets *deliveries* at *now*."""
        if consumer.no_ack:
            return
        given = self._given.get(consumer)
        if given is None:
            given = self._given[consumer] = deque()
        for delivery in deliveries:
            given.append(_Given(now, delivery.partition.number, delivery.base_offset, delivery.next_offset))

    def late(self, now: float, timeout_ms: int) -> tuple[list[Consumer], float]:
        """The consumers that are too late at *now*, which are forgotten, and when the next one would be."""
        late = []
        deadline = NEVER
        for consumer, given in list(self._given.items()):
            while given and not _is_held(consumer, given):
                given.popleft()
            if not given:
                del self._given[consumer]
            elif given[0].at + timeout_ms / 1000 <= now:
                late.append(consumer)
                del self._given[consumer]
            else:
                deadline = min(deadline, given[0].at + timeout_ms / 1000)
        return late, deadline


def timeout_error(timeout_ms: int) -> ConsumerTimeoutError:
    """What is said of a consumer that was too late; an AMQP channel adds its number."""
    return ConsumerTimeoutError(
        f"delivery acknowledgement on channel timed out. Timeout value used: {timeout_ms} ms. "
        "This timeout value can be configured, see consumers doc guide to learn more"
    )


def _is_held(consumer: Consumer, given: deque[_Given]) -> bool:
    """Whether *consumer* still has something in flight of the first of *given*, since then."""
    _, partition, start, stop = given[0]
    held = consumer.held.get(partition)
    if held is None or not held.intersects(start, stop):
        return False
    left = held.part(start, stop)
    for position in range(1, len(given)):
        later = given[position]
        if later.partition == partition and later.start < stop and start < later.stop:
            # It was given back and came again.
            left.remove_range(max(start, later.start), min(stop, later.stop))
    return bool(left.count)
