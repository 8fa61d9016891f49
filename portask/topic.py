"""Topics: a name, its settings and its partitions.

A topic's settings are a table: what is set explicitly is stored as text with the topic, everything else
has the default, which for some is the broker's configuration, also when that is reloaded. A handler may
register settings of its own; they have a dot in their name, and the core only keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

from portask.batch import Strategy
from portask.compression import MAX_LEVEL, MIN_LEVEL
from portask.errors import CorruptError, InvalidTopicError, ProtocolError, UnknownPartitionError
from portask.message import decode_cbor, encode_cbor

if TYPE_CHECKING:
    from portask.config import Settings
    from portask.partition import Partition
    from portask.queues.queue import Queue
    from portask.subscriptions.subscription import Subscription

MAX_NAME = 249
"""Kafka's limit, which leaves room for a partition number in a file name of 255 bytes."""
MAX_PARTITIONS = 100_000
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def check_name(name: str) -> None:
    """Raise InvalidTopicError unless *name* can be a topic's."""
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise InvalidTopicError(
            f"{name[:300]!r} is no topic name: 1 to {MAX_NAME} letters, digits, dots, dashes, underscores"
        )


@dataclass(frozen=True)
class Setting:
    """One setting that a topic can have for itself."""

    name: str
    parse: Callable[[str], Any]
    """The value that a text means; raises ValueError."""
    text: str
    default: str | None = None
    """What a topic has that says nothing; None: the broker's option of the same name."""


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    """A function that reads a whole number within these bounds."""

    def parse(text: str) -> int:
        value = int(text)
        if not minimum <= value <= maximum:
            raise ValueError(f"not within {minimum} to {maximum}")
        return value

    return parse


def word(*words: str) -> Callable[[str], str]:
    """A function that takes one of *words*."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"not one of {', '.join(words)}")
        return text

    return parse


def _ratio(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("not within 0 to 1")
    return value


def _policy(text: str) -> str:
    """The policies of *text* in alphabetical order, so that there are four values and no more."""
    policies = sorted({policy.strip() for policy in text.split(",")} - {""})
    if not {"compact", "delete"}.issuperset(policies):
        raise ValueError("not compact, delete or both with a comma between")
    return ",".join(policies)


FOREVER = (1 << 63) - 1
_INT32 = (1 << 31) - 1
SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("retention_ms", integer(-1, FOREVER), "milliseconds that messages are kept; -1 keeps them forever"),
        Setting(
            "retention_bytes", integer(~FOREVER, FOREVER), "bytes that a partition keeps; below 0 there is no limit"
        ),
        Setting("max_message_bytes", integer(1, 1 << 30), "largest message that is taken"),
        Setting("compression", Strategy, "single_message or bulk_batching"),
        Setting("zstd_level", integer(MIN_LEVEL, MAX_LEVEL), "zstd level, 1 to 22"),
        Setting(
            "cleanup_policy",
            _policy,
            "delete (retention takes old messages away), compact (the newest message of each key is kept) or both; "
            "with neither everything is kept",
            "delete",
        ),
        Setting(
            "delete_retention_ms", integer(0, FOREVER), "milliseconds that compaction keeps a tombstone", "86400000"
        ),
        Setting(
            "min_compaction_lag_ms", integer(0, FOREVER), "age in milliseconds before which nothing is compacted", "0"
        ),
        Setting(
            "max_compaction_lag_ms",
            integer(1, FOREVER),
            "age in milliseconds at which compaction no longer waits for the dirty ratio",
            str(FOREVER),
        ),
        Setting(
            "min_cleanable_dirty_ratio", _ratio, "part of the log, 0 to 1, that is new before it is compacted", "0.5"
        ),
        Setting(
            "timestamp_type",
            word("CreateTime", "LogAppendTime"),
            "CreateTime (what the producer says) or LogAppendTime (the arrival)",
            "CreateTime",
        ),
        Setting(
            "timestamp_before_max_ms",
            integer(0, FOREVER),
            "milliseconds that a producer's timestamp may be older than the arrival",
            str(FOREVER),
        ),
        Setting(
            "timestamp_after_max_ms",
            integer(0, FOREVER),
            "milliseconds that a producer's timestamp may be newer than the arrival",
            "3600000",
        ),
        Setting("max_batch_bytes", integer(0, _INT32), "largest batch of a producer that makes batches", "1048588"),
    )
}
"""The core's own."""
_FOREIGN: dict[str, Setting] = {}


def register_setting(setting: Setting) -> None:
    """Let topics have *setting*, on which a handler may act and the core never does.

    It has a default, and its name is the protocol's name, a dot, and whatever that protocol calls it.
    """
    assert "." in setting.name
    assert setting.default is not None
    _FOREIGN[setting.name] = setting


Derived = TypeVar("Derived")


class TopicConfig:
    """The settings of one topic: `config.retention_ms` is its own or else the broker's."""

    __slots__ = ("_defaults", "_derived", "_explicit", "_values", "settings")

    def __init__(self, settings: Settings, explicit: Mapping[str, str]) -> None:
        """Raises InvalidTopicError when a name or a value in *explicit* is not allowed."""
        self.settings = settings
        self._explicit = dict(explicit)
        self._values = {name: _parse(name, text) for name, text in explicit.items()}
        self._defaults: dict[str, tuple[Any, Any]] = {}
        """The default as it was last seen, and what it means: a reload may change the broker's."""
        self._derived: dict[Callable[[TopicConfig], Any], tuple[int, Any]] = {}

    @classmethod
    def restore(cls, settings: Settings, explicit: Mapping[str, str]) -> TopicConfig:
        """The settings that were stored: those of a handler that is no longer there are kept as they are."""
        gone = {name for name in explicit if "." in name and name not in _FOREIGN}
        config = cls(settings, {name: text for name, text in explicit.items() if name not in gone})
        config._explicit = dict(explicit)
        return config

    def __getattr__(self, name: str) -> Any:
        if name not in SETTINGS:
            raise AttributeError(name)
        return self.value(name)

    def value(self, name: str) -> Any:
        """The value of any setting, a handler's too: the topic's own or else the default."""
        if name in self._values:
            return self._values[name]
        setting = _known(name)
        default = getattr(self.settings, name) if setting.default is None else setting.default
        seen = self._defaults.get(name)
        if seen is None or seen[0] != default:
            seen = self._defaults[name] = (default, setting.parse(str(default)))
        return seen[1]

    def derived(self, make: Callable[[TopicConfig], Derived]) -> Derived:
        """What *make* makes of these settings, kept until a reload; asking for each costs 2 us, this 0.2 us."""
        generation = self.settings.generation
        known = self._derived.get(make)
        if known is None or known[0] != generation:
            known = self._derived[make] = generation, make(self)
        return known[1]

    def items(self) -> dict[str, str]:
        """What is set for this topic alone."""
        return dict(self._explicit)

    def merged(self, changes: Mapping[str, str | None]) -> TopicConfig:
        """These settings with *changes*; None takes a setting back to the default.

        Raises InvalidTopicError when a name or a value in *changes* is not allowed.
        """
        for name, text in changes.items():
            _known(name)
            if text is not None:
                _parse(name, text)
        explicit = {**self._explicit, **changes}
        return TopicConfig.restore(self.settings, {name: text for name, text in explicit.items() if text is not None})


def _known(name: str) -> Setting:
    setting = SETTINGS.get(name) or _FOREIGN.get(name)
    if setting is None:
        near = get_close_matches(name, [*SETTINGS, *_FOREIGN], 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SETTINGS)}"
        raise InvalidTopicError(f"{name!r} is no setting of a topic; {hint}")
    return setting


def _parse(name: str, text: str) -> Any:
    setting = _known(name)
    try:
        return setting.parse(text)
    except ValueError as error:
        raise InvalidTopicError(f"{name}={text!r}: {error}; it takes {setting.text}") from error


class Topic:
    """A named set of logs. Made and changed by the broker only."""

    def __init__(self, name: str, topic_id: str, config: TopicConfig, created_at_ms: int) -> None:
        self.name = name
        self.id = topic_id
        self.config = config
        self.created_at_ms = created_at_ms
        self.partitions: list[Partition] = []
        self.subscriptions: dict[str, Subscription] = {}
        self.closed = False
        self.is_hidden = False
        """Whether it is the log of a queue that only its virtual host can see."""
        self.queue: Queue | None = None
        """The queue whose log this is, or that is attached to it."""
        self._turn = 0

    def partition(self, number: int) -> Partition:
        """The partition of that number. Raises UnknownPartitionError."""
        if not 0 <= number < len(self.partitions):
            raise UnknownPartitionError(
                f"topic {self.name} has partitions 0 to {len(self.partitions) - 1}, not {number}"
            )
        return self.partitions[number]

    def partition_for(self, key: bytes | None) -> Partition:
        """Where a message with *key* goes: the same key always to the same partition, no key in turn."""
        count = len(self.partitions)
        if count == 1:
            return self.partitions[0]
        if key is None:
            self._turn += 1
            return self.partitions[self._turn % count]
        # CRC32, as librdkafka's default partitioner does: its producers and ours agree on a key's place.
        return self.partitions[crc32(key) % count]

    def add_subscription(self, subscription: Subscription) -> None:
        """Keep *subscription*, which is stored."""
        self.subscriptions[subscription.name] = subscription
        for partition in self.partitions:
            partition.subscriptions.append(subscription)

    def to_row(self, added: Sequence[Partition] = ()) -> bytes:
        """The topic, with the partitions *added*, as its row in table "topics"."""
        logs = [partition.log for partition in (*self.partitions, *added)]
        row = [self.name, logs, self.config.items(), self.created_at_ms]
        return encode_cbor([*row, True] if self.is_hidden else row)


@dataclass(frozen=True)
class TopicRow:
    """A topic as it is stored."""

    name: str
    logs: list[int]
    config: dict[str, str]
    created_at_ms: int
    is_hidden: bool = False

    @classmethod
    def decode(cls, data: bytes) -> TopicRow:
        """Raises CorruptError when *data* is not what `Topic.to_row` makes."""
        try:
            name, logs, config, created_at_ms, *hidden = decode_cbor(data)
            return cls(str(name), [int(log) for log in logs], dict(config), int(created_at_ms), hidden == [True])
        except (ProtocolError, ValueError, TypeError) as error:
            raise CorruptError(f"a row of table topics is broken: {error}") from error
