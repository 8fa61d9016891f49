"""One config of topics: its name, type and default, and which texts it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handlers.kafka.config_types import Check, ConfigType, parse, write
from portask.errors import InvalidTopicError
from portask.topic import SETTINGS

PREFIX = "kafka."
"""Before the names of those that the core does not act on."""
_NOTHING = "Stored and described; nothing acts on it."


class InvalidConfigError(InvalidTopicError):
    """A config has a name or a value that Kafka refuses, in its words."""


@dataclass(frozen=True, slots=True)
class TopicConfigKey:
    """One config of topics."""

    name: str
    kind: ConfigType
    default: str | None
    """As text; None: what the broker's option says that the setting has its default from."""
    check: Check
    broker_name: str | None
    """What the broker's default of it is called."""
    text: str
    setting: str
    """The core's name for it."""

    @property
    def is_acted_on(self) -> bool:
        """Whether it changes anything but what is described."""
        return self.setting in SETTINGS

    def canonical(self, text: str) -> str:
        """*text* as it is stored and described. Raises InvalidConfigError."""
        try:
            value = parse(self.kind, text)
            self.check(value)
        except ValueError as error:
            reason, *refused = error.args
            shown = refused[0] if refused else text
            raise InvalidConfigError(f"Invalid value {shown} for configuration {self.name}: {reason}") from error
        return write(value)

    def parse(self, text: str) -> Any:
        """The value that *text* means. Raises ValueError."""
        value = parse(self.kind, text)
        self.check(value)
        return value


def config_key(
    name: str,
    kind: ConfigType,
    default: str | float | None,
    check: Check,
    broker_name: str | None,
    text: str,
    setting: str | None = None,
) -> TopicConfigKey:
    """The config *name*; without a *setting* of the core nothing acts on it."""
    words = text if setting else f"{text} {_NOTHING}"
    return TopicConfigKey(
        name, kind, None if default is None else str(default), check, broker_name, words, setting or PREFIX + name
    )
