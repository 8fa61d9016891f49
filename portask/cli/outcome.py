"""Exit codes, and which of them an error stands for.

Scripts rely on the codes, people on the line: `portask: what happened; how to fix it`. This is the
one place that turns an error into either.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import NamedTuple

from portask.errors import ConfigError, CorruptError, LockedError, PortaskError, UnavailableError, UsageError


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    DAMAGED = 5
    INTERRUPTED = 130


EXIT_TEXTS = {
    Exit.OK: "It worked. Also when the reader of the output closed it early.",
    Exit.FAILED: "It did not work; the line on stderr says why.",
    Exit.USAGE: "The command line or the configuration is wrong. Nothing was done.",
    Exit.NOT_FOUND: "There is no such topic, partition, group, policy, delayed message or file.",
    Exit.UNAVAILABLE: "The broker is not there, busy, full or stopping, or the data directory is in use. Try later.",
    Exit.DAMAGED: "`verify` found damage, or stored data that was asked for is damaged.",
    Exit.INTERRUPTED: "Stopped with Ctrl-C.",
}


class CommandError(PortaskError):
    """A command cannot go on; the text is the line for stderr, *code* the exit code."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(text)
        self.code = code


class Outcome(NamedTuple):
    """What to tell and what to exit with."""

    code: Exit
    text: str


# The broker's codes (handlers/native) as exit codes; what is not here is FAILED.
_ANSWERS = {
    "SYNTAX": Exit.USAGE,
    "INVALID": Exit.USAGE,
    "INVALID_TOPIC": Exit.USAGE,
    "CONFIG": Exit.USAGE,
    "TOO_LARGE": Exit.USAGE,
    "UNKNOWN_TOPIC": Exit.NOT_FOUND,
    "UNKNOWN_PARTITION": Exit.NOT_FOUND,
    "UNKNOWN_GROUP": Exit.NOT_FOUND,
    "NOT_FOUND": Exit.NOT_FOUND,
    "BUSY": Exit.UNAVAILABLE,
    "FULL": Exit.UNAVAILABLE,
    "STOPPED": Exit.UNAVAILABLE,
    "SHUTTING_DOWN": Exit.UNAVAILABLE,
    "TOO_MANY_CONNECTIONS": Exit.UNAVAILABLE,
    "CONNECTION_LOST": Exit.UNAVAILABLE,
    "CORRUPT": Exit.DAMAGED,
}

# Most special first: the first class that fits counts.
_ERRORS: tuple[tuple[type[PortaskError], Exit], ...] = (
    (ConfigError, Exit.USAGE),
    (CorruptError, Exit.DAMAGED),
    (LockedError, Exit.UNAVAILABLE),
    (UnavailableError, Exit.UNAVAILABLE),
    (UsageError, Exit.USAGE),
    (PortaskError, Exit.FAILED),
)

_SYSTEM_HINTS = {
    errno.ENOENT: "check the path",
    errno.EACCES: "check its permissions and who you are",
    errno.EPERM: "check its permissions and who you are",
    errno.EROFS: "the file system is mounted read-only; use another directory",
    errno.ENOSPC: "free some space and run the command again",
    errno.EISDIR: "name a file, not a directory",
    errno.EADDRINUSE: "stop what listens there or choose another port",
}


def classify(error: PortaskError | OSError) -> Outcome:
    """The exit code of *error* and the line that tells it, without the `portask: `."""
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, CommandError):
        return Outcome(error.code, str(error))
    answer = getattr(error, "code", None)
    if isinstance(answer, str):
        return Outcome(_ANSWERS.get(answer, Exit.FAILED), str(error))
    for kind, code in _ERRORS:
        if isinstance(error, kind):
            return Outcome(code, str(error))
    return Outcome(Exit.FAILED, str(error))  # pragma: no cover - the last row holds for all


def _of_system(error: OSError) -> Outcome:
    text = error.strerror or str(error)
    if error.filename is not None:
        text = f"{error.filename}: {text}"
    hint = _SYSTEM_HINTS.get(error.errno or 0)
    code = Exit.NOT_FOUND if error.errno == errno.ENOENT else Exit.FAILED
    return Outcome(code, f"{text}; {hint}" if hint else text)
