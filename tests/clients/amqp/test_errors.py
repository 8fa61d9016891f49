"""Each misuse gets its own error: channel or connection, code, text, and the method that is blamed."""

import copy

import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader

from tests.clients.amqp.misuse import CHANNEL_ERRORS, declare, message, on_connection
from tests.clients.amqp.misuse_arguments import ARGUMENT_ERRORS
from tests.clients.amqp.wire import Wire

ENDING_CHANNELS = {**CHANNEL_ERRORS, **ARGUMENT_ERRORS}
CONNECTION_ERRORS = {
    "publish with immediate": on_connection(
        540, "NOT_IMPLEMENTED - immediate=true", (60, 40), *message(immediate=True)
    ),
    "prefetch in bytes": on_connection(
        540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)", (60, 10), Basic.Qos(prefetch_size=1)
    ),
    "recover without requeue": on_connection(540, "NOT_IMPLEMENTED - requeue=false", (60, 110), Basic.Recover(False)),
    "flow off": on_connection(540, "NOT_IMPLEMENTED - active=false", (20, 20), Channel.Flow(False)),
    "consumer tag that is taken": on_connection(
        530,
        "NOT_ALLOWED - attempt to reuse consumer tag 'one'",
        (60, 20),
        declare("Q"),
        Basic.Consume(queue="Q", consumer_tag="one"),
        Basic.Consume(queue="Q", consumer_tag="one"),
    ),
    "header without publish": on_connection(
        505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead", (0, 0), ContentHeader(0, 0)
    ),
    "body without header": on_connection(
        505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead", (0, 0), ContentBody(b"hello")
    ),
    "body right after publish": on_connection(
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        (60, 40),
        Basic.Publish(),
        ContentBody(b"hello"),
    ),
    "method inside a message": on_connection(
        505,
        "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        (60, 40),
        Basic.Publish(),
        ContentHeader(0, 5),
        Basic.Qos(0, 1),
    ),
}


@pytest.fixture
def wire(broker):
    with Wire(broker.address) as wire:
        wire.open()
        yield wire


def named(one, queue):
    """A frame, Q replaced by *queue*."""
    one = copy.copy(one)
    for field in getattr(one, "__slots__", ()):
        if getattr(one, field) == "Q":
            setattr(one, field, queue)
    return one


def refusal(wire, misuse, queue):
    """How the broker answers one row, and what is expected of it."""
    wire.send(*(named(one, queue) for one in misuse.frames))
    closed = wire.closed()
    text = misuse.text.replace("'Q'", f"'{queue}'")
    return closed._replace(text=closed.text[: len(text)]), (misuse.what, misuse.code, text, misuse.method)


@pytest.mark.parametrize("misuse", ENDING_CHANNELS.values(), ids=ENDING_CHANNELS)
def test_misuse_closes_the_channel(wire, name, misuse):
    closed, expected = refusal(wire, misuse, name())

    assert closed == expected


@pytest.mark.parametrize("misuse", ENDING_CHANNELS.values(), ids=ENDING_CHANNELS)
def test_connection_goes_on_after_a_channel_error(wire, name, misuse):
    refusal(wire, misuse, name())
    wire.send(Channel.CloseOk())

    wire.ask(Channel.Open(), Channel.OpenOk)


@pytest.mark.parametrize("misuse", CONNECTION_ERRORS.values(), ids=CONNECTION_ERRORS)
def test_misuse_closes_the_connection(wire, name, misuse):
    closed, expected = refusal(wire, misuse, name())

    assert closed == expected


@pytest.mark.parametrize("misuse", CONNECTION_ERRORS.values(), ids=CONNECTION_ERRORS)
def test_broker_hangs_up_after_close_ok(wire, name, misuse):
    refusal(wire, misuse, name())
    wire.send_bytes(b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x33\xce")

    assert wire.is_over()
