"""The exchange type x-consistent-hash: each message to one of the bound queues."""

import pika
import pytest

from tests.clients.amqp.session import channel_refused, drain

pytestmark = pytest.mark.peer_differs("a plugin there, which is off")
COUNT = 400


def spread(channel, publisher, exchange, queues, weights, messages):
    """How many of *messages*, pairs of key and properties, each queue gets."""
    for queue, weight in zip(queues, weights, strict=True):
        channel.queue_bind(queue, exchange, weight)
    for key, properties in messages:
        publisher.basic_publish(exchange, key, b"hello", properties)
    return [len(drain(channel, queue)) for queue in queues]


@pytest.fixture
def exchange(channel, name):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "x-consistent-hash")
    return exchange


def by_key(count=COUNT):
    return [(f"order {number}", None) for number in range(count)]


def test_each_message_goes_to_one_queue(channel, publisher, exchange, declare):
    counts = spread(channel, publisher, exchange, [declare() for _ in range(4)], "1111", by_key())

    assert sum(counts) == COUNT
    assert min(counts) > COUNT / 4 / 3


def test_weight_is_a_share(channel, publisher, exchange, declare):
    light, heavy = spread(channel, publisher, exchange, [declare(), declare()], "19", by_key())

    assert heavy > 4 * light > 0


def test_one_key_goes_to_one_queue(channel, publisher, exchange, declare):
    counts = spread(channel, publisher, exchange, [declare() for _ in range(4)], "1111", [("same", None)] * 50)

    assert sorted(counts) == [0, 0, 0, 50]


def test_header_may_be_hashed(channel, publisher, name, declare):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "x-consistent-hash", arguments={"hash-header": "customer"})
    messages = [("same", pika.BasicProperties(headers={"customer": str(number)})) for number in range(COUNT)]

    assert min(spread(channel, publisher, exchange, [declare(), declare()], "11", messages)) > COUNT / 6


def test_property_may_be_hashed(channel, publisher, name, declare):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "x-consistent-hash", arguments={"hash-property": "message_id"})
    messages = [("same", pika.BasicProperties(message_id=str(number))) for number in range(COUNT)]

    assert min(spread(channel, publisher, exchange, [declare(), declare()], "11", messages)) > COUNT / 6


def test_weight_that_is_no_number_is_406(channel, exchange, queue):
    with channel_refused(406):
        channel.queue_bind(queue, exchange, "heavy")
