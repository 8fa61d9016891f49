"""Refusals: an error code with the words that Kafka has for it."""

from __future__ import annotations

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.topic_config_key import InvalidConfigError
from portask import errors
from portask.errors import PortaskError

_TEXTS = {
    ErrorCode.INVALID_REQUEST: "This most likely occurs because of a request being malformed by the client library or "
    "the message was sent to an incompatible broker. See the broker logs for more details.",
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "This server does not host this topic-partition.",
    ErrorCode.UNKNOWN_TOPIC_ID: "This server does not host this topic ID.",
    ErrorCode.REQUEST_TIMED_OUT: "The request timed out.",
}


class RefusedError(PortaskError):
    """Something that Kafka refuses with *code*.

    Without a text the code's own words count; an empty text is none at all.
    """

    def __init__(self, code: ErrorCode, text: str | None = None) -> None:
        super().__init__(_TEXTS.get(code, code.name) if text is None else text)
        self.code = code


def refusal(error: PortaskError) -> tuple[ErrorCode, str | None]:
    """The code and the text, if any, that a peer gets for *error*."""
    if isinstance(error, RefusedError):
        code = error.code
    elif isinstance(error, InvalidConfigError):
        code = ErrorCode.INVALID_CONFIG
    elif isinstance(error, errors.InvalidPartitionsError):
        code = ErrorCode.INVALID_PARTITIONS
    else:
        code = code_of(error)
    return code, str(error) or None
