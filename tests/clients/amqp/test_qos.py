"""Prefetch: how many a consumer, or all of a channel, may hold."""

import pytest

from tests.clients.amqp.session import Consumer, connection_refused, publish, ready


@pytest.fixture
def filled(publisher, queue):
    """A queue with 20 messages."""
    publish(publisher, queue, *[b"%d" % number for number in range(20)])
    return queue


def held(channel, *inboxes, count):
    """How many each consumer holds when *count* are out, and that no more come."""
    inboxes[0].wait(lambda: sum(len(inbox.deliveries) for inbox in inboxes) >= count)
    channel.basic_qos(prefetch_count=0)
    return [len(inbox.deliveries) for inbox in inboxes]


def test_consumer_holds_no_more_than_its_prefetch(channel, other, filled):
    channel.basic_qos(prefetch_count=3)
    consumer = Consumer(channel, filled)

    assert held(channel, consumer, count=3) == [3]
    assert ready(other, filled) == 17


def test_no_prefetch_is_no_limit(channel, filled):
    assert held(channel, Consumer(channel, filled), count=20) == [20]


def test_0_takes_the_limit_away_for_new_consumers(channel, filled):
    channel.basic_qos(prefetch_count=3)
    channel.basic_qos(prefetch_count=0)

    assert held(channel, Consumer(channel, filled), count=20) == [20]


def test_each_consumer_of_a_channel_has_its_own_limit(channel, filled):
    channel.basic_qos(prefetch_count=3)
    one, two = Consumer(channel, filled), Consumer(channel, filled)

    assert held(channel, one, two, count=6) == [3, 3]


def test_consumer_keeps_the_limit_it_began_with(channel, filled):
    channel.basic_qos(prefetch_count=3)
    one = Consumer(channel, filled)
    channel.basic_qos(prefetch_count=5)
    two = Consumer(channel, filled)

    assert held(channel, one, two, count=8) == [3, 5]


def test_global_prefetch_is_shared_by_the_channel(channel, other, filled):
    channel.basic_qos(prefetch_count=3, global_qos=True)
    one, two = Consumer(channel, filled), Consumer(channel, filled)
    one.wait(lambda: len(one.deliveries) + len(two.deliveries) >= 3)

    assert ready(other, filled) == 17


def test_ack_makes_room_in_the_global_prefetch(channel, filled):
    channel.basic_qos(prefetch_count=2, global_qos=True)
    one, two = Consumer(channel, filled), Consumer(channel, filled)
    got = 0
    while got < 20:
        one.wait(lambda: one.deliveries or two.deliveries)
        for consumer in (one, two):
            for delivery in consumer.take(len(consumer.deliveries)):
                got += 1
                channel.basic_ack(delivery.tag)

    assert ready(channel, filled) == 0


def test_global_prefetch_may_be_taken_away(channel, filled):
    channel.basic_qos(prefetch_count=2, global_qos=True)
    consumer = Consumer(channel, filled)
    consumer.take(2)
    channel.basic_qos(prefetch_count=0, global_qos=True)

    consumer.take(18)


def test_ack_of_many_makes_room_for_as_many(channel, other, filled):
    channel.basic_qos(prefetch_count=5)
    consumer = Consumer(channel, filled)
    consumer.take(5)
    channel.basic_ack(3, multiple=True)

    assert held(channel, consumer, count=3) == [3]
    assert ready(other, filled) == 12


@pytest.mark.parametrize("settle", ["basic_nack", "basic_reject"])
def test_nack_and_reject_make_room(channel, filled, settle):
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, filled)
    bodies = []
    for _ in range(20):
        (delivery,) = consumer.take()
        bodies.append(delivery.body)
        getattr(channel, settle)(delivery.tag, requeue=False)

    assert bodies == [b"%d" % number for number in range(20)]


def test_auto_ack_knows_no_limit(channel, filled):
    channel.basic_qos(prefetch_count=1)

    assert held(channel, Consumer(channel, filled, auto_ack=True), count=20) == [20]


def test_gets_do_not_count_for_consumers(channel, filled):
    channel.basic_qos(prefetch_count=2)
    for _ in range(5):
        channel.basic_get(filled)

    assert held(channel, Consumer(channel, filled), count=2) == [2]


def test_busy_consumer_leaves_messages_to_an_idle_one(channel, other, filled):
    channel.basic_qos(prefetch_count=1)
    other.basic_qos(prefetch_count=1)
    busy, idle = Consumer(channel, filled), Consumer(other, filled)
    busy.take(1)
    bodies = []
    for _ in range(19):
        (delivery,) = idle.take()
        other.basic_ack(delivery.tag)
        bodies.append(delivery.body)

    assert len(bodies) == 19


def test_prefetch_in_bytes_closes_the_connection(channel):
    with connection_refused(540, "prefetch_size!=0 (1024)"):
        channel.basic_qos(prefetch_size=1024)


def test_cancelled_consumer_leaves_its_room_to_nobody(channel, filled):
    channel.basic_qos(prefetch_count=3)
    one = Consumer(channel, filled)
    one.take(3)
    one.cancel()

    assert held(channel, Consumer(channel, filled), count=3) == [3]


@pytest.mark.parametrize("prefetch", [1, 100, 65535])
def test_any_16_bits_are_a_limit(channel, filled, prefetch):
    channel.basic_qos(prefetch_count=prefetch)
    count = min(20, prefetch)

    assert held(channel, Consumer(channel, filled), count=count) == [count]
