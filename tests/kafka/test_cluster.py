"""The cluster of one node: what it is, and why there is nothing to elect, to move or to upgrade."""

import pytest

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.tables import (
    ALTER_PARTITION_REASSIGNMENTS,
    DESCRIBE_CLUSTER,
    DESCRIBE_QUORUM,
    ELECT_LEADERS,
    LIST_PARTITION_REASSIGNMENTS,
    UPDATE_FEATURES,
)

UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("version", range(3))
def test_the_cluster_is_this_broker(served, peer, version):
    answer = peer.ask(DESCRIBE_CLUSTER, version)

    assert (answer.error_code, answer.error_message) == (ErrorCode.NONE, None)
    assert answer.cluster_id == served.broker.cluster_id
    assert answer.controller_id == 1
    assert [(broker.broker_id, broker.host, broker.port) for broker in answer.brokers] == [
        (1, "127.0.0.1", served.port)
    ]


def test_what_one_may_do_is_said_when_asked_for(peer):
    assert peer.ask(DESCRIBE_CLUSTER, 2).cluster_authorized_operations == -(1 << 31)
    assert peer.ask(DESCRIBE_CLUSTER, 2, include_cluster_authorized_operations=True).cluster_authorized_operations > 0


@pytest.mark.parametrize(
    ("kind", "code"), [(2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (7, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)]
)
def test_only_brokers_are_to_be_found_here(peer, kind, code):
    answer = peer.ask(DESCRIBE_CLUSTER, 2, endpoint_type=kind)

    assert (answer.error_code, answer.endpoint_type, answer.brokers) == (code, 1, [])


def quorum(peer, name, index, version=2):
    request = DESCRIBE_QUORUM.Request
    partitions = [request.PartitionData(partition_index=index)]
    return peer.ask(DESCRIBE_QUORUM, version, topics=[request.TopicData(topic_name=name, partitions=partitions)])


@pytest.mark.parametrize("version", range(3))
def test_the_quorum_is_this_node(peer, version):
    answer = quorum(peer, "__cluster_metadata", 0, version)

    (partition,) = answer.topics[0].partitions
    assert (answer.error_code, partition.error_code, partition.leader_id) == (0, 0, 1)
    assert [voter.replica_id for voter in partition.current_voters] == [1]
    assert partition.observers == []


def test_the_nodes_of_the_quorum_can_be_reached(served, peer):
    (node,) = quorum(peer, "__cluster_metadata", 0).nodes

    assert [(listener.host, listener.port) for listener in node.listeners] == [("127.0.0.1", served.port)]


@pytest.mark.parametrize(("name", "index"), [("t", 0), ("__cluster_metadata", 1)])
def test_only_the_metadata_have_a_quorum(topic, peer, name, index):
    answer = quorum(peer, name, index)

    assert answer.topics[0].partitions[0].error_code == UNKNOWN
    assert answer.nodes == []


FEATURE = UPDATE_FEATURES.Request.FeatureUpdateKey(feature="metadata.version", max_version_level=99)


@pytest.mark.parametrize("version", range(3))
def test_a_feature_is_not_updated(peer, version):
    answer = peer.ask(UPDATE_FEATURES, version, feature_updates=[FEATURE])

    assert answer.error_code == ErrorCode.INVALID_UPDATE_VERSION
    assert answer.error_message == (
        "The update failed for all features since the following feature had an error: Invalid update version 99 for "
        "feature metadata.version. Local controller 1 does not support this feature."
    )


@pytest.mark.parametrize("version", range(3))
def test_no_feature_is_updated_without_an_error(peer, version):
    assert peer.ask(UPDATE_FEATURES, version).error_code == ErrorCode.NONE


def elect(peer, name, index, version=2, **fields):
    asked = ELECT_LEADERS.Request.TopicPartitions(topic=name, partitions=[index])
    (topic,) = peer.ask(ELECT_LEADERS, version, topic_partitions=[asked], **fields).replica_election_results
    (partition,) = topic.partition_result
    return ErrorCode(partition.error_code), partition.error_message


@pytest.mark.parametrize("version", range(3))
def test_no_partition_needs_an_election(topic, peer, version):
    assert elect(peer, "t", 0, version) == (
        ErrorCode.ELECTION_NOT_NEEDED,
        "Leader election not needed for topic partition.",
    )


def test_a_partition_that_is_not_there_has_no_election(topic, peer):
    assert elect(peer, "none", 0) == (UNKNOWN, "No such topic as none")
    assert elect(peer, "t", 1) == (UNKNOWN, "No such partition as t-1")


def test_asked_for_all_partitions_those_that_need_no_election_are_left_out(topic, peer):
    (found,) = peer.ask(ELECT_LEADERS, 2, topic_partitions=None).replica_election_results

    assert (found.topic, found.partition_result) == ("t", [])


def test_an_election_of_an_unknown_kind_is_refused(topic, peer):
    assert elect(peer, "t", 0, election_type=7) == (ErrorCode.INVALID_REQUEST, "Unknown election type 7")
    assert peer.ask(ELECT_LEADERS, 2, election_type=7, topic_partitions=None).error_code == ErrorCode.INVALID_REQUEST


def reassign(peer, name, index, replicas, version=1):
    request = ALTER_PARTITION_REASSIGNMENTS.Request
    partition = request.ReassignablePartition(partition_index=index, replicas=replicas)
    topics = [request.ReassignableTopic(name=name, partitions=[partition])]
    answer = peer.ask(ALTER_PARTITION_REASSIGNMENTS, version, topics=topics)
    assert (answer.error_code, answer.error_message) == (ErrorCode.NONE, None)
    (result,) = answer.responses[0].partitions
    return ErrorCode(result.error_code), result.error_message


@pytest.mark.parametrize("version", range(2))
def test_a_partition_can_go_where_it_is(topic, peer, version):
    assert reassign(peer, "t", 0, [1], version) == (ErrorCode.NONE, None)


@pytest.mark.parametrize(
    ("name", "index", "replicas", "code", "text"),
    [
        ("none", 0, [1], UNKNOWN, "Unable to find a topic named none."),
        ("t", 1, [1], UNKNOWN, "Unable to find partition t:1."),
        ("t", 0, None, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, None),
        (
            "t",
            0,
            [1, 2],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
        (
            "t",
            0,
            [],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        ),
    ],
)
def test_a_reassignment_that_cannot_be_is_refused(topic, peer, name, index, replicas, code, text):
    assert reassign(peer, name, index, replicas) == (code, text)


def test_nothing_is_being_reassigned(topic, peer):
    answer = peer.ask(LIST_PARTITION_REASSIGNMENTS, 0, topics=None)

    assert (answer.error_code, answer.error_message, answer.topics) == (ErrorCode.NONE, None, [])
