"""The cluster: one node that leads everything, so that elections and reassignments have nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.kafka.assignments import check_replicas
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.metadata import CLUSTER_OPERATIONS, NOT_ASKED
from handlers.kafka.refusal import RefusedError, refusal
from handlers.kafka.tables import (
    ALTER_PARTITION_REASSIGNMENTS,
    DESCRIBE_CLUSTER,
    DESCRIBE_QUORUM,
    ELECT_LEADERS,
    LIST_PARTITION_REASSIGNMENTS,
    UPDATE_FEATURES,
)
from portask.errors import InvalidTopicError, PortaskError, UnknownTopicError
from portask.topic import Topic

if TYPE_CHECKING:
    from handlers.kafka.session import Session

METADATA_TOPIC = "__cluster_metadata"
BROKERS, CONTROLLERS = 1, 2
ELECTION_TYPES = (0, 1)

_Broker = DESCRIBE_CLUSTER.Response.DescribeClusterBroker
_QuorumTopic = DESCRIBE_QUORUM.Response.TopicData
_QuorumPartition = DESCRIBE_QUORUM.Response.PartitionData
_Voter = DESCRIBE_QUORUM.Response.ReplicaState
_Node = DESCRIBE_QUORUM.Response.Node
_Listener = DESCRIBE_QUORUM.Response.Listener
_Election = ELECT_LEADERS.Response.ReplicaElectionResult
_Elected = ELECT_LEADERS.Response.PartitionResult
_Reassigned = ALTER_PARTITION_REASSIGNMENTS.Response.ReassignableTopicResponse
_ReassignedPartition = ALTER_PARTITION_REASSIGNMENTS.Response.ReassignablePartitionResponse


def describe_cluster(session: Session, request: Any, version: int) -> Any:
    """Answer a DescribeCluster request."""
    wanted = request.endpoint_type
    if wanted == CONTROLLERS:
        return DESCRIBE_CLUSTER.Response(
            error_code=ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            error_message="The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type "
            "CONTROLLER",
            endpoint_type=BROKERS,
        )
    if wanted != BROKERS:
        return DESCRIBE_CLUSTER.Response(
            error_code=ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
            error_message=f"Unsupported endpoint type {wanted}",
            endpoint_type=BROKERS,
        )
    host, port = session.advertised
    node = session.node
    return DESCRIBE_CLUSTER.Response(
        error_message=None,
        endpoint_type=BROKERS,
        cluster_id=session.cluster_id,
        controller_id=node.node_id,
        brokers=[_Broker(broker_id=node.node_id, host=host, port=port, rack=node.rack, is_fenced=False)],
        cluster_authorized_operations=(
            CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NOT_ASKED
        ),
    )


def describe_quorum(session: Session, request: Any, version: int) -> Any:
    """Answer a DescribeQuorum request: this node is all voters, and it has no log of metadata to tell of."""
    node_id = session.node.node_id
    host, port = session.advertised
    now = session.broker.clock.now_ms()

    def describe(name: str, index: int) -> Any:
        if not is_known(name, index):
            code, text = refusal(RefusedError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
            return _QuorumPartition(partition_index=index, error_code=code, error_message=text)
        voter = _Voter(replica_id=node_id, log_end_offset=0, last_fetch_timestamp=now, last_caught_up_timestamp=now)
        return _QuorumPartition(
            partition_index=index, error_code=ErrorCode.NONE, leader_id=node_id, current_voters=[voter]
        )

    def is_known(name: str, index: int) -> bool:
        return bool(name == METADATA_TOPIC and index == 0)

    places = [
        (topic.topic_name, partition.partition_index) for topic in request.topics for partition in topic.partitions
    ]
    listener = _Listener(name="PLAINTEXT", host=host, port=port)

    return DESCRIBE_QUORUM.Response(
        topics=[
            _QuorumTopic(
                topic_name=topic.topic_name,
                partitions=[describe(topic.topic_name, partition.partition_index) for partition in topic.partitions],
            )
            for topic in request.topics
        ],
        nodes=[_Node(node_id=node_id, listeners=[listener])] if any(is_known(*place) for place in places) else [],
    )


def update_features(session: Session, request: Any, version: int) -> Any:
    """Answer an UpdateFeatures request: no feature has a level that could be changed."""
    if not request.feature_updates:
        return UPDATE_FEATURES.Response(error_message=None)
    first = request.feature_updates[0]
    return UPDATE_FEATURES.Response(
        error_code=ErrorCode.INVALID_UPDATE_VERSION,
        error_message=(
            "The update failed for all features since the following feature had an error: "
            f"Invalid update version {first.max_version_level} for feature {first.feature}. "
            f"Local controller {session.node.node_id} does not support this feature."
        ),
    )


def elect_leaders(session: Session, request: Any, version: int) -> Any:
    """Answer an ElectLeaders request: every partition has its leader."""
    is_valid = request.election_type in ELECTION_TYPES
    if request.topic_partitions is None and is_valid:
        # Asked for all, Kafka leaves out the partitions that need no election.
        names = [topic.name for topic in session.broker.topics()]
        return ELECT_LEADERS.Response(replica_election_results=[_Election(topic=name) for name in names])

    def elect(name: str, index: int) -> Any:
        topic = _find(session, name)
        if not is_valid:
            code, text = ErrorCode.INVALID_REQUEST, f"Unknown election type {request.election_type}"
        elif topic is None:
            code, text = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}"
        elif not 0 <= index < len(topic.partitions):
            code, text = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {name}-{index}"
        else:
            code, text = ErrorCode.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition."
        return _Elected(partition_id=index, error_code=code, error_message=text)

    return ELECT_LEADERS.Response(
        error_code=ErrorCode.NONE if is_valid else ErrorCode.INVALID_REQUEST,
        replica_election_results=[
            _Election(topic=asked.topic, partition_result=[elect(asked.topic, index) for index in asked.partitions])
            for asked in request.topic_partitions or ()
        ],
    )


def alter_partition_reassignments(session: Session, request: Any, version: int) -> Any:
    """Answer an AlterPartitionReassignments request: a partition can only go where it is."""

    def reassign(name: str, asked: Any) -> Any:
        code: ErrorCode = ErrorCode.NONE
        text: str | None = None
        try:
            _check_reassignment(session, name, asked)
        except PortaskError as error:
            code, text = refusal(error)
        return _ReassignedPartition(partition_index=asked.partition_index, error_code=code, error_message=text)

    return ALTER_PARTITION_REASSIGNMENTS.Response(
        allow_replication_factor_change=request.allow_replication_factor_change,
        error_message=None,
        responses=[
            _Reassigned(name=topic.name, partitions=[reassign(topic.name, asked) for asked in topic.partitions])
            for topic in request.topics
        ],
    )


def _check_reassignment(session: Session, name: str, asked: Any) -> None:
    topic = _find(session, name)
    index = asked.partition_index
    if topic is None:
        raise RefusedError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {name}.")
    if not 0 <= index < len(topic.partitions):
        raise RefusedError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {name}:{index}.")
    if asked.replicas is None:
        raise RefusedError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, "")
    check_replicas(asked.replicas, session.node.node_id)


def list_partition_reassignments(session: Session, request: Any, version: int) -> Any:
    """Answer a ListPartitionReassignments request: there never are any."""
    return LIST_PARTITION_REASSIGNMENTS.Response(error_message=None)


def _find(session: Session, name: str) -> Topic | None:
    try:
        return session.broker.topic(name)
    except (UnknownTopicError, InvalidTopicError):
        return None
