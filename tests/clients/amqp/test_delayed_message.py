"""The exchange type x-delayed-message: what is to be routed later."""

import pika
import pytest

from tests.clients.amqp.session import Consumer, channel_refused, drain, eventually, get, parameters, ready

pytestmark = pytest.mark.peer_differs("a plugin there")
SOON = 100
LATER = 600_000


@pytest.fixture
def delayed(channel, name, queue):
    """A delayed exchange that routes to `queue`."""
    exchange = name("exchange")
    channel.exchange_declare(exchange, "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
    channel.queue_bind(queue, exchange, "key")
    return exchange


def send(publisher, exchange, body, delay, key="key", **headers):
    properties = pika.BasicProperties(headers={"x-delay": delay, **headers}, delivery_mode=2)
    publisher.basic_publish(exchange, key, body, properties)


def test_message_comes_after_its_delay(channel, publisher, delayed, queue):
    send(publisher, delayed, b"hello", SOON)
    assert ready(channel, queue) == 0

    assert get(channel, queue).body == b"hello"


def test_messages_come_in_the_order_of_their_times(channel, publisher, delayed, queue):
    consumer = Consumer(channel, queue, auto_ack=True)
    for delay in (SOON * 6, SOON * 2, SOON * 4):
        send(publisher, delayed, b"%d" % delay, delay)

    assert consumer.take_bodies(3) == [b"200", b"400", b"600"]


def test_long_delay_does_not_hold_a_short_one_up(channel, publisher, delayed, queue):
    send(publisher, delayed, b"later", LATER)
    send(publisher, delayed, b"soon", SOON)

    assert get(channel, queue).body == b"soon"


@pytest.mark.parametrize("delay", [0, -5])
def test_no_delay_routes_at_once(channel, publisher, delayed, queue, delay):
    send(publisher, delayed, b"hello", delay)

    assert drain(channel, queue) == [b"hello"]


def test_message_without_the_header_routes_at_once(channel, publisher, delayed, queue):
    publisher.basic_publish(delayed, "key", b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_delay_is_told_negated_afterwards(channel, publisher, delayed, queue):
    send(publisher, delayed, b"hello", SOON, trace="abc")

    assert get(channel, queue).headers == {"x-delay": -SOON, "trace": "abc"}


def test_type_of_the_exchange_says_how_it_routes(channel, publisher, name, queue):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "x-delayed-message", arguments={"x-delayed-type": "topic"})
    channel.queue_bind(queue, exchange, "orders.#")
    send(publisher, exchange, b"hello", SOON, key="orders.new.today")

    assert get(channel, queue).method.routing_key == "orders.new.today"


def test_type_is_needed(channel, name):
    with channel_refused(406):
        channel.exchange_declare(name(), "x-delayed-message")


def test_delayed_message_survives_a_kill(server):
    with pika.BlockingConnection(parameters(server.address)) as connection:
        channel = connection.channel()
        channel.queue_declare("orders", durable=True)
        channel.exchange_declare("later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
        channel.queue_bind("orders", "later")
        channel.confirm_delivery()
        send(channel, "later", b"hello", SOON * 20)
    server.kill()
    server.start()
    with pika.BlockingConnection(parameters(server.address)) as connection:
        assert get(connection.channel(), "orders").body == b"hello"


def test_thousands_of_delayed_messages_come(channel, publisher, connect, delayed, queue):
    sender = connect().channel()
    for number in range(3000):
        send(sender, delayed, b"%d" % number, SOON)

    eventually(lambda: ready(channel, queue) == 3000)
