"""Which exit code an error stands for."""

import errno

import pytest

from handlers.native.errors import CODES
from portask.cli import outcome
from portask.cli.outcome import CommandError, Exit, classify
from portask.client import ClientError, ConnectionLostError
from portask.errors import ConfigError, CorruptError, LockedError, PortaskError, StorageFullError, UsageError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("x", Exit.DAMAGED), Exit.DAMAGED),
        (ConfigError("x"), Exit.USAGE),
        (UsageError("x"), Exit.USAGE),
        (CorruptError("x"), Exit.DAMAGED),
        (LockedError("x"), Exit.UNAVAILABLE),
        (StorageFullError("x"), Exit.UNAVAILABLE),
        (PortaskError("x"), Exit.FAILED),
        (ClientError("UNKNOWN_TOPIC", "x"), Exit.NOT_FOUND),
        (ClientError("UNKNOWN_GROUP", "x"), Exit.NOT_FOUND),
        (ClientError("INVALID_TOPIC", "x"), Exit.USAGE),
        (ClientError("BUSY", "x"), Exit.UNAVAILABLE),
        (ClientError("TOPIC_EXISTS", "x"), Exit.FAILED),
        (ConnectionLostError("x"), Exit.UNAVAILABLE),
    ],
)
def test_error_has_its_code(error, code):
    assert classify(error) == (code, "x")


def test_every_code_that_is_told_apart_is_one_that_a_broker_sends():
    known = {code for code, _ in CODES.values()} | {"CONNECTION_LOST"}

    assert set(outcome._ANSWERS) <= known


def test_missing_file_is_not_found_and_names_the_path():
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "here")

    assert classify(error) == (Exit.NOT_FOUND, "here: No such file or directory; check the path")


def test_other_errors_of_the_system_say_what_they_are():
    assert classify(OSError(errno.EIO, "Input/output error")) == (Exit.FAILED, "Input/output error")
    assert classify(OSError("just a text")) == (Exit.FAILED, "just a text")
