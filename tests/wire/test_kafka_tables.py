"""All Kafka tables: broken bytes, versions that only the newest broker has, and what an Api knows of itself."""

import tracemalloc
from random import Random

import pytest

from handlers.kafka.error_codes import RETRIABLE, ErrorCode
from handlers.kafka.tables import (
    API_VERSIONS,
    APIS,
    CONSUMER_PROTOCOL_ASSIGNMENT,
    CONSUMER_PROTOCOL_SUBSCRIPTION,
    DELETE_GROUPS,
    FETCH,
    HEARTBEAT,
    OFFSET_DELETE,
    REQUEST_HEADER,
    RESPONSE_HEADER,
    SYNC_GROUP,
)
from portask.errors import ProtocolError
from tests.wire.tables import decoded, encoded, full_value

MESSAGES = [message for api in APIS.values() for message in (api.request, api.response)] + [
    REQUEST_HEADER,
    RESPONSE_HEADER,
    CONSUMER_PROTOCOL_SUBSCRIPTION,
    CONSUMER_PROTOCOL_ASSIGNMENT,
]
HUGE = [b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff\xff\xff\xfe", b"\xff\xff\xff\xff\x0f", b"\xff" * 5]
PEAK_BYTES = 100_000
FUZZED = 40
"""Per message and version."""


def versions(message):
    return range(message.versions.first, message.versions.last + 1)


@pytest.fixture(params=MESSAGES, ids=[message.name for message in MESSAGES])
def message(request):
    return request.param


def test_full_value_comes_back_in_every_version(message):
    for version in versions(message):
        value = full_value(message, version)

        assert decoded(message, version, encoded(message, version, value)) == value


def test_cut_anywhere_it_is_refused(message):
    for version in versions(message):
        data = encoded(message, version, full_value(message, version))
        decode = message.decode(version)
        for end in range(len(data)):
            with pytest.raises(ProtocolError):
                decode(data[:end], 0, end)
            with pytest.raises(ProtocolError):
                decode(data, 0, end)


def test_huge_numbers_anywhere_take_no_memory(message):
    for version in versions(message):
        data = encoded(message, version, full_value(message, version))
        decode = message.decode(version)
        with_huge = [data[:at] + huge + data[at + len(huge) :] for at in range(len(data)) for huge in HUGE]
        tracemalloc.start()
        for broken in with_huge:
            try:
                decode(broken, 0, len(broken))
            except ProtocolError:
                continue
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert peak < PEAK_BYTES


def test_random_changes_are_read_or_refused(message):
    random = Random(message.name)
    for version in versions(message):
        data = encoded(message, version, full_value(message, version))
        decode = message.decode(version)
        for _ in range(FUZZED if data else 0):
            broken = bytearray(data)
            for _ in range(random.randint(1, 4)):
                broken[random.randrange(len(broken))] = random.choice([0, 1, 2, 127, 128, 254, 255])
            try:
                decode(broken, 0, len(broken))
            except ProtocolError:
                continue


# -- versions that no oracle has ------------------------------------------------------------------


def test_api_versions_request_5_names_the_broker_that_is_meant():
    data = bytes.fromhex("026b" + "0231" + "0263" + "00000007" + "00")

    value = decoded(API_VERSIONS.request, 5, data)

    assert (value.client_software_name, value.client_software_version) == ("k", "1")
    assert (value.cluster_id, value.node_id) == ("c", 7)
    assert encoded(API_VERSIONS.request, 5, value) == data


def test_api_versions_request_5_may_leave_the_broker_open():
    value = decoded(API_VERSIONS.request, 5, bytes.fromhex("0101" + "00" + "ffffffff" + "00"))

    assert (value.cluster_id, value.node_id) == (None, -1)


def test_api_versions_response_5_is_as_4():
    value = full_value(API_VERSIONS.response, 5)

    assert encoded(API_VERSIONS.response, 5, value) == encoded(API_VERSIONS.response, 4, value)


def test_delete_groups_request_3_is_as_2():
    value = full_value(DELETE_GROUPS.request, 3)

    assert encoded(DELETE_GROUPS.request, 3, value) == encoded(DELETE_GROUPS.request, 2, value)


def test_delete_groups_response_3_has_a_message_per_group():
    data = bytes.fromhex("00000000" + "02" + "0267" + "0044" + "0265" + "00" + "00")

    value = decoded(DELETE_GROUPS.response, 3, data)

    assert value.results == [
        DELETE_GROUPS.Response.DeletableGroupResult(group_id="g", error_code=68, error_message="e")
    ]
    assert encoded(DELETE_GROUPS.response, 3, value) == data


def test_first_request_header_has_no_client_id():
    assert decoded(REQUEST_HEADER, 0, bytes.fromhex("0007000000000005")).correlation_id == 5


# -- what an Api knows ------------------------------------------------------------------------------


def test_apis_are_found_by_key():
    assert all(api.key == key for key, api in APIS.items())
    assert APIS[12] is HEARTBEAT


def test_api_has_the_functions_of_both_directions():
    request = HEARTBEAT.Request(group_id="g", generation_id=3)
    response = HEARTBEAT.Response(error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    sent = b"".join(HEARTBEAT.encode_request(4)(request))
    answer = b"".join(HEARTBEAT.encode_response(4)(response))

    assert HEARTBEAT.decode_request(4)(sent, 0, len(sent)) == (request, len(sent))
    assert HEARTBEAT.decode_response(4)(answer, 0, len(answer)) == (response, len(answer))


def test_api_shows_its_key_and_name():
    assert repr(FETCH) == "<Api 1 Fetch>"


def test_api_says_which_versions_it_has():
    assert (FETCH.versions, FETCH.flexible) == ((4, 18), 12)
    assert OFFSET_DELETE.flexible is None


@pytest.mark.parametrize(
    ("api", "version", "headers"),
    [
        (SYNC_GROUP, 3, (1, 0)),
        (SYNC_GROUP, 4, (2, 1)),
        (OFFSET_DELETE, 0, (1, 0)),
        (API_VERSIONS, 2, (1, 0)),
        (API_VERSIONS, 5, (2, 0)),
    ],
)
def test_api_says_which_headers_stand_before_it(api, version, headers):
    assert (api.request_header(version), api.response_header(version)) == headers


# -- error codes --------------------------------------------------------------------------------------


def test_error_codes_have_no_gap():
    assert sorted(ErrorCode) == list(range(-1, 137))


def test_success_is_not_retriable():
    assert ErrorCode.NONE not in RETRIABLE
    assert ErrorCode.NOT_LEADER_OR_FOLLOWER in RETRIABLE
