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
