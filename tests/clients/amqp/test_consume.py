"""Consumers: what they get, in which order, and how they end."""

import re

import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from tests.clients.amqp.session import (
    Consumer,
    channel_refused,
    connection_refused,
    consumers,
    drain,
    eventually,
    publish,
    ready,
)
from tests.clients.amqp.wire import Wire


def numbered(count):
    return [b"%d" % number for number in range(count)]


def test_consumer_gets_what_was_there_and_what_comes(channel, publisher, queue):
    publish(publisher, queue, b"before")
    consumer = Consumer(channel, queue)
    publish(publisher, queue, b"after")

    assert consumer.take_bodies(2) == [b"before", b"after"]


def test_consumer_gets_messages_in_order(channel, publisher, queue):
    consumer = Consumer(channel, queue, auto_ack=True)
    publish(publisher, queue, *numbered(300))

    assert consumer.take_bodies(300) == numbered(300)


def test_first_delivery_is_not_redelivered(channel, publisher, queue):
    publish(publisher, queue, b"hello")

    assert Consumer(channel, queue).take()[0].method.redelivered is False


def test_delivery_tags_count_from_1(channel, publisher, queue):
    publish(publisher, queue, *numbered(5))

    assert [delivery.tag for delivery in Consumer(channel, queue).take(5)] == [1, 2, 3, 4, 5]


def test_get_and_consume_share_the_tags(channel, publisher, queue):
    publish(publisher, queue, *numbered(3))
    assert channel.basic_get(queue)[0].delivery_tag == 1

    assert [delivery.tag for delivery in Consumer(channel, queue).take(2)] == [2, 3]


def test_each_channel_has_tags_of_its_own(connection, publisher, queue):
    publish(publisher, queue, *numbered(2))

    assert [connection.channel().basic_get(queue)[0].delivery_tag for _ in range(2)] == [1, 1]


def test_auto_ack_takes_the_message_away(channel, other, publisher, queue):
    publish(publisher, queue, *numbered(3))
    Consumer(channel, queue, auto_ack=True).take(3)
    channel.close()

    assert drain(other, queue) == []


def test_unacked_messages_are_not_ready(channel, other, publisher, queue):
    publish(publisher, queue, *numbered(3))
    Consumer(channel, queue).take(3)

    assert ready(other, queue) == 0


def test_consumers_take_turns(channel, publisher, queue):
    one, two, three = (Consumer(channel, queue, auto_ack=True) for _ in range(3))
    publish(publisher, queue, *numbered(30))
    one.wait(lambda: len(one.deliveries) + len(two.deliveries) + len(three.deliveries) == 30)

    assert [len(consumer.deliveries) for consumer in (one, two, three)] == [10, 10, 10]


def test_two_consumers_get_everything_once(channel, other, publisher, queue):
    publish(publisher, queue, *numbered(100))
    channel.basic_qos(prefetch_count=10)
    other.basic_qos(prefetch_count=10)
    one, two = Consumer(channel, queue), Consumer(other, queue)
    got = []
    while len(got) < 100:
        for consumer in (one, two):
            consumer.channel.connection.process_data_events(time_limit=0.01)
            for delivery in consumer.take(len(consumer.deliveries)):
                consumer.channel.basic_ack(delivery.tag)
                got.append(delivery.body)

    assert sorted(got) == sorted(numbered(100))


def test_unnamed_consumer_gets_a_tag(channel, broker, queue):
    with Wire(broker.address) as wire:
        wire.open()
        tag = wire.ask(Basic.Consume(queue=queue), Basic.ConsumeOk).consumer_tag

    assert re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", tag)


def test_tag_that_is_taken_closes_the_connection(broker, queue):
    with Wire(broker.address) as wire:
        wire.open()
        wire.ask(Basic.Consume(queue=queue, consumer_tag="one"), Basic.ConsumeOk)
        wire.send(Basic.Consume(queue=queue, consumer_tag="one"))
        closed = wire.closed()

    assert closed == ("connection", 530, "NOT_ALLOWED - attempt to reuse consumer tag 'one'", (60, 20))


def test_tag_may_be_used_on_two_channels(connection, queue):
    for channel in (connection.channel(), connection.channel()):
        channel.basic_consume(queue, lambda *_: None, consumer_tag="one")

    assert consumers(connection.channel(), queue) == 2


def test_tag_is_free_after_cancel(channel, queue):
    for _ in range(2):
        channel.basic_consume(queue, lambda *_: None, consumer_tag="one")
        channel.basic_cancel("one")

    assert consumers(channel, queue) == 0


def test_cancelled_consumer_gets_nothing_more(channel, publisher, queue):
    consumer = Consumer(channel, queue)
    consumer.cancel()
    publish(publisher, queue, b"hello")

    assert ready(channel, queue) == 1
    assert consumer.deliveries == []


def test_unacked_messages_stay_with_the_channel_after_cancel(channel, other, publisher, queue):
    publish(publisher, queue, b"hello")
    consumer = Consumer(channel, queue)
    (delivery,) = consumer.take()
    consumer.cancel()
    assert ready(other, queue) == 0
    channel.basic_ack(delivery.tag)
    channel.close()

    assert drain(other, queue) == []


def test_unacked_messages_return_when_the_channel_closes_after_cancel(channel, other, publisher, queue):
    publish(publisher, queue, b"hello")
    consumer = Consumer(channel, queue)
    consumer.take()
    consumer.cancel()
    channel.close()

    assert eventually(lambda: drain(other, queue)) == [b"hello"]


def test_cancel_of_an_unknown_tag_is_answered(broker):
    with Wire(broker.address) as wire:
        wire.open()

        assert wire.ask(Basic.Cancel("nobody"), Basic.CancelOk).consumer_tag == "nobody"


def test_cancel_ok_comes_after_the_last_delivery(broker, publisher, queue):
    publish(publisher, queue, *numbered(500))
    with Wire(broker.address) as wire:
        wire.open()
        wire.ask(Basic.Consume(queue=queue, consumer_tag="one"), Basic.ConsumeOk)
        wire.send(Basic.Cancel("one"))
        while not isinstance(wire.read(), Basic.CancelOk):
            pass

        wire.ask(Basic.Qos(0, 1), Basic.QosOk)


def test_consume_without_answer(broker, publisher, queue):
    publish(publisher, queue, b"")
    with Wire(broker.address) as wire:
        wire.open()
        wire.send(Basic.Consume(queue=queue, consumer_tag="one", nowait=True))

        assert wire.expect(Basic.Deliver).consumer_tag == "one"
        wire.expect(ContentHeader)


def test_exclusive_consumer_keeps_others_out(channel, other, queue):
    Consumer(channel, queue, exclusive=True)

    with channel_refused(403, f"queue '{queue}' in vhost '/' in exclusive use"):
        Consumer(other, queue)


def test_exclusive_consumer_does_not_join_others(channel, other, queue):
    Consumer(channel, queue)

    with channel_refused(403, f"queue '{queue}' in vhost '/' in exclusive use"):
        Consumer(other, queue, exclusive=True)


def test_queue_is_open_after_an_exclusive_consumer_went(channel, other, publisher, queue):
    Consumer(channel, queue, exclusive=True).cancel()
    publish(publisher, queue, b"hello")

    assert Consumer(other, queue).take_bodies() == [b"hello"]


def test_missing_queue_is_404(channel, name):
    with channel_refused(404, "no queue"):
        Consumer(channel, name())


def test_no_local_is_passed_over(broker, queue):
    with Wire(broker.address) as wire:
        wire.open()
        wire.ask(Basic.Consume(queue=queue, no_local=True, no_ack=True), Basic.ConsumeOk)
        wire.publish(b"", routing_key=queue)

        wire.expect(Basic.Deliver)


def test_consumer_of_the_last_declared_queue(channel, publisher):
    made = channel.queue_declare("", exclusive=True).method.queue
    consumer = Consumer(channel, "")
    publish(publisher, made, b"hello")

    assert consumer.take_bodies() == [b"hello"]


def test_one_channel_consumes_many_queues(channel, publisher, declare):
    queues = [declare() for _ in range(20)]
    inboxes = [Consumer(channel, queue, auto_ack=True) for queue in queues]
    for queue in queues:
        publish(publisher, queue, queue.encode())

    assert [inbox.take_bodies() for inbox in inboxes] == [[queue.encode()] for queue in queues]


def test_large_messages_are_delivered_whole(channel, publisher, queue):
    bodies = [bytes([number]) * 300_000 for number in range(5)]
    publish(publisher, queue, *bodies)

    assert Consumer(channel, queue).take_bodies(5) == bodies


def test_generator_of_pika_consumes(channel, publisher, queue):
    publish(publisher, queue, *numbered(5))
    got = []
    for method, _properties, body in channel.consume(queue, inactivity_timeout=20):
        got.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(got) == 5:
            break
    channel.cancel()

    assert got == numbered(5)
    assert ready(channel, queue) == 0


def test_consumer_priority_that_is_no_number_is_406(channel, queue):
    with channel_refused(406, "invalid arg 'x-priority'"):
        Consumer(channel, queue, arguments={"x-priority": "high"})


@pytest.mark.parametrize("prefetch", [1, 7])
def test_connection_error_returns_what_was_unacked(channel, other, publisher, queue, prefetch):
    publish(publisher, queue, *numbered(10))
    channel.basic_qos(prefetch_count=prefetch)
    Consumer(channel, queue).take(prefetch)
    with connection_refused(540):
        channel.basic_recover(requeue=False)

    assert eventually(lambda: ready(other, queue) == 10)
    assert drain(other, queue) == numbered(10)
