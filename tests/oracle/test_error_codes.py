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


@pytest.mark.parametrize("theirs", KioCode, ids=[code.name for code in KioCode])
def test_code_is_that_of_kio(theirs):
    ours = ErrorCode(int(theirs))

    assert (ours.name.lower(), ours in RETRIABLE) == (theirs.name, theirs.retriable)


@pytest.mark.parametrize("number", sorted(KAFKA_PYTHON))
def test_code_is_that_of_kafka_python(number):
    theirs = KAFKA_PYTHON[number]
    ours = ErrorCode(number)

    assert (ours.name, ours in RETRIABLE) == (theirs.message, theirs.retriable)
