"""Confirms: what the broker says to a publisher, and when."""

import amqp
import pika
import pytest
from pamqp.commands import Basic, Channel, Confirm
from pamqp.header import ContentHeader
from pika.exceptions import NackError, UnroutableError

from tests.clients.amqp.session import channel_refused, drain, publish
from tests.clients.amqp.wire import Wire


@pytest.fixture
def wire(broker):
    with Wire(broker.address) as wire:
        wire.open()
        wire.ask(Confirm.Select(), Confirm.SelectOk)
        yield wire


def settled(wire, count):
    """Tag -> "ack" or "nack", for the tags 1 to *count*."""
    answers = {}
    low = 1
    while len(answers) < count:
        got = wire.read()
        if not isinstance(got, (Basic.Ack, Basic.Nack)):
            continue
        tags = range(low, got.delivery_tag + 1) if got.multiple else (got.delivery_tag,)
        for tag in tags:
            assert answers.setdefault(tag, got.name) == got.name or not got.multiple
            answers[tag] = got.name
        while low in answers:
            low += 1
    return {tag: name.removeprefix("Basic.").lower() for tag, name in sorted(answers.items())}


def test_every_message_is_confirmed_once(wire, queue):
    for _ in range(500):
        wire.publish(routing_key=queue, properties=Basic.Properties(delivery_mode=2))

    assert settled(wire, 500) == dict.fromkeys(range(1, 501), "ack")


def test_tags_are_counted_from_the_select(broker, queue):
    with Wire(broker.address) as wire:
        wire.open()
        wire.publish(routing_key=queue)
        wire.publish(routing_key=queue)
        wire.ask(Confirm.Select(), Confirm.SelectOk)
        wire.publish(routing_key=queue)

        assert wire.expect(Basic.Ack).delivery_tag == 1


def test_second_select_changes_nothing(wire, queue):
    wire.publish(routing_key=queue)
    assert wire.expect(Basic.Ack).delivery_tag == 1
    wire.ask(Confirm.Select(), Confirm.SelectOk)
    wire.publish(routing_key=queue)

    assert wire.expect(Basic.Ack).delivery_tag == 2


def test_select_without_answer(broker, queue):
    with Wire(broker.address) as wire:
        wire.open()
        wire.send(Confirm.Select(nowait=True))
        wire.publish(routing_key=queue)

        assert wire.expect(Basic.Ack).delivery_tag == 1


def test_unroutable_message_is_acked(wire, name):
    wire.publish(routing_key=name())

    assert wire.expect(Basic.Ack).delivery_tag == 1


def test_return_comes_before_the_confirm(wire, name):
    wire.publish(b"", routing_key=name(), mandatory=True)

    assert wire.expect(Basic.Return).reply_code == 312
    wire.expect(ContentHeader)
    assert wire.expect(Basic.Ack).delivery_tag == 1


def test_each_channel_counts_for_itself(wire, queue):
    wire.ask(Channel.Open(), Channel.OpenOk, channel=2)
    wire.ask(Confirm.Select(), Confirm.SelectOk, channel=2)
    wire.publish(routing_key=queue)
    assert wire.expect(Basic.Ack).delivery_tag == 1
    wire.publish(routing_key=queue, channel=2)

    assert wire.expect(Basic.Ack).delivery_tag == 1


def test_message_to_several_queues_is_confirmed_once(wire, channel, declare):
    queues = [declare() for _ in range(3)]
    for queue in queues:
        channel.queue_bind(queue, "amq.direct", queues[0])
    for _ in range(10):
        wire.publish(exchange="amq.direct", routing_key=queues[0])
    assert settled(wire, 10) == dict.fromkeys(range(1, 11), "ack")

    assert [len(drain(channel, queue)) for queue in queues] == [10, 10, 10]


def test_full_queue_that_rejects_nacks(publisher, declare):
    queue = declare(max_length=1, overflow="reject-publish")
    publish(publisher, queue, b"one")
    with pytest.raises(NackError):
        publish(publisher, queue, *[b"two"] * 10)


def test_nack_and_ack_are_not_mixed_up(wire, channel, declare):
    queue = declare(max_length=1, overflow="reject-publish")
    open_queue = declare()
    wire.publish(routing_key=queue)
    settled(wire, 1)
    for number in range(100):
        wire.publish(b"%d" % number, routing_key=open_queue if number % 2 else queue)
    answers = {}
    low = 2
    while len(answers) < 100:
        got = wire.expect((Basic.Ack, Basic.Nack))
        for tag in range(low if got.multiple else got.delivery_tag, got.delivery_tag + 1):
            answers.setdefault(tag, got.name)
        while low in answers:
            low += 1

    kept = [b"%d" % (tag - 2) for tag, answer in sorted(answers.items()) if answer == "Basic.Ack"]
    assert sorted(kept) == sorted(drain(channel, open_queue) + drain(channel, queue)[1:])


def test_messages_waiting_on_a_deleted_queue_are_acked(wire, channel, name):
    for _ in range(20):
        queue = name()
        channel.queue_declare(queue, durable=True)
        for _ in range(10):
            wire.publish(routing_key=queue, properties=Basic.Properties(delivery_mode=2))
        channel.queue_delete(queue)

    assert set(settled(wire, 200).values()) == {"ack"}


def test_confirmed_message_can_be_got(publisher, channel, queue):
    for number in range(100):
        publish(publisher, queue, b"%d" % number)
        assert drain(channel, queue) == [b"%d" % number]


def test_pika_raises_for_what_nothing_takes(publisher, name):
    with pytest.raises(UnroutableError) as caught:
        publisher.basic_publish("", name(), b"hello", pika.BasicProperties(message_id="m-1"), mandatory=True)

    (returned,) = caught.value.messages
    assert (returned.body, returned.properties.message_id) == (b"hello", "m-1")
    assert returned.method.reply_code == 312


def test_py_amqp_waits_for_the_confirm(broker, queue, channel):
    host, port = broker.address
    with amqp.Connection(f"{host}:{port}", confirm_publish=True) as connection:
        connection.channel().basic_publish_confirm(amqp.Message(b"hello"), routing_key=queue)

    assert drain(channel, queue) == [b"hello"]


def test_transactions_exclude_confirms(channel):
    channel.tx_select()

    with channel_refused(406, "cannot switch from tx to confirm mode"):
        channel.confirm_delivery()


def test_confirms_exclude_transactions(channel):
    channel.confirm_delivery()

    with channel_refused(406, "cannot switch from confirm to tx mode"):
        channel.tx_select()
