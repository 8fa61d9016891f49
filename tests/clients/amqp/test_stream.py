"""Stream queues: read from anywhere, by everyone, and nothing is taken out."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.clients.amqp.session import Consumer, channel_refused, connection_refused, publish

COUNT = 20
BODIES = [b"%d" % number for number in range(COUNT)]


@pytest.fixture
def stream(publisher, declare):
    """A stream with 20 messages."""
    stream = declare(queue_type="stream")
    publish(publisher, stream, *BODIES)
    return stream


def reader(channel, stream, offset=None, prefetch=100):
    channel.basic_qos(prefetch_count=prefetch)
    return Consumer(channel, stream, arguments={} if offset is None else {"x-stream-offset": offset})


def test_first_reads_from_the_beginning(channel, stream):
    assert reader(channel, stream, "first").take_bodies(COUNT) == BODIES


def test_next_reads_what_comes(channel, publisher, stream):
    consumer = reader(channel, stream, "next")
    publish(publisher, stream, b"new")

    assert consumer.take_bodies() == [b"new"]


def test_without_an_offset_it_is_next(channel, publisher, stream):
    consumer = reader(channel, stream)
    publish(publisher, stream, b"new")

    assert consumer.take_bodies() == [b"new"]


def test_reader_of_what_comes_begins_after_the_newest(channel, publisher, stream):
    consumer = reader(channel, stream, "next")
    publish(publisher, stream, b"new")

    assert consumer.take()[0].headers["x-stream-offset"] == COUNT


def test_number_is_an_offset(channel, stream):
    consumer = reader(channel, stream, 15)

    assert consumer.take_bodies(5) == BODIES[15:]


def test_each_message_tells_its_offset(channel, stream):
    offsets = [delivery.headers["x-stream-offset"] for delivery in reader(channel, stream, 17).take(3)]

    assert offsets == [17, 18, 19]


def test_last_begins_near_the_end(channel, publisher, stream):
    consumer = reader(channel, stream, "last")
    publish(publisher, stream, b"new")
    consumer.wait(lambda: consumer.deliveries and consumer.deliveries[-1].body == b"new")

    assert [delivery.body for delivery in consumer.deliveries] == [*BODIES, b"new"][-len(consumer.deliveries) :]


def test_interval_reaches_back_in_time(channel, stream):
    assert reader(channel, stream, "1h").take_bodies(COUNT) == BODIES


def test_timestamp_of_an_hour_ago(channel, stream):
    assert reader(channel, stream, datetime.now(UTC) - timedelta(hours=1)).take_bodies(COUNT) == BODIES


def test_acked_messages_stay(channel, connection, stream):
    consumer = reader(channel, stream, "first")
    for delivery in consumer.take(COUNT):
        channel.basic_ack(delivery.tag)

    assert reader(connection.channel(), stream, "first").take_bodies(COUNT) == BODIES


@pytest.mark.peer_differs("3.10 closes the connection with 540")
@pytest.mark.parametrize("settle", ["basic_nack", "basic_reject"])
def test_nack_and_reject_give_credit_and_drop_nothing(channel, connection, stream, settle):
    consumer = reader(channel, stream, "first", prefetch=1)
    bodies = []
    for _ in range(COUNT):
        (delivery,) = consumer.take()
        bodies.append(delivery.body)
        getattr(channel, settle)(delivery.tag)

    assert bodies == BODIES
    assert reader(connection.channel(), stream, "first").take_bodies(COUNT) == BODIES


def test_every_reader_gets_everything(connection, stream):
    readers = [reader(connection.channel(), stream, "first") for _ in range(3)]

    assert [consumer.take_bodies(COUNT) for consumer in readers] == [BODIES] * 3


def test_prefetch_limits_what_is_in_flight(channel, stream):
    consumer = reader(channel, stream, "first", prefetch=5)
    first = consumer.take(5)
    channel.queue_declare(stream, passive=True)
    assert consumer.deliveries == []
    channel.basic_ack(first[-1].tag, multiple=True)

    assert consumer.take_bodies(5) == BODIES[5:10]


def test_message_count_is_that_of_the_log(channel, stream):
    reader(channel, stream, "first").take(COUNT)

    assert channel.queue_delete(stream).method.message_count in {0, COUNT}


def test_properties_come_back(channel, publisher, declare):
    stream = declare(queue_type="stream")
    publish(publisher, stream, b"hello", message_id="m-1", headers={"trace": "abc"})
    (delivery,) = reader(channel, stream, "first").take()

    assert delivery.properties.message_id == "m-1"
    assert delivery.headers == {"trace": "abc", "x-stream-offset": 0}


def test_reader_that_is_ahead_of_a_closed_one_is_not_disturbed(channel, connection, stream):
    one = connection.channel()
    reader(one, stream, "first").take(3)
    one.close()

    assert reader(channel, stream, "first").take_bodies(COUNT) == BODIES


def test_consuming_without_prefetch_is_406(channel, stream):
    with channel_refused(406, "consumer prefetch count is not set"):
        Consumer(channel, stream)


def test_consuming_with_auto_ack_is_540(channel, stream):
    channel.basic_qos(prefetch_count=10)
    with connection_refused(540):
        Consumer(channel, stream, auto_ack=True)


def test_get_is_540(channel, stream):
    with connection_refused(540):
        channel.basic_get(stream)


def test_purge_is_540(channel, stream):
    with connection_refused(540):
        channel.queue_purge(stream)


@pytest.mark.peer_differs("3.10 crashes")
@pytest.mark.parametrize("offset", ["sometime", "7 sheep", True])
def test_offset_that_is_none_is_406(channel, stream, offset):
    with channel_refused(406):
        reader(channel, stream, offset)


def test_stream_must_be_durable(channel, name):
    with channel_refused(406, "invalid property 'non-durable'"):
        channel.queue_declare(name(), arguments={"x-queue-type": "stream"})


def test_stream_gets_what_an_exchange_routes(channel, publisher, declare):
    stream = declare(queue_type="stream")
    channel.queue_bind(stream, "amq.direct", stream)
    publisher.basic_publish("amq.direct", stream, b"hello")
    (delivery,) = reader(channel, stream, "first").take()

    assert (delivery.body, delivery.method.exchange, delivery.method.routing_key) == (b"hello", "amq.direct", stream)
