"""The table of what is served, and the errors that it is answered with."""

import inspect

import pytest

from handlers.kafka import errors, tables
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import CODES, code_of
from handlers.kafka.served import ADVERTISED_FIRST, SERVED, markdown_table, ranges
from portask import errors as core
from portask.errors import PortaskError

FLOORS = {
    "message format 2": {0: 3, 1: 4},
    "groups": {10: 0, 11: 0, 14: 0, 12: 0, 13: 0, 9: 1, 8: 2},
    "time offsets": {2: 1},
    "idempotence": {22: 0},
    "zstd": {0: 7, 1: 10},
    "LZ4": {10: 0},
    "any codec": {0: 0},
}
"""Versions on which librdkafka before 2.11.1 switches its features: each must be within what is advertised."""
OTHERS = {"OffsetForLeaderEpoch": 2, "DescribeConfigs": 1, "Fetch": 5}
"""Versions that some client asks for and no other."""


@pytest.mark.parametrize("feature", FLOORS)
def test_old_librdkafka_finds_its_features(feature):
    said = {key: (first, last) for key, first, last in ranges()}

    for key, version in FLOORS[feature].items():
        assert said[key][0] <= version <= said[key][1]


@pytest.mark.parametrize("name", OTHERS)
def test_versions_that_some_client_insists_on_are_served(name):
    (served,) = [served for served in SERVED.values() if served.api.name == name]

    assert served.first <= OTHERS[name] <= served.last


@pytest.mark.parametrize("key", [38, 50, 52, 58, 62, 71, 72])
def test_what_brokers_say_to_each_other_and_telemetry_are_not_advertised(key):
    assert key not in {advertised for advertised, _, _ in ranges()}


def test_only_produce_is_advertised_otherwise_than_served():
    assert list(ADVERTISED_FIRST.items()) == [(tables.PRODUCE.key, 0)]


def test_every_api_but_produce_has_a_function():
    assert [served.api.name for served in SERVED.values() if served.answer is None] == ["Produce"]


def test_functions_take_session_request_and_version():
    for served in SERVED.values():
        if served.answer is not None:
            assert len(inspect.signature(served.answer).parameters) == 3


def test_the_table_for_the_documentation_has_a_line_for_each():
    lines = markdown_table().splitlines()

    assert len(lines) == len(SERVED) + 2
    assert "| 0 | Produce | 3-13, advertised from 0 |" in lines
    assert "| 1 | Fetch | 4-18 |" in lines


# -- errors ----------------------------------------------------------------------------------------


def leaves(kind):
    below = kind.__subclasses__()
    return [leaf for one in below for leaf in leaves(one)] if below else [kind]


def test_an_error_that_has_no_code_is_a_servers_own():
    assert code_of(PortaskError("whatever")) is ErrorCode.UNKNOWN_SERVER_ERROR


def test_no_code_hides_behind_another():
    for number, (kind, _) in enumerate(CODES):
        assert not any(issubclass(kind, earlier) for earlier, _ in CODES[:number]), kind


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (core.UnknownTopicError("t"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (core.UnknownPartitionError("t"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (core.InvalidTopicError("t"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (core.StorageFullError("t"), ErrorCode.KAFKA_STORAGE_ERROR),
        (core.StorageFailedError("t"), ErrorCode.KAFKA_STORAGE_ERROR),
        (core.CorruptError("t"), ErrorCode.KAFKA_STORAGE_ERROR),
        (core.ShuttingDownError("t"), ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (core.UnavailableError("t"), ErrorCode.REQUEST_TIMED_OUT),
        (core.ProducerFencedError("t"), ErrorCode.INVALID_PRODUCER_EPOCH),
        (core.OutOfOrderSequenceError("t"), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        (core.OffsetOutOfRangeError("t"), ErrorCode.OFFSET_OUT_OF_RANGE),
        (core.MessageTooLargeError("t"), ErrorCode.MESSAGE_TOO_LARGE),
    ],
)
def test_errors_of_the_core_have_kafkas_codes(error, code):
    assert code_of(error) is code


def test_all_errors_of_batches_have_codes_of_their_own():
    own = {
        code_of(kind("text")) for kind in leaves(core.ProtocolError) if kind.__module__ == errors.CODES[0][0].__module__
    }

    assert own == {
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.INVALID_RECORD,
        ErrorCode.INVALID_TIMESTAMP,
        ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    }
