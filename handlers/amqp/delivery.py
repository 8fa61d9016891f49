"""Deliveries: messages of the log as the frames of basic.deliver, and the consumer that gets them.

    delivery := method frame(class 60, method 60, consumer tag, delivery tag, redelivered, exchange, routing key)
                header frame(the content header, as the publisher sent it)
                body frame*

What does not change from one delivery to the next is made once: for the consumer all that stands before the
delivery tag, and for messages with the same properties and routing key all from there to the body. So a
message is four pieces that are joined with all the others when they are sent.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from handlers.amqp.codec import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_METHOD,
    FRAME_OVERHEAD,
    FRAME_START,
    encode_content,
)
from handlers.amqp.record import is_own, to_delivered, to_own
from portask.subscriptions.consumer import Consumer

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from handlers.amqp.record import OwnRecord
    from portask.errors import PortaskError
    from portask.queues.queue import Queue
    from portask.storage.base import Buffer
    from portask.subscriptions.consumer import Delivery

_TAG = Struct(">Q?")
_END = bytes((FRAME_END,))
_DELIVER = b"\x00\x3c\x00\x3c"
_TAG_BYTES = 9
"""Delivery tag and redelivered flag."""
MAX_TAILS = 64
"""Of one consumer; when there are more, all are forgotten. With 1024, a thousand consumers of messages that have ids of
their own kept 700 MB."""
MAX_TAIL_BYTES = 512
"""Properties that take more are not kept."""


def short_string(text: str) -> bytes:
    """*text* as a short string; its first 255 bytes."""
    data = text.encode("utf-8", "surrogateescape")[:255]
    return bytes((len(data),)) + data


def encode_tail(properties: bytes | None, key: bytes) -> bytes:
    """All of a method that follows the redelivered flag: exchange and routing key."""
    exchange = b"\0" if properties is None else properties[: 1 + properties[0]]
    return exchange + bytes((len(key[:255]),)) + key[:255]


class Head:
    """What stands before the delivery tag, as far as it is known: all but the length of the frame."""

    __slots__ = ("channel", "method", "size")

    def __init__(self, channel: int, consumer_tag: str) -> None:
        self.channel = channel
        self.method = _DELIVER + short_string(consumer_tag)
        self.size = len(self.method) + _TAG_BYTES

    def frame(self, tail_bytes: int) -> bytes:
        """The beginning of a frame that ends with so many bytes of exchange and routing key."""
        return FRAME_START.pack(FRAME_METHOD, self.channel, self.size + tail_bytes) + self.method


class Tail:
    """What follows the delivery tag, for messages of the same properties, routing key and size."""

    __slots__ = ("body_bytes", "data", "head", "is_split", "size")

    def __init__(self, head: Head, properties: bytes, key: bytes, frame_max: int) -> None:
        exchange_and_key = encode_tail(properties, key)
        header = properties[1 + properties[0] :]
        self.body_bytes = int.from_bytes(header[4:12], "big")
        self.is_split = self.body_bytes > frame_max - FRAME_OVERHEAD
        """Whether the body takes several frames."""
        self.head = head.frame(len(exchange_and_key))
        data = exchange_and_key + _END + FRAME_START.pack(FRAME_HEADER, head.channel, len(header)) + header + _END
        if self.body_bytes:
            data += FRAME_START.pack(FRAME_BODY, head.channel, self.body_bytes)
        self.data = data
        self.size = len(self.head) + _TAG_BYTES + len(data)
        """Bytes of the whole delivery."""
        if self.body_bytes:
            self.size += self.body_bytes + 1


class AmqpConsumer(Consumer):
    """One basic.consume."""

    __slots__ = ("_channel", "_head", "_is_changed", "_tails", "queue", "tag")

    def __init__(self, channel: Channel, queue: Queue, tag: str, prefetch: int, *, no_ack: bool, priority: int) -> None:
        super().__init__(self.hand_out, 0 if no_ack else prefetch, self.gone, no_ack=no_ack, priority=priority)
        self.queue = queue
        self.tag = tag
        self._channel = channel
        self._head = Head(channel.number, tag)
        self._tails: dict[tuple[bytes, bytes], Tail] = {}
        self._is_changed = queue.is_stream
        """Whether every message gets a header."""

    def gone(self, error: PortaskError | None) -> None:
        """The queue feeds this consumer no more. Never blocks."""
        self._channel.consumer_gone(self, error)

    def hand_out(self, deliveries: list[Delivery]) -> None:
        """Send *deliveries*. Never blocks."""
        channel = self._channel
        pieces: list[Buffer] = []
        size = count = 0
        for delivery in deliveries:
            tag = channel.unsettled.next_tag
            records = delivery.records
            if self.no_ack:
                channel.unsettled.skip(len(records))
            else:
                channel.unsettled.add(len(records), delivery.base_offset, delivery.partition.number, self)
            count += len(records)
            size += self._encode(delivery, tag, pieces)
        link = channel.connection.link
        link.send(pieces, size)
        link.count_out(count)
        if link.broken:
            # The reader may be waiting for something else: nobody gets what is given to this consumer any more.
            self.pause()

    def _encode(self, delivery: Delivery, tag: int, pieces: list[Buffer]) -> int:
        """Append the frames of *delivery* to *pieces* and return their size."""
        is_redelivered = delivery.redeliveries > 0
        if self._is_changed or (delivery.failures and self.queue.counts_deliveries):
            return self._encode_changed(delivery, tag, pieces)
        tails = self._tails
        pack = _TAG.pack
        append = pieces.append
        size = 0
        records: list[Any] = delivery.records
        for position, record in enumerate(records):
            if type(record) is bytes or len(record) != 5 or record[4] is None or record[0] is None or record[2]:
                own = to_own(record, delivery, delivery.base_offset + position, self.queue.name)
                size += self._encode_one(own, tag + position, is_redelivered, pieces)
                continue
            body, key, _, _, properties = record
            tail = tails.get((properties, key))
            if tail is None:
                if not is_own(record):
                    own = to_own(record, delivery, delivery.base_offset + position, self.queue.name)
                    size += self._encode_one(own, tag + position, is_redelivered, pieces)
                    continue
                tail = self._learn(properties, key)
            if tail.is_split or tail.body_bytes != len(body):
                # Others may have these properties with a body of another size.
                own = to_own(record, delivery, delivery.base_offset + position, self.queue.name)
                size += self._encode_one(own, tag + position, is_redelivered, pieces)
                continue
            append(tail.head)
            append(pack(tag + position, is_redelivered))
            append(tail.data)
            size += tail.size
            if body:
                append(body)
                append(_END)
        return size

    def _learn(self, properties: bytes, key: bytes) -> Tail:
        tail = Tail(self._head, properties, key, self._channel.connection.frame_max)
        if len(properties) <= MAX_TAIL_BYTES:
            if len(self._tails) >= MAX_TAILS:
                self._tails.clear()
            self._tails[properties, key] = tail
        return tail

    def _encode_changed(self, delivery: Delivery, tag: int, pieces: list[Buffer]) -> int:
        """As `_encode`, each message with a header that this delivery gives it."""
        size = 0
        for position, record in enumerate(delivery.records):
            changed = to_delivered(record, delivery, delivery.base_offset + position, self.queue)
            size += self._encode_one(changed, tag + position, delivery.redeliveries > 0, pieces)
        return size

    def _encode_one(self, record: OwnRecord, tag: int, is_redelivered: bool, pieces: list[Buffer]) -> int:
        added = encode_delivery(self._channel, self.tag, tag, record, is_redelivered)
        pieces += added
        return sum(map(len, added))


def encode_delivery(
    channel: Channel, consumer_tag: str, tag: int, record: OwnRecord, is_redelivered: bool = False
) -> list[Buffer]:
    """The frames of one delivery."""
    body, key, _, _, properties = record
    tail = encode_tail(properties, key)
    head = Head(channel.number, consumer_tag).frame(len(tail))
    header = properties[1 + properties[0] :]
    frame_max = channel.connection.frame_max
    return [
        head + _TAG.pack(tag, is_redelivered) + tail + _END,
        *encode_content(channel.number, header, body, frame_max),
    ]
