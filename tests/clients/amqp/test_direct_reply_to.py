"""Replies without a queue: amq.rabbitmq.reply-to."""

import pika
import pytest
from pika.exceptions import UnroutableError

from tests.clients.amqp.session import Consumer, channel_refused, get, publish

REPLY_TO = "amq.rabbitmq.reply-to"


@pytest.fixture
def inbox(channel):
    """The consumer of replies on `channel`."""
    return Consumer(channel, REPLY_TO, auto_ack=True)


def request(channel, queue, body=b"question"):
    """Ask for a reply on the same channel."""
    channel.basic_publish("", queue, body, pika.BasicProperties(reply_to=REPLY_TO, correlation_id="42"))


def test_reply_arrives(channel, other, inbox, queue):
    request(channel, queue)
    asked = get(other, queue)
    publish(other, asked.properties.reply_to, b"answer", correlation_id=asked.properties.correlation_id)
    (answer,) = inbox.take()

    assert (answer.body, answer.properties.correlation_id) == (b"answer", "42")
    assert answer.method.exchange == ""


def test_address_of_the_reply_is_made_by_the_broker(channel, other, inbox, queue):
    request(channel, queue)

    assert get(other, queue).properties.reply_to.startswith(REPLY_TO + ".")


def test_reply_keeps_the_routing_key_it_was_sent_with(channel, other, inbox, queue):
    request(channel, queue)
    address = get(other, queue).properties.reply_to
    publish(other, address, b"answer")

    assert inbox.take()[0].method.routing_key == address


def test_many_replies_come_in_order(channel, other, inbox, queue):
    request(channel, queue)
    address = get(other, queue).properties.reply_to
    publish(other, address, *[b"%d" % number for number in range(50)])

    assert inbox.take_bodies(50) == [b"%d" % number for number in range(50)]


def test_request_without_a_consumer_is_406(channel, queue):
    request(channel, queue)

    with channel_refused(406, "fast reply consumer does not exist"):
        channel.queue_declare(queue, passive=True)


def test_consumer_that_would_ack_is_406(channel):
    with channel_refused(406, "reply consumer cannot acknowledge"):
        Consumer(channel, REPLY_TO)


def test_second_consumer_on_the_channel_is_406(channel, inbox):
    with channel_refused(406, "reply consumer already set"):
        Consumer(channel, REPLY_TO, auto_ack=True)


def test_two_channels_have_addresses_of_their_own(connection, other, queue):
    addresses = set()
    for channel in (connection.channel(), connection.channel()):
        Consumer(channel, REPLY_TO, auto_ack=True)
        request(channel, queue)
        addresses.add(get(other, queue, auto_ack=True).properties.reply_to)

    assert len(addresses) == 2


def test_address_can_be_asked_for_while_the_consumer_is_there(channel, other, inbox, queue):
    request(channel, queue)
    address = get(other, queue).properties.reply_to

    answer = other.queue_declare(address, passive=True).method
    assert (answer.queue, answer.message_count, answer.consumer_count) == (address, 0, 1)


def test_address_of_a_closed_channel_is_404(channel, connection, inbox, other, queue):
    request(channel, queue)
    address = get(other, queue).properties.reply_to
    connection.close()

    with channel_refused(404):
        other.queue_declare(address, passive=True)


def test_reply_to_a_closed_channel_is_returned_when_mandatory(channel, connection, inbox, publisher, queue):
    request(channel, queue)
    address = get(publisher, queue).properties.reply_to
    connection.close()

    with pytest.raises(UnroutableError):
        publisher.basic_publish("", address, b"late", mandatory=True)


@pytest.mark.peer_differs("3.10 returns a mandatory reply though it arrives")
def test_reply_that_arrives_is_confirmed(channel, inbox, publisher, queue):
    request(channel, queue)
    address = get(publisher, queue).properties.reply_to
    publisher.basic_publish("", address, b"answer", mandatory=True)

    assert inbox.take_bodies() == [b"answer"]


def test_pseudo_queue_can_be_asked_for(channel, inbox):
    answer = channel.queue_declare(REPLY_TO, passive=True).method

    assert answer.queue == REPLY_TO


def test_cancelled_consumer_may_come_back(channel, inbox, other, queue):
    inbox.cancel()
    again = Consumer(channel, REPLY_TO, auto_ack=True)
    request(channel, queue)
    publish(other, get(other, queue).properties.reply_to, b"answer")

    assert again.take_bodies() == [b"answer"]


def test_other_reply_addresses_are_left_alone(channel, other, queue):
    channel.basic_publish("", queue, b"question", pika.BasicProperties(reply_to="answers"))

    assert get(other, queue).properties.reply_to == "answers"
