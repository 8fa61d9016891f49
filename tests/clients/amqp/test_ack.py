"""Settling: ack, nack and reject, of one and of many."""

import pytest

from tests.clients.amqp.session import Consumer, channel_refused, connection_refused, drain, eventually, poll, publish

BODIES = [b"1", b"2", b"3", b"4", b"5"]


@pytest.fixture
def deliveries(channel, publisher, queue):
    """Five messages in flight with the tags 1 to 5."""
    publish(publisher, queue, *BODIES)
    consumer = Consumer(channel, queue)
    deliveries = consumer.take(5)
    consumer.cancel()
    return deliveries


def left(channel, other, queue):
    """The bodies that return when the channel closes."""
    channel.close()
    return drain(other, queue)


def test_acked_message_is_gone(channel, other, queue, deliveries):
    channel.basic_ack(3)

    assert left(channel, other, queue) == [b"1", b"2", b"4", b"5"]


def test_ack_of_many(channel, other, queue, deliveries):
    channel.basic_ack(3, multiple=True)

    assert left(channel, other, queue) == [b"4", b"5"]


def test_ack_of_0_and_many_is_all(channel, other, queue, deliveries):
    channel.basic_ack(0, multiple=True)

    assert left(channel, other, queue) == []


def test_ack_of_all_that_is_nothing(channel, queue):
    channel.basic_ack(0, multiple=True)

    assert channel.basic_get(queue) == (None, None, None)


def test_ack_of_many_after_some_were_settled(channel, other, queue, deliveries):
    channel.basic_ack(2)
    channel.basic_reject(4, requeue=False)
    channel.basic_ack(4 - 1, multiple=True)

    assert left(channel, other, queue) == [b"5"]


def test_rejected_message_is_gone(channel, other, queue, deliveries):
    channel.basic_reject(2, requeue=False)

    assert left(channel, other, queue) == [b"1", b"3", b"4", b"5"]


def test_rejected_message_may_return(channel, queue, deliveries):
    channel.basic_reject(2, requeue=True)

    assert drain(channel, queue) == [b"2"]


def test_nack_of_many(channel, other, queue, deliveries):
    channel.basic_nack(3, multiple=True, requeue=False)

    assert left(channel, other, queue) == [b"4", b"5"]


def test_nack_of_many_that_return(channel, queue, deliveries):
    channel.basic_nack(3, multiple=True, requeue=True)

    assert drain(channel, queue) == [b"1", b"2", b"3"]


def test_nack_of_0_and_many_is_all(channel, queue, deliveries):
    channel.basic_nack(0, multiple=True, requeue=True)

    assert drain(channel, queue) == BODIES


@pytest.mark.parametrize("settle", ["basic_ack", "basic_nack", "basic_reject"])
def test_settling_twice_is_406(channel, queue, deliveries, settle):
    channel.basic_ack(2)
    getattr(channel, settle)(2)

    with channel_refused(406, "unknown delivery tag 2"):
        channel.queue_declare(queue, passive=True)


@pytest.mark.parametrize("tag", [6, 2**40])
def test_tag_that_was_not_given_is_406(channel, queue, deliveries, tag):
    channel.basic_ack(tag)

    with channel_refused(406, f"unknown delivery tag {tag}"):
        channel.queue_declare(queue, passive=True)


def test_ack_of_many_up_to_an_unknown_tag_is_406(channel, queue, deliveries):
    channel.basic_ack(9, multiple=True)

    with channel_refused(406, "unknown delivery tag 9"):
        channel.queue_declare(queue, passive=True)


def test_tag_of_another_channel_is_unknown(connection, queue, deliveries):
    channel = connection.channel()
    channel.basic_ack(1)

    with channel_refused(406, "unknown delivery tag 1"):
        channel.queue_declare(queue, passive=True)


def test_unacked_messages_return_after_an_ack_error(channel, other, queue, deliveries):
    channel.basic_ack(1)
    channel.basic_ack(9)
    with channel_refused(406):
        channel.queue_declare(queue, passive=True)

    assert drain(other, queue) == BODIES[1:]


def test_acks_out_of_order(channel, other, queue, deliveries):
    for tag in (5, 1, 3):
        channel.basic_ack(tag)

    assert left(channel, other, queue) == [b"2", b"4"]


def test_ack_after_the_queue_was_deleted(channel, queue, deliveries):
    channel.queue_delete(queue)
    channel.basic_ack(5, multiple=True)

    channel.queue_declare(queue, durable=True)


def test_ack_across_queues(channel, other, publisher, declare):
    queues = [declare() for _ in range(3)]
    for queue in queues:
        publish(publisher, queue, b"hello")
        channel.basic_get(queue)
    channel.basic_ack(2, multiple=True)
    channel.close()

    assert [drain(other, queue) for queue in queues] == [[], [], [b"hello"]]


def test_thousands_are_acked_at_once(channel, other, queue):
    publish(channel, queue, *[b"hello"] * 3000)
    Consumer(channel, queue).take(3000)
    channel.basic_ack(3000, multiple=True)
    channel.close()

    assert poll(other, queue) is None


def test_connection_that_ends_returns_what_was_unacked(connect, other, publisher, queue):
    publish(publisher, queue, *BODIES)
    connection = connect()
    Consumer(connection.channel(), queue).take(5)
    connection.close()

    assert drain(other, queue) == BODIES


def test_acks_before_the_connection_closes_count(connect, other, publisher, queue):
    publish(publisher, queue, *BODIES)
    connection = connect()
    channel = connection.channel()
    Consumer(channel, queue).take(5)
    channel.basic_ack(3, multiple=True)
    connection.close()

    assert drain(other, queue) == BODIES[3:]


def test_ack_makes_room_for_the_next(channel, publisher, queue):
    publish(publisher, queue, *BODIES)
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, queue)
    got = []
    for _ in BODIES:
        (delivery,) = consumer.take()
        got.append(delivery.body)
        channel.basic_ack(delivery.tag)

    assert got == BODIES


def test_acks_before_a_connection_error_count(channel, other, publisher, queue):
    publish(publisher, queue, *BODIES)
    Consumer(channel, queue).take(5)
    channel.basic_ack(2, multiple=True)
    with connection_refused(540):
        channel.basic_recover(requeue=False)

    assert eventually(lambda: drain(other, queue)) == BODIES[2:]
