"""The headers exchange: bindings say which headers a message must have.

The argument `x-match` of a binding is `all` (the default) or `any`; then headers and arguments whose names begin
with `x-` say nothing. With `all-with-x` and `any-with-x` they count like others, `x-match` itself never. An
argument without a value (void) wants the header to be there, with whatever value.

Values are compared as RabbitMQ compares them: by value and not by type, so that 1 is 1.0, a byte array is the
text of the same bytes and a time is its seconds; true is not 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from portask.errors import PreconditionError
from portask.exchanges.exchange import Exchange
from portask.queues.arguments import type_name
from portask.resource_name import spell

if TYPE_CHECKING:
    from portask.exchanges.binding import Binding
    from portask.exchanges.published import Published

MATCH = "x-match"
KINDS = ("all", "any", "all-with-x", "any-with-x")
_WITH_X = ("all-with-x", "any-with-x")


class Wanted:
    """What the arguments of a binding ask of a message's headers."""

    __slots__ = ("_is_any", "_present", "_values")

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        kind = arguments.get(MATCH, "all")
        self._is_any = kind.startswith("any")
        counted = {
            name: value
            for name, value in arguments.items()
            if name != MATCH and (kind in _WITH_X or not name.startswith("x-"))
        }
        self._present = [name for name, value in counted.items() if value is None]
        self._values = [(name, comparable(value)) for name, value in counted.items() if value is not None]

    def fits(self, headers: Mapping[str, Any]) -> bool:
        """Whether *headers*, their values comparable, are what is asked for."""
        if self._is_any:
            return any(name in headers for name in self._present) or any(
                name in headers and headers[name] == value for name, value in self._values
            )
        return all(name in headers for name in self._present) and all(
            name in headers and headers[name] == value for name, value in self._values
        )


class HeadersExchange(Exchange):
    """Bindings whose arguments fit the message's headers."""

    is_constant = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wanted: dict[Binding, Wanted] = {}

    def check_binding(self, routing_key: str, arguments: Mapping[str, Any]) -> None:
        kind = arguments.get(MATCH, "all")
        if not isinstance(kind, str):
            raise PreconditionError(
                f"Invalid {MATCH} field type {type_name(kind)} (value {spell(kind)}); expected longstr"
            )
        if kind not in KINDS:
            raise PreconditionError(
                f'Invalid {MATCH} field value <<"{kind}">>; expected all, any, all-with-x, or any-with-x'
            )

    def add(self, binding: Binding) -> None:
        self._wanted[binding] = Wanted(binding.arguments)

    def remove(self, binding: Binding) -> None:
        del self._wanted[binding]

    def match(self, message: Published) -> Iterable[Binding]:
        headers = {name: comparable(value) for name, value in message.headers.items()}
        return [binding for binding, wanted in self._wanted.items() if wanted.fits(headers)]


def comparable(value: Any) -> Any:
    """*value* such that Python's equality is RabbitMQ's."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, Decimal):
        return "decimal", value
    if isinstance(value, Mapping):
        return {name: comparable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(inner) for inner in value]
    return value
