"""Methods by their tables."""

import struct

import pytest

from handlers.amqp.methods import METHODS
from handlers.amqp.tables import BASIC_ACK, QUEUE_DECLARE
from portask.errors import ProtocolError

EVERY = sorted(METHODS.values(), key=lambda method: (method.class_id, method.method_id))


@pytest.mark.parametrize("method", EVERY, ids=lambda method: method.name)
def test_payload_begins_with_the_numbers_of_the_method(method):
    assert method.encode(method.value())[:4] == struct.pack(">HH", method.class_id, method.method_id)


@pytest.mark.parametrize("method", EVERY, ids=lambda method: method.name)
def test_value_knows_its_method(method):
    assert method.value().method is method


@pytest.mark.parametrize("method", EVERY, ids=lambda method: method.name)
def test_payload_that_is_cut_or_too_long_is_refused(method):
    payload = method.encode(method.value())

    with pytest.raises(ProtocolError, match="follow the arguments"):
        method.decode(payload + b"\0")
    for size in range(4, len(payload)):
        with pytest.raises(ProtocolError):
            method.decode(payload[:size])


def test_arguments_are_decoded_from_any_position():
    payload = BASIC_ACK.encode(BASIC_ACK.value(delivery_tag=5, multiple=True))

    assert BASIC_ACK.decode(memoryview(b"xyz" + payload), 7) == BASIC_ACK.value(delivery_tag=5, multiple=True)


def test_method_shows_what_it_is():
    assert repr(QUEUE_DECLARE) == "<Method 50.10 queue.declare>"


def test_default_tables_are_not_shared():
    first, second = QUEUE_DECLARE.value(), QUEUE_DECLARE.value()
    first.arguments["x-expires"] = 1

    assert second.arguments == {}
