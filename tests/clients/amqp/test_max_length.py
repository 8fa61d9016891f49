"""Queues with a length: what is dropped, what is refused."""

from contextlib import suppress

import pytest
from pika.exceptions import NackError

from tests.clients.amqp.session import Consumer, drain, eventually, get, poll, publish, ready


def test_oldest_messages_are_dropped(channel, publisher, declare):
    queue = declare(max_length=3)
    publish(publisher, queue, *[b"%d" % number for number in range(10)])

    assert drain(channel, queue) == [b"7", b"8", b"9"]


def test_oldest_messages_are_dropped_by_bytes(channel, publisher, declare):
    queue = declare(max_length_bytes=25)
    publish(publisher, queue, *[b"%d" % number * 10 for number in range(5)])

    assert drain(channel, queue) == [b"3" * 10, b"4" * 10]


def test_either_limit_counts(channel, publisher, declare):
    queue = declare(max_length=10, max_length_bytes=25)
    publish(publisher, queue, *[b"%d" % number * 10 for number in range(5)])

    assert drain(channel, queue) == [b"3" * 10, b"4" * 10]


def test_message_larger_than_the_queue_is_dropped(channel, publisher, declare):
    queue = declare(max_length_bytes=5)
    publish(publisher, queue, b"too large")

    assert drain(channel, queue) == []


def test_length_0_keeps_nothing(channel, publisher, declare):
    queue = declare(max_length=0)
    publish(publisher, queue, b"hello")

    assert drain(channel, queue) == []


def test_messages_in_flight_do_not_count(channel, publisher, declare):
    queue = declare(max_length=2)
    publish(publisher, queue, b"1", b"2")
    for _ in range(2):
        poll(channel, queue, auto_ack=False)
    publish(publisher, queue, b"3", b"4")

    assert ready(channel, queue) == 2


def test_requeued_messages_count(channel, publisher, declare):
    queue = declare(max_length=2)
    publish(publisher, queue, b"1", b"2")
    for _ in range(2):
        delivery = poll(channel, queue, auto_ack=False)
    publish(publisher, queue, b"3", b"4")
    channel.basic_nack(delivery.tag, multiple=True, requeue=True)
    publish(publisher, queue, b"5")

    assert drain(channel, queue)[-1] == b"5"
    assert ready(channel, queue) == 0


def test_full_queue_rejects(channel, publisher, declare):
    queue = declare(max_length=2, overflow="reject-publish")
    accepted = []
    for number in range(10):
        try:
            publish(publisher, queue, b"%d" % number)
        except NackError:
            continue
        accepted.append(b"%d" % number)

    assert drain(channel, queue) == accepted
    assert accepted[:2] == [b"0", b"1"]
    assert len(accepted) <= 3


def test_queue_takes_again_when_there_is_room(channel, publisher, declare):
    queue = declare(max_length=1, overflow="reject-publish")
    with pytest.raises(NackError):
        publish(publisher, queue, b"1", b"2", b"3")
    drain(channel, queue)
    publish(publisher, queue, b"4")

    assert drain(channel, queue) == [b"4"]


def test_message_is_nacked_when_one_of_its_queues_is_full(channel, publisher, declare):
    full, spare = declare(max_length=1, overflow="reject-publish"), declare()
    publish(publisher, full, b"1")
    for _ in range(3):
        with suppress(NackError):
            publish(publisher, full, b"2")
    with pytest.raises(NackError):
        publish(publisher, full, b"3", headers={"CC": [spare]})

    assert drain(channel, spare) == [b"3"]


def test_rejected_messages_are_dead_lettered_when_asked(channel, publisher, declare):
    dead = declare()
    queue = declare(max_length=1, overflow="reject-publish-dlx", dead_letter_exchange="", dead_letter_routing_key=dead)
    refused = 0
    for number in range(5):
        try:
            publish(publisher, queue, b"%d" % number)
        except NackError:
            refused += 1
    eventually(lambda: ready(channel, dead) == refused)
    delivery = get(channel, dead)

    assert refused >= 3
    assert delivery.headers["x-death"][0]["reason"] == "maxlen"


def test_rejected_messages_are_no_dead_letters_unasked(channel, publisher, declare):
    dead = declare()
    queue = declare(max_length=1, overflow="reject-publish", dead_letter_exchange="", dead_letter_routing_key=dead)
    with pytest.raises(NackError):
        publish(publisher, queue, b"1", b"2", b"3")

    assert drain(channel, dead) == []


def test_dropped_messages_are_dead_lettered_in_order(channel, publisher, declare):
    dead = declare()
    queue = declare(max_length=2, dead_letter_exchange="", dead_letter_routing_key=dead)
    publish(publisher, queue, *[b"%d" % number for number in range(10)])
    eventually(lambda: ready(channel, dead) == 8)

    assert drain(channel, dead) == [b"%d" % number for number in range(8)]


def test_consumer_keeps_the_queue_short(channel, publisher, declare):
    queue = declare(max_length=1)
    consumer = Consumer(channel, queue, auto_ack=True)
    publish(publisher, queue, b"1")
    assert consumer.take_bodies() == [b"1"]
    publish(publisher, queue, b"2")

    assert consumer.take_bodies() == [b"2"]


def test_publish_to_a_full_queue_without_confirms_is_dropped(channel, publisher, declare):
    queue = declare(max_length=1, overflow="reject-publish")
    publish(publisher, queue, b"1")
    publish(channel, queue, *[b"2"] * 10)
    channel.queue_declare(queue, passive=True)

    assert drain(channel, queue)[0] == b"1"
