"""InitProducerId and DescribeProducers: ids for producers that number their batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.refusal import refusal
from handlers.kafka.tables import DESCRIBE_PRODUCERS, INIT_PRODUCER_ID
from handlers.kafka.topic_names import check_topic_name
from portask.errors import PortaskError

if TYPE_CHECKING:
    from handlers.kafka.session import Session

UNKNOWN = -1

_TopicAnswer = DESCRIBE_PRODUCERS.Response.TopicResponse
_PartitionAnswer = DESCRIBE_PRODUCERS.Response.PartitionResponse
_ProducerAnswer = DESCRIBE_PRODUCERS.Response.ProducerState


def init_producer_id(session: Session, request: Any, version: int) -> Any:
    """Answer an InitProducerId. Blocks now and then.

    An idempotent producer always gets a new id at epoch 0, also when it names the one that it had.
    """
    answer = INIT_PRODUCER_ID.Response(producer_id=UNKNOWN, producer_epoch=UNKNOWN)
    if request.transactional_id is not None:
        # An empty one is a mistake; any other asks for transactions, which are not part of this version.
        answer.error_code = ErrorCode.UNSUPPORTED_VERSION if request.transactional_id else ErrorCode.INVALID_REQUEST
        return answer
    if (request.producer_id == UNKNOWN) != (request.producer_epoch == UNKNOWN):
        answer.error_code = ErrorCode.INVALID_REQUEST
        return answer
    try:
        answer.producer_id, answer.producer_epoch = session.broker.producers.new_id(), 0
    except PortaskError as error:
        # The only code that every client takes for "ask again" here.
        is_final = code_of(error) is ErrorCode.KAFKA_STORAGE_ERROR
        answer.error_code = code_of(error) if is_final else ErrorCode.COORDINATOR_NOT_AVAILABLE
    return answer


def describe_producers(session: Session, request: Any, version: int) -> Any:
    """Answer a DescribeProducers."""
    return DESCRIBE_PRODUCERS.Response(
        topics=[
            _TopicAnswer(
                name=topic.name,
                partitions=[_describe(session, topic.name, number) for number in topic.partition_indexes],
            )
            for topic in request.topics
        ]
    )


def _describe(session: Session, name: str, number: int) -> Any:
    try:
        check_topic_name(name)
        partition = session.partition(name, number)
    except PortaskError as error:
        code, text = refusal(error)
        return _PartitionAnswer(partition_index=number, error_code=code, error_message=text, active_producers=[])
    return _PartitionAnswer(
        partition_index=number,
        error_code=ErrorCode.NONE,
        error_message=None,
        active_producers=[
            _ProducerAnswer(
                producer_id=producer_id,
                producer_epoch=producer.epoch,
                last_sequence=producer.entries[-1].last_sequence,
                last_timestamp=producer.entries[-1].timestamp,
                coordinator_epoch=UNKNOWN,
                current_txn_start_offset=UNKNOWN,
            )
            for producer_id, producer in partition.producers.items()
        ],
    )
