"""Text from outside that is to be stored: not every text that JSON can say has an encoding."""

from __future__ import annotations

from portask.errors import PreconditionError

MAX_NAME_BYTES = 255
"""As long as AMQP lets a name be."""


def check_text(what: str, *texts: str) -> None:
    """Raise PreconditionError unless all of *texts* can be written as UTF-8; *what* is for the error."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PreconditionError(f"{what} {text!r} cannot be written as UTF-8") from None


def check_name(what: str, *names: str) -> None:
    """Raise PreconditionError unless all of *names* are text of 1 to MAX_NAME_BYTES bytes."""
    check_text(what, *names)
    for name in names:
        if not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
            raise PreconditionError(f"{what} must be 1 to {MAX_NAME_BYTES} bytes long, not {len(name.encode())}")
