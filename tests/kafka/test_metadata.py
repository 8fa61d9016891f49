"""Metadata: which topics there are, who leads them, and where to reach that broker."""

import socket

import pytest

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.metadata import CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS
from portask.errors import StorageFullError
from tests.native.gated_storage import GatedStorage

VERSIONS = range(14)
NO_ID = bytes(16)


def ask(peer, *names, version=9, **fields):
    """The response for topics of these names; None among them asks for all."""
    asked = [tables.METADATA.Request.MetadataRequestTopic(name=name) for name in names]
    return peer.ask(tables.METADATA, version, topics=None if None in names else asked, **fields)


def ask_ids(peer, *ids, version=12, name=None):
    asked = [tables.METADATA.Request.MetadataRequestTopic(name=name, topic_id=topic_id) for topic_id in ids]
    return [
        (topic.error_code, topic.name, topic.topic_id)
        for topic in peer.ask(tables.METADATA, version, topics=asked).topics
    ]


def found(response):
    """Names and errors of the topics in *response*."""
    return [(topic.name, ErrorCode(topic.error_code)) for topic in response.topics]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_tells_of_topics_and_their_leader(served, peer, version):
    topic = served.topic("t", 3)
    response = ask(peer, "t", version=version)
    (broker,) = response.brokers
    (told,) = response.topics

    assert (broker.node_id, broker.host, broker.port, broker.rack) == (1, "127.0.0.1", served.port, None)
    assert (told.error_code, told.name, told.is_internal) == (ErrorCode.NONE, "t", False)
    assert [part.partition_index for part in told.partitions] == [0, 1, 2]
    assert {(part.error_code, part.leader_id) for part in told.partitions} == {(ErrorCode.NONE, 1)}
    assert all(part.replica_nodes == part.isr_nodes == [1] for part in told.partitions)
    assert all(part.offline_replicas == [] for part in told.partitions)
    assert told.topic_id == (bytes.fromhex(topic.id) if version >= 10 else NO_ID)
    assert response.controller_id == (1 if version >= 1 else -1)
    assert response.cluster_id == (served.broker.cluster_id if version >= 2 else None)


def test_the_epoch_of_the_leader_is_told(served, peer):
    served.topic().partitions[0].leader_epoch = 3

    assert ask(peer, "t", version=7).topics[0].partitions[0].leader_epoch == 3


def test_the_node_is_called_what_it_is_configured_to_be(serve):
    response = ask(serve("--node-id", "7").peer(), version=9)

    assert (response.brokers[0].node_id, response.controller_id) == (7, 7)


def test_an_empty_list_asks_for_all_topics_in_version_0(served, peer):
    served.topic("b")
    served.topic("a")

    assert found(ask(peer, version=0)) == [("a", ErrorCode.NONE), ("b", ErrorCode.NONE)]


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_an_empty_list_asks_for_none_and_null_for_all_later(served, peer, version):
    served.topic("a")

    assert found(ask(peer, version=version)) == []
    assert found(ask(peer, None, version=version)) == [("a", ErrorCode.NONE)]


def test_topics_are_told_in_the_order_of_the_request_each_once(served, peer):
    served.topic("a")
    served.topic("b")

    assert found(ask(peer, "b", "a", "b", "b")) == [("b", ErrorCode.NONE), ("a", ErrorCode.NONE)]


# -- making topics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_topic_is_made(serve, version):
    served = serve("--default-partitions", "4")
    (told,) = ask(served.peer(), "new", version=version).topics

    assert (told.error_code, len(told.partitions)) == (ErrorCode.NONE, 4)
    assert [topic.name for topic in served.broker.topics()] == ["new"]


@pytest.mark.parametrize("version", VERSIONS[4:])
def test_an_unknown_topic_is_not_made_for_those_who_do_not_want_it(served, peer, version):
    response = ask(peer, "new", version=version, allow_auto_topic_creation=False)

    assert found(response) == [("new", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]
    assert served.broker.topics() == []


def test_no_topic_is_made_where_the_broker_makes_none(serve):
    peer = serve("--auto-create-topics", "false").peer()

    assert found(ask(peer, "new")) == [("new", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "ü", "x" * 250, "a b"])
@pytest.mark.parametrize("allow", [True, False])
def test_a_name_that_no_topic_can_have_is_invalid(served, peer, name, allow):
    response = ask(peer, name, allow_auto_topic_creation=allow)

    assert found(response) == [(name, ErrorCode.INVALID_TOPIC_EXCEPTION)]
    assert served.broker.topics() == []


def test_a_topic_that_storage_does_not_take_is_refused(serve):
    storage = GatedStorage()
    served = serve(storage=storage)
    peer = served.peer()
    storage.failure = StorageFullError("no space")

    assert found(ask(peer, "new")) == [("new", ErrorCode.KAFKA_STORAGE_ERROR)]
    storage.failure = None
    assert found(ask(peer, "new")) == [("new", ErrorCode.NONE)]


# -- by id -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [12, 13])
def test_a_topic_is_found_by_its_id(topic, peer, version):
    topic_id = bytes.fromhex(topic.id)

    assert ask_ids(peer, topic_id, version=version) == [(ErrorCode.NONE, "t", topic_id)]


@pytest.mark.parametrize("topic_id", [b"0123456789abcdef", NO_ID])
def test_an_unknown_id_is_told_so(topic, peer, topic_id):
    assert ask_ids(peer, topic_id) == [(ErrorCode.UNKNOWN_TOPIC_ID, None, topic_id)]


def test_an_id_counts_more_than_a_name(topic, peer):
    topic_id = bytes.fromhex(topic.id)

    assert ask_ids(peer, topic_id, name="another") == [(ErrorCode.NONE, "t", topic_id)]


@pytest.mark.parametrize("version", [10, 11])
def test_ids_are_invalid_before_version_12(topic, peer, version):
    topic_id = bytes.fromhex(topic.id)

    assert ask_ids(peer, topic_id, version=version) == [(ErrorCode.INVALID_REQUEST, "", topic_id)]
    assert ask_ids(peer, NO_ID, version=version) == [(ErrorCode.INVALID_REQUEST, "", NO_ID)]
    assert ask_ids(peer, topic_id, version=version, name="t") == [(ErrorCode.INVALID_REQUEST, "t", topic_id)]


# -- operations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS[8:])
def test_allowed_operations_are_told_to_those_who_ask(topic, peer, version):
    asked = ask(peer, "t", version=version, include_topic_authorized_operations=True)

    assert asked.topics[0].topic_authorized_operations == TOPIC_OPERATIONS == 0b1101_1111_1000
    assert ask(peer, "t", version=version).topics[0].topic_authorized_operations == NOT_ASKED


@pytest.mark.parametrize("version", VERSIONS[10:])
def test_no_operation_is_allowed_on_an_unknown_id(peer, version):
    asked = [tables.METADATA.Request.MetadataRequestTopic(name=None, topic_id=bytes(range(16)))]
    answer = peer.ask(tables.METADATA, version, topics=asked, include_topic_authorized_operations=True)

    assert answer.topics[0].topic_authorized_operations == NOT_ASKED


@pytest.mark.parametrize("version", [8, 9, 10])
def test_allowed_operations_on_the_cluster_are_told_to_those_who_ask(peer, version):
    asked = ask(peer, version=version, include_cluster_authorized_operations=True)

    assert asked.cluster_authorized_operations == CLUSTER_OPERATIONS == 0b1_1111_1010_0000
    assert ask(peer, version=version).cluster_authorized_operations == NOT_ASKED


# -- addresses -------------------------------------------------------------------------------------


def address(peer):
    (broker,) = ask(peer).brokers
    return broker.host, broker.port


def test_a_client_is_told_the_address_that_it_has_connected_to(serve):
    served = serve("--host", "0.0.0.0", "--allow-remote")

    assert address(served.peer(host="127.0.0.1")) == ("127.0.0.1", served.port)
    assert address(served.peer(host="127.0.0.2")) == ("127.0.0.2", served.port)


def test_the_address_may_be_configured(serve):
    served = serve("--kafka-advertised-address", "kafka.example.org:19092")

    assert address(served.peer()) == ("kafka.example.org", 19092)


def test_the_configured_address_may_be_of_ipv6(serve):
    served = serve("--kafka-advertised-address", "[2001:db8::1]:19092")

    assert address(served.peer()) == ("2001:db8::1", 19092)


def is_bindable(host):
    try:
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("host", [*filter(is_bindable, ["127.0.0.1", "::1"])])
def test_a_client_is_told_an_address_of_the_protocol_that_it_speaks(serve, host):
    served = serve("--host", host)

    assert address(served.peer(host=host)) == (host, served.port)
