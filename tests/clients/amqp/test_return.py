"""Mandatory messages that nothing takes come back."""

import amqp
import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic, Tx
from pamqp.header import ContentHeader

from tests.clients.amqp.session import Consumer, drain
from tests.clients.amqp.wire import Wire


@pytest.fixture
def wire(broker):
    with Wire(broker.address) as wire:
        wire.open()
        yield wire


def test_unroutable_message_comes_back_with_312(wire, name):
    key = name()
    wire.publish(b"hello", exchange="amq.direct", routing_key=key, mandatory=True)
    returned = wire.expect(Basic.Return)

    assert (returned.reply_code, returned.reply_text) == (312, "NO_ROUTE")
    assert (returned.exchange, returned.routing_key) == ("amq.direct", key)
    assert wire.expect(ContentHeader).body_size == 5
    assert wire.expect(ContentBody).value == b"hello"


def test_returned_message_keeps_its_properties(wire, name):
    properties = Basic.Properties(message_id="m-1", headers={"a": [1, "two"]}, delivery_mode=2)
    wire.publish(routing_key=name(), mandatory=True, properties=properties)
    wire.expect(Basic.Return)

    assert dict(wire.expect(ContentHeader).properties) == dict(properties)


def test_large_message_comes_back_whole(wire, name):
    body = bytes(range(256)) * 1000
    wire.send(Basic.Publish(routing_key=name(), mandatory=True), ContentHeader(0, len(body)))
    for start in range(0, len(body), 100_000):
        wire.send(ContentBody(body[start : start + 100_000]))
    wire.expect(Basic.Return)
    wire.expect(ContentHeader)
    got = b""
    while len(got) < len(body):
        got += wire.expect(ContentBody).value

    assert got == body


def test_routed_message_does_not_come_back(channel, queue):
    returned = []
    channel.add_on_return_callback(lambda *message: returned.append(message))
    channel.basic_publish("", queue, b"hello", mandatory=True)
    Consumer(channel, queue).take(1)

    assert returned == []


def test_returns_come_in_order(channel, name):
    returned = []
    channel.add_on_return_callback(lambda _channel, _method, _properties, body: returned.append(body))
    for number in range(50):
        channel.basic_publish("", name(), b"%d" % number, mandatory=True)
    marker = Consumer(channel, channel.queue_declare("", exclusive=True).method.queue)
    marker.wait(lambda: len(returned) == 50)

    assert returned == [b"%d" % number for number in range(50)]


def test_without_mandatory_nothing_comes_back(wire, name):
    wire.publish(routing_key=name())

    wire.ask(Basic.Qos(0, 1), Basic.QosOk)


def test_in_a_transaction_it_comes_back_at_the_commit(wire, name):
    wire.ask(Tx.Select(), Tx.SelectOk)
    wire.publish(b"", routing_key=name(), mandatory=True)
    wire.ask(Basic.Qos(0, 1), Basic.QosOk)
    wire.send(Tx.Commit())

    assert wire.expect(Basic.Return).reply_code == 312
    wire.expect(ContentHeader)
    wire.expect(Tx.CommitOk)


def test_py_amqp_hears_of_returns(broker, name):
    returned = []
    host, port = broker.address
    with amqp.Connection(f"{host}:{port}") as connection:
        channel = connection.channel()
        channel.events["basic_return"].add(lambda *message: returned.append(message))
        channel.basic_publish(amqp.Message(b"hello"), routing_key=name(), mandatory=True)
        while not returned:
            connection.drain_events(timeout=20)

    ((error, _exchange, _key, message),) = returned
    assert (error.reply_code, message.body) == (312, b"hello")


def test_message_for_a_queue_that_was_deleted_comes_back(wire, channel, queue):
    channel.queue_delete(queue)
    wire.publish(b"", routing_key=queue, mandatory=True)

    assert wire.expect(Basic.Return).reply_code == 312


def test_returned_message_is_in_no_queue(wire, channel, queue):
    wire.publish(b"lost", exchange="amq.direct", routing_key=queue, mandatory=True)
    wire.expect(Basic.Return)

    assert drain(channel, queue) == []
