"""Requeued messages return to their place, marked as redelivered."""

import pytest
from pamqp.commands import Basic

from tests.clients.amqp.session import Consumer, drain, eventually, poll, publish
from tests.clients.amqp.wire import Wire

BODIES = [b"1", b"2", b"3", b"4", b"5"]


@pytest.fixture
def taken(channel, publisher, queue):
    """The first three of five messages, in flight."""
    publish(publisher, queue, *BODIES)
    return [poll(channel, queue, auto_ack=False) for _ in range(3)]


def test_requeued_message_is_marked_redelivered(channel, queue, taken):
    channel.basic_reject(taken[0].tag, requeue=True)

    assert poll(channel, queue).method.redelivered is True


def test_message_that_was_never_out_is_not_marked(channel, queue, taken):
    channel.basic_nack(3, multiple=True, requeue=True)
    flags = [poll(channel, queue).method.redelivered for _ in BODIES]

    assert flags == [True, True, True, False, False]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_messages_return_to_their_places_in_any_order(channel, queue, taken, order):
    for index in order:
        channel.basic_nack(taken[index].tag, requeue=True)

    assert drain(channel, queue) == BODIES


def test_message_between_others_returns_between_them(channel, queue, taken):
    channel.basic_nack(taken[1].tag, requeue=True)
    assert poll(channel, queue).body == b"2"
    channel.basic_nack(taken[0].tag, requeue=True)

    assert drain(channel, queue) == [b"1", b"4", b"5"]


def test_closed_channel_returns_all_in_order(channel, other, queue, taken):
    channel.close()

    assert drain(other, queue) == BODIES


def test_closed_connection_returns_all_in_order(connection, other, queue, taken):
    connection.close()

    assert drain(other, queue) == BODIES


def test_requeued_message_comes_before_newer_ones(channel, publisher, queue, taken):
    publish(publisher, queue, b"6")
    channel.basic_nack(taken[2].tag, requeue=True)

    assert drain(channel, queue) == [b"3", b"4", b"5", b"6"]


def test_requeued_message_keeps_its_properties(channel, publisher, queue):
    publish(publisher, queue, b"hello", message_id="m-1", headers={"a": 1})
    first = poll(channel, queue, auto_ack=False)
    channel.basic_nack(first.tag, requeue=True)

    assert poll(channel, queue).properties == first.properties


def test_consumer_gets_its_own_requeued_message_again(channel, publisher, queue):
    publish(publisher, queue, b"hello")
    consumer = Consumer(channel, queue)
    for number in range(5):
        (delivery,) = consumer.take()
        assert delivery.method.redelivered is (number > 0)
        channel.basic_nack(delivery.tag, requeue=True)


def test_requeued_message_goes_to_another_consumer_too(channel, other, publisher, queue):
    publish(publisher, queue, b"hello")
    delivery = poll(channel, queue, auto_ack=False)
    consumer = Consumer(other, queue)
    channel.basic_nack(delivery.tag, requeue=True)

    assert consumer.take_bodies() == [b"hello"]


def test_quorum_queue_counts_deliveries_from_the_second_on(channel, publisher, declare):
    queue = declare(queue_type="quorum")
    publish(publisher, queue, b"hello")
    counts = []
    for _ in range(4):
        delivery = eventually(lambda: poll(channel, queue, auto_ack=False))
        counts.append((delivery.headers or {}).get("x-delivery-count"))
        channel.basic_reject(delivery.tag, requeue=True)

    assert counts[1:] == [1, 2, 3]


def test_client_that_vanishes_returns_what_it_had(broker, other, publisher, queue):
    publish(publisher, queue, *BODIES)
    with Wire(broker.address) as wire:
        wire.open()
        wire.ask(Basic.Consume(queue=queue), Basic.ConsumeOk)
        wire.expect(Basic.Deliver)

    assert eventually(lambda: other.queue_declare(queue, passive=True).method.message_count == 5)
    assert drain(other, queue) == BODIES
