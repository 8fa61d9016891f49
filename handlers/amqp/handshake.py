"""The handshake: from the protocol header to connection.open.

    client                      broker
    AMQP 0 0 9 1 ->
                                <- connection.start
    start-ok, credentials ->
                                <- connection.tune
    tune-ok, open ->
                                <- connection.open-ok

Credentials that are refused are told to clients that can read it (authentication_failure_close); others are
kept waiting for a moment and then left without a word, as the specification has it.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from handlers.amqp.codec import MIN_FRAME_MAX, PROTOCOL_HEADER, Credentials, parse_amqplain, parse_plain
from handlers.amqp.errors import ACCESS_REFUSED, COMMAND_INVALID, NOT_ALLOWED, AmqpError
from portask import __version__
from portask.errors import NotAllowedError, ProtocolError

if TYPE_CHECKING:
    from handlers.amqp.connection import AmqpConnection

GREETING_BYTES = len(PROTOCOL_HEADER)
_OLD_GREETING = b"AMQP\x01\x01\x00\x09"
"""Some old clients say 0-9 and mean 0-9-1."""
START_IDS = (10, 10)
START_OK_IDS = (10, 11)
TUNE_IDS = (10, 30)
TUNE_OK_IDS = (10, 31)
OPEN_IDS = (10, 40)
OPEN_OK_IDS = (10, 41)
PRODUCT = "RabbitMQ"
"""Clients decide by it what a broker can do."""
VERSION = "3.13.7"
"""A RabbitMQ that has qos for whole channels: from 4 on kombu does not ask for it, and a Celery task with a far ETA
then holds up a worker. In all else this is RabbitMQ 4 (docs/amqp.md)."""
CAPABILITIES = dict.fromkeys(
    (
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ),
    True,
)
FAILED_LOGIN = "Login was refused using authentication mechanism {}. For details see the broker logfile."


class _UnknownMechanismError(Exception):
    """RabbitMQ closes the socket then, and says nothing."""


class Handshake:
    """The state of a connection until it is open."""

    def __init__(self, connection: AmqpConnection) -> None:
        self._connection = connection
        self._expected = START_OK_IDS
        self.is_greeted = False
        """Whether the peer has said which protocol it speaks."""

    def greet(self, greeting: bytes) -> bool:
        """Answer the protocol header; False when it is another protocol's."""
        self.is_greeted = True
        connection = self._connection
        if greeting not in {PROTOCOL_HEADER, _OLD_GREETING}:
            connection.send([PROTOCOL_HEADER])
            return False
        settings = connection.settings
        mechanisms = "PLAIN AMQPLAIN"
        if settings.anonymous_login_user:
            mechanisms += " ANONYMOUS"
        connection.send_method(
            START_IDS,
            version_major=0,
            version_minor=9,
            server_properties={
                "capabilities": CAPABILITIES,
                "cluster_name": f"portask@{connection.broker.cluster_id}",
                "copyright": "Portask contributors",
                "information": f"Portask {__version__}, compatible with RabbitMQ 4",
                "platform": f"Python {platform.python_version()}",
                "product": PRODUCT,
                "version": VERSION,
            },
            mechanisms=mechanisms.encode(),
            locales=b"en_US",
        )
        return True

    def method(self, class_id: int, method_id: int, arguments: Any) -> bool:
        """Deal with a method of the handshake; False ends the connection. Raises AmqpError."""
        if (class_id, method_id) != self._expected:
            raise AmqpError(COMMAND_INVALID, "not the method that the handshake expects", class_id, method_id)
        if self._expected == START_OK_IDS:
            return self._start_ok(arguments)
        if self._expected == TUNE_OK_IDS:
            self._tune_ok(arguments)
        else:
            self._open(arguments)
        return True

    def _start_ok(self, arguments: Any) -> bool:
        connection = self._connection
        capabilities = arguments.client_properties.get("capabilities")
        if isinstance(capabilities, dict):
            connection.client_capabilities = capabilities
        name = arguments.client_properties.get("connection_name") or arguments.client_properties.get("product")
        connection.link.name = name[:100] if isinstance(name, str) else ""
        mechanism = arguments.mechanism
        try:
            user = self._log_in(mechanism, arguments.response)
        except _UnknownMechanismError:
            connection.log_refused(mechanism)
            return False
        except ProtocolError:
            user = None
        if user is None:
            connection.log_refused(mechanism)
            if connection.client_capabilities.get("authentication_failure_close") is True:
                raise AmqpError(ACCESS_REFUSED, FAILED_LOGIN.format(mechanism))
            connection.drop_later()
            return True
        connection.user = user
        connection.may_impersonate = "impersonator" in connection.broker.users.get(user).tags
        self._expected = TUNE_OK_IDS
        settings = connection.settings
        connection.send_method(
            TUNE_IDS,
            channel_max=settings.amqp_channel_max,
            frame_max=settings.amqp_frame_max,
            heartbeat=settings.amqp_heartbeat_s,
        )
        return True

    def _log_in(self, mechanism: str, response: bytes) -> str | None:
        """The user whose credentials *response* has; None when they are refused. Raises AmqpError, ProtocolError."""
        users = self._connection.broker.users
        host = self._connection.link.peer_host
        if mechanism == "ANONYMOUS" and users.anonymous is not None:
            name: str = users.anonymous
            return name if users.may_come_from(name, host) else None
        parse = {"PLAIN": parse_plain, "AMQPLAIN": parse_amqplain}.get(mechanism)
        if parse is None:
            raise _UnknownMechanismError
        credentials: Credentials = parse(response)
        is_known = users.authenticate(credentials.name, credentials.password)
        return credentials.name if is_known and users.may_come_from(credentials.name, host) else None

    def _tune_ok(self, arguments: Any) -> None:
        connection = self._connection
        settings = connection.settings
        channel_max = _negotiate("channel_max", arguments.channel_max, settings.amqp_channel_max, 1)
        frame_max = _negotiate("frame_max", arguments.frame_max, settings.amqp_frame_max, MIN_FRAME_MAX)
        connection.tuned(frame_max, channel_max, arguments.heartbeat)
        self._expected = OPEN_IDS

    def _open(self, arguments: Any) -> None:
        connection = self._connection
        try:
            connection.virtual_host = connection.broker.virtual_hosts.get(arguments.virtual_host)
        except NotAllowedError as error:
            raise AmqpError(NOT_ALLOWED, str(error), *OPEN_IDS) from error
        connection.is_running = True
        connection.send_method(OPEN_OK_IDS)


def _negotiate(name: str, value: int, most: int, least: int) -> int:
    """What the client says of *name*, when it may. Raises AmqpError."""
    if not value:
        raise AmqpError(
            NOT_ALLOWED,
            f"negotiated {name} = 0 (no limit) is higher than the maximum allowed value ({most})",
            *TUNE_IDS,
        )
    if value > most:
        raise AmqpError(
            NOT_ALLOWED, f"negotiated {name} = {value} is higher than the maximum allowed value ({most})", *TUNE_IDS
        )
    if value < least:
        raise AmqpError(
            NOT_ALLOWED, f"negotiated {name} = {value} is lower than the minimum allowed value ({least})", *TUNE_IDS
        )
    return value
