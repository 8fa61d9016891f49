"""Metadata: which topics there are, and that this broker leads all their partitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.tables import METADATA
from portask.errors import PortaskError, UnknownTopicError

if TYPE_CHECKING:
    from handlers.kafka.session import Session
    from portask.topic import Topic

NO_ID = bytes(16)
_TOPIC_ID_VERSION = 12
"""Versions 10 and 11 have a place for ids, and Kafka takes none there."""
NOT_ASKED = -(1 << 31)
# Bits of AclOperation: read 3, write 4, create 5, delete 6, alter 7, describe 8, cluster action 9,
# describe configs 10, alter configs 11, idempotent write 12. Without users everybody may do all of it.
TOPIC_OPERATIONS = sum(1 << bit for bit in (3, 4, 5, 6, 7, 8, 10, 11))
CLUSTER_OPERATIONS = sum(1 << bit for bit in (5, 7, 8, 9, 10, 11, 12))

_Broker = METADATA.Response.MetadataResponseBroker
_TopicAnswer = METADATA.Response.MetadataResponseTopic
_PartitionAnswer = METADATA.Response.MetadataResponsePartition


def metadata(session: Session, request: Any, version: int) -> Any:
    """Answer a Metadata request. Blocks while topics are made."""
    host, port = session.advertised
    node = session.node
    operations = TOPIC_OPERATIONS if request.include_topic_authorized_operations else NOT_ASKED
    return METADATA.Response(
        brokers=[_Broker(node_id=node.node_id, host=host, port=port, rack=node.rack)],
        cluster_id=session.cluster_id,
        controller_id=node.node_id,
        topics=list(_answers(session, request, version, operations)),
        cluster_authorized_operations=(
            CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NOT_ASKED
        ),
    )


def _answers(session: Session, request: Any, version: int, operations: int) -> Iterable[Any]:
    # Version 0 has no null: there an empty list asks for all topics, later for none.
    if request.topics is None or (version == 0 and not request.topics):
        for topic in session.broker.topics():
            yield _describe(topic, session, operations)
        return
    if version < _TOPIC_ID_VERSION and any(map(_is_by_id, request.topics)):
        for asked in request.topics:
            yield _refuse(asked.name or "", asked.topic_id, ErrorCode.INVALID_REQUEST, NOT_ASKED)
        return
    may_create = request.allow_auto_topic_creation and session.settings.auto_create_topics
    told: set[tuple[str | None, bytes]] = set()
    for asked in request.topics:
        place = (asked.name, asked.topic_id)
        if place in told:  # else a short request could ask for a very long answer
            continue
        told.add(place)
        try:
            topic = _find(session, asked, may_create)
        except PortaskError as error:
            if _is_by_id(asked) and isinstance(error, UnknownTopicError):
                # Only of names it is said what may be done to topics that are not there.
                yield _refuse(asked.name, asked.topic_id, ErrorCode.UNKNOWN_TOPIC_ID, NOT_ASKED)
            else:
                yield _refuse(asked.name, asked.topic_id, code_of(error), operations)
        else:
            yield _describe(topic, session, operations)


def _is_by_id(asked: Any) -> bool:
    return asked.name is None or asked.topic_id != NO_ID


def _find(session: Session, asked: Any, may_create: bool) -> Topic:
    if _is_by_id(asked):
        return session.broker.catalog.topic_by_id(asked.topic_id.hex())
    return session.broker.topic(asked.name, create=may_create)


def _refuse(name: str | None, topic_id: bytes, code: ErrorCode, operations: int) -> Any:
    return _TopicAnswer(
        error_code=code, name=name, topic_id=topic_id, partitions=[], topic_authorized_operations=operations
    )


def _describe(topic: Topic, session: Session, operations: int) -> Any:
    node_id = session.node.node_id
    nodes = [node_id]
    return _TopicAnswer(
        error_code=ErrorCode.NONE,
        name=topic.name,
        topic_id=bytes.fromhex(topic.id),
        partitions=[
            _PartitionAnswer(
                partition_index=partition.number,
                leader_id=node_id,
                leader_epoch=partition.leader_epoch,
                replica_nodes=nodes,
                isr_nodes=nodes,
                offline_replicas=[],
            )
            for partition in topic.partitions
        ],
        topic_authorized_operations=operations,
    )
