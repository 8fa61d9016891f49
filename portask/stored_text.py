"""Text from outside that is to be stored: not every text that JSON can say has an encoding."""

from __future__ import annotations

import json
from typing import Any

from portask.errors import PreconditionError

MAX_NAME_BYTES = 255
"""As long as AMQP lets a name be."""
MAX_DEPTH = 32
"""Levels of lists and objects within each other, so that what is stored can always be read again."""


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


def to_json(value: Any) -> bytes:
    """*value* as JSON in ASCII. Raises PreconditionError for NaN, infinity and what is nested too deeply."""
    _check_depth(value, MAX_DEPTH)
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError as error:
        raise PreconditionError(f"a number cannot be stored: {error}") from None


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict | list):
        if not left:
            raise PreconditionError(f"a value has more than {MAX_DEPTH} levels of lists and objects")
        for entry in value.values() if isinstance(value, dict) else value:
            _check_depth(entry, left - 1)
