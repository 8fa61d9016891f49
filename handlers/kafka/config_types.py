"""Types of configs: how their text is read, what of it is refused and with which words, and how it is written.

The words of a refusal are those of Kafka's own ConfigDef, which tools and tests of clients look for. A check
raises ValueError with the reason and, where that is not the whole text, the part that it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_REPLICAS = re.compile(r"[0-9]+:[0-9]+")


class ConfigType(IntEnum):
    """A config's type as DescribeConfigs says it."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    LONG = 5
    DOUBLE = 6
    LIST = 7


Parse = Callable[[str], Any]
Check = Callable[[Any], None]


def parse(kind: ConfigType, text: str) -> Any:
    """The value that *text* means. Raises ValueError."""
    text = text.strip()
    match kind:
        case ConfigType.BOOLEAN:
            if text.lower() not in {"true", "false"}:
                raise ValueError("Expected value to be either true or false")
            return text.lower() == "true"
        case ConfigType.INT | ConfigType.LONG:
            bits = 31 if kind is ConfigType.INT else 63
            if not _INTEGER.fullmatch(text) or not -(1 << bits) <= int(text) < 1 << bits:
                raise ValueError(f"Not a number of type {kind.name}")
            return int(text)
        case ConfigType.DOUBLE:
            try:
                return float(text)
            except ValueError:
                raise ValueError("Not a number of type DOUBLE") from None
        case ConfigType.LIST:
            return [part.strip() for part in text.split(",")] if text else []
    return text


def write(value: Any) -> str:
    """The text of a parsed *value*."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)


def between(minimum: float | None, maximum: float | None = None) -> Check:
    """A check of a number."""

    def check(value: float) -> None:
        # So written that a NaN is refused, which Kafka takes.
        if minimum is not None and not value >= minimum:
            raise ValueError(f"Value must be at least {minimum}")
        if maximum is not None and not value <= maximum:
            raise ValueError(f"Value must be no more than {maximum}")

    return check


def one_of(*words: str) -> Check:
    """A check of a word, or of each word of a list."""

    def check(value: str | list[str]) -> None:
        for word in value if isinstance(value, list) else [value]:
            if word not in words:
                raise ValueError(f"String must be one of: {', '.join(words)}", word)

    return check


def gzip_level(value: int) -> None:
    """The check of a level of gzip."""
    if value != -1 and not 1 <= value <= 9:
        raise ValueError("Value must be between 1 and 9 or equal to -1")


def replicas_of(name: str) -> Check:
    """A check of a list of replicas, which is the config *name*."""

    def check(value: list[str]) -> None:
        if value != ["*"] and not all(_REPLICAS.fullmatch(part) for part in value):
            raise ValueError(
                f"{name} must be the literal '*' or a list of replicas in the following format: "
                "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
                f"[{', '.join(value)}]",
            )

    return check


def anything(value: Any) -> None:
    """The check of what needs none."""
