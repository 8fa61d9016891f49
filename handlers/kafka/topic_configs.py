"""Topic configs: every one that Kafka has, as a table.

Some are settings of the core under another name, and the core acts on them. The others are stored with the
topic, checked and described, and nothing acts on them: there is one node, whose files, syncs and segments
are configured for all topics at once. Those are registered with the core under the name "kafka.<config>".
"""

from __future__ import annotations

from collections.abc import Mapping

from handlers.kafka.config_types import ConfigType, anything, between, gzip_level, one_of, replicas_of
from handlers.kafka.topic_config_key import PREFIX, InvalidConfigError, TopicConfigKey
from handlers.kafka.topic_config_key import config_key as _key
from portask.topic import FOREVER, Setting, TopicConfig, register_setting

BOOLEAN, STRING, INT, LONG, DOUBLE, LIST = ConfigType


TOPIC_CONFIGS: dict[str, TopicConfigKey] = {
    key.name: key
    for key in (
        _key(
            "cleanup.policy",
            LIST,
            "delete",
            one_of("compact", "delete"),
            "log.cleanup.policy",
            "What happens to old records: delete takes them away when they are older or more than retention allows, "
            "compact keeps the newest of each key, both do both.",
            "cleanup_policy",
        ),
        _key(
            "compression.gzip.level",
            INT,
            -1,
            gzip_level,
            "compression.gzip.level",
            "The level of gzip where compression.type is gzip.",
        ),
        _key(
            "compression.lz4.level",
            INT,
            9,
            between(1, 17),
            "compression.lz4.level",
            "The level of lz4 where compression.type is lz4.",
        ),
        _key(
            "compression.type",
            STRING,
            "producer",
            one_of("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
            "compression.type",
            "How records are compressed. They are handed out as the producer sent them.",
        ),
        _key(
            "compression.zstd.level",
            INT,
            3,
            between(-131072, 22),
            "compression.zstd.level",
            "The level of zstd where compression.type is zstd.",
        ),
        _key(
            "delete.retention.ms",
            LONG,
            86_400_000,
            between(0),
            "log.cleaner.delete.retention.ms",
            "How long compaction keeps a tombstone.",
            "delete_retention_ms",
        ),
        _key(
            "file.delete.delay.ms",
            LONG,
            60_000,
            between(0),
            "log.segment.delete.delay.ms",
            "How long a file stays before it is removed.",
        ),
        _key(
            "flush.messages",
            LONG,
            FOREVER,
            between(1),
            "log.flush.interval.messages",
            "How many records are written before a sync. When Portask syncs is its option sync.",
        ),
        _key(
            "flush.ms",
            LONG,
            FOREVER,
            between(0),
            "log.flush.interval.ms",
            "How long after a write a sync follows. When Portask syncs is its option sync.",
        ),
        _key(
            "follower.replication.throttled.replicas",
            LIST,
            "",
            replicas_of("follower.replication.throttled.replicas"),
            None,
            "Replicas whose followers are throttled.",
        ),
        _key(
            "index.interval.bytes",
            INT,
            4096,
            between(0),
            "log.index.interval.bytes",
            "How many bytes lie between two entries of an index.",
        ),
        _key(
            "leader.replication.throttled.replicas",
            LIST,
            "",
            replicas_of("leader.replication.throttled.replicas"),
            None,
            "Replicas whose leaders are throttled.",
        ),
        _key(
            "local.retention.bytes",
            LONG,
            -2,
            between(-2),
            "log.local.retention.bytes",
            "How many bytes stay on this node where remote storage is on; -2 stands for retention.bytes.",
        ),
        _key(
            "local.retention.ms",
            LONG,
            -2,
            between(-2),
            "log.local.retention.ms",
            "How long records stay on this node where remote storage is on; -2 stands for retention.ms.",
        ),
        _key(
            "max.compaction.lag.ms",
            LONG,
            FOREVER,
            between(1),
            "log.cleaner.max.compaction.lag.ms",
            "The age at which a record no longer waits for compaction.",
            "max_compaction_lag_ms",
        ),
        _key(
            "max.message.bytes",
            INT,
            1_048_588,
            between(0),
            "message.max.bytes",
            "The largest batch that is taken, as the producer compressed it.",
            "max_batch_bytes",
        ),
        _key(
            "message.timestamp.after.max.ms",
            LONG,
            3_600_000,
            between(0),
            "log.message.timestamp.after.max.ms",
            "How much newer than its arrival a record's timestamp may be.",
            "timestamp_after_max_ms",
        ),
        _key(
            "message.timestamp.before.max.ms",
            LONG,
            FOREVER,
            between(0),
            "log.message.timestamp.before.max.ms",
            "How much older than its arrival a record's timestamp may be.",
            "timestamp_before_max_ms",
        ),
        _key(
            "message.timestamp.type",
            STRING,
            "CreateTime",
            one_of("CreateTime", "LogAppendTime"),
            "log.message.timestamp.type",
            "Whether a record's timestamp is the producer's or its arrival.",
            "timestamp_type",
        ),
        _key(
            "min.cleanable.dirty.ratio",
            DOUBLE,
            0.5,
            between(0, 1),
            "log.cleaner.min.cleanable.ratio",
            "How much of a log must be new before it is compacted.",
            "min_cleanable_dirty_ratio",
        ),
        _key(
            "min.compaction.lag.ms",
            LONG,
            0,
            between(0),
            "log.cleaner.min.compaction.lag.ms",
            "The age before which no record is compacted away.",
            "min_compaction_lag_ms",
        ),
        _key(
            "min.insync.replicas",
            INT,
            1,
            between(1),
            "min.insync.replicas",
            "How many replicas must have a record for acks=all. There is one.",
        ),
        _key(
            "preallocate", BOOLEAN, "false", anything, "log.preallocate", "Whether files are made in their full size."
        ),
        _key(
            "remote.log.copy.disable", BOOLEAN, "false", anything, None, "Whether nothing new goes to remote storage."
        ),
        _key(
            "remote.log.delete.on.disable",
            BOOLEAN,
            "false",
            anything,
            None,
            "Whether remote data goes away when remote storage is switched off.",
        ),
        _key(
            "remote.storage.enable",
            BOOLEAN,
            "false",
            anything,
            None,
            "Whether old segments go to remote storage. There is none, so true is refused.",
        ),
        _key(
            "retention.bytes",
            LONG,
            None,
            anything,
            "log.retention.bytes",
            "How many bytes a partition keeps; below 0 there is no limit.",
            "retention_bytes",
        ),
        _key(
            "retention.ms",
            LONG,
            None,
            between(-1),
            "log.retention.ms",
            "How long records are kept; -1 keeps them for ever.",
            "retention_ms",
        ),
        _key(
            "segment.bytes",
            INT,
            1 << 30,
            between(1 << 20),
            "log.segment.bytes",
            "The size of a segment. That of Portask's is its option segment_bytes.",
        ),
        _key("segment.index.bytes", INT, 10 << 20, between(4), "log.index.size.max.bytes", "The size of an index."),
        _key("segment.jitter.ms", LONG, 0, between(0), "log.roll.jitter.ms", "By how much segment.ms varies."),
        _key("segment.ms", LONG, 604_800_000, between(1), "log.roll.ms", "The age at which a segment ends."),
        _key(
            "unclean.leader.election.enable",
            BOOLEAN,
            "false",
            anything,
            "unclean.leader.election.enable",
            "Whether a replica that is behind may lead.",
        ),
    )
}
_BY_SETTING = {key.setting: key for key in TOPIC_CONFIGS.values()}

for _config in TOPIC_CONFIGS.values():
    if not _config.is_acted_on:
        register_setting(Setting(_config.setting, _config.parse, _config.text, _config.default))


def to_settings(configs: Mapping[str, str]) -> dict[str, str]:
    """Configs of a topic as settings of the core. Raises InvalidConfigError as Kafka refuses them."""
    settings: dict[str, str] = {}
    for name, text in configs.items():
        if name not in TOPIC_CONFIGS:
            raise InvalidConfigError(f"Unknown topic config name: {name}")
        key = TOPIC_CONFIGS[name]
        settings[key.setting] = key.canonical(text)
    least = int(settings.get("min_compaction_lag_ms", 0))
    most = int(settings.get("max_compaction_lag_ms", FOREVER))
    if least > most:
        raise InvalidConfigError(
            f"conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        )
    if settings.get(PREFIX + "remote.storage.enable") == "true":
        raise InvalidConfigError(
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage."
        )
    return settings


def explicit(config: TopicConfig) -> dict[str, str]:
    """The configs that a topic has for itself; settings that Kafka has no name for are left out."""
    return {
        _BY_SETTING[name].name: _BY_SETTING[name].canonical(text)
        for name, text in config.items().items()
        if name in _BY_SETTING
    }


def default_text(key: TopicConfigKey, config: TopicConfig) -> str:
    """What a topic has that does not say."""
    return str(getattr(config.settings, key.setting)) if key.default is None else key.default


def markdown_table() -> str:
    """The table of topic configs in docs/kafka.md."""
    lines = ["| config | type | default | what it is |", "|---|---|---|---|"]
    for key in TOPIC_CONFIGS.values():
        default = (
            f"the option `{key.setting}`" if key.default is None else f"`{key.default}`" if key.default else "none"
        )
        lines.append(f"| `{key.name}` | {key.kind.name.lower()} | {default} | {key.text} |")
    return "\n".join(lines) + "\n"
