"""The methods that are served: class and method id to the function that deals with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from handlers.amqp import basic_methods, channel_methods, connection_methods, exchange_methods, queue_methods

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from handlers.amqp.connection import AmqpConnection

CHANNEL_OPEN = (20, 10)

CHANNEL_METHODS: dict[tuple[int, int], Callable[[Channel, Any], None]] = {
    CHANNEL_OPEN: channel_methods.open_again,
    (20, 20): channel_methods.flow,
    (20, 21): channel_methods.flow_ok,
    (20, 40): channel_methods.close,
    (20, 41): channel_methods.close_ok,
    (30, 10): channel_methods.access_request,
    (40, 10): exchange_methods.declare,
    (40, 20): exchange_methods.delete,
    (40, 30): exchange_methods.bind,
    (40, 40): exchange_methods.unbind,
    (50, 10): queue_methods.declare,
    (50, 20): queue_methods.bind,
    (50, 30): queue_methods.purge,
    (50, 40): queue_methods.delete,
    (50, 50): queue_methods.unbind,
    (60, 10): basic_methods.qos,
    (60, 20): basic_methods.consume,
    (60, 30): basic_methods.cancel,
    (60, 31): basic_methods.cancel_ok,
    (60, 70): basic_methods.get,
    (60, 90): basic_methods.reject,
    (60, 100): basic_methods.recover_async,
    (60, 110): basic_methods.recover,
    (60, 120): basic_methods.nack,
    (85, 10): channel_methods.confirm_select,
    (90, 10): channel_methods.tx_select,
    (90, 20): channel_methods.tx_commit,
    (90, 30): channel_methods.tx_rollback,
}
CONNECTION_METHODS: dict[tuple[int, int], Callable[[AmqpConnection, Any], None]] = {
    (10, 51): connection_methods.close_ok,
    (10, 70): connection_methods.update_secret,
}
