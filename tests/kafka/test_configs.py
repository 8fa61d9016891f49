"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources."""

import logging

import pytest

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.tables import (
    ALTER_CONFIGS,
    DESCRIBE_CONFIGS,
    INCREMENTAL_ALTER_CONFIGS,
    LIST_CONFIG_RESOURCES,
)
from handlers.kafka.topic_configs import TOPIC_CONFIGS

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
TOPIC_CONFIG, STATIC, DEFAULT, LOGGER = 1, 4, 5, 6
SET, DELETE, APPEND, SUBTRACT = range(4)
MALFORMED = (
    "This most likely occurs because of a request being malformed by the client library or the message was sent to "
    "an incompatible broker. See the broker logs for more details."
)


def describe(peer, kind, name, keys=None, version=4, **fields):
    """The answer for one resource."""
    resource = DESCRIBE_CONFIGS.Request.DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=keys
    )
    (answer,) = peer.ask(DESCRIBE_CONFIGS, version, resources=[resource], **fields).results
    assert (answer.resource_type, answer.resource_name) == (kind, name)
    return answer


def entry(peer, kind, name, key, **fields):
    """One config of a resource."""
    (found,) = describe(peer, kind, name, [key], **fields).configs
    return found


# -- describing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 5))
def test_every_config_of_a_topic_is_described(topic, peer, version):
    answer = describe(peer, TOPIC, "t", version=version)

    assert (answer.error_code, answer.error_message) == (ErrorCode.NONE, "")
    assert {config.name for config in answer.configs} == set(TOPIC_CONFIGS)
    assert not any(config.read_only or config.is_sensitive for config in answer.configs)


@pytest.mark.parametrize("keys", [None, []])
def test_no_names_ask_for_all_configs(topic, peer, keys):
    assert len(describe(peer, TOPIC, "t", keys).configs) == len(TOPIC_CONFIGS)


def test_only_the_configs_that_are_named_are_described(topic, peer):
    answer = describe(peer, TOPIC, "t", ["retention.ms", "preallocate", "colour"])

    assert [config.name for config in answer.configs] == ["preallocate", "retention.ms"]


def test_a_config_of_the_topic_says_so_and_what_would_count_without_it(served, peer):
    served.topic(delete_retention_ms="1000")

    found = entry(peer, TOPIC, "t", "delete.retention.ms", include_synonyms=True)

    assert (found.value, found.config_source) == ("1000", TOPIC_CONFIG)
    assert [(synonym.name, synonym.value, synonym.source) for synonym in found.synonyms] == [
        ("delete.retention.ms", "1000", TOPIC_CONFIG),
        ("log.cleaner.delete.retention.ms", "86400000", DEFAULT),
    ]


@pytest.mark.parametrize("name", ["flush.ms", "retention.ms", "segment.jitter.ms", "segment.ms"])
def test_a_default_that_kafka_has_from_another_config_has_no_synonym(topic, peer, name):
    assert entry(peer, TOPIC, "t", name, include_synonyms=True).synonyms == []


def test_a_resource_that_is_named_often_is_described_once(topic, peer):
    often = [DESCRIBE_CONFIGS.Request.DescribeConfigsResource(resource_type=TOPIC, resource_name="t")] * 1000

    assert len(peer.ask(DESCRIBE_CONFIGS, 4, resources=often).results) == 1


def test_a_default_that_portasks_configuration_sets_is_static(serve):
    served = serve("--retention-ms", "5000")
    served.topic()

    found = entry(served.peer(), TOPIC, "t", "retention.ms")

    assert (found.value, found.config_source) == ("5000", STATIC)


def test_synonyms_come_only_when_asked_for(topic, peer):
    assert entry(peer, TOPIC, "t", "cleanup.policy").synonyms == []


def test_documentation_comes_only_when_asked_for(topic, peer):
    assert entry(peer, TOPIC, "t", "preallocate").documentation is None
    assert "nothing acts on it" in entry(peer, TOPIC, "t", "preallocate", include_documentation=True).documentation


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("preallocate", 1),
        ("compression.type", 2),
        ("segment.bytes", 3),
        ("retention.ms", 5),
        ("min.cleanable.dirty.ratio", 6),
        ("cleanup.policy", 7),
    ],
)
def test_the_type_of_a_config_is_told(topic, peer, name, kind):
    assert entry(peer, TOPIC, "t", name).config_type == kind


@pytest.mark.parametrize(
    ("kind", "name", "code", "text"),
    [
        (TOPIC, "none", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ""),
        (TOPIC, "", ErrorCode.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: the empty string is not allowed"),
        (BROKER, "x", ErrorCode.INVALID_REQUEST, "Broker id must be an integer, but it is: x"),
        (
            BROKER,
            "7",
            ErrorCode.INVALID_REQUEST,
            "Unexpected broker id, expected 1 or empty string, but received 7",
        ),
        (BROKER_LOGGER, "", ErrorCode.INVALID_REQUEST, "Broker id must not be empty"),
        (BROKER_LOGGER, "7", ErrorCode.INVALID_REQUEST, "Unexpected broker id, expected 1 but received 7"),
        (GROUP, "", ErrorCode.INVALID_REQUEST, "Group name must not be empty"),
        (CLIENT_METRICS, "", ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty"),
        (99, "t", ErrorCode.INVALID_REQUEST, MALFORMED),
    ],
)
def test_what_cannot_be_described_is_refused(peer, kind, name, code, text):
    answer = describe(peer, kind, name)

    assert (answer.error_code, answer.error_message, answer.configs) == (code, text, [])


@pytest.mark.parametrize("kind", [GROUP, CLIENT_METRICS])
def test_groups_and_client_metrics_have_no_configs(peer, kind):
    answer = describe(peer, kind, "name")

    assert (answer.error_code, answer.configs) == (ErrorCode.NONE, [])


def test_the_broker_describes_what_it_is_configured_with(serve):
    served = serve("--default-partitions", "3", "--auto-create-topics", "false", "--node-id", "7")
    configs = {config.name: config for config in describe(served.peer(), BROKER, "7").configs}

    assert configs["num.partitions"].value == "3"
    assert configs["num.partitions"].config_source == STATIC
    assert configs["auto.create.topics.enable"].value == "false"
    assert configs["node.id"].value == configs["broker.id"].value == "7"
    assert configs["message.max.bytes"].value == "1048588"
    assert configs["message.max.bytes"].config_source == DEFAULT
    assert configs["advertised.listeners"].value == f"PLAINTEXT://127.0.0.1:{served.port}"
    assert all(config.read_only for config in configs.values())


def test_no_config_of_the_broker_is_described_twice(peer):
    names = [config.name for config in describe(peer, BROKER, "1").configs]

    assert len(set(names)) == len(names)


def test_configs_of_all_brokers_are_none(peer):
    assert describe(peer, BROKER, "").configs == []


@pytest.fixture
def logger():
    """A logger of its own, as it was before at the end."""
    logger = logging.getLogger("tests.kafka.configs")
    yield logger
    logger.setLevel(logging.NOTSET)


def test_loggers_are_described_with_their_levels(peer, logger):
    logger.setLevel(logging.WARNING)

    found = entry(peer, BROKER_LOGGER, "1", logger.name)

    assert (found.value, found.config_source, found.read_only) == ("WARN", LOGGER, False)
    assert "root" in {config.name for config in describe(peer, BROKER_LOGGER, "1").configs}


# -- listing --------------------------------------------------------------------------------------


def resources(peer, version=1, **fields):
    answer = peer.ask(LIST_CONFIG_RESOURCES, version, **fields)
    assert answer.error_code == ErrorCode.NONE
    return [(resource.resource_type, resource.resource_name) for resource in answer.config_resources]


def test_all_that_can_have_configs_is_listed(topic, peer):
    assert resources(peer) == [(TOPIC, "t"), (BROKER, "1"), (BROKER_LOGGER, "1")]


def test_resources_are_listed_by_type(topic, peer):
    assert resources(peer, resource_types=[TOPIC, GROUP]) == [(TOPIC, "t")]


def test_the_first_version_lists_client_metrics_only(topic, peer):
    assert resources(peer, version=0) == []


def test_a_type_that_is_not_known_is_refused(peer):
    answer = peer.ask(LIST_CONFIG_RESOURCES, 1, resource_types=[TOPIC, 64])

    assert (answer.error_code, answer.config_resources) == (ErrorCode.UNSUPPORTED_VERSION, [])


# -- altering -------------------------------------------------------------------------------------


def alter(peer, configs, name="t", kind=TOPIC, version=2, **fields):
    """Code and text of an AlterConfigs."""
    request = ALTER_CONFIGS.Request
    values = [request.AlterableConfig(name=key, value=value) for key, value in configs]
    resource = request.AlterConfigsResource(resource_type=kind, resource_name=name, configs=values)
    (answer,) = peer.ask(ALTER_CONFIGS, version, resources=[resource], **fields).responses
    assert (answer.resource_type, answer.resource_name) == (kind, name)
    return ErrorCode(answer.error_code), answer.error_message


def change(peer, *operations, name="t", kind=TOPIC, version=1, **fields):
    """Code and text of an IncrementalAlterConfigs of (config, operation, value)."""
    request = INCREMENTAL_ALTER_CONFIGS.Request
    configs = [
        request.AlterableConfig(name=key, config_operation=operation, value=value)
        for key, operation, value in operations
    ]
    resource = request.AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
    (answer,) = peer.ask(INCREMENTAL_ALTER_CONFIGS, version, resources=[resource], **fields).responses
    assert (answer.resource_type, answer.resource_name) == (kind, name)
    return ErrorCode(answer.error_code), answer.error_message


DONE = (ErrorCode.NONE, None)


@pytest.mark.parametrize("version", range(3))
def test_what_an_alteration_does_not_name_goes_back_to_the_default(served, peer, version):
    topic = served.topic(retention_ms="1000", delete_retention_ms="5")

    assert alter(peer, [("retention.ms", "2000"), ("preallocate", "true")], version=version) == DONE
    assert topic.config.items() == {"retention_ms": "2000", "kafka.preallocate": "true"}


def test_a_setting_that_kafka_has_no_name_for_outlives_an_alteration(served, peer):
    topic = served.topic(zstd_level="3", retention_ms="1000")

    assert alter(peer, []) == DONE
    assert topic.config.items() == {"zstd_level": "3"}


@pytest.mark.parametrize("version", range(2))
def test_configs_are_set_and_deleted_one_by_one(served, peer, version):
    topic = served.topic(retention_ms="1000", delete_retention_ms="5")
    operations = [("retention.ms", DELETE, None), ("segment.bytes", SET, "2000000")]

    assert change(peer, *operations, version=version) == DONE
    assert topic.config.items() == {"delete_retention_ms": "5", "kafka.segment.bytes": "2000000"}


def test_lists_are_appended_to_and_subtracted_from(topic, peer):
    assert change(peer, ("cleanup.policy", APPEND, "compact")) == DONE
    assert topic.config.items() == {"cleanup_policy": "delete,compact"}
    assert change(peer, ("cleanup.policy", APPEND, "compact,delete")) == DONE
    assert topic.config.items() == {"cleanup_policy": "delete,compact"}
    assert change(peer, ("cleanup.policy", SUBTRACT, "delete")) == DONE
    assert topic.config.items() == {"cleanup_policy": "compact"}


def test_only_validating_changes_nothing(topic, peer):
    assert change(peer, ("retention.ms", SET, "5"), validate_only=True) == DONE
    assert alter(peer, [("retention.ms", "5")], validate_only=True) == DONE
    assert topic.config.items() == {}


def test_only_validating_refuses_what_altering_would(topic, peer):
    assert change(peer, ("retention.ms", SET, "x"), validate_only=True)[0] == ErrorCode.INVALID_CONFIG


def test_deleting_a_config_that_is_not_set_changes_nothing(topic, peer):
    assert change(peer, ("retention.ms", DELETE, None), ("colour", DELETE, None)) == DONE
    assert topic.config.items() == {}


@pytest.mark.parametrize(
    ("operations", "code", "text"),
    [
        (
            [("retention.ms", SET, "soon")],
            ErrorCode.INVALID_CONFIG,
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
        ([("colour", SET, "red")], ErrorCode.INVALID_CONFIG, "Unknown topic config name: colour"),
        (
            [("retention.ms", APPEND, "1")],
            ErrorCode.INVALID_CONFIG,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            [("colour", SUBTRACT, "1")],
            ErrorCode.INVALID_CONFIG,
            "Can't SUBTRACT to key colour because its type is not LIST.",
        ),
        ([("retention.ms", 9, "1")], ErrorCode.INVALID_REQUEST, "Unknown operations type 9"),
        ([("retention.ms", SET, None)], ErrorCode.INVALID_REQUEST, "Null value not supported for : retention.ms"),
        (
            [("retention.ms", SET, "1"), ("retention.ms", DELETE, None)],
            ErrorCode.INVALID_REQUEST,
            "Error due to duplicate config keys",
        ),
        (
            [("min.compaction.lag.ms", SET, "20")],
            ErrorCode.INVALID_CONFIG,
            "conflict topic config setting min.compaction.lag.ms (20) > max.compaction.lag.ms (10)",
        ),
    ],
)
def test_a_change_that_cannot_be_is_refused_as_a_whole(served, peer, operations, code, text):
    topic = served.topic(max_compaction_lag_ms="10")

    assert change(peer, ("preallocate", SET, "true"), *operations) == (code, text)
    assert topic.config.items() == {"max_compaction_lag_ms": "10"}


def test_configs_of_a_topic_that_is_not_there_are_not_altered(peer):
    refusal = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "The topic 'none' does not exist.")

    assert alter(peer, [], name="none") == refusal
    assert change(peer, name="none") == refusal


def test_a_config_that_cannot_be_is_refused_before_a_topic_that_is_not_there(peer):
    refusal = (ErrorCode.INVALID_CONFIG, "Unknown topic config name: colour")

    assert alter(peer, [("colour", "red")], name="none") == refusal
    assert change(peer, ("colour", SET, "red"), name="none") == refusal


def test_the_name_of_a_topic_to_alter_is_not_left_out(peer):
    refusal = (ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed.")

    assert alter(peer, [], name="") == change(peer, name="") == refusal


def test_a_name_that_no_topic_can_have_is_not_altered(peer):
    assert change(peer, name="a b")[0] == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_a_resource_that_comes_twice_is_not_altered(topic, peer):
    request = INCREMENTAL_ALTER_CONFIGS.Request
    config = request.AlterableConfig(name="retention.ms", config_operation=SET, value="1")
    twice = [request.AlterConfigsResource(resource_type=TOPIC, resource_name="t", configs=[config])] * 2

    answers = peer.ask(INCREMENTAL_ALTER_CONFIGS, 1, resources=twice).responses

    assert [(answer.error_code, answer.error_message) for answer in answers] == [
        (ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
    ] * 2
    assert topic.config.items() == {}


@pytest.mark.parametrize("name", ["", "1"])
def test_a_broker_without_a_change_is_altered(peer, name):
    assert change(peer, name=name, kind=BROKER) == alter(peer, [], name=name, kind=BROKER) == DONE


@pytest.mark.parametrize("name", ["", "1"])
def test_configs_of_the_broker_are_not_altered(peer, name):
    refusal = (ErrorCode.INVALID_REQUEST, "Cannot update these configs dynamically: Set(num.partitions)")

    assert change(peer, ("num.partitions", SET, "2"), name=name, kind=BROKER) == refusal
    assert alter(peer, [("num.partitions", "2")], name=name, kind=BROKER) == refusal


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        (BROKER, "7", "Unexpected broker id, expected 1, but received 7"),
        (BROKER, "x", "Node id must be an integer, but it is: x"),
        (BROKER_LOGGER, "7", "Unexpected node id. Expected 1, but received 7"),
        (BROKER_LOGGER, "", "Node id must be an integer, but it is: "),
    ],
)
def test_another_broker_is_not_altered(peer, kind, name, text):
    assert change(peer, ("root", SET, "INFO"), name=name, kind=kind) == (ErrorCode.INVALID_REQUEST, text)


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        (GROUP, ErrorCode.INVALID_CONFIG, "Unknown group config name: interval.ms"),
        (CLIENT_METRICS, ErrorCode.INVALID_REQUEST, "Unknown client metrics configuration: interval.ms"),
    ],
)
def test_groups_and_client_metrics_have_no_config_to_alter(peer, kind, code, text):
    assert change(peer, ("interval.ms", SET, "1"), name="g", kind=kind) == (code, text)
    assert change(peer, name="g", kind=kind) == DONE


def test_a_type_that_is_not_known_is_not_altered(peer):
    assert change(peer, name="g", kind=99) == (ErrorCode.INVALID_REQUEST, "Unknown resource type 99")


def test_the_level_of_a_logger_is_set_and_taken_back(peer, logger):
    assert change(peer, (logger.name, SET, "ERROR"), name="1", kind=BROKER_LOGGER) == DONE
    assert logger.level == logging.ERROR
    assert change(peer, (logger.name, DELETE, None), name="1", kind=BROKER_LOGGER) == DONE
    assert logger.level == logging.NOTSET


def test_a_level_that_is_only_validated_is_not_set(peer, logger):
    assert change(peer, (logger.name, SET, "ERROR"), name="1", kind=BROKER_LOGGER, validate_only=True) == DONE
    assert logger.level == logging.NOTSET


@pytest.mark.parametrize(
    ("operation", "code", "text"),
    [
        (
            ("root", DELETE, None),
            ErrorCode.INVALID_REQUEST,
            "Removing the log level of the root logger is not allowed",
        ),
        (
            ("root", APPEND, "INFO"),
            ErrorCode.INVALID_REQUEST,
            "APPEND operation is not allowed for the BROKER_LOGGER resource",
        ),
        (
            ("root", SET, "LOUD"),
            ErrorCode.INVALID_CONFIG,
            (
                "Cannot set the log level of root to LOUD as it is not a supported log level. "
                "Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
            ),
        ),
        (("no.such", SET, "INFO"), ErrorCode.INVALID_CONFIG, "Logger no.such does not exist!"),
    ],
)
def test_a_level_that_cannot_be_is_refused(peer, operation, code, text):
    assert change(peer, operation, name="1", kind=BROKER_LOGGER) == (code, text)


def test_loggers_are_altered_one_by_one_only(peer):
    assert alter(peer, [("root", "INFO")], name="1", kind=BROKER_LOGGER) == (
        ErrorCode.INVALID_REQUEST,
        "Unknown resource type 8",
    )
