"""Queues that go with their last consumer."""

import pytest

from tests.clients.amqp.session import Consumer, eventually, exists, publish


@pytest.fixture
def fleeting(channel, name):
    queue = name()
    channel.queue_declare(queue, auto_delete=True)
    return queue


def test_queue_stays_until_it_had_a_consumer(connection, publisher, channel, fleeting):
    publish(publisher, fleeting, b"hello")
    channel.basic_get(fleeting, auto_ack=True)

    assert exists(connection, fleeting)


def test_queue_goes_with_its_last_consumer(connection, channel, fleeting):
    Consumer(channel, fleeting).cancel()

    eventually(lambda: not exists(connection, fleeting))


def test_queue_stays_while_there_is_another_consumer(connection, channel, other, fleeting):
    first, second = Consumer(channel, fleeting), Consumer(other, fleeting)
    first.cancel()
    assert exists(connection, fleeting)
    second.cancel()

    eventually(lambda: not exists(connection, fleeting))


def test_queue_goes_with_the_channel_of_its_last_consumer(connection, other, fleeting):
    Consumer(other, fleeting)
    other.close()

    eventually(lambda: not exists(connection, fleeting))


def test_queue_goes_with_the_connection_of_its_last_consumer(connect, connection, fleeting):
    owner = connect()
    Consumer(owner.channel(), fleeting)
    owner.close()

    eventually(lambda: not exists(connection, fleeting))


def test_messages_go_with_the_queue(connection, channel, publisher, fleeting):
    publish(publisher, fleeting, b"hello")
    channel.basic_qos(prefetch_count=1)
    Consumer(channel, fleeting).cancel()
    eventually(lambda: not exists(connection, fleeting))
    channel.queue_declare(fleeting, auto_delete=True)

    assert channel.basic_get(fleeting) == (None, None, None)


@pytest.mark.parametrize("durable", [True, False])
def test_durable_queues_go_as_well(connection, channel, name, durable):
    queue = name()
    channel.queue_declare(queue, durable=durable, auto_delete=True)
    Consumer(channel, queue).cancel()

    eventually(lambda: not exists(connection, queue))


def test_bindings_go_with_the_queue(connection, channel, publisher, name, fleeting):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    channel.queue_bind(fleeting, exchange)
    Consumer(channel, fleeting).cancel()
    eventually(lambda: not exists(connection, fleeting))
    channel.exchange_declare(exchange, "fanout", auto_delete=True)

    publisher.basic_publish(exchange, "", b"hello")
