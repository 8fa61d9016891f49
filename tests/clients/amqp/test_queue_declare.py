"""Queues: declared, named, compared, purged, deleted."""

import re

import amqp
import pytest
from pamqp.commands import Queue

from tests.clients.amqp.session import Consumer, channel_refused, consumers, drain, exists, publish, ready
from tests.clients.amqp.wire import Wire

ARGUMENTS = [
    {"x-message-ttl": 60000},
    {"x-message-ttl": 0},
    {"x-expires": 60000},
    {"x-max-length": 10},
    {"x-max-length-bytes": 10000},
    {"x-overflow": "drop-head"},
    {"x-overflow": "reject-publish"},
    {"x-overflow": "reject-publish-dlx"},
    {"x-dead-letter-exchange": "amq.fanout"},
    {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"},
    {"x-max-priority": 10},
    {"x-single-active-consumer": True},
    {"x-queue-mode": "lazy"},
    {"x-queue-version": 2},
    {"x-queue-type": "classic"},
    {"x-queue-type": "quorum"},
    {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-quorum-initial-group-size": 1},
    {"x-queue-type": "stream", "x-max-age": "1D", "x-stream-max-segment-size-bytes": 1000000},
    {"x-queue-type": "stream", "x-max-length-bytes": 100000000},
    {"x-unknown": "whatever"},
]
BAD_ARGUMENTS = [
    {"x-message-ttl": -1},
    {"x-message-ttl": "1000"},
    {"x-expires": 0},
    {"x-expires": "never"},
    {"x-max-length": -1},
    {"x-max-length": "ten"},
    {"x-max-length-bytes": -1},
    {"x-overflow": "burst"},
    {"x-max-priority": -1},
    {"x-max-priority": 256},
    {"x-max-priority": "high"},
    {"x-single-active-consumer": "yes"},
    {"x-dead-letter-exchange": 5},
    {"x-dead-letter-exchange": "amq.fanout", "x-dead-letter-routing-key": 5},
    {"x-dead-letter-routing-key": "dead"},
    {"x-queue-type": "cubic"},
    {"x-queue-type": "quorum", "x-max-priority": 5},
    {"x-queue-type": "stream", "x-message-ttl": 1000},
    {"x-queue-type": "stream", "x-dead-letter-exchange": "amq.fanout"},
    {"x-max-age": "1D"},
    {"x-queue-mode": "fast"},
]
BAD_ARGUMENTS_OF_TYPES = [
    {"x-queue-type": "stream", "x-max-age": "soon"},
    {"x-queue-type": "quorum", "x-delivery-limit": "five"},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_arguments_are_taken(channel, name, arguments):
    queue = name()
    channel.queue_declare(queue, durable=True, arguments=arguments)

    assert channel.queue_declare(queue, durable=True, arguments=arguments).method.message_count == 0


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS, ids=str)
def test_bad_arguments_are_406(connection, channel, name, arguments):
    queue = name()
    with channel_refused(406, "invalid "):
        channel.queue_declare(queue, durable=True, arguments=arguments)

    assert not exists(connection, queue)


@pytest.mark.peer_differs("3.10 crashes or takes them")
@pytest.mark.parametrize("arguments", BAD_ARGUMENTS_OF_TYPES, ids=str)
def test_bad_arguments_of_quorum_queues_and_streams_are_406(channel, name, arguments):
    with channel_refused(406, "invalid arg 'x-"):
        channel.queue_declare(name(), durable=True, arguments=arguments)


def test_declare_tells_name_and_counts(channel, name):
    queue = name()
    answer = channel.queue_declare(queue, durable=True).method

    assert (answer.queue, answer.message_count, answer.consumer_count) == (queue, 0, 0)


def test_declare_counts_what_is_ready_and_who_consumes(channel, other, publisher, queue):
    publish(publisher, queue, b"one", b"two", b"three")
    channel.basic_get(queue)
    other.basic_qos(prefetch_count=1)
    Consumer(other, queue).take(1)

    assert (ready(channel, queue), consumers(channel, queue)) == (1, 1)


@pytest.mark.peer_differs("there it may still be 0 right after an unconfirmed publish")
def test_declare_counts_what_was_published_just_before(channel, queue):
    publish(channel, queue, *[b"hello"] * 50)

    assert ready(channel, queue) == 50


def test_unnamed_queue_gets_a_name_of_its_own(channel):
    names = {channel.queue_declare("", exclusive=True).method.queue for _ in range(3)}

    assert len(names) == 3
    assert all(re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", made) for made in names)


def test_empty_name_means_the_queue_declared_last_on_this_channel(connection, channel, publisher, queue):
    publish(publisher, queue, b"one", b"two")
    connection.channel().queue_declare("", exclusive=True)

    assert channel.queue_purge("").method.message_count == 2


def test_passive_declare_without_a_name_is_404(channel, queue):
    with channel_refused(404, "no queue '' in vhost '/'"):
        channel.queue_declare("", passive=True)


def test_empty_name_before_any_declare_is_404(channel):
    with channel_refused(404, "no previously declared queue"):
        channel.queue_purge("")


def test_last_queue_of_another_channel_is_not_meant(connection, channel):
    channel.queue_declare("", exclusive=True)

    with channel_refused(404, "no previously declared queue"):
        connection.channel().queue_purge("")


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"durable": False}, "durable"),
        ({"auto_delete": True}, "auto_delete"),
        ({"arguments": {"x-message-ttl": 2000}}, "x-message-ttl"),
        ({"arguments": {}}, "x-message-ttl"),
        ({"arguments": {"x-message-ttl": 1000, "x-max-length": 5}}, "x-max-length"),
        ({"arguments": {"x-message-ttl": 1000, "x-max-priority": 5}}, "x-max-priority"),
        ({"arguments": {"x-message-ttl": 1000, "x-dead-letter-exchange": "x"}}, "x-dead-letter-exchange"),
        ({"arguments": {"x-message-ttl": 1000, "x-queue-type": "quorum"}}, "x-queue-type"),
    ],
)
def test_declaration_that_differs_is_406(channel, name, changed, argument):
    queue = name()
    as_it_is = {"durable": True, "arguments": {"x-message-ttl": 1000}}
    channel.queue_declare(queue, **as_it_is)

    with channel_refused(406, f"inequivalent arg '{argument}' for queue '{queue}' in vhost '/'"):
        channel.queue_declare(queue, **{**as_it_is, **changed})


def test_queue_survives_a_declaration_that_differs(connection, channel, queue):
    with channel_refused(406):
        channel.queue_declare(queue, durable=False)

    assert exists(connection, queue)


def test_classic_type_is_equal_to_no_type(channel, queue):
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "classic"})


def test_unknown_arguments_are_not_compared(channel, name):
    queue = name()
    channel.queue_declare(queue, durable=True, arguments={"x-owner": "billing"})

    channel.queue_declare(queue, durable=True, arguments={"x-owner": "shipping"})


def test_integers_are_equal_across_widths(channel, broker, name):
    queue = name()
    channel.queue_declare(queue, durable=True, arguments={"x-message-ttl": 100})
    with Wire(broker.address) as wire:
        wire.open()
        # pika writes 32 bits, pamqp the fewest.
        wire.ask(Queue.Declare(queue=queue, durable=True, arguments={"x-message-ttl": 100}), Queue.DeclareOk)


def test_passive_declare_compares_nothing(channel, queue):
    channel.queue_declare(queue, passive=True, durable=False, auto_delete=True)


def test_queue_that_is_neither_durable_nor_exclusive_is_made(channel, connection, name):
    queue = name()
    channel.queue_declare(queue)

    assert exists(connection, queue)


def test_line_breaks_in_a_name_are_left_out(broker, name):
    queue = name()
    host, port = broker.address
    with amqp.Connection(f"{host}:{port}") as connection:
        assert connection.channel().queue_declare(queue + "\r\n").queue == queue


def test_name_may_be_any_text(channel, publisher, name):
    queue = name("Bestellung <img onerror> 注文")
    channel.queue_declare(queue, durable=True)
    publish(publisher, queue, b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_name_of_255_bytes_is_taken(channel, name):
    queue = name().ljust(255, "x")
    channel.queue_declare(queue)

    assert channel.queue_delete(queue).method.message_count == 0


def test_purge_tells_how_many_were_ready_and_leaves_the_unacked(channel, publisher, queue):
    publish(publisher, queue, b"one", b"two", b"three")
    tag = channel.basic_get(queue)[0].delivery_tag
    assert channel.queue_purge(queue).method.message_count == 2
    channel.basic_nack(tag)

    assert drain(channel, queue) == [b"one"]


def test_purged_queue_takes_new_messages(channel, publisher, queue):
    publish(publisher, queue, b"one")
    channel.queue_purge(queue)
    publish(publisher, queue, b"two")

    assert drain(channel, queue) == [b"two"]


def test_delete_tells_how_many_were_ready(channel, publisher, queue):
    publish(publisher, queue, b"one", b"two")

    assert channel.queue_delete(queue).method.message_count == 2


def test_delete_of_what_is_not_there_is_agreed_to(channel, name):
    assert channel.queue_delete(name()).method.message_count == 0


def test_queue_made_again_is_empty(channel, publisher, queue):
    publish(publisher, queue, b"one")
    channel.queue_delete(queue)
    channel.queue_declare(queue, durable=True)

    assert drain(channel, queue) == []


def test_delete_if_empty_of_a_queue_with_messages_is_406(connection, channel, publisher, queue):
    publish(publisher, queue, b"one")
    with channel_refused(406, f"queue '{queue}' in vhost '/' not empty"):
        channel.queue_delete(queue, if_empty=True)

    assert exists(connection, queue)


def test_delete_if_unused_of_a_queue_with_consumers_is_406(connection, channel, other, queue):
    Consumer(other, queue)
    with channel_refused(406, f"queue '{queue}' in vhost '/' in use"):
        channel.queue_delete(queue, if_unused=True)

    assert exists(connection, queue)


def test_delete_if_unused_and_if_empty_of_such_a_queue(connection, channel, queue):
    channel.queue_delete(queue, if_unused=True, if_empty=True)

    assert not exists(connection, queue)


def test_hundreds_of_queues_are_made_and_deleted(channel, name):
    queues = [name() for _ in range(300)]
    for queue in queues:
        channel.queue_declare(queue)

    assert [channel.queue_delete(queue).method.message_count for queue in queues] == [0] * 300
