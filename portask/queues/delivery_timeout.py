"""Consumers that do not settle in time.

Every hand-out is noted with its time, in runs; when the oldest one of a consumer that is not wholly settled is
older than the queue's `x-consumer-timeout`, that consumer is cancelled with an error. Runs that are settled are
forgotten in time, so memory goes by what is in flight. Off unless a queue asks for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from portask.errors import ConsumerTimeoutError

if TYPE_CHECKING:
    from portask.subscriptions.consumer import Consumer, Delivery

NEVER = float("inf")
FEW_RUNS = 256
"""Runs of one queue that may be settled and not forgotten yet."""


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
        self._count = 0
        """How many runs are in it."""
        self._most = FEW_RUNS
        """With so many those that are settled are looked for: with twice as many as were left the last time."""

    def __len__(self) -> int:
        return self._count

    def note(self, consumer: Consumer, deliveries: list[Delivery], now: float) -> None:
        """*consumer* is about to get *deliveries* at *now*."""
        if consumer.no_ack:
            return
        if self._count >= self._most:
            self._forget_settled()
        given = self._given.get(consumer)
        if given is None:
            given = self._given[consumer] = deque()
        for delivery in deliveries:
            given.append(_Given(now, delivery.partition.number, delivery.base_offset, delivery.next_offset))
        self._count += len(deliveries)

    def late(self, now: float, timeout_ms: int) -> tuple[list[Consumer], float]:
        """The consumers that are too late at *now*, which are forgotten, and when the next one would be."""
        self._forget_settled()
        late = []
        deadline = NEVER
        for consumer, given in list(self._given.items()):
            due = given[0].at + timeout_ms / 1000
            if due <= now:
                late.append(consumer)
                del self._given[consumer]
                self._count -= len(given)
            else:
                deadline = min(deadline, due)
        return late, deadline

    def _forget_settled(self) -> None:
        for consumer, given in list(self._given.items()):
            self._given[consumer] = _unsettled(consumer, given)
            if not self._given[consumer]:
                del self._given[consumer]
        self._count = sum(map(len, self._given.values()))
        self._most = max(FEW_RUNS, 2 * self._count)


def timeout_error(timeout_ms: int) -> ConsumerTimeoutError:
    """What is said of a consumer that was too late; an AMQP channel adds its number."""
    return ConsumerTimeoutError(
        f"delivery acknowledgement on channel timed out. Timeout value used: {timeout_ms} ms. "
        "This timeout value can be configured, see consumers doc guide to learn more"
    )


def _unsettled(consumer: Consumer, given: deque[_Given]) -> deque[_Given]:
    """Those of *given* of which *consumer* still has something in flight, since then."""
    left = {partition: held.part(0) for partition, held in consumer.held.items()}
    kept: deque[_Given] = deque()
    # The newest first: what was given back and came again counts from then on.
    for run in reversed(given):
        held = left.get(run.partition)
        if held is not None and held.intersects(run.start, run.stop):
            held.remove_range(run.start, run.stop)
            kept.appendleft(run)
    return kept
