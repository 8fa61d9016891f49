"""Exchange types by name, and how an exchange of each is made.

Two types are others with something before them. `x-delayed-message` is what its argument `x-delayed-type` says, and
keeps messages back for the time in their header `x-delay`. `x-message-deduplication` is a fanout exchange that
turns away what it has seen before; LavinMQ's way to say so, an argument of that name with the value true, does
the same for an exchange of any type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portask.errors import PreconditionError
from portask.exchanges.consistent_hash import HashExchange
from portask.exchanges.deduplication import ARGUMENT, SIZE, Deduplication
from portask.exchanges.exchange import ALTERNATE, DirectExchange, Exchange, FanoutExchange, TopicExchange
from portask.exchanges.headers import HeadersExchange
from portask.queues.arguments import type_name
from portask.resource_name import describe, spell

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
    wanted_type: str,
    clock: Clock,
    *,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Mapping[str, Any],
) -> Exchange:
    """A new exchange without bindings. Raises PreconditionError for arguments that cannot be."""
    check_type(wanted_type)
    alternate = arguments.get(ALTERNATE)
    if not isinstance(alternate, str | None):
        raise PreconditionError(
            f"invalid type '{type_name(alternate)}' for arg '{ALTERNATE}' in {describe('exchange', name, virtual_host)}"
        )
    exchange = TYPES[_inner_type(wanted_type, arguments)](
        wanted_type, name, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments
    )
    exchange.is_delaying = wanted_type == DELAYED
    if wanted_type == ARGUMENT and arguments.get(SIZE) is None:
        raise PreconditionError(f"Missing argument, '{SIZE}' is required")
    if wanted_type == ARGUMENT or arguments.get(ARGUMENT) is True:
        exchange.deduplication = Deduplication(arguments, clock)
    return exchange


def _inner_type(wanted_type: str, arguments: Mapping[str, Any]) -> str:
    if wanted_type != DELAYED:
        return wanted_type
    inner = arguments.get(DELAYED_TYPE)
    if not isinstance(inner, str) or inner not in TYPES:
        raise PreconditionError(f"Invalid argument, '{DELAYED_TYPE}' must be an existing exchange type")
    return inner


def check_equivalent(
    virtual_host: str,
    known: Exchange,
    wanted_type: str,
    *,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Mapping[str, Any],
) -> None:
    """Raise PreconditionError unless the exchange *known* is what these would make; of the arguments one counts."""
    place = describe("exchange", known.name, virtual_host)
    for name, current, received in (
        ("type", known.type, wanted_type),
        ("durable", known.durable, durable),
        ("auto_delete", known.auto_delete, auto_delete),
        ("internal", known.internal, internal),
    ):
        if current != received:
            raise PreconditionError(
                f"inequivalent arg '{name}' for {place}: received '{spell(received)}' but current is '{spell(current)}'"
            )
    check_same_argument(place, ALTERNATE, known.arguments.get(ALTERNATE), arguments.get(ALTERNATE))


def check_same_argument(place: str, name: str, current: Any, received: Any) -> None:
    """Raise PreconditionError when an argument's values differ, in type or in what they say."""
    if type(current) is type(received):
        if current != received:
            raise PreconditionError(
                f"inequivalent arg '{name}' for {place}: received '{spell(received)}' but current is '{spell(current)}'"
            )
        return
    raise PreconditionError(
        f"inequivalent arg '{name}' for {place}: received {_with_type(received)} but current is {_with_type(current)}"
    )


def _with_type(value: Any) -> str:
    return "none" if value is None else f"the value '{spell(value)}' of type '{type_name(value)}'"
