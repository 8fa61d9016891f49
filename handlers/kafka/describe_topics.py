"""DescribeTopicPartitions: topics a page at a time, cut by the number of partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.metadata import NO_ID, NOT_ASKED, TOPIC_OPERATIONS
from handlers.kafka.refusal import RefusedError, refusal
from handlers.kafka.tables import DESCRIBE_TOPIC_PARTITIONS
from handlers.kafka.topic_names import check_topic_name
from portask.errors import InvalidTopicError, PortaskError, UnknownTopicError
from portask.partition import Partition
from portask.topic import Topic

if TYPE_CHECKING:
    from handlers.kafka.session import Session

MOST_PARTITIONS = 2000
"""Of one answer, whatever the client asks for: Kafka's max.request.partition.size.limit."""

_Topic = DESCRIBE_TOPIC_PARTITIONS.Response.DescribeTopicPartitionsResponseTopic
_Partition = DESCRIBE_TOPIC_PARTITIONS.Response.DescribeTopicPartitionsResponsePartition
_Cursor = DESCRIBE_TOPIC_PARTITIONS.Response.Cursor


def describe_topic_partitions(session: Session, request: Any, version: int) -> Any:
    """Answer a DescribeTopicPartitions request."""
    asked = {topic.name for topic in request.topics}
    names = sorted(asked) or [topic.name for topic in session.broker.topics()]
    first_name, first_index = "", 0
    if request.cursor is not None:
        first_name, first_index = request.cursor.topic_name, request.cursor.partition_index
        if first_index < 0 or (asked and first_name not in asked):
            code = ErrorCode.INVALID_REQUEST
            return DESCRIBE_TOPIC_PARTITIONS.Response(
                topics=[_refused(name, code, NOT_ASKED) for name in sorted(asked)]
            )
    answer = DESCRIBE_TOPIC_PARTITIONS.Response()
    left = max(1, min(MOST_PARTITIONS, request.response_partition_limit))
    for name in names:
        if name < first_name:
            continue
        if left == 0:
            answer.next_cursor = _Cursor(topic_name=name, partition_index=0)
            break
        try:
            topic = _find(session, name)
        except PortaskError as error:
            answer.topics.append(_refused(name, refusal(error)[0], TOPIC_OPERATIONS))
            continue
        start = first_index if name == first_name else 0
        partitions = topic.partitions[start : start + left]
        answer.topics.append(_described(session, topic, partitions))
        left -= len(partitions)
        if start + len(partitions) < len(topic.partitions):
            answer.next_cursor = _Cursor(topic_name=name, partition_index=start + len(partitions))
            break
    return answer


def _find(session: Session, name: str) -> Topic:
    check_topic_name(name)
    try:
        return session.broker.topic(name)
    except (UnknownTopicError, InvalidTopicError) as error:
        raise RefusedError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) from error


def _refused(name: str, code: ErrorCode, operations: int) -> Any:
    return _Topic(error_code=code, name=name, topic_id=NO_ID, topic_authorized_operations=operations)


def _described(session: Session, topic: Topic, partitions: list[Partition]) -> Any:
    node_id = session.node.node_id
    nodes = [node_id]
    return _Topic(
        error_code=ErrorCode.NONE,
        name=topic.name,
        topic_id=bytes.fromhex(topic.id),
        partitions=[
            _Partition(
                error_code=ErrorCode.NONE,
                partition_index=partition.number,
                leader_id=node_id,
                leader_epoch=partition.leader_epoch,
                replica_nodes=nodes,
                isr_nodes=nodes,
                eligible_leader_replicas=[],
                last_known_elr=[],
            )
            for partition in partitions
        ],
        topic_authorized_operations=TOPIC_OPERATIONS,
    )
