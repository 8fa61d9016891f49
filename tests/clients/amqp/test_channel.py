"""Channels: opened, closed, refused, and what another one does not notice."""

import amqp
import pytest
from pamqp.commands import Basic, Channel, Queue
from pika.exceptions import ConnectionClosedByBroker

from tests.clients.amqp.session import channel_refused, connection_refused
from tests.clients.amqp.wire import Wire


@pytest.fixture
def wire(broker):
    with Wire(broker.address) as wire:
        yield wire


def test_channels_of_a_connection_are_apart(connection, queue):
    first, second = connection.channel(), connection.channel()
    with channel_refused(404):
        first.basic_get("nowhere")

    assert first.is_closed
    assert second.basic_get(queue) == (None, None, None)


def test_number_of_a_closed_channel_is_free_again(connection):
    channel = connection.channel(7)
    channel.close()

    assert connection.channel(7).is_open


def test_number_of_a_channel_that_the_broker_closed_is_free_again(connection, queue):
    channel = connection.channel(7)
    with channel_refused(404):
        channel.basic_get("nowhere")

    assert connection.channel(7).basic_get(queue) == (None, None, None)


def test_methods_between_close_and_close_ok_are_passed_over(wire, name):
    queue = name()
    wire.open()
    wire.send(Basic.Get(queue="nowhere"))
    assert wire.closed().code == 404
    wire.send(Queue.Declare(queue=queue, durable=True))
    wire.publish(routing_key=queue)
    wire.send(Channel.CloseOk())
    wire.ask(Channel.Open(), Channel.OpenOk)
    wire.send(Queue.Declare(queue=queue, passive=True))

    assert wire.closed().code == 404


def test_more_channels_than_agreed_are_530(wire):
    wire.open(channel_max=2, channels=(1, 2))
    wire.send(Channel.Open(), channel=3)

    closed = wire.closed()
    assert (closed.what, closed.code) == ("connection", 530)


def test_numbers_may_be_used_in_any_order(connection):
    assert [connection.channel(number).channel_number for number in (3, 1, 2)] == [3, 1, 2]


def test_flow_on_is_agreed_to(channel):
    assert channel.flow(True) is True


def test_flow_off_closes_the_connection_with_540(channel):
    with connection_refused(540, "NOT_IMPLEMENTED - active=false"):
        channel.flow(False)


def test_second_open_of_a_channel_closes_the_connection_with_504(wire):
    wire.open()
    wire.send(Channel.Open())

    closed = wire.closed()
    assert (closed.what, closed.code, closed.method) == ("connection", 504, (20, 10))


def test_method_on_a_channel_that_is_not_open_closes_the_connection_with_504(wire):
    wire.open()
    wire.send(Basic.Get(queue="orders"), channel=9)

    closed = wire.closed()
    assert (closed.what, closed.code) == ("connection", 504)
    assert closed.text.startswith("CHANNEL_ERROR - expected 'channel.open'")


def test_all_channels_end_with_the_connection(connection):
    first, second = connection.channel(), connection.channel()
    with pytest.raises(ConnectionClosedByBroker):
        first.basic_recover(requeue=False)

    assert second.is_closed


def test_many_channels_on_one_connection(connection, queue):
    channels = [connection.channel() for _ in range(200)]

    assert all(channel.basic_get(queue) == (None, None, None) for channel in channels)


def test_py_amqp_closes_and_opens_channels(broker):
    host, port = broker.address
    with amqp.Connection(f"{host}:{port}") as connection:
        channel = connection.channel(1)
        channel.close()
        assert connection.channel(1).is_open


def test_access_request_is_answered_with_a_ticket(wire):
    wire.open()
    # access.request (30, 10): realm "/data" and its bits; access.request-ok (30, 11) brings a ticket.
    payload = b"\x00\x1e\x00\x0a" + b"\x05/data" + b"\x1f"
    wire.send_bytes(b"\x01\x00\x01" + len(payload).to_bytes(4) + payload + b"\xce")

    assert wire.receive()[7:11] == b"\x00\x1e\x00\x0b"
