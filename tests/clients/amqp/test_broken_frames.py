"""Frames that are none: each closes the connection with its code."""

import pytest
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Queue
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from tests.clients.amqp.misuse import message
from tests.clients.amqp.wire import Wire

GET = frame.marshal(Basic.Get(queue="orders"), 1)


@pytest.fixture
def wire(broker):
    with Wire(broker.address) as wire:
        wire.open()
        yield wire


def raw(kind, channel, payload):
    return bytes((kind,)) + channel.to_bytes(2) + len(payload).to_bytes(4) + payload + b"\xce"


def refused(wire):
    """Channel or connection, and the code."""
    closed = wire.closed()
    return closed.what, closed.code


def test_frame_with_another_end_is_501(wire):
    wire.send_bytes(GET[:-1] + b"\xcd")

    assert refused(wire) == ("connection", 501)


@pytest.mark.parametrize("kind", [0, 4, 5, 255])
def test_frame_of_an_unknown_type_is_501(wire, kind):
    wire.send_bytes(raw(kind, 1, b"hello"))

    assert refused(wire) == ("connection", 501)


def test_frame_larger_than_agreed_is_501(wire):
    wire.send(Basic.Publish(), ContentHeader(0, 200_000))
    wire.send_bytes(raw(3, 1, bytes(131_072 + 1)))

    assert refused(wire) == ("connection", 501)


def test_frame_of_any_length_is_501_before_it_has_come(wire):
    wire.send_bytes(b"\x03\x00\x01\xff\xff\xff\xff")

    assert refused(wire) == ("connection", 501)


def test_eight_bytes_more_than_agreed_are_forgiven(wire, name):
    queue = name()
    wire.ask(Queue.Declare(queue=queue), Queue.DeclareOk)
    wire.send(Basic.Publish(routing_key=queue), ContentHeader(0, 131_072))
    wire.send_bytes(raw(3, 1, bytes(131_072)))

    wire.ask(Basic.Qos(0, 1), Basic.QosOk)


@pytest.mark.peer_differs("3.10 says 505")
def test_body_longer_than_its_header_said_is_501(wire):
    wire.send(Basic.Publish(), ContentHeader(0, 3), ContentBody(b"hello"))

    assert refused(wire) == ("connection", 501)


def test_header_of_another_class_is_505(wire):
    wire.send(Basic.Publish())
    wire.send_bytes(raw(2, 1, b"\x00\x32\x00\x00" + bytes(8) + b"\x00\x00"))

    assert refused(wire) == ("connection", 505)


def test_heartbeat_on_a_channel_is_505(wire):
    wire.send(Heartbeat(), channel=0)
    wire.send_bytes(raw(8, 1, b""))

    assert refused(wire) == ("connection", 505)


def test_unknown_method_is_501(wire):
    wire.send_bytes(raw(1, 1, b"\x00\x3c\x00\xc8"))

    assert refused(wire) == ("connection", 501)


def test_connection_method_on_a_channel_is_503(wire):
    wire.send_bytes(raw(1, 1, b"\x00\x0a\x00\x28\x01/\x00\x00"))

    assert refused(wire) == ("connection", 503)


def test_method_cut_short_is_501(wire):
    wire.send_bytes(raw(1, 1, b"\x00\x32\x00\x0a\x00\x00\x20ab"))

    assert refused(wire) == ("connection", 501)


@pytest.mark.peer_differs("3.10 takes 128 MiB")
def test_body_beyond_the_limit_is_406(wire):
    wire.send(Basic.Publish(routing_key="orders"), ContentHeader(0, 16 * 1024 * 1024 + 1))
    for _ in range(16 * 1024 * 1024 // 131_064 + 1):
        wire.send(ContentBody(bytes(131_064)))

    closed = wire.closed()
    assert (closed.what, closed.code, closed.method) == ("channel", 406, (60, 40))
    assert closed.text == "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216"


def test_reply_text_is_cut_to_255_bytes(wire):
    wire.send(Basic.Get(queue="q" * 255))

    closed = wire.closed()
    assert closed.code == 404
    assert len(closed.text) == 255


def test_messages_of_two_channels_may_interleave(wire, name):
    queue = name()
    wire.ask(Channel.Open(), Channel.OpenOk, channel=2)
    wire.ask(Queue.Declare(queue=queue), Queue.DeclareOk)
    one, two = message(b"one", routing_key=queue), message(b"two", routing_key=queue)
    for first, second in zip(one, two, strict=True):
        wire.send(first)
        wire.send(second, channel=2)
    wire.ask(Basic.Qos(0, 1), Basic.QosOk)
    wire.ask(Basic.Qos(0, 1), Basic.QosOk, channel=2)
    bodies = set()
    for _ in range(2):
        wire.ask(Basic.Get(queue=queue, no_ack=True), Basic.GetOk)
        wire.expect(ContentHeader)
        bodies.add(wire.expect(ContentBody).value)

    assert bodies == {b"one", b"two"}


def test_connection_that_breaks_does_not_disturb_others(broker, wire, channel, queue):
    wire.send_bytes(b"\xff" * 100)

    assert wire.is_over()
    assert channel.basic_get(queue) == (None, None, None)


def test_body_may_come_in_frames_of_one_byte(wire, name):
    queue = name()
    wire.ask(Queue.Declare(queue=queue), Queue.DeclareOk)
    wire.send(Basic.Publish(routing_key=queue), ContentHeader(0, 5), *(ContentBody(b"%c" % byte) for byte in b"hello"))
    wire.ask(Basic.Get(queue=queue, no_ack=True), Basic.GetOk)
    wire.expect(ContentHeader)

    assert wire.expect(ContentBody).value == b"hello"


def test_empty_body_has_no_frame(wire, name):
    queue = name()
    wire.ask(Queue.Declare(queue=queue), Queue.DeclareOk)
    wire.publish(b"", routing_key=queue)
    wire.ask(Basic.Get(queue=queue, no_ack=True), Basic.GetOk)
    assert wire.expect(ContentHeader).body_size == 0

    wire.ask(Basic.Qos(0, 1), Basic.QosOk)
