"""What a policy can say: each key with the values it takes, and how it meets the same from elsewhere.

A key of a queue is an argument of the same name behind `x-`; `alternate-exchange` is an exchange's. Some
keys mean something to a cluster of RabbitMQ nodes only: they are accepted, kept and have no effect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from portask.errors import PreconditionError
from portask.queues.arguments import CLASSIC, MAX_EXPIRY_MS, QUORUM, STREAM
from portask.resource_name import encode_name
from portask.stored_text import MAX_NAME_BYTES

APPLY_TO = ("queues", "classic_queues", "quorum_queues", "streams", "exchanges", "all")
QUEUE_TYPES = {"classic_queues": CLASSIC, "quorum_queues": QUORUM, "streams": STREAM}
"""An `apply-to` that names one type of queue -> that type."""

_AGE = re.compile(r"(\d+)([YMDhms])")
_AGE_MS = {
    "Y": 365 * 24 * 3600 * 1000,
    "M": 30 * 24 * 3600 * 1000,
    "D": 24 * 3600 * 1000,
    "h": 3600 * 1000,
    "m": 60 * 1000,
    "s": 1000,
}


class Merge(Enum):
    """Which of two values counts: a policy's and an argument's, or an operator policy's and a policy's."""

    LEAST = "the smaller number"
    LEAST_OR_NONE = "the smaller number, where one below 0 is no limit"
    SHORTEST = "the shorter age"
    GIVEN = "an argument before a policy, an operator policy before a policy"


class Key(NamedTuple):
    """One key of a definition."""

    check: Callable[[Any], bool]
    form: str
    """What values it takes, as words that follow "must be"."""
    merge: Merge = Merge.GIVEN
    operator: bool = False
    """Whether an operator policy may have it."""
    types: tuple[str, ...] = (CLASSIC, QUORUM, STREAM)
    """Types of queues that can have it; a policy with a key that a queue cannot have does not apply to it."""


def _words(*words: str) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: value in words), "one of " + ", ".join(words)


def _number(least: int, most: int | None = None) -> tuple[Callable[[Any], bool], str]:
    def fits(value: Any) -> bool:
        return type(value) is int and value >= least and (most is None or value <= most)

    return fits, f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"


def age_ms(value: Any) -> int:
    """The age that *value* says, such as 7D. Raises ValueError."""
    match = _AGE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        raise ValueError(value)
    return int(match[1]) * _AGE_MS[match[2]]


def _is_age(value: Any) -> bool:
    try:
        age_ms(value)
    except ValueError:
        return False
    return True


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_name(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(encode_name(value)) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


_TEXT = (_is_name, f"text of at most {MAX_NAME_BYTES} bytes")
_ANY = (lambda value: True), "anything"
_COUNT = _number(0)
_LIMITED = (CLASSIC, QUORUM)

_QUEUE_KEYS = {
    "message-ttl": Key(*_number(0, MAX_EXPIRY_MS), Merge.LEAST, True, _LIMITED),
    "expires": Key(*_number(1, MAX_EXPIRY_MS), Merge.LEAST, True, _LIMITED),
    "max-length": Key(*_COUNT, Merge.LEAST, True, _LIMITED),
    "max-length-bytes": Key(*_COUNT, Merge.LEAST, True),
    "overflow": Key(*_words("drop-head", "reject-publish", "reject-publish-dlx"), operator=True, types=_LIMITED),
    "dead-letter-exchange": Key(*_TEXT, types=_LIMITED),
    "dead-letter-routing-key": Key(*_TEXT, types=_LIMITED),
    "dead-letter-strategy": Key(*_words("at-most-once", "at-least-once"), types=(QUORUM,)),
    "delivery-limit": Key(_is_whole, "a whole number", Merge.LEAST_OR_NONE, True, (QUORUM,)),
    "consumer-timeout": Key(*_COUNT, Merge.LEAST, True, _LIMITED),
    "max-age": Key(_is_age, "a number and one of Y, M, D, h, m, s, such as 7D", Merge.SHORTEST, types=(STREAM,)),
    "stream-max-segment-size-bytes": Key(*_COUNT, types=(STREAM,)),
    "stream-filter-size-bytes": Key(*_COUNT, types=(STREAM,)),
    "delayed-retry-type": Key(*_words("disabled", "all", "failed", "returned"), types=(QUORUM,)),
    "delayed-retry-min": Key(*_COUNT, Merge.LEAST, True, (QUORUM,)),
    "delayed-retry-max": Key(*_COUNT, Merge.LEAST, True, (QUORUM,)),
}
_EXCHANGE_KEYS = {"alternate-exchange": Key(*_TEXT)}
_KEYS_WITHOUT_EFFECT = {
    "queue-mode": Key(*_words("default", "lazy"), types=(CLASSIC,)),
    "queue-version": Key(lambda value: type(value) is int and value in (1, 2), "1 or 2", operator=True),
    "max-in-memory-length": Key(*_COUNT, Merge.LEAST, True, _LIMITED),
    "max-in-memory-bytes": Key(*_COUNT, Merge.LEAST, True, _LIMITED),
    "max-segment-size": Key(*_COUNT),
    "initial-cluster-size": Key(*_COUNT, types=(STREAM,)),
    "target-group-size": Key(*_COUNT, operator=True, types=_LIMITED),
    "queue-leader-locator": Key(*_words("client-local", "balanced", "random", "least-leaders")),
    "queue-master-locator": Key(*_words("min-masters", "client-local", "random"), types=(CLASSIC,)),
    "ha-mode": Key(*_words("all", "exactly", "nodes"), operator=True, types=(CLASSIC,)),
    "ha-params": Key(*_ANY, operator=True, types=(CLASSIC,)),
    "ha-sync-mode": Key(*_words("automatic", "manual"), operator=True, types=(CLASSIC,)),
    "ha-sync-batch-size": Key(*_number(1), types=(CLASSIC,)),
    "ha-promote-on-shutdown": Key(*_words("always", "when-synced"), types=(CLASSIC,)),
    "ha-promote-on-failure": Key(*_words("always", "when-synced"), types=(CLASSIC,)),
    "federation-upstream": Key(*_TEXT),
    "federation-upstream-set": Key(*_TEXT),
    "federation-upstream-pattern": Key(*_TEXT),
    "shards-per-node": Key(*_COUNT),
    "routing-key": Key(*_TEXT),
}
KEYS = _QUEUE_KEYS | _EXCHANGE_KEYS | _KEYS_WITHOUT_EFFECT
"""By name as RabbitMQ writes it."""


def check_definition(definition: Mapping[str, Any], *, operator: bool) -> None:
    """Raise PreconditionError unless a policy, or an operator policy, can say that."""
    if not definition:
        raise PreconditionError("definition is empty")
    for name, value in definition.items():
        key = KEYS.get(name)
        if key is None:
            raise PreconditionError(f"{name!r} is not a policy setting")
        if operator and not key.operator:
            raise PreconditionError(f"{name!r} is not a setting of operator policies")
        if not key.check(value):
            raise PreconditionError(f"{name} must be {key.form}, not {value!r}")


def suits(definition: Mapping[str, Any], queue_type: str) -> bool:
    """Whether a queue of that type can have all that *definition* says."""
    return all(queue_type in KEYS[name].types for name in definition)


def merge(name: str, given: Any, other: Any) -> Any:
    """Which of the values counts for the key *name*; *given* where there is no better reason."""
    how = KEYS[name].merge
    if how is Merge.SHORTEST:
        return min(given, other, key=age_ms)
    if how is Merge.LEAST_OR_NONE and min(given, other) < 0:
        return max(given, other)
    return given if how is Merge.GIVEN else min(given, other)


def merge_arguments(arguments: Mapping[str, Any], definition: Mapping[str, Any], queue_type: str) -> dict[str, Any]:
    """The arguments that a queue of *queue_type*, declared with *arguments*, has under *definition*."""
    merged = dict(arguments)
    for name, value in definition.items():
        if name in _QUEUE_KEYS:
            argument = "x-" + name
            merged[argument] = merge(name, merged[argument], value) if argument in merged else value
    # What no queue can be declared with, a policy can still say: it has no effect then.
    if "x-dead-letter-exchange" not in merged:
        merged.pop("x-dead-letter-routing-key", None)
    if queue_type == QUORUM and merged.get("x-overflow") == "reject-publish-dlx":
        del merged["x-overflow"]
    return merged
