"""Consumers of a subscription, and what is delivered to them.

A consumer is one peer's wish to be fed. It has credit while it holds fewer messages than its prefetch
allows and its connection can take more output; without credit it is not even looked at. Consumers of
one AMQP channel may have a limit together as well. One that settles by being given to needs neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from portask.errors import PortaskError
from portask.message import Record
from portask.partition import Partition
from portask.subscriptions.offset_set import OffsetSet

if TYPE_CHECKING:
    from portask.subscriptions.subscription import Subscription

_UNLIMITED = 1 << 62


class Delivery:
    """A run of messages handed to one consumer, at consecutive offsets from *base_offset* on.

    *timestamp* is that of every record without one of its own. Above 0 *redeliveries* says that these messages
    may have been handed out before, and are flagged as redelivered: so many times they were given back as failed, or
    once if they were not. *failures* says how often they were given back as failed. The records belong to
    the tail cache: read only.
    """

    __slots__ = ("base_offset", "failures", "partition", "records", "redeliveries", "timestamp")

    def __init__(
        self,
        partition: Partition,
        base_offset: int,
        timestamp: int,
        records: list[Record],
        redeliveries: int,
        failures: int = 0,
    ) -> None:
        self.partition = partition
        self.base_offset = base_offset
        self.timestamp = timestamp
        self.records = records
        self.redeliveries = redeliveries
        self.failures = failures

    @property
    def next_offset(self) -> int:
        """The offset that follows the last record."""
        return self.base_offset + len(self.records)


class SharedCredit:
    """The most messages that the consumers of one channel may have in flight together; 0 for any number."""

    __slots__ = ("consumers", "in_flight", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self.consumers: list[Consumer] = []
        """Those that are attached. Kept by their subscriptions."""

    @property
    def credit(self) -> int:
        """How many messages they may get now."""
        return self.limit - self.in_flight if self.limit else _UNLIMITED

    def change(self, limit: int) -> None:
        """Allow *limit* from now on; what is in flight beyond it stays."""
        self.limit = limit
        self.wake()

    def count(self, change: int) -> None:
        """*change* more messages are in flight."""
        had_none = self.credit <= 0
        self.in_flight += change
        if had_none and self.credit > 0:
            self.wake()

    def wake(self) -> None:
        """Let every consumer that has credit get in line."""
        for consumer in self.consumers:
            if consumer.subscription is not None:
                consumer.subscription.credit_changed(consumer)


class Consumer:
    """One consumer of one subscription.

    *deliver* gets what is handed out and must not block. *cancelled* is called when the subscription
    ends this consumer by itself, with the reason. *prefetch* is the most messages that may be in
    flight, 0 for any number. With *no_ack* what is handed out is settled by that, and only `pause` stops
    the flow. Of two with credit the one with the higher *priority* is served.
    """

    __slots__ = (
        "cancelled",
        "deliver",
        "held",
        "in_flight",
        "is_ready",
        "no_ack",
        "paused",
        "prefetch",
        "priority",
        "shared",
        "subscription",
    )

    def __init__(
        self,
        deliver: Callable[[list[Delivery]], None],
        prefetch: int,
        cancelled: Callable[[PortaskError | None], None],
        *,
        no_ack: bool = False,
        priority: int = 0,
        shared: SharedCredit | None = None,
    ) -> None:
        self.deliver = deliver
        self.prefetch = prefetch
        self.cancelled = cancelled
        self.no_ack = no_ack
        self.priority = priority
        self.shared = shared
        self.in_flight = 0
        """Messages handed out and not settled."""
        self.paused = False
        self.held: dict[int, OffsetSet] = {}
        """What is in flight, by partition. Kept by the subscription."""
        self.subscription: Subscription | None = None
        """Where it is attached. Kept by the subscription."""
        self.is_ready = False
        """Whether it waits in the subscription's line for its turn. Kept by the subscription."""

    @property
    def credit(self) -> int:
        """How many messages it may get now."""
        if self.paused:
            return 0
        if self.no_ack:
            return _UNLIMITED
        credit = self.prefetch - self.in_flight if self.prefetch else _UNLIMITED
        return credit if self.shared is None else min(credit, self.shared.credit)

    def count(self, change: int) -> None:
        """*change* more messages are in flight. For the subscription."""
        self.in_flight += change
        if self.shared is not None:
            self.shared.count(change)

    def pause(self) -> None:
        """Get nothing until `resume`: the connection has too much output waiting."""
        self.paused = True
        if self.subscription is not None:
            self.subscription.credit_changed(self)

    def resume(self) -> None:
        """Go on after `pause`."""
        self.paused = False
        if self.subscription is not None:
            self.subscription.credit_changed(self)
