"""Refusals: an error code with the words that Kafka has for it."""

from __future__ import annotations

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.topic_configs import InvalidConfigError
from portask import errors
from portask.errors import PortaskError

_TEXTS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "This server does not host this topic-partition.",
    ErrorCode.UNKNOWN_TOPIC_ID: "This server does not host this topic ID.",
    ErrorCode.ELECTION_NOT_NEEDED: "Leader election not needed for topic partition.",
    ErrorCode.NO_REASSIGNMENT_IN_PROGRESS: "No partition reassignment is in progress.",
    ErrorCode.REQUEST_TIMED_OUT: "The request timed out.",
}


class RefusedError(PortaskError):
    """Something that Kafka refuses with *code*; without a text the code's own words count."""

    def __init__(self, code: ErrorCode, text: str | None = None) -> None:
        super().__init__(text or _TEXTS.get(code, code.name))
        self.code = code


def refusal(error: PortaskError) -> tuple[ErrorCode, str]:
    """The code and the text that a peer gets for *error*."""
    if isinstance(error, RefusedError):
        code = error.code
    elif isinstance(error, InvalidConfigError):
        code = ErrorCode.INVALID_CONFIG
    elif isinstance(error, errors.InvalidPartitionsError):
        code = ErrorCode.INVALID_PARTITIONS
    else:
        code = code_of(error)
    return code, str(error)
