"""Messages that were delivered too often, and consumers that take too long."""

import pytest

from tests.clients.amqp.session import Consumer, drain, eventually, get, poll, publish, ready


def rejections(channel, queue):
    """How often a message can be rejected with requeue before it is gone."""
    count = 0
    while ready(channel, queue):
        channel.basic_reject(get(channel, queue).tag, requeue=True)
        count += 1
    return count


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_message_goes_after_its_limit(channel, publisher, declare, limit):
    queue = declare(queue_type="quorum", delivery_limit=limit)
    publish(publisher, queue, b"hello")

    assert rejections(channel, queue) == limit + 1


@pytest.mark.peer_differs("3.10 has no limit unless it is told one")
def test_quorum_queue_has_a_limit_of_20(channel, publisher, declare):
    queue = declare(queue_type="quorum")
    publish(publisher, queue, b"hello")

    assert rejections(channel, queue) == 21


def test_classic_queue_has_no_limit(channel, publisher, queue):
    publish(publisher, queue, b"hello")
    for _ in range(30):
        channel.basic_reject(get(channel, queue).tag, requeue=True)

    assert drain(channel, queue) == [b"hello"]


def test_closed_channels_count_as_deliveries(connect, publisher, channel, declare):
    queue = declare(queue_type="quorum", delivery_limit=2)
    publish(publisher, queue, b"hello")
    for _ in range(3):
        connection = connect()
        eventually(lambda opened=connection.channel(): poll(opened, queue, auto_ack=False))
        connection.close()

    eventually(lambda: ready(channel, queue) == 0)


@pytest.mark.peer_differs("3.10 has one timeout for all queues")
def test_consumer_that_does_not_ack_in_time_loses_its_messages(channel, connection, other, publisher, declare):
    queue = declare(consumer_timeout=100)
    publish(publisher, queue, b"hello")
    Consumer(channel, queue).take()

    eventually(lambda: ready(other, queue) == 1)
    assert poll(other, queue).method.redelivered
