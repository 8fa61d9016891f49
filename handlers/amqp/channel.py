"""A channel: publishing, consumers, unsettled deliveries, confirms or a transaction.

Acks of consecutive tags that one read of the socket brought are gathered and settled together.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent

from handlers.amqp.codec import encode_content, encode_method_frame, reply_text
from handlers.amqp.confirm import Confirm, Confirms
from handlers.amqp.delivery import AmqpConsumer
from handlers.amqp.errors import COMMAND_INVALID, PRECONDITION_FAILED, AmqpError, reply_code
from handlers.amqp.getter import Getter
from handlers.amqp.methods import METHODS
from handlers.amqp.publish import Publisher
from handlers.amqp.served import CHANNEL_METHODS
from handlers.amqp.unsettled import Settled, UnknownTagError, Unsettled
from portask.errors import ConsumerTimeoutError, NotInFlightError
from portask.subscriptions.consumer import SharedCredit

if TYPE_CHECKING:
    from handlers.amqp.connection import AmqpConnection
    from handlers.amqp.reply_to import ReplyConsumer
    from handlers.amqp.transaction import Transaction
    from handlers.amqp.unsettled import Holder
    from portask.bus import Item
    from portask.errors import PortaskError
    from portask.queues.queue import Queue
    from portask.storage.base import Buffer

CLOSE_IDS = (20, 40)
CLOSE_OK_IDS = (20, 41)
ACK_IDS = (60, 80)
NACK_IDS = (60, 120)
RETURN_IDS = (60, 50)
CANCEL_IDS = (60, 30)
_METHOD_FRAME = 1
_CLOSE = b"\x00\x14\x00\x28"
_CLOSE_OK = b"\x00\x14\x00\x29"


class Channel:
    """One channel of a connection."""

    def __init__(self, connection: AmqpConnection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.is_open = True
        """False once this side has closed it and waits for close-ok."""
        self.publisher = Publisher(self)
        self.unsettled = Unsettled()
        self.consumers: dict[str, AmqpConsumer] = {}
        self.getters: dict[Queue, Getter] = {}
        """Those that hold something."""
        self.holders: set[AmqpConsumer] = set()
        """Consumers that were cancelled and still hold deliveries."""
        self.confirms: Confirms | None = None
        self.transaction: Transaction | None = None
        self.reply_consumer: ReplyConsumer | None = None
        self.last_queue = ""
        """The queue that was declared last."""
        self.prefetch = 0
        """Of consumers to come."""
        self.shared = SharedCredit(0)
        """What all consumers together may hold; 0 is any number."""
        self._acked_first = 0
        self._acked_last = 0
        self._has_published = False
        self._is_congested = False

    # -- frames -----------------------------------------------------------------------------------

    def begin(self, payload: bytes) -> None:
        """A basic.publish: its content follows."""
        if self._acked_first:
            self.flush_acks()
        self.publisher.begin(payload)

    def method(self, class_id: int, method_id: int, arguments: Any) -> None:
        """Deal with a method. May block. Raises AmqpError or PortaskError."""
        call = CHANNEL_METHODS.get((class_id, method_id))
        if call is None:
            name = METHODS[class_id, method_id].name
            raise AmqpError(COMMAND_INVALID, f"{name} is not for a channel of the broker", class_id, method_id)
        call(self, arguments)

    def closing(self, kind: int, payload: bytes) -> None:
        """A frame while this side waits for close-ok: nothing else counts."""
        if kind == _METHOD_FRAME and payload[:4] in {_CLOSE, _CLOSE_OK}:
            if payload[:4] == _CLOSE:
                self.connection.send_method(CLOSE_OK_IDS, self.number)
            del self.connection.channels[self.number]

    # -- sending ----------------------------------------------------------------------------------

    def reply(self, ids: tuple[int, int], **arguments: Any) -> None:
        """Send a method, unless the channel was closed while it was worked on. Never blocks."""
        if self.is_open:
            self.connection.send_method(ids, self.number, **arguments)

    def send(self, pieces: list[Buffer]) -> None:
        """Send *pieces* of frames, unless the channel is closed. Never blocks."""
        if self.is_open:
            self.connection.send(pieces)

    def send_return(
        self, code: int, text: str, exchange: str, routing_key: str, properties: bytes, body: bytes
    ) -> None:
        """Give a message back that could not be routed. Never blocks."""
        value = METHODS[RETURN_IDS].value(reply_code=code, reply_text=text, exchange=exchange, routing_key=routing_key)
        header = properties[1 + properties[0] :]
        content = encode_content(self.number, header, body, self.connection.frame_max)
        self.send([encode_method_frame(self.number, value), *content])

    def send_confirms(self, confirms: list[Confirm]) -> None:
        """Tell the publisher. Never blocks."""
        frames: list[Buffer] = []
        for number, is_multiple, is_ack in confirms:
            ids = ACK_IDS if is_ack else NACK_IDS
            frames.append(
                encode_method_frame(self.number, METHODS[ids].value(delivery_tag=number, multiple=is_multiple))
            )
        self.send(frames)

    # -- what is gathered -------------------------------------------------------------------------

    def published(self) -> None:
        """Messages are in the publisher's groups."""
        self._has_published = True
        self.connection.gathers(self)

    def ack(self, tag: int, multiple: bool) -> None:
        """Settle one delivery, or all up to *tag*; at once or with the next flush. Raises AmqpError."""
        if self.transaction is not None:
            self.transaction.settle(self.take(tag, multiple, ACK_IDS), "ack")
        elif multiple:
            self.flush_acks()
            self.settle(self.take(tag, multiple, ACK_IDS), "ack")
        elif self._acked_first and tag == self._acked_last + 1:
            self._acked_last = tag
        else:
            self.flush_acks()
            self._acked_first = self._acked_last = tag
            if not tag:
                self.take(tag, multiple, ACK_IDS)
            self.connection.gathers(self)

    def flush(self) -> bool:
        """Hand over what was published and acked; whether anything was published. May block.

        Raises AmqpError, or PortaskError when messages cannot be taken.
        """
        has_published, self._has_published = self._has_published, False
        try:
            self.flush_acks()
        finally:
            # A wrong ack does not undo what was published before it.
            if has_published:
                self.publisher.flush()
        return has_published

    def flush_acks(self) -> None:
        """Settle the acks that were gathered. Raises AmqpError at the first tag that is not there."""
        first, last = self._acked_first, self._acked_last
        if first:
            self._acked_first = self._acked_last = 0
            try:
                taken = self.unsettled.take(first, last)
            except UnknownTagError as error:
                self.settle(error.taken, "ack")
                raise AmqpError(PRECONDITION_FAILED, str(error), *ACK_IDS) from error
            self.settle(taken, "ack")

    # -- settling ---------------------------------------------------------------------------------

    def take(self, tag: int, multiple: bool, ids: tuple[int, int]) -> list[Settled]:
        """The deliveries that a peer settles with *tag*. Raises AmqpError."""
        try:
            if not multiple:
                return self.unsettled.take(tag, tag)
            return self.unsettled.take_up_to(tag) if tag else self.unsettled.take_all()
        except UnknownTagError as error:
            raise AmqpError(PRECONDITION_FAILED, str(error), *ids) from error

    def settle(self, settled: list[Settled], verb: str, into: list[Item] | None = None) -> None:
        """Have the queues settle deliveries: ack, requeue (nack), return (reject with requeue) or reject."""
        for consumer, partition, first, last, _ in settled:
            queue: Queue = consumer.queue
            try:
                if verb == "ack":
                    queue.ack(consumer, partition, first, last, into=into)
                elif verb == "reject":
                    queue.reject(consumer, partition, first, last)
                else:
                    queue.requeue(consumer, partition, first, last, counted=verb == "return")
            except NotInFlightError:
                # The queue has been deleted, or has taken them back: nothing is left to be settled.
                pass
            if consumer.subscription is None and not consumer.in_flight:
                self.forget(consumer)

    # -- consumers --------------------------------------------------------------------------------

    def congested(self, full: bool) -> None:
        """Stop or go on to deliver."""
        self._is_congested = full
        for consumer in list(self.consumers.values()):
            consumer.pause() if full else consumer.resume()

    def add_consumer(self, consumer: AmqpConsumer) -> None:
        """Keep *consumer*, which its queue does not know yet."""
        self.consumers[consumer.tag] = consumer
        consumer.shared = self.shared
        if self._is_congested:
            consumer.pause()

    def forget(self, consumer: Holder) -> None:
        """*consumer*, which is fed no more, holds nothing."""
        if isinstance(consumer, Getter):
            self.getters.pop(consumer.queue, None)
        else:
            self.holders.discard(consumer)
        consumer.queue.forget(consumer)

    def consumer_gone(self, consumer: AmqpConsumer, error: PortaskError | None) -> None:
        """A queue has given up one of the consumers, or takes back what a former one holds. Never blocks."""
        if self.consumers.get(consumer.tag) is consumer:
            del self.consumers[consumer.tag]
            if consumer.in_flight:
                # That goes back with the channel.
                self.holders.add(consumer)
        elif consumer not in self.holders:
            return
        if isinstance(error, ConsumerTimeoutError):
            self.timed_out(error)
        elif error is not None and self.connection.client_capabilities.get("consumer_cancel_notify") is True:
            # Without an error it is the broker that stops, which the connection is told.
            # Who deletes the queue hears of that first: py-amqp raises whatever comes before the answer.
            gevent.get_hub().loop.run_callback(self._tell_cancelled, consumer.tag)

    def timed_out(self, error: ConsumerTimeoutError) -> None:
        """What was delivered on the channel was not settled in time. Never blocks."""
        if self.is_open:
            text = str(error).replace("on channel", f"on channel {self.number}", 1)
            self.close(AmqpError(reply_code(error), text))

    def _tell_cancelled(self, tag: str) -> None:
        if tag not in self.consumers:
            self.reply(CANCEL_IDS, consumer_tag=tag, nowait=True)

    # -- ends -------------------------------------------------------------------------------------

    def close(self, error: AmqpError) -> None:
        """Tell the peer why the channel ends, and give back what it holds. Never blocks."""
        self.is_open = False
        self.connection.send_method(
            CLOSE_IDS,
            self.number,
            reply_code=error.code,
            reply_text=reply_text(error.code, error.text),
            class_id=error.class_id,
            method_id=error.method_id,
        )
        self.release()

    def release(self) -> None:
        """Give back everything that the channel holds. Never blocks."""
        self.is_open = False
        self.publisher.release()
        if self.transaction is not None:
            self.transaction.withdraw()
        with suppress(AmqpError):
            self.flush_acks()
        consumers: list[Holder] = [*self.consumers.values(), *self.holders, *self.getters.values()]
        self.consumers.clear()
        self.holders.clear()
        self.getters.clear()
        self.unsettled.take_all()
        if self.reply_consumer is not None:
            del self.connection.handler.reply_consumers[self.reply_consumer.address]
            self.reply_consumer = None
        for consumer in consumers:
            consumer.queue.release(consumer)
