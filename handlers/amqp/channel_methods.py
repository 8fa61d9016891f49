"""Methods of the classes channel, confirm and tx, and access.request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.amqp.confirm import Confirms
from handlers.amqp.errors import CHANNEL_ERROR, NOT_IMPLEMENTED, PRECONDITION_FAILED, AmqpError
from handlers.amqp.transaction import Transaction

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel


def open_again(channel: Channel, method: Any) -> None:
    """channel.open of an open channel."""
    raise AmqpError(CHANNEL_ERROR, "second 'channel.open' seen", 20, 10)


def flow(channel: Channel, method: Any) -> None:
    """channel.flow: a channel can only be told to go on."""
    if not method.active:
        raise AmqpError(NOT_IMPLEMENTED, "active=false", 20, 20)
    channel.reply((20, 21), active=True)


def flow_ok(channel: Channel, method: Any) -> None:
    """channel.flow-ok: nothing was asked."""


def close(channel: Channel, method: Any) -> None:
    """channel.close: what it holds is given back before the peer is told."""
    channel.release()
    del channel.connection.channels[channel.number]
    channel.connection.send_method((20, 41), channel.number)


def close_ok(channel: Channel, method: Any) -> None:
    """channel.close-ok of a channel that nobody closed."""


def confirm_select(channel: Channel, method: Any) -> None:
    """confirm.select."""
    if channel.transaction is not None:
        raise AmqpError(PRECONDITION_FAILED, "cannot switch from tx to confirm mode", 85, 10)
    if channel.confirms is None:
        channel.confirms = Confirms(channel.send_confirms)
    if not method.nowait:
        channel.reply((85, 11))


def tx_select(channel: Channel, method: Any) -> None:
    """tx.select."""
    if channel.confirms is not None:
        raise AmqpError(PRECONDITION_FAILED, "cannot switch from confirm to tx mode", 90, 10)
    if channel.transaction is None:
        channel.transaction = Transaction(channel)
    channel.reply((90, 11))


def tx_commit(channel: Channel, method: Any) -> None:
    """tx.commit. Blocks."""
    _transaction(channel, 20).commit()
    channel.reply((90, 21))


def tx_rollback(channel: Channel, method: Any) -> None:
    """tx.rollback."""
    _transaction(channel, 30).rollback()
    channel.reply((90, 31))


def _transaction(channel: Channel, method_id: int) -> Transaction:
    if channel.transaction is None:
        raise AmqpError(PRECONDITION_FAILED, "channel is not transactional", 90, method_id)
    return channel.transaction


def access_request(channel: Channel, method: Any) -> None:
    """access.request, which has had no meaning since 0-9-1."""
    channel.reply((30, 11), ticket=1)
