"""Exchange types by name, and how an exchange of each is made.

Two types are others with something before them. `x-delayed-message` is what its argument `x-delayed-type` says, and
keeps messages back for the time in their header `x-delay`. `x-message-deduplication` is a fanout exchange that
turns away what it has seen before; LavinMQ's way to say so, an argument of that name with the value true, does
the same for an exchange of any type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portask.deduplication import ARGUMENT, SIZE, Deduplication
from portask.errors import PreconditionError
from portask.exchange import ALTERNATE, DirectExchange, Exchange, FanoutExchange, TopicExchange
from portask.exchange_hash import HashExchange
from portask.exchange_headers import HeadersExchange
from portask.resource_name import describe

if TYPE_CHECKING:
    from portask.clock import Clock

DELAYED = "x-delayed-message"
DELAYED_TYPE = "x-delayed-type"
TYPES: dict[str, type[Exchange]] = {
    "direct": DirectExchange,
    "fanout": FanoutExchange,
    "headers": HeadersExchange,
    "topic": TopicExchange,
    "x-consistent-hash": HashExchange,
    ARGUMENT: FanoutExchange,
}


def check_type(name: str) -> None:
    """Raise PreconditionError unless there is an exchange type of that name."""
    if name not in TYPES and name != DELAYED:
        raise PreconditionError(f"unknown exchange type '{name}'")


def make_exchange(
    virtual_host: str,
    name: str,
    type_name: str,
    clock: Clock,
    *,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Mapping[str, Any],
) -> Exchange:
    """A new exchange without bindings. Raises PreconditionError for arguments that cannot be."""
    check_type(type_name)
    alternate = arguments.get(ALTERNATE)
    if not isinstance(alternate, str | None):
        raise PreconditionError(
            f"invalid type '{type(alternate).__name__}' for arg '{ALTERNATE}' in "
            f"{describe('exchange', name, virtual_host)}"
        )
    exchange = TYPES[_inner_type(type_name, arguments)](
        type_name, name, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments
    )
    exchange.is_delaying = type_name == DELAYED
    if type_name == ARGUMENT and arguments.get(SIZE) is None:
        raise PreconditionError(f"Missing argument, '{SIZE}' is required")
    if type_name == ARGUMENT or arguments.get(ARGUMENT) is True:
        exchange.deduplication = Deduplication(arguments, clock)
    return exchange


def _inner_type(type_name: str, arguments: Mapping[str, Any]) -> str:
    if type_name != DELAYED:
        return type_name
    inner = arguments.get(DELAYED_TYPE)
    if not isinstance(inner, str) or inner not in TYPES:
        raise PreconditionError(f"Invalid argument, '{DELAYED_TYPE}' must be an existing exchange type")
    return inner
