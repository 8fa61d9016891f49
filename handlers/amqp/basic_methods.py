"""Methods of the class basic, but for publish and ack, which have paths of their own. Those of queues may block."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

from handlers.amqp.codec import encode_content, encode_method_frame
from handlers.amqp.delivery import AmqpConsumer
from handlers.amqp.errors import NOT_ALLOWED, NOT_IMPLEMENTED, PRECONDITION_FAILED, AmqpError
from handlers.amqp.getter import Getter
from handlers.amqp.methods import METHODS
from handlers.amqp.queue_methods import named
from handlers.amqp.record import to_delivered
from handlers.amqp.reply_to import REPLY_TO, ReplyConsumer
from handlers.amqp.stream_offset import stream_start
from portask.queues.arguments import type_name

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from portask.queues.queue import Queue

CLASS = 60
GET_OK_IDS = (60, 71)


def qos(channel: Channel, method: Any) -> None:
    """basic.qos: of consumers to come, or with *global* of all consumers of the channel together."""
    if method.prefetch_size:
        raise AmqpError(NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})", CLASS, 10)
    if method.global_:
        channel.shared.change(method.prefetch_count)
    else:
        channel.prefetch = method.prefetch_count
    channel.reply((60, 11))


def consume(channel: Channel, method: Any) -> None:
    """basic.consume."""
    tag = method.consumer_tag
    if not tag:
        tag = "amq.ctag-" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    elif tag in channel.consumers or (channel.reply_consumer is not None and channel.reply_consumer.tag == tag):
        raise AmqpError(NOT_ALLOWED, f"attempt to reuse consumer tag '{tag}'", CLASS, 20)
    if method.queue == REPLY_TO:
        _consume_answers(channel, method, tag)
        return
    connection = channel.connection
    queue = connection.virtual_host.queues.get(named(channel, method.queue, CLASS, 20), connection)
    arguments = method.arguments
    priority = arguments.get("x-priority", 0)
    if not isinstance(priority, int) or isinstance(priority, bool):
        why = f"invalid arg 'x-priority' for {queue.description}: \"expected integer, got {type_name(priority)}\""
        raise AmqpError(PRECONDITION_FAILED, why, CLASS, 20)
    start = None
    if queue.is_stream:
        _check_stream_consumer(channel, method, queue)
        start = stream_start(arguments.get("x-stream-offset"), queue, connection.broker.clock)
    consumer = AmqpConsumer(channel, queue, tag, channel.prefetch, no_ack=method.no_ack, priority=priority)
    channel.add_consumer(consumer)
    try:
        # The peer must hear that it consumes before it gets the first message.
        if not method.nowait:
            queue.check_consumer(consumer, exclusive=method.exclusive)
            channel.reply((60, 21), consumer_tag=tag)
        queue.consume(consumer, exclusive=method.exclusive, start=start)
    except BaseException:
        channel.consumers.pop(tag, None)
        raise
    if not channel.is_open:
        # To find the beginning in a stream takes a while, in which another consumer may have been too late.
        queue.release(consumer)


def _check_stream_consumer(channel: Channel, method: Any, queue: Queue) -> None:
    """Raise AmqpError unless a stream can be consumed like this. The order is RabbitMQ's: 540 ends the connection."""
    name = queue.description
    if not channel.prefetch:
        raise AmqpError(PRECONDITION_FAILED, f"consumer prefetch count is not set for stream {name}", CLASS, 20)
    if method.no_ack:
        raise AmqpError(NOT_IMPLEMENTED, f"automatic acknowledgement not supported by stream {name}", CLASS, 20)
    if channel.shared.limit:
        raise AmqpError(NOT_IMPLEMENTED, f"{name} does not support global qos", CLASS, 20)


def _consume_answers(channel: Channel, method: Any, tag: str) -> None:
    """basic.consume of direct reply-to."""
    if not method.no_ack:
        raise AmqpError(PRECONDITION_FAILED, "reply consumer cannot acknowledge", CLASS, 20)
    if channel.reply_consumer is not None:
        raise AmqpError(PRECONDITION_FAILED, "reply consumer already set", CLASS, 20)
    consumer = channel.reply_consumer = ReplyConsumer(channel, tag)
    channel.connection.handler.reply_consumers[consumer.address] = consumer
    if not method.nowait:
        channel.reply((60, 21), consumer_tag=tag)


def cancel(channel: Channel, method: Any) -> None:
    """basic.cancel: of a tag that nobody has, too. What the consumer holds it keeps."""
    consumer = channel.consumers.pop(method.consumer_tag, None)
    if consumer is not None:
        channel.holders.add(consumer)
        consumer.queue.cancel(consumer)
        if not consumer.in_flight:
            channel.forget(consumer)
    elif channel.reply_consumer is not None and channel.reply_consumer.tag == method.consumer_tag:
        del channel.connection.handler.reply_consumers[channel.reply_consumer.address]
        channel.reply_consumer = None
    if not method.nowait:
        channel.reply((60, 31), consumer_tag=method.consumer_tag)


def cancel_ok(channel: Channel, method: Any) -> None:
    """basic.cancel-ok: some clients answer a cancellation that wants no answer."""


def get(channel: Channel, method: Any) -> None:
    """basic.get. Blocks."""
    connection = channel.connection
    queue = connection.virtual_host.queues.get(named(channel, method.queue, CLASS, 70), connection)
    # Messages are larger than what asks for them.
    connection.link.wait_for_room()
    getter = channel.getters.get(queue)
    if getter is None or method.no_ack:
        getter = Getter(channel, queue, no_ack=method.no_ack)
    try:
        found = queue.get(getter)
        if not channel.is_open:
            # Another consumer was too late meanwhile.
            queue.release(getter)
            return
        if getter.in_flight:
            channel.getters[queue] = getter
    finally:
        if not getter.in_flight:
            queue.forget(getter)
    if found is None:
        channel.reply((60, 72))
        return
    delivery, ready = found
    body, key, _, _, properties = to_delivered(delivery.records[0], delivery, delivery.base_offset, queue)
    tag = channel.unsettled.next_tag
    if method.no_ack:
        channel.unsettled.skip(1)
    else:
        channel.unsettled.add(1, delivery.base_offset, delivery.partition.number, getter)
    exchange_bytes = properties[0]
    value = METHODS[GET_OK_IDS].value(
        delivery_tag=tag,
        redelivered=delivery.redeliveries > 0,
        exchange=properties[1 : 1 + exchange_bytes].decode("utf-8", "surrogateescape"),
        routing_key=key.decode("utf-8", "surrogateescape"),
        message_count=ready,
    )
    content = encode_content(channel.number, properties[1 + exchange_bytes :], body, connection.frame_max)
    channel.send([encode_method_frame(channel.number, value), *content])
    connection.link.count_out(1)


def nack(channel: Channel, method: Any) -> None:
    """basic.nack."""
    _settle(channel, method.delivery_tag, method.multiple, "requeue" if method.requeue else "reject", 120)


def reject(channel: Channel, method: Any) -> None:
    """basic.reject."""
    _settle(channel, method.delivery_tag, False, "return" if method.requeue else "reject", 90)


def _settle(channel: Channel, tag: int, multiple: bool, verb: str, method_id: int) -> None:
    if channel.transaction is not None:
        channel.transaction.settle(channel.take(tag, multiple, (CLASS, method_id)), verb)
    else:
        channel.settle(channel.take(tag, multiple, (CLASS, method_id)), verb)


def recover(channel: Channel, method: Any) -> None:
    """basic.recover."""
    _recover(channel, method.requeue, 110)
    channel.reply((60, 111))


def recover_async(channel: Channel, method: Any) -> None:
    """basic.recover-async."""
    _recover(channel, method.requeue, 100)


def _recover(channel: Channel, requeue: bool, method_id: int) -> None:
    if not requeue:
        raise AmqpError(NOT_IMPLEMENTED, "requeue=false", CLASS, method_id)
    channel.settle(channel.unsettled.take_all(), "requeue")
