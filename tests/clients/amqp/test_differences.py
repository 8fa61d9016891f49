"""Sessions that RabbitMQ and Portask once took differently: found by sending the same random frames to both."""

import struct

import pytest
from pamqp import frame
from pamqp.commands import Basic, Confirm, Queue

from tests.clients.amqp.wire import Wire

HEADER, BODY = 2, 3
TYPED = (
    (b"b", struct.pack(">b", -3)),
    (b"B", struct.pack(">B", 200)),
    (b"s", struct.pack(">h", -300)),
    (b"u", struct.pack(">H", 60_000)),
    (b"i", struct.pack(">I", 7)),
    (b"l", struct.pack(">q", 7)),
    (b"f", struct.pack(">f", 1.5)),
    (b"D", struct.pack(">BI", 2, 1_234)),
    (b"x", struct.pack(">I", 2) + b"\x00\xff"),
    (b"S", struct.pack(">I", 2) + b"\xff\xfe"),
    (b"T", struct.pack(">Q", 1_767_268_800_000_000)),
    (b"V", b""),
    (b"A", struct.pack(">I", 4) + b"s\x00\x05V"),
    (b"F", struct.pack(">I", 5) + b"\x01ks\x00\x05"),
)
"""One value of each type that does not survive decoding as Python's nearest type and encoding again."""


class FrameWire(Wire):
    """Reads and writes content headers as they are on the wire."""

    def publish_bytes(self, queue, headers, body=b"hello"):
        """Publish a message whose headers are the encoded fields *headers*."""
        table = struct.pack(">I", len(headers)) + headers
        header = struct.pack(">HHQH", 60, 0, len(body), 0x2000) + table
        method = frame.marshal(Basic.Publish(routing_key=queue), 1)
        self.send_bytes(method + frame_of(HEADER, header) + frame_of(BODY, body))

    def read_header(self):
        """The payload of the next content header."""
        while True:
            while len(self.pending) < 7 or len(self.pending) < int.from_bytes(self.pending[3:7]) + 8:
                data = self.receive()
                assert data, "the broker has gone"
                self.pending += data
            kind, end = self.pending[0], int.from_bytes(self.pending[3:7]) + 8
            payload, self.pending = self.pending[7 : end - 1], self.pending[end:]
            if kind == HEADER:
                return payload


def frame_of(kind, payload):
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def field(name, value):
    return bytes((len(name),)) + name + value


@pytest.fixture
def wire(broker):
    with FrameWire(broker.address) as wire:
        wire.open()
        yield wire


def declare(wire, queue, **arguments):
    fields = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
    wire.ask(Queue.Declare(queue=queue, durable=True, arguments=fields), Queue.DeclareOk)
    return queue


@pytest.mark.parametrize(("letter", "value"), TYPED)
def test_header_keeps_its_type_when_bcc_is_taken_away(wire, name, letter, value):
    queue = declare(wire, name())
    kept = field(b"kept", letter + value)
    wire.publish_bytes(queue, field(b"BCC", b"A\x00\x00\x00\x00") + kept)
    wire.send(Basic.Get(queue=queue, no_ack=True))

    assert wire.read_header().endswith(struct.pack(">I", len(kept)) + kept)


@pytest.mark.parametrize(("letter", "value"), TYPED)
def test_header_keeps_its_type_when_deliveries_are_counted(wire, name, letter, value):
    queue = declare(wire, name(), queue_type="quorum")
    kept = field(b"kept", letter + value)
    wire.publish_bytes(queue, kept)
    while isinstance(got := wire.ask(Basic.Get(queue=queue), (Basic.GetOk, Basic.GetEmpty)), Basic.GetEmpty):
        pass
    wire.read_header()
    wire.send(Basic.Reject(got.delivery_tag, requeue=True), Basic.Get(queue=queue))

    assert kept in wire.read_header()


def test_delivery_count_is_an_integer_of_64_bits(wire, name):
    queue = declare(wire, name(), queue_type="quorum")
    wire.publish(routing_key=queue)
    while isinstance(got := wire.ask(Basic.Get(queue=queue), (Basic.GetOk, Basic.GetEmpty)), Basic.GetEmpty):
        pass
    wire.read_header()
    wire.send(Basic.Reject(got.delivery_tag, requeue=True), Basic.Get(queue=queue))

    assert field(b"x-delivery-count", b"l" + struct.pack(">q", 1)) in wire.read_header()


def test_stream_offset_is_an_integer_of_64_bits(wire, name):
    queue = declare(wire, name(), queue_type="stream")
    wire.publish(routing_key=queue)
    wire.ask(Basic.Qos(prefetch_count=10), Basic.QosOk)
    wire.send(Basic.Consume(queue=queue, arguments={"x-stream-offset": "first"}))

    assert field(b"x-stream-offset", b"l" + struct.pack(">q", 0)) in wire.read_header()


def test_stream_that_is_consumed_without_prefetch_and_acks_costs_the_channel_only(wire, name):
    queue = declare(wire, name(), queue_type="stream")
    wire.send(Basic.Consume(queue=queue, no_ack=True))
    closed = wire.closed()

    assert closed[:2] == ("channel", 406)
    assert "consumer prefetch count is not set for " in closed.text


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_what_is_no_string_among_further_keys_is_passed_over(wire, name, header):
    queue = declare(wire, name())
    wire.ask(Confirm.Select(), Confirm.SelectOk)
    wire.publish(properties=Basic.Properties(headers={header: [5, queue, True]}), routing_key="nobody")
    wire.expect(Basic.Ack)

    assert wire.ask(Queue.Declare(queue=queue, passive=True), Queue.DeclareOk).message_count == 1


@pytest.mark.parametrize("expiration", ["4294967296", "315360000000", "007"])
def test_expiration_may_be_as_long_as_the_ttl_of_a_queue(wire, name, expiration):
    queue = declare(wire, name())
    wire.ask(Confirm.Select(), Confirm.SelectOk)
    wire.publish(properties=Basic.Properties(expiration=expiration), routing_key=queue)
    wire.expect(Basic.Ack)

    assert isinstance(wire.ask(Basic.Get(queue=queue, no_ack=True), Basic.GetOk), Basic.GetOk)


@pytest.mark.parametrize(
    ("expiration", "why"),
    [
        (" 5", "no_integer"),
        ("soon", "no_integer"),
        ("1.5", '{leftover_string,".5"}'),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ],
)
def test_expiration_is_refused_in_the_words_of_rabbitmq(wire, expiration, why):
    wire.publish(properties=Basic.Properties(expiration=expiration), routing_key="nobody")

    assert wire.closed() == (
        "channel",
        406,
        f"PRECONDITION_FAILED - invalid expiration '{expiration}': {why}",
        (60, 40),
    )


@pytest.mark.parametrize(
    ("value", "type_"), [("high", "longstr"), (True, "bool"), ([], "array"), ({}, "table"), (None, "void")]
)
def test_consumer_priority_that_is_no_integer_is_refused_in_the_words_of_rabbitmq(wire, name, value, type_):
    queue = declare(wire, name())
    wire.send(Basic.Consume(queue=queue, arguments={"x-priority": value}))

    text = f"PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': "
    assert wire.closed() == ("channel", 406, f'{text}"expected integer, got {type_}"', (60, 20))


@pytest.mark.parametrize(
    "wrong", [{"x-overflow": "burst"}, {"x-max-priority": 256}, {"x-max-length": -1}, {"x-delivery-limit": 5}]
)
def test_of_several_wrong_arguments_the_same_is_named_in_whatever_order_they_come(wire, name, wrong):
    queue = name()
    wire.send(Queue.Declare(queue=queue, durable=True, arguments={**wrong, "x-dead-letter-routing-key": "dead"}))

    why = f"invalid arg 'x-dead-letter-routing-key' for queue '{queue}' in vhost '/': routing_key_but_no_dlx_defined"
    assert wire.closed().text == f"PRECONDITION_FAILED - {why}"


def test_default_exchange_refuses_a_binding_of_a_queue_that_is_not_there(wire):
    wire.send(Queue.Bind(queue="nowhere", exchange="", routing_key="key"))

    assert wire.closed()[1:3] == (403, "ACCESS_REFUSED - operation not permitted on the default exchange")


@pytest.mark.parametrize("limit", [{"max_length": 2}, {"max_length_bytes": 10}])
def test_queue_that_refuses_is_not_full_while_a_consumer_takes_everything(wire, name, limit):
    queue = declare(wire, name(), overflow="reject-publish", **limit)
    wire.ask(Basic.Consume(queue=queue, no_ack=True), Basic.ConsumeOk)
    wire.ask(Confirm.Select(), Confirm.SelectOk)
    for _ in range(20):
        wire.publish(b"hello", routing_key=queue)

    delivered, confirmed = 0, 0
    while delivered < 20 or confirmed < 20:
        got = wire.read()
        assert not isinstance(got, Basic.Nack)
        delivered += isinstance(got, Basic.Deliver)
        confirmed = max(confirmed, got.delivery_tag if isinstance(got, Basic.Ack) else 0)
