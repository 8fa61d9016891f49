"""Topic configs: the table, what it takes and refuses, and its place in the core."""

import pytest

from handlers.kafka.config_types import ConfigType
from handlers.kafka.topic_config_key import InvalidConfigError
from handlers.kafka.topic_configs import (
    TOPIC_CONFIGS,
    default_text,
    explicit,
    markdown_table,
    to_settings,
)
from portask.config import load_settings
from portask.topic import SETTINGS, TopicConfig

KAFKA_4_1 = {
    "cleanup.policy": "delete",
    "compression.gzip.level": "-1",
    "compression.lz4.level": "9",
    "compression.type": "producer",
    "compression.zstd.level": "3",
    "delete.retention.ms": "86400000",
    "file.delete.delay.ms": "60000",
    "flush.messages": "9223372036854775807",
    "flush.ms": "9223372036854775807",
    "follower.replication.throttled.replicas": "",
    "index.interval.bytes": "4096",
    "leader.replication.throttled.replicas": "",
    "local.retention.bytes": "-2",
    "local.retention.ms": "-2",
    "max.compaction.lag.ms": "9223372036854775807",
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": "9223372036854775807",
    "message.timestamp.type": "CreateTime",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "preallocate": "false",
    "remote.log.copy.disable": "false",
    "remote.log.delete.on.disable": "false",
    "remote.storage.enable": "false",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.index.bytes": "10485760",
    "segment.jitter.ms": "0",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}
"""Every config of topics that Kafka 4.1 has, with its default."""


@pytest.fixture
def settings():
    return load_settings([], {})


def test_every_config_of_kafka_is_there_with_its_default(settings):
    config = TopicConfig(settings, {})

    assert {name: default_text(key, config) for name, key in TOPIC_CONFIGS.items()} == KAFKA_4_1


def test_configs_are_in_order_of_their_names():
    assert list(TOPIC_CONFIGS) == sorted(TOPIC_CONFIGS)


@pytest.mark.parametrize("key", TOPIC_CONFIGS.values(), ids=TOPIC_CONFIGS)
def test_the_default_of_a_config_is_one_that_it_takes(settings, key):
    default = default_text(key, TopicConfig(settings, {}))

    assert key.canonical(default) == default


@pytest.mark.parametrize("key", TOPIC_CONFIGS.values(), ids=TOPIC_CONFIGS)
def test_the_core_knows_a_config_by_the_same_default(settings, key):
    config = TopicConfig(settings, {})

    assert key.canonical(default_text(key, config)) == default_text(key, config)
    if key.default is not None and key.kind is not ConfigType.LIST:
        assert config.value(key.setting) == key.parse(key.default)


@pytest.mark.parametrize("key", TOPIC_CONFIGS.values(), ids=TOPIC_CONFIGS)
def test_only_a_config_that_nothing_acts_on_has_a_name_of_kafka_in_the_core(key):
    assert key.setting.startswith("kafka.") != key.is_acted_on
    assert ("nothing acts on it" in key.text) != key.is_acted_on


def test_most_configs_that_matter_are_acted_on():
    assert {key.setting for key in TOPIC_CONFIGS.values() if key.is_acted_on} == SETTINGS.keys() - {
        "max_message_bytes",
        "compression",
        "zstd_level",
    }


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("retention.ms", "soon", "Invalid value soon for configuration retention.ms: Not a number of type LONG"),
        ("retention.ms", "1_000", "Not a number of type LONG"),
        ("retention.ms", "9223372036854775808", "Not a number of type LONG"),
        ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        ("max.message.bytes", "2147483648", "Not a number of type INT"),
        ("segment.bytes", "1000", "Value must be at least 1048576"),
        ("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
        ("min.cleanable.dirty.ratio", "half", "Not a number of type DOUBLE"),
        ("preallocate", "yes", "Expected value to be either true or false"),
        ("cleanup.policy", "keep", "String must be one of: compact, delete"),
        (
            "compression.type",
            "brotli",
            "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        ("message.timestamp.type", "createtime", "String must be one of: CreateTime, LogAppendTime"),
        ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
        (
            "leader.replication.throttled.replicas",
            "1",
            (
                "Invalid value [1] for configuration leader.replication.throttled.replicas: "
                "leader.replication.throttled.replicas must be the literal '*' or a list of replicas"
            ),
        ),
        ("cleanup.policy", "delete,keep", "Invalid value keep for configuration cleanup.policy"),
        ("min.cleanable.dirty.ratio", "NaN", "Value must be at least 0"),
        ("colour", "red", "Unknown topic config name: colour"),
        ("remote.storage.enable", "true", "Tiered Storage functionality is disabled in the broker"),
    ],
)
def test_what_kafka_refuses_is_refused_in_its_words(name, text, words):
    with pytest.raises(InvalidConfigError) as raised:
        to_settings({name: text})

    assert words in str(raised.value)


def test_a_least_lag_above_the_greatest_is_refused():
    with pytest.raises(InvalidConfigError, match=r"conflict topic config setting min.compaction.lag.ms \(5\)"):
        to_settings({"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "4"})


@pytest.mark.parametrize(
    ("name", "text", "setting", "stored"),
    [
        ("retention.ms", " +10 ", "retention_ms", "10"),
        ("cleanup.policy", "delete, compact", "cleanup_policy", "delete,compact"),
        ("cleanup.policy", "", "cleanup_policy", ""),
        ("retention.bytes", "-5", "retention_bytes", "-5"),
        ("preallocate", "TRUE", "kafka.preallocate", "true"),
        ("min.cleanable.dirty.ratio", ".25", "min_cleanable_dirty_ratio", "0.25"),
        ("leader.replication.throttled.replicas", "*", "kafka.leader.replication.throttled.replicas", "*"),
        (
            "follower.replication.throttled.replicas",
            "0:1,1:1",
            "kafka.follower.replication.throttled.replicas",
            "0:1,1:1",
        ),
        ("compression.gzip.level", "-1", "kafka.compression.gzip.level", "-1"),
    ],
)
def test_what_kafka_takes_is_stored_as_it_is_described(settings, name, text, setting, stored):
    config = TopicConfig(settings, to_settings({name: text}))

    assert config.items() == {setting: stored}
    assert explicit(config) == {name: stored}


def test_a_setting_that_kafka_has_no_name_for_is_not_shown_to_it(settings):
    assert explicit(TopicConfig(settings, {"zstd_level": "3", "retention_ms": "1"})) == {"retention.ms": "1"}


def test_the_table_in_the_documentation_has_a_line_for_each():
    lines = markdown_table().splitlines()

    assert [line.split("`")[1] for line in lines[2:]] == list(TOPIC_CONFIGS)
