"""Loggers of the broker, whose levels can be read and set until the next start."""

from __future__ import annotations

import logging
from typing import Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.operations import Operation
from handlers.kafka.refusal import RefusedError

ROOT = "root"
LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}
_NAMES = {level: name for name, level in LEVELS.items()}


def levels() -> dict[str, str]:
    """The level of every logger by its name."""
    loggers = {name: each for name, each in logging.root.manager.loggerDict.items() if isinstance(each, logging.Logger)}
    return {name: _level(each) for name, each in sorted((loggers | {ROOT: logging.root}).items())}


def _level(logger: logging.Logger) -> str:
    effective = logger.getEffectiveLevel()
    return next(name for level, name in sorted(_NAMES.items(), reverse=True) if level <= max(effective, logging.DEBUG))


def check(name: str, operation: Operation, value: str | None) -> None:
    """Raise RefusedError unless `apply` may do this."""
    if operation not in {Operation.SET, Operation.DELETE}:
        raise RefusedError(
            ErrorCode.INVALID_REQUEST, f"{operation.name} operation is not allowed for the BROKER_LOGGER resource"
        )
    if name not in levels():
        raise RefusedError(ErrorCode.INVALID_CONFIG, f"Logger {name} does not exist!")
    if operation is Operation.DELETE:
        if name == ROOT:
            raise RefusedError(ErrorCode.INVALID_REQUEST, f"Removing the log level of the {ROOT} logger is not allowed")
    elif value not in LEVELS:
        raise RefusedError(
            ErrorCode.INVALID_CONFIG,
            f"Cannot set the log level of {name} to {value} as it is not a supported log level. "
            f"Valid log levels are {', '.join(sorted(LEVELS))}",
        )


def apply(name: str, operation: Operation, value: Any) -> None:
    """Set the level of a logger, or let it follow the one above it again. To be checked before."""
    logger = logging.root if name == ROOT else logging.getLogger(name)
    logger.setLevel(LEVELS[value] if operation is Operation.SET else logging.NOTSET)
