"""Getters: who holds what a channel has fetched with basic.get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portask.errors import ConsumerTimeoutError
from portask.subscriptions.consumer import Consumer

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from portask.errors import PortaskError
    from portask.queues.queue import Queue
    from portask.subscriptions.consumer import Delivery


class Getter(Consumer):
    """Fed by nobody: it asks for each message."""

    __slots__ = ("_channel", "queue")

    def __init__(self, channel: Channel, queue: Queue, *, no_ack: bool) -> None:
        super().__init__(self._never, 0, self._gone, no_ack=no_ack)
        self._channel = channel
        self.queue = queue

    def _never(self, deliveries: list[Delivery]) -> None:
        raise AssertionError("a getter is not fed")

    def _gone(self, error: PortaskError | None) -> None:
        """Its messages went with the queue, or were not settled in time. Never blocks."""
        if isinstance(error, ConsumerTimeoutError):
            self._channel.timed_out(error)
