"""ListOffsets and OffsetForLeaderEpoch: where a log begins, ends, and stood at a time or an epoch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.tables import LIST_OFFSETS, OFFSET_FOR_LEADER_EPOCH
from portask.errors import PortaskError
from portask.time_search import find_newest, find_record

if TYPE_CHECKING:
    from handlers.kafka.session import Session
    from portask.partition import Partition

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD = range(-1, -7, -1)
FIRST_VERSIONS = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
"""The special timestamps; other negative ones no version knows."""
UNKNOWN = -1

_OffsetsTopic = LIST_OFFSETS.Response.ListOffsetsTopicResponse
_OffsetsPartition = LIST_OFFSETS.Response.ListOffsetsPartitionResponse
_EpochTopic = OFFSET_FOR_LEADER_EPOCH.Response.OffsetForLeaderTopicResult
_EpochPartition = OFFSET_FOR_LEADER_EPOCH.Response.EpochEndOffset


def list_offsets(session: Session, request: Any, version: int) -> Any:
    """Answer a ListOffsets. May block."""
    asked = Counter((topic.name, part.partition_index) for topic in request.topics for part in topic.partitions)
    return LIST_OFFSETS.Response(
        topics=[
            _OffsetsTopic(
                name=topic.name,
                partitions=[
                    _refused(part, ErrorCode.INVALID_REQUEST)
                    if asked[topic.name, part.partition_index] > 1
                    else _offset(session, topic.name, part, version)
                    for part in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _refused(part: Any, code: ErrorCode) -> Any:
    return _OffsetsPartition(
        partition_index=part.partition_index,
        error_code=code,
        timestamp=UNKNOWN,
        offset=UNKNOWN,
        leader_epoch=UNKNOWN,
    )


def _offset(session: Session, name: str, part: Any, version: int) -> Any:
    timestamp = part.timestamp
    if timestamp < 0 and (timestamp not in FIRST_VERSIONS or version < FIRST_VERSIONS[timestamp]):
        return _refused(part, ErrorCode.UNSUPPORTED_VERSION)
    try:
        partition = session.partition(name, part.partition_index)
        code = check_epoch(partition, part.current_leader_epoch)
        if code is not ErrorCode.NONE:
            return _refused(part, code)
        timestamp, offset = _find(partition, timestamp)
    except PortaskError as error:
        return _refused(part, code_of(error))
    return _OffsetsPartition(
        partition_index=part.partition_index,
        error_code=ErrorCode.NONE,
        timestamp=timestamp,
        offset=offset,
        leader_epoch=UNKNOWN if offset == UNKNOWN else partition.leader_epoch,
    )


def _find(partition: Partition, timestamp: int) -> tuple[int, int]:
    """The timestamp and the offset that *timestamp*, a time in ms or a special one, stands for. May block."""
    if timestamp == LATEST:
        return UNKNOWN, partition.high_watermark
    if timestamp in {EARLIEST, EARLIEST_LOCAL}:
        return UNKNOWN, partition.log_start_offset
    if timestamp == MAX_TIMESTAMP:
        return find_newest(partition) or (UNKNOWN, UNKNOWN)
    if timestamp < 0:
        # Nothing is kept elsewhere, so no offset has been moved there or waits for it.
        return UNKNOWN, UNKNOWN
    return find_record(partition, timestamp) or (UNKNOWN, UNKNOWN)


def check_epoch(partition: Partition, leader_epoch: int) -> ErrorCode:
    """Whether a client that knows the partition's leader at *leader_epoch*, -1 for any, is up to date."""
    if leader_epoch == partition.leader_epoch or leader_epoch == UNKNOWN:  # noqa: PLR1714 # a set is built each time
        return ErrorCode.NONE
    is_old = leader_epoch < partition.leader_epoch
    return ErrorCode.FENCED_LEADER_EPOCH if is_old else ErrorCode.UNKNOWN_LEADER_EPOCH


def offset_for_leader_epoch(session: Session, request: Any, version: int) -> Any:
    """Answer an OffsetForLeaderEpoch."""
    return OFFSET_FOR_LEADER_EPOCH.Response(
        topics=[
            _EpochTopic(
                topic=topic.topic, partitions=[_epoch_end(session, topic.topic, part) for part in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def _epoch_end(session: Session, name: str, part: Any) -> Any:
    answer = _EpochPartition(
        error_code=ErrorCode.NONE, partition=part.partition, leader_epoch=UNKNOWN, end_offset=UNKNOWN
    )
    try:
        partition = session.partition(name, part.partition)
        answer.error_code = check_epoch(partition, part.current_leader_epoch)
    except PortaskError as error:
        answer.error_code = code_of(error)
    # One broker leads in one epoch: of a later one nothing is known, of earlier ones nothing is left.
    if answer.error_code == ErrorCode.NONE and part.leader_epoch == partition.leader_epoch:
        answer.leader_epoch, answer.end_offset = partition.leader_epoch, partition.high_watermark
    return answer
