"""Messages that were delivered too often, and consumers that take too long."""

import pytest

from tests.clients.amqp.session import Consumer, drain, eventually, get, poll, publish, ready


@pytest.fixture
def dead(declare):
    """A queue for dead letters."""
    return declare()


def deliveries(channel, queue, dead):
    """How often the message is delivered before it is dead, when it is requeued each time."""
    count = 0
    while True:
        delivery = eventually(lambda: poll(channel, queue, auto_ack=False) or poll(channel, dead))
        if delivery.method.routing_key == dead:
            return count
        count += 1
        channel.basic_reject(delivery.tag, requeue=True)


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_message_goes_after_its_limit(channel, publisher, declare, dead, limit):
    letters = {"dead_letter_exchange": "", "dead_letter_routing_key": dead}
    queue = declare(queue_type="quorum", delivery_limit=limit, **letters)
    publish(publisher, queue, b"hello")

    assert deliveries(channel, queue, dead) == limit + 1


@pytest.mark.peer_differs("3.10 has no limit unless it is told one")
def test_quorum_queue_has_a_limit_of_20(channel, publisher, declare, dead):
    queue = declare(queue_type="quorum", dead_letter_exchange="", dead_letter_routing_key=dead)
    publish(publisher, queue, b"hello")

    assert deliveries(channel, queue, dead) == 21


def test_classic_queue_has_no_limit(channel, publisher, queue):
    publish(publisher, queue, b"hello")
    for _ in range(30):
        channel.basic_reject(get(channel, queue).tag, requeue=True)

    assert drain(channel, queue) == [b"hello"]


def test_closed_channels_count_as_deliveries(connect, publisher, channel, declare):
    queue = declare(queue_type="quorum", delivery_limit=2)
    publish(publisher, queue, b"hello")
    for _ in range(3):
        opened = connect().channel()
        get(opened, queue)
        opened.connection.close()

    eventually(lambda: ready(channel, queue) == 0)


@pytest.mark.peer_differs("3.10 has one timeout for all queues")
def test_consumer_that_does_not_ack_in_time_loses_its_messages(channel, connection, other, publisher, declare):
    queue = declare(consumer_timeout=100)
    publish(publisher, queue, b"hello")
    Consumer(channel, queue).take()

    eventually(lambda: ready(other, queue) == 1)
    assert poll(other, queue).method.redelivered
