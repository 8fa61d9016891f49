"""Methods of the class connection once the handshake is over, but for close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.amqp.errors import NOT_ALLOWED, AmqpError

if TYPE_CHECKING:
    from handlers.amqp.connection import AmqpConnection


def close_ok(connection: AmqpConnection, method: Any) -> None:
    """connection.close-ok of a connection that nobody closed."""


def update_secret(connection: AmqpConnection, method: Any) -> None:
    """connection.update-secret: the password is checked as at login."""
    password = method.new_secret.decode("utf-8", "surrogateescape")
    if not connection.broker.users.authenticate(connection.user, password):
        raise AmqpError(NOT_ALLOWED, "new-secret was refused", 10, 70)
    connection.send_method((10, 71))
