"""Messages and queues that expire."""

import pytest

from tests.clients.amqp.session import Consumer, drain, eventually, exists, get, publish, ready, wait_until_deleted

SOON = 50
LATER = 600_000


def test_message_of_a_queue_with_ttl_expires(channel, publisher, declare):
    queue = declare(message_ttl=SOON)
    publish(publisher, queue, b"hello")

    eventually(lambda: ready(channel, queue) == 0)


def test_message_with_expiration_expires(channel, publisher, queue):
    publish(publisher, queue, b"hello", expiration=str(SOON))

    eventually(lambda: ready(channel, queue) == 0)


def test_message_does_not_expire_early(channel, publisher, queue):
    publish(publisher, queue, b"hello", expiration=str(LATER))

    assert drain(channel, queue) == [b"hello"]


def test_lower_of_both_counts_when_the_queue_has_it(channel, publisher, declare):
    queue = declare(message_ttl=SOON)
    publish(publisher, queue, b"hello", expiration=str(LATER))

    eventually(lambda: ready(channel, queue) == 0)


def test_lower_of_both_counts_when_the_message_has_it(channel, publisher, declare):
    queue = declare(message_ttl=LATER)
    publish(publisher, queue, b"hello", expiration=str(SOON))

    eventually(lambda: ready(channel, queue) == 0)


@pytest.mark.peer_differs("messages expire only at the head there")
def test_message_behind_one_with_a_longer_ttl_expires(channel, publisher, queue):
    publish(publisher, queue, b"one", expiration=str(LATER))
    publish(publisher, queue, b"two", expiration=str(SOON))

    eventually(lambda: ready(channel, queue) == 1)
    assert drain(channel, queue) == [b"one"]


def test_expired_message_is_not_handed_out(channel, publisher, queue):
    publish(publisher, queue, b"one", expiration=str(SOON))
    publish(publisher, queue, b"two")
    eventually(lambda: ready(channel, queue) == 1)

    assert Consumer(channel, queue).take_bodies() == [b"two"]


def test_ttl_of_0_drops_what_no_consumer_waits_for(channel, publisher, declare):
    queue = declare(message_ttl=0)
    publish(publisher, queue, b"hello")

    assert drain(channel, queue) == []


def test_ttl_of_0_reaches_a_consumer_that_waits(channel, publisher, declare):
    queue = declare(message_ttl=0)
    consumer = Consumer(channel, queue, auto_ack=True)
    publish(publisher, queue, b"one", b"two")

    assert consumer.take_bodies(2) == [b"one", b"two"]


def test_expiration_0_reaches_a_consumer_that_waits(channel, publisher, queue):
    consumer = Consumer(channel, queue, auto_ack=True)
    publish(publisher, queue, b"hello", expiration="0")

    assert consumer.take_bodies() == [b"hello"]


def test_message_in_flight_does_not_expire(channel, publisher, declare):
    queue, probe = declare(message_ttl=SOON), declare(message_ttl=SOON * 2)
    consumer = Consumer(channel, queue)
    publish(publisher, queue, b"hello")
    (delivery,) = consumer.take()
    publish(publisher, probe, b"probe")
    eventually(lambda: ready(channel, probe) == 0)
    channel.basic_ack(delivery.tag)

    assert channel.basic_get(queue) == (None, None, None)


def test_requeued_message_expires(channel, publisher, declare):
    queue = declare(message_ttl=SOON)
    consumer = Consumer(channel, queue)
    publish(publisher, queue, b"hello")
    (delivery,) = consumer.take()
    consumer.cancel()
    channel.basic_nack(delivery.tag, requeue=True)

    eventually(lambda: ready(channel, queue) == 0)


def test_unused_queue_with_expiry_is_deleted(connection, channel, name, declare):
    queue = declare(expires=SOON)
    wait_until_deleted(channel, name("exchange"), queue)

    assert not exists(connection, queue)


def test_queue_with_a_consumer_does_not_expire(connection, channel, other, name, declare):
    used = declare(expires=SOON)
    Consumer(other, used)
    wait_until_deleted(channel, name("exchange"), declare(expires=SOON * 4))

    assert exists(connection, used)


def test_declaring_again_keeps_a_queue_alive(connection, channel, publisher, declare):
    queue = declare(expires=SOON * 10)
    clock = declare(message_ttl=SOON * 20)
    publish(publisher, clock, b"hello")
    while ready(channel, clock):
        channel.queue_declare(queue, durable=True, arguments={"x-expires": SOON * 10})

    assert exists(connection, queue)


def test_expiration_stays_in_the_message_that_is_delivered(channel, publisher, queue):
    publish(publisher, queue, b"hello", expiration=str(LATER))

    assert get(channel, queue).properties.expiration == str(LATER)


def test_order_is_kept_when_some_expire(channel, publisher, queue, declare):
    for number in range(20):
        publish(publisher, queue, b"%d" % number, **({"expiration": str(SOON)} if number % 2 == 0 else {}))
    clock = declare(message_ttl=SOON * 2)
    publish(publisher, clock, b"hello")
    eventually(lambda: ready(channel, clock) == 0)

    assert drain(channel, queue) == [b"%d" % number for number in range(1, 20, 2)]
