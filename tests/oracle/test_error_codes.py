"""Our error codes against those of kio and kafka-python."""

import inspect

import kafka.errors
import pytest
from kio.schema.errors import ErrorCode as KioCode

from handlers.kafka.error_codes import RETRIABLE, ErrorCode

KAFKA_PYTHON = {
    cls.errno: cls
    for _, cls in inspect.getmembers(kafka.errors, inspect.isclass)
    if isinstance(getattr(cls, "errno", None), int)
}

KAFKA_PYTHON_NAMES = {
    # Older names, or names of its own.
    -1: "UNKNOWN",
    0: "NO_ERROR",
    6: "NOT_LEADER_FOR_PARTITION",
    10: "MESSAGE_SIZE_TOO_LARGE",
    17: "INVALID_TOPIC",
    39: "INVALID_REPLICATION_ASSIGNMENT",
}
KAFKA_PYTHON_DOES_NOT_RETRY = {ErrorCode.CORRUPT_MESSAGE}


@pytest.mark.parametrize("theirs", KioCode, ids=[code.name for code in KioCode])
def test_code_is_that_of_kio(theirs):
    ours = ErrorCode(int(theirs))

    assert (ours.name.lower(), ours in RETRIABLE) == (theirs.name, theirs.retriable)


@pytest.mark.parametrize("number", sorted(KAFKA_PYTHON))
def test_code_is_that_of_kafka_python(number):
    theirs = KAFKA_PYTHON[number]
    ours = ErrorCode(number)

    assert KAFKA_PYTHON_NAMES.get(number, ours.name) == theirs.message
    assert (ours in RETRIABLE - KAFKA_PYTHON_DOES_NOT_RETRY) == theirs.retriable
