"""Priority queues."""

import pytest

from tests.clients.amqp.session import Consumer, channel_refused, drain, poll, publish


@pytest.fixture
def urgent(declare):
    """A queue with priorities 0 to 5."""
    return declare(max_priority=5)


def publish_with(publisher, queue, *priorities):
    """One message per priority, its body its number and priority."""
    for number, priority in enumerate(priorities):
        publish(publisher, queue, b"%d of %d" % (number, priority), priority=priority)


def test_higher_priorities_come_first(channel, publisher, urgent):
    publish_with(publisher, urgent, 1, 5, 3)

    assert drain(channel, urgent) == [b"1 of 5", b"2 of 3", b"0 of 1"]


def test_order_is_kept_within_a_priority(channel, publisher, urgent):
    publish_with(publisher, urgent, 1, 2, 1, 2, 1)

    assert drain(channel, urgent) == [b"1 of 2", b"3 of 2", b"0 of 1", b"2 of 1", b"4 of 1"]


def test_no_priority_is_0(channel, publisher, urgent):
    publish(publisher, urgent, b"none")
    publish(publisher, urgent, b"zero", priority=0)
    publish(publisher, urgent, b"one", priority=1)

    assert drain(channel, urgent) == [b"one", b"none", b"zero"]


def test_priority_beyond_the_highest_is_the_highest(channel, publisher, urgent):
    publish(publisher, urgent, b"five", priority=5)
    publish(publisher, urgent, b"nine", priority=9)
    publish(publisher, urgent, b"four", priority=4)

    assert drain(channel, urgent) == [b"five", b"nine", b"four"]


def test_priority_in_the_message_stays_as_it_was(channel, publisher, urgent):
    publish(publisher, urgent, b"nine", priority=9)

    assert poll(channel, urgent).properties.priority == 9


def test_consumer_gets_higher_priorities_first(channel, publisher, urgent):
    publish_with(publisher, urgent, 0, 1, 2, 3, 4, 5)
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, urgent)
    bodies = []
    for _ in range(6):
        (delivery,) = consumer.take()
        bodies.append(delivery.body)
        channel.basic_ack(delivery.tag)

    assert bodies == [b"%d of %d" % (number, number) for number in (5, 4, 3, 2, 1, 0)]


def test_requeued_message_returns_to_its_priority(channel, publisher, urgent):
    publish_with(publisher, urgent, 3, 3, 1)
    channel.basic_nack(poll(channel, urgent, auto_ack=False).tag, requeue=True)

    assert drain(channel, urgent) == [b"0 of 3", b"1 of 3", b"2 of 1"]


def test_queue_without_priorities_ignores_them(channel, publisher, queue):
    publish_with(publisher, queue, 1, 5, 3)

    assert drain(channel, queue) == [b"0 of 1", b"1 of 5", b"2 of 3"]


def test_counts_are_over_all_priorities(channel, publisher, urgent):
    publish_with(publisher, urgent, 0, 1, 2)

    assert channel.queue_declare(urgent, passive=True).method.message_count == 3
    assert channel.queue_purge(urgent).method.message_count == 3


def test_full_queue_drops_its_head_though_that_has_the_highest_priority(channel, publisher, declare):
    queue = declare(max_priority=5, max_length=2)
    publish_with(publisher, queue, 5, 1, 3)

    assert drain(channel, queue) == [b"2 of 3", b"1 of 1"]


def test_255_priorities(channel, publisher, declare):
    queue = declare(max_priority=255)
    publish_with(publisher, queue, 0, 255, 128)

    assert drain(channel, queue) == [b"1 of 255", b"2 of 128", b"0 of 0"]


def test_256_priorities_are_406(channel, name):
    with channel_refused(406, "invalid arg 'x-max-priority'"):
        channel.queue_declare(name(), arguments={"x-max-priority": 256})


def test_priorities_are_kept_with_a_transient_queue(channel, publisher):
    queue = channel.queue_declare("", exclusive=True, arguments={"x-max-priority": 3}).method.queue
    publish_with(publisher, queue, 1, 3, 2)

    assert drain(channel, queue) == [b"1 of 3", b"2 of 2", b"0 of 1"]
