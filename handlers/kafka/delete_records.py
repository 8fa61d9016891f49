"""DeleteRecords: moving log start offsets on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.refusal import RefusedError, refusal
from handlers.kafka.tables import DELETE_RECORDS
from portask.errors import InvalidTopicError, PortaskError, UnknownPartitionError, UnknownTopicError
from portask.partition import Partition
from portask.retention import trim

if TYPE_CHECKING:
    from handlers.kafka.session import Session

HIGH_WATERMARK = -1
_UNKNOWN = -1

_Topic = DELETE_RECORDS.Response.DeleteRecordsTopicResult
_Partition = DELETE_RECORDS.Response.DeleteRecordsPartitionResult


def delete_records(session: Session, request: Any, version: int) -> Any:
    """Answer a DeleteRecords request. Blocks until what is deleted stays deleted."""
    found: dict[tuple[str, int], Partition | PortaskError] = {}
    offsets: dict[Partition, int] = {}
    for topic in request.topics:
        for asked in topic.partitions:
            place = topic.name, asked.partition_index
            try:
                found[place] = partition = _find(session, *place)
                offsets[partition] = _offset(partition, asked.offset)
            except PortaskError as error:
                found[place] = error
    trims = {partition: offset for partition, offset in offsets.items() if offset > partition.log_start_offset}
    failure = None
    if trims:
        try:
            trim(session.broker.bus, trims)
        except PortaskError as error:
            failure = error

    def answer(name: str, index: int) -> Any:
        result = found[name, index]
        if failure is not None and result in trims:
            result = failure
        if isinstance(result, PortaskError):
            return _Partition(partition_index=index, low_watermark=_UNKNOWN, error_code=refusal(result)[0])
        return _Partition(partition_index=index, low_watermark=result.log_start_offset, error_code=ErrorCode.NONE)

    return DELETE_RECORDS.Response(
        topics=[
            _Topic(
                name=topic.name, partitions=[answer(topic.name, asked.partition_index) for asked in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def _find(session: Session, name: str, index: int) -> Partition:
    try:
        partition = session.broker.topic(name).partition(index)
    except (UnknownTopicError, InvalidTopicError, UnknownPartitionError) as error:
        raise RefusedError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) from error
    if "delete" not in partition.topic.config.cleanup_policy:
        raise RefusedError(
            ErrorCode.POLICY_VIOLATION,
            f"Records of partition {name}-{index} can not be deleted due to the configured policy",
        )
    return partition


def _offset(partition: Partition, offset: int) -> int:
    if offset == HIGH_WATERMARK:
        return partition.high_watermark
    if not 0 <= offset <= partition.high_watermark:
        raise RefusedError(ErrorCode.OFFSET_OUT_OF_RANGE)
    return offset
