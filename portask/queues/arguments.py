"""Arguments of queues: what each `x-` argument may say, and what a queue makes of it.

Texts are RabbitMQ's, because clients match on them: its errors are Erlang terms, printed as they are.
Arguments that no row of the table names are kept and have no effect. One that another type of queue knows is
refused; one that RabbitMQ's type accepts without effect here is only checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from portask.errors import PreconditionError

CLASSIC, QUORUM, STREAM = "classic", "quorum", "stream"
MAX_PRIORITY = 255
MAX_EXPIRY_MS = 315_360_000_000
"""RabbitMQ's limit: ten years."""
DELIVERY_LIMIT = 20
"""A quorum queue's, when it says nothing."""
_AGE = re.compile(r"([0-9]+)([YMDhms])")
_AGE_MS = {
    "Y": 365 * 86_400_000,
    "M": 30 * 86_400_000,
    "D": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
}


@dataclass(frozen=True, slots=True)
class QueueArguments:
    """What the arguments of a queue mean. None: not set."""

    type: str = CLASSIC
    message_ttl_ms: int | None = None
    expires_ms: int | None = None
    """A queue that nobody has used for so long goes away."""
    max_length: int | None = None
    max_length_bytes: int | None = None
    overflow: str = "drop-head"
    """Or reject-publish, or reject-publish-dlx."""
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    max_priority: int | None = None
    single_active_consumer: bool = False
    delivery_limit: int | None = None
    """A message that failed more often goes away."""
    consumer_timeout_ms: int | None = None
    max_age_ms: int | None = None
    """How long a stream keeps a message."""
    deduplicates: bool = False
    cache_size: int | None = None
    cache_ttl_ms: int | None = None

    @property
    def partitions(self) -> int:
        """How many logs the queue needs: one for each priority."""
        return 1 if self.max_priority is None else self.max_priority + 1


class _RefusedError(Exception):
    """What a value is not, as RabbitMQ's Erlang prints it."""


def type_name(value: Any) -> str:
    """RabbitMQ's name for the type of a field's *value*."""
    match value:
        case bool():
            return "bool"
        case int():
            return "signedint" if -(1 << 31) <= value < 1 << 31 else "long"
        case str():
            return "longstr"
        case bytes():
            return "binary"
        case float():
            return "double"
        case list():
            return "array"
        case dict():
            return "table"
        case None:
            return "void"
    return "timestamp" if hasattr(value, "year") else "decimal"


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _RefusedError(f'"expected integer, got {type_name(value)}"')
    return value


def _natural(value: Any) -> int:
    if _integer(value) < 0:
        raise _RefusedError(f"{{value_negative,{value}}}")
    return int(value)


def _positive(value: Any) -> int:
    if _natural(value) == 0:
        raise _RefusedError("{value_zero,0}")
    return int(value)


def _limit(value: Any) -> int | None:
    """A count, or any number below 0 for no limit."""
    return _integer(value)


def _time(value: Any) -> int:
    if _natural(value) > MAX_EXPIRY_MS:
        raise _RefusedError(f"{{value_too_large,{value}}}")
    return int(value)


def _expires(value: Any) -> int:
    return _positive(_time(value))


def _priority(value: Any) -> int:
    if _natural(value) > MAX_PRIORITY:
        raise _RefusedError(f"{{max_value_exceeded,{value}}}")
    return int(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _RefusedError(f"{{unacceptable_type,{type_name(value)}}}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _RefusedError(f"{{unacceptable_type,{type_name(value)}}}")
    return value


def _word(refusal: str, *words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if _text(value) not in words:
            raise _RefusedError(refusal.format(value))
        return str(value)

    return check


def _age(value: Any) -> int:
    match = _AGE.fullmatch(_text(value))
    if match is None or not int(match[1]):
        raise _RefusedError("invalid_max_age")
    return int(match[1]) * _AGE_MS[match[2]]


def _version(value: Any) -> int:
    if _natural(value) not in (1, 2):
        raise _RefusedError(f"\"unsupported queue version '{value}'\"")
    return int(value)


_queue_type = _word("\"unsupported queue type '{}'\"", CLASSIC, QUORUM, STREAM)


@dataclass(frozen=True, slots=True)
class _Argument:
    check: Callable[[Any], Any]
    """What a value means; raises _RefusedError."""
    field: str | None = None
    """Of QueueArguments; None: without effect."""
    types: tuple[str, ...] = (CLASSIC, QUORUM, STREAM)


_QUEUES = (CLASSIC, QUORUM)
ARGUMENTS: dict[str, _Argument] = {
    "x-expires": _Argument(_expires, "expires_ms", _QUEUES),
    "x-message-ttl": _Argument(_time, "message_ttl_ms", _QUEUES),
    "x-dead-letter-exchange": _Argument(_text, "dead_letter_exchange", _QUEUES),
    "x-dead-letter-routing-key": _Argument(_text, "dead_letter_routing_key", _QUEUES),
    "x-dead-letter-strategy": _Argument(
        _word("invalid_dlx_strategy", "at-most-once", "at-least-once"), None, (QUORUM,)
    ),
    "x-max-length": _Argument(_natural, "max_length", _QUEUES),
    "x-max-length-bytes": _Argument(_natural, "max_length_bytes"),
    "x-max-in-memory-length": _Argument(_natural, None, (QUORUM,)),
    "x-max-in-memory-bytes": _Argument(_natural, None, (QUORUM,)),
    "x-max-priority": _Argument(_priority, "max_priority", (CLASSIC,)),
    "x-overflow": _Argument(
        _word("invalid_overflow", "drop-head", "reject-publish", "reject-publish-dlx"), "overflow", _QUEUES
    ),
    "x-queue-mode": _Argument(_word("\"unsupported queue mode '{}'\"", "default", "lazy"), None, (CLASSIC,)),
    "x-queue-version": _Argument(_version, None, (CLASSIC,)),
    "x-single-active-consumer": _Argument(_boolean, "single_active_consumer", _QUEUES),
    "x-queue-type": _Argument(_queue_type, "type"),
    "x-quorum-initial-group-size": _Argument(_positive, None, (QUORUM,)),
    "x-quorum-target-group-size": _Argument(_positive, None, (QUORUM,)),
    "x-delivery-limit": _Argument(_limit, "delivery_limit", (QUORUM,)),
    "x-consumer-timeout": _Argument(_natural, "consumer_timeout_ms", _QUEUES),
    "x-max-age": _Argument(_age, "max_age_ms", (STREAM,)),
    "x-stream-max-segment-size-bytes": _Argument(_natural, None, (STREAM,)),
    "x-stream-filter-size-bytes": _Argument(_natural, None, (STREAM,)),
    "x-initial-cluster-size": _Argument(_positive, None, (STREAM,)),
    "x-queue-leader-locator": _Argument(
        _word("invalid_queue_locator_arg", "client-local", "balanced", "random", "least-leaders")
    ),
    "x-message-deduplication": _Argument(_boolean, "deduplicates", _QUEUES),
    "x-cache-size": _Argument(_positive, "cache_size", _QUEUES),
    "x-cache-ttl": _Argument(_positive, "cache_ttl_ms", _QUEUES),
    "x-deduplication-header": _Argument(_text, None, _QUEUES),
}
"""Every argument with an effect or a check, in the order in which RabbitMQ compares them. A consumer timeout and
deduplication work on classic queues as well."""


def parse_arguments(arguments: Mapping[str, Any], described: str) -> QueueArguments:
    """What *arguments* mean for the queue that is *described* as in `queue 'q' in vhost '/'`.

    Raises PreconditionError for a value that cannot be, or an argument of another type of queue.
    """
    exchange = arguments.get("x-dead-letter-exchange", "")
    if not isinstance(exchange, str):
        raise PreconditionError(f"invalid type '{type_name(exchange)}' for arg 'x-dead-letter-exchange' in {described}")
    settings = QueueArguments(type=_check("x-queue-type", arguments.get("x-queue-type", CLASSIC), described))
    values = {}
    for name, argument in ARGUMENTS.items():
        if name not in arguments or settings.type not in argument.types:
            continue
        checked = _check(name, arguments[name], described)
        if argument.field is not None:
            values[argument.field] = checked
        if name == "x-dead-letter-routing-key" and "dead_letter_exchange" not in values:
            raise PreconditionError(f"invalid arg '{name}' for {described}: routing_key_but_no_dlx_defined")
    for name, argument in ARGUMENTS.items():
        if name in arguments and settings.type not in argument.types:
            raise PreconditionError(f"invalid arg '{name}' for {described} of queue type rabbit_{settings.type}_queue")
    if settings.type == QUORUM:
        values.setdefault("delivery_limit", DELIVERY_LIMIT)
    if values.get("delivery_limit") is not None and values["delivery_limit"] < 0:
        values["delivery_limit"] = None
    return replace(settings, **values)


def _check(name: str, value: Any, described: str) -> Any:
    try:
        return ARGUMENTS[name].check(value)
    except _RefusedError as refusal:
        raise PreconditionError(f"invalid arg '{name}' for {described}: {refusal}") from None


def check_equivalent(current: Mapping[str, Any], received: Mapping[str, Any], type_: str, described: str) -> None:
    """Raise PreconditionError unless a queue of *type_* with the arguments *current* is what *received* asks for."""
    for name, argument in ARGUMENTS.items():
        if type_ not in argument.types:
            continue
        here, there = current.get(name), received.get(name)
        if name == "x-queue-type":
            if (here or CLASSIC) == (there or CLASSIC):
                continue
        elif type(here) is type(there) and here == there:
            continue
        if here is not None and there is not None:
            shown = f"received '{_spell(there)}' but current is '{_spell(here)}'"
        else:
            shown = f"received {_spell_whole(there)} but current is {_spell_whole(here)}"
        raise PreconditionError(f"inequivalent arg '{name}' for {described}: {shown}")


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _spell_whole(value: Any) -> str:
    return "none" if value is None else f"the value '{_spell(value)}' of type '{type_name(value)}'"
