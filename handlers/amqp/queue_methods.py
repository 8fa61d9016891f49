"""Methods of the class queue. All may block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.amqp.errors import NOT_FOUND, AmqpError
from handlers.amqp.reply_to import PREFIX, REPLY_TO

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel

CLASS = 50


def named(channel: Channel, name: str, class_id: int, method_id: int) -> str:
    """The queue that a method names: that which was declared last when it names none. Raises AmqpError."""
    name = name.replace("\r", "").replace("\n", "")
    if not name:
        name = channel.last_queue
        if not name:
            raise AmqpError(NOT_FOUND, "no previously declared queue", class_id, method_id)
    return name


def declare(channel: Channel, method: Any) -> None:
    """queue.declare."""
    if method.passive and method.queue.startswith(REPLY_TO):
        _find_reply_queue(channel, method)
        return
    connection = channel.connection
    queue = connection.virtual_host.queues.declare(
        method.queue,
        passive=method.passive,
        durable=method.durable,
        exclusive=method.exclusive,
        auto_delete=method.auto_delete,
        arguments=method.arguments,
        owner=connection,
    )
    channel.last_queue = queue.name
    if not method.nowait:
        queue.flush()
        channel.reply((50, 11), queue=queue.name, message_count=queue.ready, consumer_count=queue.consumer_count)


def _find_reply_queue(channel: Channel, method: Any) -> None:
    """Passive declaration of an address for answers."""
    name = method.queue
    is_there = name == REPLY_TO or (name.startswith(PREFIX) and channel.connection.reply_consumer(name) is not None)
    if not is_there:
        virtual_host = channel.connection.virtual_host.name
        raise AmqpError(NOT_FOUND, f"no queue '{name}' in vhost '{virtual_host}'", CLASS, 10)
    if not method.nowait:
        channel.reply((50, 11), queue=name, message_count=0, consumer_count=1)


def bind(channel: Channel, method: Any) -> None:
    """queue.bind: without queue and routing key, the queue that was declared last is meant, by its name."""
    name = named(channel, method.queue, CLASS, 20)
    routing_key = name if not method.queue and not method.routing_key else method.routing_key
    connection = channel.connection
    if method.exchange:
        # A queue of another connection cannot be bound; but of two things that are missing the exchange is named.
        connection.virtual_host.exchange(method.exchange)
        connection.virtual_host.queues.get(name, connection)
    connection.virtual_host.bind(method.exchange, "queue", name, routing_key, method.arguments)
    if not method.nowait:
        channel.reply((50, 21))


def unbind(channel: Channel, method: Any) -> None:
    """queue.unbind."""
    name = named(channel, method.queue, CLASS, 50)
    routing_key = name if not method.queue and not method.routing_key else method.routing_key
    connection = channel.connection
    queue = connection.virtual_host.queues.find(name)
    if queue is not None:
        queue.check_owner(connection)
    connection.virtual_host.unbind(method.exchange, "queue", name, routing_key, method.arguments)
    channel.reply((50, 51))


def purge(channel: Channel, method: Any) -> None:
    """queue.purge."""
    connection = channel.connection
    queue = connection.virtual_host.queues.get(named(channel, method.queue, CLASS, 30), connection)
    count = queue.purge()
    if not method.nowait:
        channel.reply((50, 31), message_count=count)


def delete(channel: Channel, method: Any) -> None:
    """queue.delete: of what is not there too."""
    connection = channel.connection
    queues = connection.virtual_host.queues
    queue = queues.find(named(channel, method.queue, CLASS, 40))
    count = 0
    if queue is not None:
        count = queues.delete(queue, if_unused=method.if_unused, if_empty=method.if_empty, owner=connection)
    if not method.nowait:
        channel.reply((50, 41), message_count=count)
