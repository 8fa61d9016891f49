"""basic.recover: all that is in flight on a channel goes back."""

from pamqp.commands import Basic
from pamqp.header import ContentHeader

from tests.clients.amqp.session import Consumer, channel_refused, connection_refused, drain, poll, publish
from tests.clients.amqp.wire import Wire


def test_recovered_messages_come_again_redelivered(channel, publisher, queue):
    publish(publisher, queue, b"one", b"two")
    consumer = Consumer(channel, queue)
    consumer.take(2)
    channel.basic_recover(requeue=True)

    again = consumer.take(2)
    assert [(delivery.body, delivery.method.redelivered) for delivery in again] == [(b"one", True), (b"two", True)]


def test_recovered_messages_have_new_tags(channel, publisher, queue):
    publish(publisher, queue, b"one")
    consumer = Consumer(channel, queue)
    (first,) = consumer.take()
    channel.basic_recover(requeue=True)
    (second,) = consumer.take()

    assert (first.tag, second.tag) == (1, 2)


def test_old_tag_is_unknown_after_recover(channel, publisher, queue):
    publish(publisher, queue, b"one")
    tag = poll(channel, queue, auto_ack=False).tag
    channel.basic_recover(requeue=True)
    channel.basic_ack(tag)

    with channel_refused(406, f"unknown delivery tag {tag}"):
        channel.queue_declare(queue, passive=True)


def test_messages_that_were_got_are_recovered(channel, publisher, queue):
    publish(publisher, queue, b"one", b"two")
    poll(channel, queue, auto_ack=False)
    channel.basic_recover(requeue=True)

    assert drain(channel, queue) == [b"one", b"two"]


def test_acked_messages_are_not_recovered(channel, publisher, queue):
    publish(publisher, queue, b"one", b"two")
    channel.basic_ack(poll(channel, queue, auto_ack=False).tag)
    poll(channel, queue, auto_ack=False)
    channel.basic_recover(requeue=True)

    assert drain(channel, queue) == [b"two"]


def test_recover_without_requeue_closes_the_connection(channel):
    with connection_refused(540, "requeue=false"):
        channel.basic_recover(requeue=False)


def test_recover_of_nothing(channel, queue):
    channel.basic_recover(requeue=True)

    assert channel.basic_get(queue) == (None, None, None)


def test_recovered_messages_may_go_to_another_consumer(channel, other, publisher, queue):
    publish(publisher, queue, b"one")
    poll(channel, queue, auto_ack=False)
    consumer = Consumer(other, queue)
    channel.basic_recover(requeue=True)

    assert consumer.take_bodies() == [b"one"]


def test_recover_async_is_not_answered(broker, publisher, queue):
    publish(publisher, queue, b"")
    with Wire(broker.address) as wire:
        wire.open()
        wire.ask(Basic.Get(queue=queue), Basic.GetOk)
        wire.expect(ContentHeader)
        # basic.recover-async (60, 100) with requeue.
        wire.send_bytes(b"\x01\x00\x01\x00\x00\x00\x05\x00\x3c\x00\x64\x01\xce")
        wire.ask(Basic.Qos(0, 1), Basic.QosOk)

        assert wire.ask(Basic.Get(queue=queue), Basic.GetOk).redelivered
