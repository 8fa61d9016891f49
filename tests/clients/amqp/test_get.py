"""basic.get: one message at a time."""

import amqp
import pytest
from pamqp.commands import Basic

from tests.clients.amqp.session import channel_refused, drain, poll, publish, ready
from tests.clients.amqp.wire import Wire


def test_empty_queue_answers_empty(channel, queue):
    assert channel.basic_get(queue) == (None, None, None)


def test_message_count_is_what_remains_ready(channel, publisher, queue):
    publish(publisher, queue, b"one", b"two", b"three")

    assert [channel.basic_get(queue)[0].message_count for _ in range(3)] == [2, 1, 0]


def test_fields_of_the_answer(channel, publisher, queue):
    publisher.basic_publish("", queue, b"hello")
    method = channel.basic_get(queue)[0]

    assert (method.delivery_tag, method.redelivered, method.exchange, method.routing_key) == (1, False, "", queue)


def test_message_that_was_got_without_ack_stays_unacked(channel, other, publisher, queue):
    publish(publisher, queue, b"hello")
    poll(channel, queue, auto_ack=False)

    assert drain(other, queue) == []


def test_message_returns_redelivered_when_the_channel_closes(channel, other, publisher, queue):
    publish(publisher, queue, b"hello")
    poll(channel, queue, auto_ack=False)
    channel.close()
    delivery = poll(other, queue)

    assert (delivery.body, delivery.method.redelivered) == (b"hello", True)


def test_auto_ack_takes_the_message_away(channel, other, publisher, queue):
    publish(publisher, queue, b"hello")
    poll(channel, queue)
    channel.close()

    assert drain(other, queue) == []


@pytest.mark.peer_differs("the queue may get the message after the get there")
def test_get_sees_what_was_published_just_before(channel, queue):
    for number in range(20):
        publish(channel, queue, b"%d" % number)
        assert drain(channel, queue) == [b"%d" % number]


def test_tag_of_a_get_without_ack_is_unknown(channel, publisher, queue):
    publish(publisher, queue, b"hello")
    tag = poll(channel, queue).tag
    channel.basic_ack(tag)

    with channel_refused(406, f"unknown delivery tag {tag}"):
        channel.queue_declare(queue, passive=True)


def test_prefetch_does_not_hold_gets_back(channel, publisher, queue):
    publish(publisher, queue, b"one", b"two")
    channel.basic_qos(prefetch_count=1)

    assert [poll(channel, queue, auto_ack=False).body for _ in range(2)] == [b"one", b"two"]


def test_get_empty_on_the_wire(broker, queue):
    with Wire(broker.address) as wire:
        wire.open()

        wire.ask(Basic.Get(queue=queue), Basic.GetEmpty)


def test_two_channels_get_different_messages(channel, other, publisher, queue):
    publish(publisher, queue, b"one", b"two")

    assert [poll(one, queue, auto_ack=False).body for one in (channel, other)] == [b"one", b"two"]
    assert ready(channel, queue) == 0


def test_py_amqp_gets(broker, publisher, queue):
    publish(publisher, queue, b"hello")
    host, port = broker.address
    with amqp.Connection(f"{host}:{port}") as connection:
        channel = connection.channel()
        message = channel.basic_get(queue, no_ack=True)

        assert (message.body, message.delivery_info["message_count"]) == (b"hello", 0)
        assert channel.basic_get(queue) is None
