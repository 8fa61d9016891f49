"""Exclusive queues: of one connection, and gone with it."""

import pytest

from tests.clients.amqp.session import Consumer, channel_refused, drain, exists, publish

LOCKED = "cannot obtain exclusive access to locked queue '{}' in vhost '/'"


@pytest.fixture
def mine(channel, name):
    queue = name()
    channel.queue_declare(queue, exclusive=True)
    return queue


FORBIDDEN = {
    "declare": lambda channel, queue: channel.queue_declare(queue, exclusive=True),
    "passive declare": lambda channel, queue: channel.queue_declare(queue, passive=True),
    "consume": lambda channel, queue: channel.basic_consume(queue, lambda *_: None),
    "get": lambda channel, queue: channel.basic_get(queue),
    "purge": lambda channel, queue: channel.queue_purge(queue),
    "delete": lambda channel, queue: channel.queue_delete(queue),
    "bind": lambda channel, queue: channel.queue_bind(queue, "amq.direct", "key"),
}


@pytest.mark.parametrize("act", FORBIDDEN.values(), ids=FORBIDDEN)
def test_another_connection_is_refused_with_405(other, mine, act):
    with channel_refused(405, LOCKED.format(mine)):
        act(other, mine)


def test_another_channel_of_the_connection_may_do_all(connection, mine):
    channel = connection.channel()
    for what, act in FORBIDDEN.items():
        if what != "delete":
            act(channel, mine)

    assert channel.queue_delete(mine).method.message_count == 0


def test_another_connection_may_publish_to_it(channel, publisher, mine):
    publish(publisher, mine, b"hello")

    assert drain(channel, mine) == [b"hello"]


def test_queue_is_gone_when_close_has_been_answered(connect, connection, name):
    for _ in range(10):
        queue = name()
        owner = connect()
        owner.channel().queue_declare(queue, exclusive=True)
        owner.close()
        assert not exists(connection, queue)


def test_name_is_free_right_after_the_connection_closed(connect, name):
    queue = name()
    for _ in range(10):
        owner = connect()
        owner.channel().queue_declare(queue, exclusive=True)
        owner.close()


def test_queue_outlives_the_channel_that_made_it(connection, name):
    queue = name()
    channel = connection.channel()
    channel.queue_declare(queue, exclusive=True)
    channel.close()

    assert exists(connection, queue)


def test_durable_and_exclusive_is_agreed_to(connection, channel, name):
    queue = name()
    channel.queue_declare(queue, durable=True, exclusive=True)
    channel.queue_declare(queue, durable=True, exclusive=True)

    assert exists(connection, queue)


def test_queue_with_another_owner_is_405_even_with_other_arguments(other, mine):
    with channel_refused(405, LOCKED.format(mine)):
        other.queue_declare(mine, durable=True)


def test_declaring_a_shared_queue_as_exclusive_is_refused(channel, queue):
    with channel_refused(405):
        channel.queue_declare(queue, durable=True, exclusive=True)


def test_messages_in_an_exclusive_queue_are_delivered(channel, publisher, mine):
    consumer = Consumer(channel, mine)
    publish(publisher, mine, b"one", b"two")

    assert consumer.take_bodies(2) == [b"one", b"two"]


def test_unnamed_exclusive_queues_are_made_by_the_hundred(connect):
    connection = connect()
    channel = connection.channel()
    names = {channel.queue_declare("", exclusive=True).method.queue for _ in range(100)}

    assert len(names) == 100
