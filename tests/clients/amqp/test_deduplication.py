"""x-message-deduplication: what came before is dropped."""

import pika
import pytest

from tests.clients.amqp.session import drain, eventually, publish, ready

pytestmark = pytest.mark.peer_differs("a plugin of others there")


def identified(key):
    return {"headers": {"x-deduplication-header": key}}


@pytest.fixture
def exchange(channel, name, queue):
    """A deduplicating exchange that routes to `queue`."""
    exchange = name("exchange")
    channel.exchange_declare(exchange, "x-message-deduplication", arguments={"x-cache-size": 100})
    channel.queue_bind(queue, exchange, "key")
    return exchange


def test_exchange_routes_a_message_once(channel, publisher, exchange, queue):
    for body, key in ((b"1", "a"), (b"2", "a"), (b"3", "b"), (b"4", "a")):
        publisher.basic_publish(exchange, "key", body, pika.BasicProperties(**identified(key)))

    assert drain(channel, queue) == [b"1", b"3"]


def test_message_without_the_header_is_no_duplicate(channel, publisher, exchange, queue):
    for _ in range(3):
        publisher.basic_publish(exchange, "key", b"hello")

    assert drain(channel, queue) == [b"hello"] * 3


def test_queue_takes_a_message_once(channel, publisher, declare):
    queue = declare(message_deduplication=True)
    for body, key in ((b"1", "a"), (b"2", "a"), (b"3", "b")):
        publish(publisher, queue, body, **identified(key))

    assert drain(channel, queue) == [b"1", b"3"]


def test_what_was_seen_is_forgotten_in_time(channel, publisher, name, queue):
    exchange = name("exchange")
    arguments = {"x-cache-size": 100, "x-cache-ttl": 50}
    channel.exchange_declare(exchange, "x-message-deduplication", arguments=arguments)
    channel.queue_bind(queue, exchange, "key")

    def send():
        publisher.basic_publish(exchange, "key", b"hello", pika.BasicProperties(**identified("a")))
        return ready(channel, queue) == 2

    eventually(send)


def test_oldest_is_forgotten_when_the_cache_is_full(channel, publisher, name, queue):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "x-message-deduplication", arguments={"x-cache-size": 2})
    channel.queue_bind(queue, exchange, "key")
    for key in ("a", "b", "c", "a"):
        publisher.basic_publish(exchange, "key", key.encode(), pika.BasicProperties(**identified(key)))

    assert drain(channel, queue) == [b"a", b"b", b"c", b"a"]
