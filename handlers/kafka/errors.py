"""From what the core raises to what Kafka calls it."""

from __future__ import annotations

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.record_batch import (
    CorruptBatchError,
    InvalidBatchError,
    InvalidBatchTimestampError,
    UnsupportedCompressionError,
)
from portask import errors
from portask.errors import PortaskError

CODES: tuple[tuple[type[PortaskError], ErrorCode], ...] = (
    (CorruptBatchError, ErrorCode.CORRUPT_MESSAGE),
    (InvalidBatchError, ErrorCode.INVALID_RECORD),
    (InvalidBatchTimestampError, ErrorCode.INVALID_TIMESTAMP),
    (UnsupportedCompressionError, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
    (errors.ProtocolError, ErrorCode.INVALID_REQUEST),
    (errors.UnknownTopicError, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    (errors.UnknownPartitionError, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    (errors.TopicExistsError, ErrorCode.TOPIC_ALREADY_EXISTS),
    (errors.InvalidTopicError, ErrorCode.INVALID_TOPIC_EXCEPTION),
    (errors.MessageTooLargeError, ErrorCode.MESSAGE_TOO_LARGE),
    (errors.OffsetOutOfRangeError, ErrorCode.OFFSET_OUT_OF_RANGE),
    (errors.ProducerFencedError, ErrorCode.INVALID_PRODUCER_EPOCH),
    (errors.OutOfOrderSequenceError, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
    (errors.InvalidGroupError, ErrorCode.INVALID_GROUP_ID),
    (errors.UnknownGroupError, ErrorCode.GROUP_ID_NOT_FOUND),
    (errors.GroupNotEmptyError, ErrorCode.NON_EMPTY_GROUP),
    (errors.GroupFullError, ErrorCode.GROUP_MAX_SIZE_REACHED),
    (errors.GroupSubscribedError, ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC),
    (errors.UnknownMemberError, ErrorCode.UNKNOWN_MEMBER_ID),
    (errors.FencedMemberError, ErrorCode.FENCED_INSTANCE_ID),
    (errors.StaleGenerationError, ErrorCode.ILLEGAL_GENERATION),
    (errors.InconsistentProtocolError, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
    (errors.InvalidSessionTimeoutError, ErrorCode.INVALID_SESSION_TIMEOUT),
    (errors.OffsetMetadataTooLargeError, ErrorCode.OFFSET_METADATA_TOO_LARGE),
    (errors.MemberIdRequiredError, ErrorCode.MEMBER_ID_REQUIRED),
    (errors.RebalancingError, ErrorCode.REBALANCE_IN_PROGRESS),
    (errors.CoordinatorUnavailableError, ErrorCode.COORDINATOR_NOT_AVAILABLE),
    # Clients look for another leader, find this broker again and repeat, until it is back or their time is over.
    (errors.ShuttingDownError, ErrorCode.NOT_LEADER_OR_FOLLOWER),
    (errors.StorageError, ErrorCode.KAFKA_STORAGE_ERROR),
    (errors.UnavailableError, ErrorCode.REQUEST_TIMED_OUT),
)
"""The first class that fits counts."""


def code_of(error: PortaskError) -> ErrorCode:
    """Kafka's code for *error*."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    return ErrorCode.UNKNOWN_SERVER_ERROR
