"""Topics: names, settings, and where a key goes."""

import pytest

import portask.topic
from portask.batch import Strategy
from portask.config import load_settings
from portask.errors import CorruptError, InvalidTopicError, UnknownPartitionError
from portask.topic import Setting, Topic, TopicConfig, TopicRow, check_name, integer, register_setting


@pytest.fixture
def settings():
    return load_settings([], {})


def topic_of(settings, partitions):
    topic = Topic("orders", "ab" * 16, TopicConfig(settings, {}), 1)
    topic.partitions = list(range(partitions))
    return topic


@pytest.mark.parametrize("name", ["orders", "a", "A.b_c-9", "x" * 249])
def test_these_names_are_allowed(name):
    check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "x" * 250, "\u00e4", "a\n", "a\0"])
def test_these_names_are_not_allowed(name):
    with pytest.raises(InvalidTopicError):
        check_name(name)


def test_a_setting_of_the_topic_goes_before_the_brokers(settings):
    config = TopicConfig(settings, {"retention_ms": "1000", "compression": "single_message"})

    assert config.retention_ms == 1000
    assert config.compression is Strategy.SINGLE
    assert config.zstd_level == settings.zstd_level
    assert config.items() == {"retention_ms": "1000", "compression": "single_message"}


def test_a_setting_can_be_taken_back(settings):
    config = TopicConfig(settings, {"retention_ms": "1000", "zstd_level": "3"}).merged({"retention_ms": None})

    assert config.retention_ms == settings.retention_ms
    assert config.items() == {"zstd_level": "3"}


@pytest.mark.parametrize(
    ("explicit", "text"),
    [
        ({"retention": "1"}, "did you mean 'retention_ms'"),
        ({"colour": "1"}, "there are retention_ms, "),
        ({"retention_ms": "soon"}, "retention_ms='soon'"),
        ({"retention_ms": "-2"}, "not within"),
        ({"zstd_level": "23"}, "not within 1 to 22"),
        ({"compression": "best"}, "single_message or bulk_batching"),
        ({"cleanup_policy": "keep"}, "not compact, delete or both"),
        ({"timestamp_type": "createtime"}, "not one of CreateTime, LogAppendTime"),
        ({"min_cleanable_dirty_ratio": "1.1"}, "not within 0 to 1"),
        ({"min_cleanable_dirty_ratio": "nan"}, "not within 0 to 1"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_would_be_right(settings, explicit, text):
    with pytest.raises(InvalidTopicError, match=text):
        TopicConfig(settings, explicit)


def test_taking_back_an_unknown_setting_is_refused(settings):
    with pytest.raises(InvalidTopicError):
        TopicConfig(settings, {}).merged({"retention": None})


def test_what_is_no_setting_is_no_attribute(settings):
    with pytest.raises(AttributeError):
        _ = TopicConfig(settings, {}).colour


def test_a_key_always_goes_to_the_same_partition(settings):
    topic = topic_of(settings, 7)

    places = {topic.partition_for(b"key %d" % number) for number in range(100)}

    assert places == set(range(7))
    assert len({topic.partition_for(b"key") for _ in range(10)}) == 1


def test_messages_without_key_take_turns(settings):
    topic = topic_of(settings, 3)

    assert {topic.partition_for(None) for _ in range(3)} == {0, 1, 2}


def test_an_unknown_partition_is_named(settings):
    with pytest.raises(UnknownPartitionError, match="partitions 0 to 2, not 3"):
        topic_of(settings, 3).partition(3)


@pytest.mark.parametrize("row", [b"", b"\x80", b"\x84\x01\x02\x03\x04", b"\xff"])
def test_a_broken_row_is_corrupt(row):
    with pytest.raises(CorruptError):
        TopicRow.decode(row)


def test_a_setting_that_the_topic_has_not_follows_the_broker(settings):
    config = TopicConfig(settings, {})
    before = config.zstd_level
    settings._values["zstd_level"] = before + 5

    assert config.zstd_level == before + 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cleanup_policy", "delete"),
        ("delete_retention_ms", 86_400_000),
        ("min_compaction_lag_ms", 0),
        ("max_compaction_lag_ms", (1 << 63) - 1),
        ("min_cleanable_dirty_ratio", 0.5),
        ("timestamp_type", "CreateTime"),
        ("timestamp_before_max_ms", (1 << 63) - 1),
        ("timestamp_after_max_ms", 3_600_000),
        ("max_batch_bytes", 1_048_588),
    ],
)
def test_a_setting_that_the_broker_lacks_has_a_default_of_its_own(settings, name, value):
    assert getattr(TopicConfig(settings, {}), name) == value


def test_without_a_policy_everything_is_kept(settings):
    assert TopicConfig(settings, {"cleanup_policy": ""}).cleanup_policy == ""


@pytest.mark.parametrize("text", ["compact,delete", "delete,compact", "delete, compact"])
def test_both_policies_are_one_value_in_whatever_order(settings, text):
    config = TopicConfig(settings, {"cleanup_policy": text})

    assert config.cleanup_policy == "compact,delete"
    assert config.items() == {"cleanup_policy": text}


@pytest.fixture
def foreign(monkeypatch):
    """Room for settings of a protocol, empty again at the end."""
    registered = {}
    monkeypatch.setattr(portask.topic, "_FOREIGN", registered)
    return registered


def test_a_setting_of_a_protocol_is_kept_and_checked(settings, foreign):
    register_setting(Setting("smtp.size", integer(1, 9), "a size", "5"))

    assert TopicConfig(settings, {}).value("smtp.size") == 5
    assert TopicConfig(settings, {"smtp.size": "7"}).value("smtp.size") == 7
    with pytest.raises(InvalidTopicError, match="not within 1 to 9"):
        TopicConfig(settings, {"smtp.size": "10"})


def test_what_a_protocol_stored_is_kept_when_it_is_not_there(settings, foreign):
    config = TopicConfig.restore(settings, {"smtp.size": "7", "zstd_level": "3"})

    assert config.zstd_level == 3
    assert config.merged({"zstd_level": "4"}).items() == {"smtp.size": "7", "zstd_level": "4"}
    with pytest.raises(InvalidTopicError, match="no setting of a topic"):
        config.value("smtp.size")


def test_a_setting_of_a_protocol_that_is_not_there_cannot_be_changed(settings, foreign):
    with pytest.raises(InvalidTopicError, match="no setting of a topic"):
        TopicConfig.restore(settings, {"smtp.size": "7"}).merged({"smtp.size": "8"})
