"""Methods of the class exchange. All may block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel


def declare(channel: Channel, method: Any) -> None:
    """exchange.declare."""
    channel.connection.virtual_host.declare_exchange(
        method.exchange,
        method.type,
        passive=method.passive,
        durable=method.durable,
        auto_delete=method.auto_delete,
        internal=method.internal,
        arguments=method.arguments,
    )
    if not method.nowait:
        channel.reply((40, 11))


def delete(channel: Channel, method: Any) -> None:
    """exchange.delete."""
    channel.connection.virtual_host.delete_exchange(method.exchange, method.if_unused)
    if not method.nowait:
        channel.reply((40, 21))


def bind(channel: Channel, method: Any) -> None:
    """exchange.bind."""
    channel.connection.virtual_host.bind(
        method.source, "exchange", method.destination, method.routing_key, method.arguments
    )
    if not method.nowait:
        channel.reply((40, 31))


def unbind(channel: Channel, method: Any) -> None:
    """exchange.unbind."""
    channel.connection.virtual_host.unbind(
        method.source, "exchange", method.destination, method.routing_key, method.arguments
    )
    if not method.nowait:
        channel.reply((40, 51))
