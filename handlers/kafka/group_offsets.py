"""Offsets that groups have committed: OffsetCommit, OffsetFetch, OffsetDelete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.tables import OFFSET_COMMIT, OFFSET_DELETE, OFFSET_FETCH
from portask.coordinator.committed_offsets import Place
from portask.coordinator.offset_row import NO_EXPIRY, CommittedOffset, OffsetKey
from portask.errors import PortaskError, UnknownGroupError, UnknownTopicError

if TYPE_CHECKING:
    from handlers.kafka.session import Session
    from portask.topic import Topic

BATCHED_FETCH = 8
"""OffsetFetch asks for several groups at once from this version on."""
TOPIC_IDS = 10
"""OffsetCommit and OffsetFetch name topics by their ids from this version on."""
GROUP_NOT_FOUND = 9
"""OffsetCommit knows that a group may not be there from this version on; before, the generation is blamed."""
TOP_ERROR = 2
"""OffsetFetch has an error code for the whole group from this version on."""
NO_OFFSET = -1
FOREVER_MS = 1 << 62
"""Longest retention that a commit can ask for: the time when it is over must be a number of 64 bits."""

_CommitTopic = OFFSET_COMMIT.Response.OffsetCommitResponseTopic
_CommitPartition = OFFSET_COMMIT.Response.OffsetCommitResponsePartition
_FetchTopic = OFFSET_FETCH.Response.OffsetFetchResponseTopic
_FetchPartition = OFFSET_FETCH.Response.OffsetFetchResponsePartition
_FetchGroup = OFFSET_FETCH.Response.OffsetFetchResponseGroup
_FetchTopics = OFFSET_FETCH.Response.OffsetFetchResponseTopics
_FetchPartitions = OFFSET_FETCH.Response.OffsetFetchResponsePartitions
_DeleteTopic = OFFSET_DELETE.Response.OffsetDeleteResponseTopic
_DeletePartition = OFFSET_DELETE.Response.OffsetDeleteResponsePartition


def _topic(session: Session, asked: Any, version: int) -> Topic:
    """The topic that *asked* names. Raises UnknownTopicError or InvalidTopicError."""
    if version >= TOPIC_IDS:
        return session.broker.catalog.topic_by_id(asked.topic_id.hex())
    return session.broker.topic(asked.name)


def _has_partition(topic: Topic, number: int) -> bool:
    return 0 <= number < len(topic.partitions)


# -- OffsetCommit -------------------------------------------------------------------------------------


def offset_commit(session: Session, request: Any, version: int) -> Any:
    """Answer an OffsetCommit. Blocks until durable."""
    codes: dict[int, ErrorCode] = {}
    offsets: dict[Place, CommittedOffset] = {}
    known: list[Any] = []
    for topic_asked in request.topics:
        try:
            topic = _topic(session, topic_asked, version)
        except PortaskError:
            unknown = ErrorCode.UNKNOWN_TOPIC_ID if version >= TOPIC_IDS else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            codes.update((id(asked), unknown) for asked in topic_asked.partitions)
            continue
        for asked in topic_asked.partitions:
            if not _has_partition(topic, asked.partition_index):
                codes[id(asked)] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                continue
            known.append(asked)
            try:
                session.broker.coordinator.check_metadata(asked.committed_metadata or "")
            except PortaskError as error:
                codes[id(asked)] = code_of(error)
            else:
                offsets[topic, asked.partition_index] = _committed(session, request, asked)
    code = _commit(session, request, version, offsets) if known else ErrorCode.NONE
    if code:
        codes.update((id(asked), code) for asked in known)
    return OFFSET_COMMIT.Response(
        topics=[
            _CommitTopic(
                name=topic_asked.name,
                topic_id=topic_asked.topic_id,
                partitions=[
                    _CommitPartition(
                        partition_index=asked.partition_index, error_code=codes.get(id(asked), ErrorCode.NONE)
                    )
                    for asked in topic_asked.partitions
                ],
            )
            for topic_asked in request.topics
        ]
    )


def _committed(session: Session, request: Any, asked: Any) -> CommittedOffset:
    now_ms = session.broker.clock.now_ms()
    retention_ms = min(request.retention_time_ms, FOREVER_MS)
    return CommittedOffset(
        asked.committed_offset,
        asked.committed_leader_epoch,
        asked.committed_metadata or "",
        now_ms,
        NO_EXPIRY if retention_ms < 0 else now_ms + retention_ms,
    )


def _commit(session: Session, request: Any, version: int, offsets: dict[Place, CommittedOffset]) -> ErrorCode:
    try:
        session.broker.coordinator.commit(
            request.group_id,
            request.member_id,
            request.group_instance_id,
            request.generation_id_or_member_epoch,
            offsets,
        )
    except UnknownGroupError as error:
        return code_of(error) if version >= GROUP_NOT_FOUND else ErrorCode.ILLEGAL_GENERATION
    except PortaskError as error:
        return code_of(error)
    return ErrorCode.NONE


# -- OffsetFetch --------------------------------------------------------------------------------------


def offset_fetch(session: Session, request: Any, version: int) -> Any:
    """Answer an OffsetFetch. What was never committed, or belongs to no topic, is at offset -1 without an error."""
    if version >= BATCHED_FETCH:
        groups = [_fetch_group(session, group, request.require_stable, version) for group in request.groups]
        return OFFSET_FETCH.Response(groups=groups)
    group = _fetch_group(session, request, request.require_stable, version)
    code = group.error_code
    return OFFSET_FETCH.Response(
        topics=[
            _FetchTopic(
                name=topic.name,
                partitions=[
                    _FetchPartition(
                        partition_index=part.partition_index,
                        committed_offset=part.committed_offset,
                        committed_leader_epoch=part.committed_leader_epoch,
                        metadata=part.metadata,
                        error_code=code if code and version < TOP_ERROR else part.error_code,
                    )
                    for part in topic.partitions
                ],
            )
            for topic in group.topics
        ],
        error_code=code,
    )


def _fetch_group(session: Session, asked: Any, stable: bool, version: int) -> Any:
    group_id = asked.group_id
    try:
        session.broker.coordinator.check_running()
    except PortaskError as error:
        topics = _nowhere(asked) if version < TOP_ERROR else []
        return _FetchGroup(group_id=group_id, topics=topics, error_code=code_of(error))
    topics = _all_topics(session, group_id, stable) if asked.topics is None else []
    for topic_asked in asked.topics or ():
        code = ErrorCode.NONE
        topic_id = None
        try:
            topic_id = _topic(session, topic_asked, version).id
        except UnknownTopicError:
            code = ErrorCode.UNKNOWN_TOPIC_ID if version >= TOPIC_IDS else ErrorCode.NONE
        except PortaskError:
            # A name that no topic can have: nothing was ever committed there.
            code = ErrorCode.NONE
        topics.append(
            _FetchTopics(
                name=topic_asked.name if version < TOPIC_IDS else "",
                topic_id=topic_asked.topic_id if version >= TOPIC_IDS else bytes(16),
                partitions=[
                    _offset(session, group_id, topic_id, number, stable, code)
                    for number in topic_asked.partition_indexes
                ],
            )
        )
    return _FetchGroup(group_id=group_id, topics=topics)


def _nowhere(asked: Any) -> list[Any]:
    return [
        _FetchTopics(
            name=topic.name,
            partitions=[
                _FetchPartitions(partition_index=number, committed_offset=NO_OFFSET)
                for number in topic.partition_indexes
            ],
        )
        for topic in asked.topics or ()
    ]


def _all_topics(session: Session, group_id: str, stable: bool) -> list[Any]:
    topics = []
    for topic_id, partitions in session.broker.coordinator.offsets.of_group(group_id).items():
        try:
            topic = session.broker.catalog.topic_by_id(topic_id)
        except UnknownTopicError:
            # It was deleted a moment ago.
            continue
        topics.append(
            _FetchTopics(
                name=topic.name,
                topic_id=bytes.fromhex(topic_id),
                partitions=[
                    _offset(session, group_id, topic_id, number, stable, ErrorCode.NONE) for number in partitions
                ],
            )
        )
    return topics


def _offset(session: Session, group_id: str, topic_id: str | None, number: int, stable: bool, code: ErrorCode) -> Any:
    coordinator = session.broker.coordinator
    if topic_id is None:
        return _FetchPartitions(partition_index=number, committed_offset=NO_OFFSET, error_code=code)
    key = OffsetKey(group_id, topic_id, number)
    if stable and coordinator.is_unstable(key):
        code = ErrorCode.UNSTABLE_OFFSET_COMMIT
    offset = None if code else coordinator.offsets.get(key)
    if offset is None:
        return _FetchPartitions(partition_index=number, committed_offset=NO_OFFSET, error_code=code)
    return _FetchPartitions(
        partition_index=number,
        committed_offset=offset.offset,
        committed_leader_epoch=offset.leader_epoch,
        metadata=offset.metadata,
    )


# -- OffsetDelete -------------------------------------------------------------------------------------


def offset_delete(session: Session, request: Any, version: int) -> Any:
    """Answer an OffsetDelete. Blocks until durable."""
    coordinator = session.broker.coordinator
    keys: list[OffsetKey] = []
    topics = []
    try:
        group = coordinator.group(request.group_id)
        for topic_asked in request.topics:
            codes = {part.partition_index: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION for part in topic_asked.partitions}
            try:
                topic = session.broker.topic(topic_asked.name)
            except PortaskError:
                topic = None
            for number in codes if topic is not None else ():
                assert topic is not None
                if group.is_subscribed(topic.name):
                    codes[number] = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
                elif _has_partition(topic, number):
                    codes[number] = ErrorCode.NONE
                    keys.append(OffsetKey(request.group_id, topic.id, number))
            topics.append(
                _DeleteTopic(
                    name=topic_asked.name,
                    partitions=[
                        _DeletePartition(partition_index=number, error_code=code) for number, code in codes.items()
                    ],
                )
            )
        coordinator.delete_offsets(request.group_id, keys)
    except PortaskError as error:
        return OFFSET_DELETE.Response(error_code=code_of(error))
    return OFFSET_DELETE.Response(topics=topics)
