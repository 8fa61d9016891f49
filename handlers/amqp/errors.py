"""What ends a channel or a connection, with the reply code that its peer is told."""

from __future__ import annotations

from portask.errors import (
    AccessRefusedError,
    LockedQueueError,
    NotAllowedError,
    NotFoundError,
    NotImplementedHereError,
    PortaskError,
    PreconditionError,
    ProtocolError,
    QueueFullError,
    ShuttingDownError,
    StorageFailedError,
    UnavailableError,
    UnknownTopicError,
    UsageError,
)

NO_ROUTE = 312
CONNECTION_FORCED = 320
ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
FRAME_ERROR = 501
SYNTAX_ERROR = 502
COMMAND_INVALID = 503
CHANNEL_ERROR = 504
UNEXPECTED_FRAME = 505
RESOURCE_ERROR = 506
NOT_ALLOWED = 530
NOT_IMPLEMENTED = 540
INTERNAL_ERROR = 541

REPLY_CODES: dict[type[PortaskError], int] = {
    NotFoundError: NOT_FOUND,
    UnknownTopicError: NOT_FOUND,
    PreconditionError: PRECONDITION_FAILED,
    AccessRefusedError: ACCESS_REFUSED,
    LockedQueueError: RESOURCE_LOCKED,
    NotAllowedError: NOT_ALLOWED,
    NotImplementedHereError: NOT_IMPLEMENTED,
    QueueFullError: PRECONDITION_FAILED,
    ProtocolError: SYNTAX_ERROR,
    UsageError: PRECONDITION_FAILED,
    ShuttingDownError: CONNECTION_FORCED,
    StorageFailedError: INTERNAL_ERROR,
    UnavailableError: RESOURCE_ERROR,
    PortaskError: INTERNAL_ERROR,
}
"""From the core's errors to reply codes; the nearest class counts."""


class AmqpError(Exception):
    """Ends a channel or the connection, by its code."""

    def __init__(self, code: int, text: str, class_id: int = 0, method_id: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.class_id = class_id
        """Of the method that is to blame; 0 for none."""
        self.method_id = method_id


def publish_error(error: PortaskError) -> AmqpError:
    """*error* as that of a basic.publish."""
    return AmqpError(reply_code(error), str(error), 60, 40)


def reply_code(error: PortaskError) -> int:
    """The reply code that tells of *error*."""
    return next(REPLY_CODES[cls] for cls in type(error).__mro__ if cls in REPLY_CODES)
