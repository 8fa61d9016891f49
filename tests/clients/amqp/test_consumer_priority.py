"""Consumers with a higher x-priority get messages first."""

import pytest

from tests.clients.amqp.session import Consumer, publish

HIGH, LOW = {"x-priority": 10}, {"x-priority": -1}


def numbered(count):
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("first_is_high", [True, False])
def test_highest_priority_gets_all_while_it_has_room(channel, other, publisher, queue, first_is_high):
    one = Consumer(channel, queue, auto_ack=True, arguments=HIGH if first_is_high else LOW)
    two = Consumer(other, queue, auto_ack=True, arguments=LOW if first_is_high else HIGH)
    high, low = (one, two) if first_is_high else (two, one)
    publish(publisher, queue, *numbered(20))

    assert high.take_bodies(20) == numbered(20)
    assert low.deliveries == []


def test_lower_priority_gets_what_the_higher_has_no_room_for(channel, other, publisher, queue):
    channel.basic_qos(prefetch_count=2)
    high = Consumer(channel, queue, arguments=HIGH)
    low = Consumer(other, queue, arguments=LOW)
    publish(publisher, queue, *numbered(5))

    assert high.take_bodies(2) == [b"0", b"1"]
    assert low.take_bodies(3) == [b"2", b"3", b"4"]


def test_no_priority_is_0(channel, other, publisher, queue):
    plain = Consumer(channel, queue, auto_ack=True)
    low = Consumer(other, queue, auto_ack=True, arguments=LOW)
    publish(publisher, queue, *numbered(5))

    assert plain.take_bodies(5) == numbered(5)
    assert low.deliveries == []


def test_equal_priorities_take_turns(channel, publisher, queue):
    one, two = (Consumer(channel, queue, auto_ack=True, arguments=HIGH) for _ in range(2))
    low = Consumer(channel, queue, auto_ack=True, arguments=LOW)
    publish(publisher, queue, *numbered(10))
    one.wait(lambda: len(one.deliveries) + len(two.deliveries) == 10)

    assert (len(one.deliveries), len(two.deliveries), len(low.deliveries)) == (5, 5, 0)


def test_lower_priority_takes_over_when_the_higher_is_cancelled(channel, other, publisher, queue):
    high = Consumer(channel, queue, auto_ack=True, arguments=HIGH)
    low = Consumer(other, queue, auto_ack=True, arguments=LOW)
    high.cancel()
    publish(publisher, queue, b"hello")

    assert low.take_bodies() == [b"hello"]


@pytest.mark.peer_differs("3.10 lets the first stay active")
def test_active_consumer_gives_way_to_a_higher_priority(channel, other, publisher, declare):
    queue = declare(single_active_consumer=True, queue_type="quorum")
    low = Consumer(channel, queue, auto_ack=True, arguments={"x-priority": 1})
    high = Consumer(other, queue, auto_ack=True, arguments=HIGH)
    publish(publisher, queue, b"hello")

    assert high.take_bodies() == [b"hello"]
    assert low.deliveries == []
