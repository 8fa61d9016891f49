"""Direct reply-to: answers that go straight to the channel that asked, through no queue.

A channel consumes from the pseudo-queue `amq.rabbitmq.reply-to`; the reply_to of what it publishes is then
replaced by an address of its own, and whoever publishes to that address through the default exchange reaches
it, as long as the channel is there.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from handlers.amqp.delivery import encode_delivery
from portask.bus import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.amqp.channel import Channel
    from portask.bus import Item
    from portask.errors import PortaskError
    from portask.message import Record

REPLY_TO = "amq.rabbitmq.reply-to"
PREFIX = REPLY_TO + "."
MAX_UNSENT_BYTES = 64 * 1024 * 1024
"""A peer that does not read the answers to its requests loses those that would be more."""


class ReplyConsumer:
    """The consumer of answers of one channel: a destination like a queue, but that it keeps nothing."""

    takes_many = True

    def __init__(self, channel: Channel, tag: str) -> None:
        self.channel = channel
        self.tag = tag
        self.address = PREFIX + uuid.uuid4().hex

    def publish(
        self,
        records: list[Record],
        size_bytes: int,
        done: Callable[[PortaskError | None], None] | None,
        *,
        expiring: bool = False,
        into: list[Item] | None = None,
    ) -> None:
        """Send *records* to the peer, if it is there and reads; *done* is called before this returns.

        With *into* they are sent when the round of those items is durable, and *done* is called then.
        """
        if into is not None:
            into.append(Change(_nothing, lambda change: self._committed(records, done, change.error)))
            return
        self._send(records)
        if done is not None:
            done(None)

    def _committed(
        self, records: list[Record], done: Callable[[PortaskError | None], None] | None, error: PortaskError | None
    ) -> None:
        if error is None:
            self._send(records)
        if done is not None:
            done(error)

    def _send(self, records: list[Record]) -> None:
        channel = self.channel
        if channel.reply_consumer is self and channel.connection.link.unsent_bytes < MAX_UNSENT_BYTES:
            pieces = []
            own: list[Any] = records
            for record in own:
                tag = channel.unsettled.next_tag
                channel.unsettled.skip(1)
                pieces += encode_delivery(channel, self.tag, tag, record)
            channel.send(pieces)


def _nothing(_: object) -> None:
    """A change that changes nothing: the answers are sent when the rest of its round is durable."""
