"""Configs as they are described: value, source, and the names under which they can be set."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from handlers.kafka.config_types import ConfigType
from handlers.kafka.topic_config_key import TopicConfigKey
from handlers.kafka.topic_configs import TOPIC_CONFIGS, default_text, explicit
from portask.config import Settings
from portask.topic import TopicConfig


class ConfigSource(IntEnum):
    """Where a value comes from."""

    TOPIC_CONFIG = 1
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6


class Synonym(NamedTuple):
    """One of the places that a config's value is looked for."""

    name: str
    value: str
    source: ConfigSource


class ConfigEntry(NamedTuple):
    """One config of one resource."""

    name: str
    value: str
    kind: ConfigType | None
    is_read_only: bool
    text: str | None
    synonyms: list[Synonym]
    """The first one counts."""
    origin: ConfigSource = ConfigSource.DEFAULT_CONFIG
    """Where the value comes from when there are no synonyms."""

    @property
    def source(self) -> ConfigSource:
        """Where the value comes from."""
        return self.synonyms[0].source if self.synonyms else self.origin


_WITHOUT_DEFAULT = {"log.flush.interval.ms", "log.retention.ms", "log.roll.jitter.ms", "log.roll.ms"}
"""In Kafka their defaults are those of other configs, most of them in hours, and no synonyms."""


def topic_entries(config: TopicConfig) -> Iterable[ConfigEntry]:
    """Every config of a topic, by name."""
    own = explicit(config)
    for key in TOPIC_CONFIGS.values():
        default = default_text(key, config)
        synonyms = broker_synonyms(key, default, config.settings)
        if key.name in own:
            synonyms.insert(0, Synonym(key.name, own[key.name], ConfigSource.TOPIC_CONFIG))
        value = own.get(key.name, default)
        yield ConfigEntry(key.name, value, key.kind, False, key.text, synonyms)


def broker_synonyms(key: TopicConfigKey, default: str, settings: Settings) -> list[Synonym]:
    """Where *key*'s value comes from when the topic has none."""
    if key.broker_name is None:
        return []
    is_set = key.default is None and settings.source(key.setting) != "default"
    if not is_set and key.broker_name in _WITHOUT_DEFAULT:
        return []
    source = ConfigSource.STATIC_BROKER_CONFIG if is_set else ConfigSource.DEFAULT_CONFIG
    return [Synonym(key.broker_name, default, source)]
