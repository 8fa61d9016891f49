"""ApiVersions: what is served is told to everyone who asks, in any version."""

import struct

import pytest

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.served import SERVED
from handlers.kafka.versions import MAX_SOFTWARE
from tests.kafka.peer import encode

VERSIONS = range(6)
ADVISED = {0: (0, 13), 1: (4, 18), 2: (1, 11), 3: (0, 13), 18: (0, 5), 22: (0, 5), 23: (2, 4), 61: (0, 0)}
"""reference ranges: those of Apache Kafka 4.4, without what belongs to transactions."""


def ask(peer, version, name="librdkafka", number="2.15.0", **fields):
    fields = {"client_software_name": name, "client_software_version": number, **fields} if version >= 3 else {}
    return peer.ask(tables.API_VERSIONS, version, **fields)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_lists_what_is_served(peer, version):
    response = ask(peer, version)

    assert response.error_code == ErrorCode.NONE
    assert [key.api_key for key in response.api_keys] == sorted(SERVED)


def test_the_ranges_are_those_of_kafka(peer):
    ranges = {key.api_key: (key.min_version, key.max_version) for key in ask(peer, 4).api_keys}

    assert {key: ranges[key] for key in ADVISED} == ADVISED


def test_produce_is_advertised_from_0_although_3_is_the_first_that_is_served(peer):
    produce = next(key for key in ask(peer, 0).api_keys if key.api_key == 0)

    assert (produce.min_version, SERVED[0].first) == (0, 3)


@pytest.mark.parametrize("served", SERVED.values(), ids=lambda served: served.api.name)
def test_no_version_is_served_that_has_no_table(served):
    first, last = served.api.versions

    assert first <= served.first <= served.last <= last


def test_no_features_are_advertised_that_are_not_there(peer):
    response = ask(peer, 4)

    assert (response.supported_features, response.finalized_features, response.finalized_features_epoch) == ([], [], 0)


@pytest.mark.parametrize("version", [6, 7, 99, 32767])
def test_an_unknown_version_is_answered_in_version_0_with_the_range_of_api_versions_alone(peer, version):
    peer.send_frame(struct.pack(">hhih", 18, version, 77, -1) + b"a body that nobody can read")
    frame = peer.read_frame()

    assert frame == struct.pack(">ihihhh", 77, ErrorCode.UNSUPPORTED_VERSION, 1, 18, 0, 5)
    assert SERVED[18].last < version


def test_the_connection_goes_on_after_an_unknown_version(peer):
    peer.send_frame(struct.pack(">hhih", 18, 9, 1, -1))
    peer.read_frame()

    assert ask(peer, 5).error_code == ErrorCode.NONE


@pytest.mark.parametrize("version", [3, 4, 5])
def test_the_header_of_the_response_never_has_tagged_fields(peer, version):
    peer.send_bytes(encode(tables.API_VERSIONS, version, client_software_name="kgo", client_software_version="1"))
    frame = peer.read_frame()

    assert struct.unpack_from(">ih", frame) == (1, ErrorCode.NONE)


def test_the_client_id_of_a_flexible_header_is_not_compact(served, peer):
    head = struct.pack(">hhih", 18, 3, 5, 3) + b"abc" + b"\0"
    peer.send_frame(head + b"\x04kgo" + b"\x021" + b"\0")
    peer.read_frame()

    assert next(iter(served.handler.links)).name == "abc"


@pytest.mark.parametrize("name", ["", "-kgo", "kgo.", "a b", "a_b", "ünï", "a\n", "x" * (MAX_SOFTWARE + 1)])
@pytest.mark.parametrize("version", [3, 5])
def test_a_name_that_is_none_is_an_invalid_request(peer, name, version):
    assert ask(peer, version, name=name).error_code == ErrorCode.INVALID_REQUEST
    assert ask(peer, version, number=name).error_code == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("name", ["a", "A9", "apache-kafka-java", "1.2", "a--b..c"])
def test_a_name_of_letters_digits_dots_and_dashes_is_one(peer, name):
    assert ask(peer, 3, name=name, number=name).error_code == ErrorCode.NONE


def test_a_client_of_another_cluster_is_told_to_look_again(served, peer):
    assert ask(peer, 5, cluster_id="another").error_code == ErrorCode.REBOOTSTRAP_REQUIRED
    assert ask(peer, 5, cluster_id=served.broker.cluster_id).error_code == ErrorCode.NONE


def test_a_client_of_another_node_is_told_to_look_again(peer):
    assert ask(peer, 5, node_id=2).error_code == ErrorCode.REBOOTSTRAP_REQUIRED
    assert ask(peer, 5, node_id=1).error_code == ErrorCode.NONE
