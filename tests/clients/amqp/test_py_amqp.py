"""py-amqp: one session with each main verb."""

import amqp
import pytest

from tests.clients.amqp.session import publish


@pytest.fixture
def connection(broker, name):
    host, port = broker.address
    connection = amqp.Connection(f"{host}:{port}", confirm_publish=True)
    connection.connect()
    sock = connection.sock
    yield connection
    connection.collect()
    sock.close()


@pytest.fixture
def channel(connection):
    return connection.channel()


def test_session_with_every_verb(channel, name):
    exchange, source, queue = name("exchange"), name("exchange"), name("queue")
    channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
    channel.exchange_declare(source, "fanout", auto_delete=False)
    channel.exchange_bind(exchange, source, "orders.#")
    declared = channel.queue_declare(queue, durable=True, auto_delete=False)
    channel.queue_bind(queue, exchange, "orders.#")
    channel.basic_qos(0, 10, False)
    for number in range(3):
        channel.basic_publish(amqp.Message(b"%d" % number, delivery_mode=2), exchange, "orders.new")
    got = [channel.basic_get(queue) for _ in range(3)]
    channel.basic_ack(got[0].delivery_tag)
    channel.basic_reject(got[1].delivery_tag, requeue=False)
    channel.basic_recover(requeue=True)
    again = channel.basic_get(queue, no_ack=True)
    channel.queue_unbind(queue, exchange, "orders.#")
    channel.exchange_unbind(exchange, source, "orders.#")
    purged = channel.queue_purge(queue)
    deleted = channel.queue_delete(queue)
    channel.exchange_delete(exchange)

    assert declared == (queue, 0, 0)
    assert [message.body for message in got] == [b"0", b"1", b"2"]
    assert (again.body, again.delivery_info["redelivered"]) == (b"2", True)
    assert (purged, deleted) == (0, 0)


def test_consumer_gets_what_is_published(connection, channel, name):
    queue = name()
    channel.queue_declare(queue, durable=True, auto_delete=False)
    got = []
    tag = channel.basic_consume(queue, callback=got.append, no_ack=True)
    for number in range(10):
        channel.basic_publish(amqp.Message(b"%d" % number), routing_key=queue)
    while len(got) < 10:
        connection.drain_events(timeout=20)
    channel.basic_cancel(tag)

    assert [message.body for message in got] == [b"%d" % number for number in range(10)]


def test_consumer_acks_what_it_gets(connection, channel, publisher, name):
    queue = name()
    channel.queue_declare(queue, durable=True, auto_delete=False)
    publish(publisher, queue, *[b"%d" % number for number in range(5)])
    got = []
    channel.basic_qos(0, 1, False)
    channel.basic_consume(queue, callback=got.append)
    for count in range(1, 6):
        while len(got) < count:
            connection.drain_events(timeout=20)
        channel.basic_ack(got[-1].delivery_tag)

    assert [message.body for message in got] == [b"0", b"1", b"2", b"3", b"4"]


def test_transaction(connection, name):
    queue = name()
    with amqp.Connection(connection.host) as plain:
        channel = plain.channel()
        channel.queue_declare(queue, durable=True, auto_delete=False)
        channel.tx_select()
        channel.basic_publish(amqp.Message(b"lost"), routing_key=queue)
        channel.tx_rollback()
        channel.basic_publish(amqp.Message(b"kept"), routing_key=queue)
        channel.tx_commit()

        assert channel.basic_get(queue, no_ack=True).body == b"kept"
        assert channel.basic_get(queue) is None


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda channel: channel.queue_declare("nowhere", passive=True), amqp.NotFound),
        (lambda channel: channel.exchange_declare("amq.mine", "direct"), amqp.AccessRefused),
        (lambda channel: channel.exchange_declare("amq.topic", "fanout", durable=True), amqp.PreconditionFailed),
        (lambda channel: channel.basic_qos(1, 0, False), amqp.AMQPNotImplementedError),
    ],
)
def test_errors_have_their_own_classes(channel, act, error):
    with pytest.raises(error):
        act(channel)


def test_all_properties_come_back(channel, name):
    queue = name()
    channel.queue_declare(queue, durable=True, auto_delete=False)
    properties = {
        "content_type": "text/plain",
        "content_encoding": "utf-8",
        "application_headers": {"a": 1, "b": [1.5, "two", {"c": None}]},
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "42",
        "reply_to": "answers",
        "expiration": "600000",
        "message_id": "m-1",
        "type": "order",
        "user_id": "guest",
        "app_id": "shop",
        "cluster_id": "one",
    }
    channel.basic_publish(amqp.Message("hällo", **properties), routing_key=queue)
    got = channel.basic_get(queue, no_ack=True)

    assert got.body == "hällo"
    assert got.properties == properties
