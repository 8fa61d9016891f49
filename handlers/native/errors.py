"""Errors on the wire: one table from what went wrong to the code that a peer sees."""

from __future__ import annotations

from handlers.base import TooManyConnectionsError
from handlers.native.command import CommandTimeoutError, UnknownCommandError
from portask import errors

CODES: dict[type[errors.PortaskError], tuple[str, str]] = {
    errors.ProtocolError: ("SYNTAX", "the command, or its bytes, are not as this document says"),
    UnknownCommandError: ("UNKNOWN_COMMAND", "no such verb in this mode"),
    errors.UsageError: ("INVALID", "an argument has a value that it cannot have"),
    errors.UnknownTopicError: ("UNKNOWN_TOPIC", "no such topic"),
    errors.TopicExistsError: ("TOPIC_EXISTS", "CREATE of a topic that is there"),
    errors.InvalidTopicError: ("INVALID_TOPIC", "a topic's or group's name or a setting is not allowed"),
    errors.UnknownPartitionError: ("UNKNOWN_PARTITION", "the topic has no such partition"),
    errors.UnknownSubscriptionError: ("UNKNOWN_GROUP", "no such group, or this connection is not subscribed to it"),
    errors.NotFoundError: ("NOT_FOUND", "no policy of that name, or no delayed message of that id"),
    errors.OffsetOutOfRangeError: ("OUT_OF_RANGE", "the offset is before the log's start or beyond its end"),
    errors.MessageTooLargeError: ("TOO_LARGE", "a message, line or frame is larger than allowed"),
    errors.NotInFlightError: ("NOT_IN_FLIGHT", "a message to be settled is not in flight on this connection"),
    errors.SubscriptionInUseError: ("IN_USE", "the group has consumers, or this connection subscribed to it already"),
    errors.ConfigError: ("CONFIG", "RELOAD found a configuration that is not valid; nothing was changed"),
    errors.UnavailableError: ("BUSY", "not possible now; retry"),
    errors.StorageFullError: ("FULL", "no space left, nothing was written; retry when there is room"),
    errors.StorageFailedError: ("STOPPED", "storage failed and the log has stopped until a restart"),
    errors.StorageError: ("STORAGE", "storage could not do it"),
    errors.CorruptError: ("CORRUPT", "stored bytes are damaged there"),
    errors.ShuttingDownError: ("SHUTTING_DOWN", "the server is stopping; retry elsewhere or later"),
    TooManyConnectionsError: ("TOO_MANY_CONNECTIONS", "`max_connections` are open; retry later"),
    CommandTimeoutError: ("TIMEOUT", "a command was begun and not finished in time"),
    errors.PortaskError: ("INTERNAL", "anything else"),
}


def code_of(error: errors.PortaskError) -> str:
    """The code of the nearest class in the table."""
    return next(CODES[kind][0] for kind in type(error).__mro__ if kind in CODES)


def markdown_table() -> str:
    """The table of codes in docs/protocol.md."""
    rows = ["| Code | Meaning |", "|---|---|", *(f"| `{code}` | {text} |" for code, text in CODES.values())]
    return "\n".join(rows) + "\n"
