"""Consumers are told when their queue goes."""

import amqp
import pytest
from pamqp.commands import Basic

from tests.clients.amqp.session import Consumer
from tests.clients.amqp.wire import CAPABILITIES, Wire


def test_pika_is_told_when_the_queue_is_deleted(channel, other, queue):
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    consumer = Consumer(channel, queue)
    other.queue_delete(queue)
    consumer.wait(lambda: cancelled)

    assert cancelled[0].method.consumer_tag == consumer.tag


def test_cancel_of_the_broker_asks_for_no_answer(broker, channel, queue):
    with Wire(broker.address) as wire:
        wire.open()
        wire.ask(Basic.Consume(queue=queue, consumer_tag="one"), Basic.ConsumeOk)
        channel.queue_delete(queue)
        cancel = wire.expect(Basic.Cancel)

    assert (cancel.consumer_tag, cancel.nowait) == ("one", True)


def test_client_that_does_not_know_of_it_is_not_told(broker, channel, queue):
    capabilities = {**CAPABILITIES, "consumer_cancel_notify": False}
    with Wire(broker.address) as wire:
        wire.open(capabilities=capabilities)
        wire.ask(Basic.Consume(queue=queue, consumer_tag="one"), Basic.ConsumeOk)
        channel.queue_delete(queue)

        wire.ask(Basic.Qos(0, 1), Basic.QosOk)


def test_tag_is_free_after_the_broker_cancelled(channel, other, queue):
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    consumer = Consumer(channel, queue, consumer_tag="one")
    other.queue_delete(queue)
    consumer.wait(lambda: cancelled)
    other.queue_declare(queue, durable=True)

    assert Consumer(channel, queue, consumer_tag="one").tag == "one"


def test_every_consumer_of_the_queue_is_told(connect, other, queue):
    inboxes, cancelled = [], []
    for _ in range(3):
        channel = connect().channel()
        channel.add_on_cancel_callback(cancelled.append)
        inboxes.append(Consumer(channel, queue))
    other.queue_delete(queue)
    for count, inbox in enumerate(inboxes, 1):
        inbox.wait(lambda count=count: len(cancelled) >= count)

    assert sorted(frame.method.consumer_tag for frame in cancelled) == sorted(inbox.tag for inbox in inboxes)


def test_own_cancel_is_not_notified(channel, queue):
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    Consumer(channel, queue).cancel()
    channel.queue_delete(queue)

    assert cancelled == []


def test_py_amqp_is_told_when_the_queue_is_deleted(broker, channel, queue):
    cancelled = []
    host, port = broker.address
    with amqp.Connection(f"{host}:{port}") as connection:
        consuming = connection.channel()
        consuming.basic_consume(queue, consumer_tag="one", on_cancel=cancelled.append)
        channel.queue_delete(queue)
        while not cancelled:
            connection.drain_events(timeout=20)

    assert cancelled == ["one"]


@pytest.mark.parametrize("requeue", [True, False])
def test_settling_what_came_from_a_deleted_queue_is_no_error(channel, other, publisher, queue, requeue):
    publisher.basic_publish("", queue, b"hello")
    (delivery,) = Consumer(channel, queue).take()
    other.queue_delete(queue)
    channel.basic_nack(delivery.tag, requeue=requeue)

    channel.queue_declare(queue, durable=True)
