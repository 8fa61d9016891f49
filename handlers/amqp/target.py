"""Targets: what a basic.publish frame says, and where that leads at the moment.

A `Target` is kept by the bytes of its frame; the headers that came with it are kept by theirs, for all targets of the
same exchange. It is simple
while every message for it goes to the same queues and nobody has to look at the message; the virtual host's
generation says when that has to be found out anew.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from handlers.amqp.errors import (
    ACCESS_REFUSED,
    FRAME_ERROR,
    NO_ROUTE,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    UNEXPECTED_FRAME,
    AmqpError,
    reply_code,
)
from handlers.amqp.methods import METHODS
from handlers.amqp.reply_to import PREFIX as REPLY_TO_PREFIX
from handlers.amqp.reply_to import REPLY_TO
from portask.errors import ProtocolError, QueueingError
from portask.field_table import join_table, split_table
from portask.properties import Properties, decode_header, edited, encoded, pack
from portask.queues.arguments import MAX_EXPIRY_MS, type_name
from portask.queues.death import X_DEATH, disown

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from portask.exchanges.exchange import Destination, Exchange

CONTENT_CLASS = b"\x00\x3c"
BODY_SIZE_AT = 4
PUBLISH_IDS = (60, 40)
NO_HEADER = "expected content header for class 60, got non content header frame instead"
MAX_HEADER_BYTES = 512
"""Longer ones are not kept."""
_PUBLISH = METHODS[PUBLISH_IDS]
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)


class Header(NamedTuple):
    """What a content header means."""

    properties: bytes
    """As a record has them."""
    body_size: int
    expiring: bool
    copies: tuple[str, ...]
    """Further routing keys: CC and BCC."""
    reply_to: bool
    """Whether answers are to come straight to the publisher."""
    error: AmqpError | None
    """Why no message can have it."""
    is_too_large: bool
    """Whether that is the size of its body."""

    @property
    def is_simple(self) -> bool:
        """Whether routing need not look at it."""
        return not self.copies and not self.reply_to and self.error is None


class Routed(NamedTuple):
    """Where one message goes, and with which properties."""

    destinations: tuple[Destination, ...]
    properties: bytes


class Target:
    """An exchange and a routing key, as one basic.publish names them."""

    __slots__ = (
        "_generation",
        "_is_simple",
        "destinations",
        "exchange_name",
        "headers",
        "is_immediate",
        "is_mandatory",
        "key",
        "routing_key",
    )

    def __init__(self, payload: bytes, headers: dict[str, dict[bytes, Header]]) -> None:
        """*payload* is that of the method's frame; *headers* are known already, by the name of an exchange.

        Raises ProtocolError.
        """
        method = _PUBLISH.decode(payload)
        self.exchange_name: str = method.exchange
        self.routing_key: str = method.routing_key
        self.key = self.routing_key.encode("utf-8", "surrogateescape")
        self.is_mandatory: bool = method.mandatory
        self.is_immediate: bool = method.immediate
        self.destinations: tuple[Destination, ...] = ()
        self.headers = headers.setdefault(self.exchange_name, {})
        """By the payload of the content header; only those that are simple."""
        self._generation = -1
        self._is_simple = False

    def is_simple(self, channel: Channel) -> bool:
        """Whether `destinations` is where every message with a simple header goes."""
        virtual_host = channel.connection.virtual_host
        if self._generation != virtual_host.generation:
            self._generation = virtual_host.generation
            self._is_simple = self._resolve(channel)
        return self._is_simple

    def _resolve(self, channel: Channel) -> bool:
        virtual_host = channel.connection.virtual_host
        exchange = virtual_host.exchanges.get(self.exchange_name)
        if exchange is None or exchange.internal or self.is_immediate or self._is_reply():
            return False
        route = virtual_host.route(exchange, (self.routing_key,), b"")
        self.destinations = route.destinations
        return (
            route.is_constant
            and (route.is_routed or not self.is_mandatory)
            and all(destination.takes_many for destination in route.destinations)
        )

    def _is_reply(self) -> bool:
        return not self.exchange_name and self.routing_key.startswith(REPLY_TO_PREFIX)

    # -- headers ----------------------------------------------------------------------------------

    def learn(self, channel: Channel, payload: bytes) -> Header:
        """What the content header *payload* means; kept when it is simple. Raises AmqpError when it cannot be read."""
        if payload[:2] != CONTENT_CLASS:
            raise AmqpError(UNEXPECTED_FRAME, NO_HEADER, *PUBLISH_IDS)
        if payload[2:BODY_SIZE_AT] != b"\0\0":
            raise AmqpError(UNEXPECTED_FRAME, "a content header with a weight", *PUBLISH_IDS)
        try:
            properties = decode_header(payload)
        except ProtocolError as error:
            raise AmqpError(FRAME_ERROR, f"the content header cannot be read: {error}", *PUBLISH_IDS) from error
        size = int.from_bytes(payload[BODY_SIZE_AT : BODY_SIZE_AT + 8], "big")
        header = self._interpret(channel, properties, payload, size)
        if header.is_simple and len(payload) <= MAX_HEADER_BYTES:
            channel.publisher.keeps_header()
            self.headers[payload] = header
        return header

    def _interpret(self, channel: Channel, properties: Properties, payload: bytes, size: int) -> Header:
        limit = channel.connection.settings.amqp_max_message_bytes
        error = _check(channel, properties)
        if size > limit:
            text = f"message size {size} is larger than configured max size {limit}"
            error = AmqpError(PRECONDITION_FAILED, text, *PUBLISH_IDS)
        copies: tuple[str, ...] = ()
        headers = properties.headers
        if headers and X_DEATH in headers:
            payload = disown(payload)
        if headers and error is None and ("CC" in headers or "BCC" in headers):
            try:
                copies = (*_copies(headers, "CC"), *_copies(headers, "BCC"))
            except AmqpError as refusal:
                error = refusal
            if "BCC" in headers:
                fields = split_table(encoded(payload, "headers"))
                del fields["BCC"]
                payload = edited(payload, headers=join_table(fields))
        return Header(
            pack(self.exchange_name, payload),
            size,
            properties.expiration is not None,
            copies,
            properties.reply_to == REPLY_TO,
            error,
            size > limit,
        )

    # -- one message ------------------------------------------------------------------------------

    def route(self, channel: Channel, header: Header, body: bytes) -> Routed:
        """Where a message with *header* goes; it is returned to the publisher here when it goes nowhere and must not.

        Raises AmqpError when it cannot be published.
        """
        connection = channel.connection
        virtual_host = connection.virtual_host
        if self.is_immediate:
            raise AmqpError(NOT_IMPLEMENTED, "immediate=true", *PUBLISH_IDS)
        try:
            exchange = virtual_host.exchange(self.exchange_name)
        except QueueingError as error:
            raise AmqpError(reply_code(error), str(error), *PUBLISH_IDS) from error
        if exchange.internal:
            raise AmqpError(
                ACCESS_REFUSED,
                f"cannot publish to internal exchange '{exchange.name}' in vhost '{virtual_host.name}'",
                *PUBLISH_IDS,
            )
        if header.error is not None:
            raise header.error
        properties = header.properties
        if header.reply_to:
            properties = self._answer_to(channel, properties)
        if self._is_reply():
            consumer = connection.reply_consumer(self.routing_key)
            destinations: tuple[Destination, ...] = ()
            if consumer is not None:
                destinations = (consumer,)
            is_routed = consumer is not None
        else:
            destinations, is_routed = self._find(channel, exchange, header, properties)
        if self.is_mandatory and not is_routed:
            give_back = partial(
                channel.send_return, NO_ROUTE, "NO_ROUTE", self.exchange_name, self.routing_key, properties, body
            )
            if channel.transaction is None:
                give_back()
            else:
                channel.transaction.give_back(give_back)
        return Routed(destinations, properties)

    def _find(
        self, channel: Channel, exchange: Exchange, header: Header, properties: bytes
    ) -> tuple[tuple[Destination, ...], bool]:
        payload = properties[1 + properties[0] :]
        route = channel.connection.virtual_host.route(exchange, (self.routing_key, *header.copies), payload)
        return route.destinations, route.is_routed

    def _answer_to(self, channel: Channel, properties: bytes) -> bytes:
        """*properties* with the address of the channel's consumer of answers."""
        consumer = channel.reply_consumer
        if consumer is None:
            raise AmqpError(PRECONDITION_FAILED, "fast reply consumer does not exist", *PUBLISH_IDS)
        return pack(self.exchange_name, edited(properties[1 + properties[0] :], reply_to=consumer.address))


def _check(channel: Channel, properties: Properties) -> AmqpError | None:
    """Why no message of *channel* may have these properties."""
    user = channel.connection.user
    if properties.user_id is not None and properties.user_id != user and not channel.connection.may_impersonate:
        return AmqpError(
            PRECONDITION_FAILED,
            f"user_id property set to '{properties.user_id}' but authenticated user was '{user}'",
            *PUBLISH_IDS,
        )
    expiration = properties.expiration
    why = None if expiration is None else _expiration_refusal(expiration)
    if why is not None:
        return AmqpError(PRECONDITION_FAILED, f"invalid expiration '{expiration}': {why}", *PUBLISH_IDS)
    return None


def _expiration_refusal(text: str) -> str | None:
    """Why *text* is no number of ms that a message may wait, as RabbitMQ's Erlang prints it; None when it is one."""
    match = _INTEGER.match(text)
    if match is None:
        return "no_integer"
    number = int(match[0])
    if match.end() < len(text):
        return f'{{leftover_string,"{text[match.end() :]}"}}'
    if number < 0:
        return f"{{value_negative,{number}}}"
    return f"{{value_too_large,{number}}}" if number > MAX_EXPIRY_MS else None


def _copies(headers: dict[str, object], name: str) -> tuple[str, ...]:
    """The strings that header *name* lists, which are routing keys. Raises AmqpError when it is no list."""
    keys = headers.get(name, [])
    if not isinstance(keys, list):
        why = f'{{unacceptable_type_in_header,"{name}",{type_name(keys)}}}'
        raise AmqpError(PRECONDITION_FAILED, f"invalid message: {why}", *PUBLISH_IDS)
    return tuple(key for key in keys if isinstance(key, str))
