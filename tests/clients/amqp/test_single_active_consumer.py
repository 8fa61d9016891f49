"""Queues of which one consumer at a time gets anything."""

import pytest

from tests.clients.amqp.session import Consumer, channel_refused, consumers, publish


@pytest.fixture
def single(declare):
    return declare(single_active_consumer=True)


def test_only_the_first_consumer_gets_messages(channel, other, publisher, single):
    first, second = Consumer(channel, single), Consumer(other, single)
    publish(publisher, single, *[b"%d" % number for number in range(20)])

    assert first.take_bodies(20) == [b"%d" % number for number in range(20)]
    assert consumers(other, single) == 2
    assert second.deliveries == []


def test_next_consumer_takes_over_when_the_first_is_cancelled(channel, other, publisher, single):
    first, second = Consumer(channel, single, auto_ack=True), Consumer(other, single, auto_ack=True)
    publish(publisher, single, b"one")
    first.take()
    first.cancel()
    publish(publisher, single, b"two")

    assert second.take_bodies() == [b"two"]


def test_next_consumer_takes_over_when_the_channel_closes(channel, other, publisher, single):
    first, second = Consumer(channel, single), Consumer(other, single)
    publish(publisher, single, b"one", b"two")
    first.take(2)
    channel.close()
    again = second.take(2)

    assert [(delivery.body, delivery.method.redelivered) for delivery in again] == [(b"one", True), (b"two", True)]


def test_consumers_take_over_in_the_order_in_which_they_came(connect, publisher, single):
    inboxes = [Consumer(connect().channel(), single, auto_ack=True) for _ in range(4)]
    for number, inbox in enumerate(inboxes):
        publish(publisher, single, b"%d" % number)
        assert inbox.take_bodies() == [b"%d" % number]
        inbox.channel.close()


def test_prefetch_of_the_active_consumer_holds_the_queue(channel, other, publisher, single):
    channel.basic_qos(prefetch_count=1)
    first, second = Consumer(channel, single), Consumer(other, single)
    publish(publisher, single, b"one", b"two")
    first.take()

    assert channel.queue_declare(single, passive=True).method.message_count == 1
    assert consumers(other, single) == 2
    assert second.deliveries == []


def test_exclusive_consumer_is_refused(channel, single):
    with channel_refused(403):
        Consumer(channel, single, exclusive=True)


def test_rejected_message_returns_to_the_active_consumer(channel, other, publisher, single):
    first, second = Consumer(channel, single), Consumer(other, single)
    publish(publisher, single, b"one")
    (delivery,) = first.take()
    channel.basic_nack(delivery.tag, requeue=True)

    assert first.take()[0].method.redelivered
    assert second.deliveries == []


def test_get_on_a_quorum_queue_is_405(channel, publisher, declare):
    queue = declare(single_active_consumer=True, queue_type="quorum")
    publish(publisher, queue, b"one")

    with channel_refused(405):
        channel.basic_get(queue)
