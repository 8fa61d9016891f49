"""Transactions: publishes and acks that count at the commit."""

import pytest

from tests.clients.amqp.session import Consumer, channel_refused, drain, eventually, get, poll, publish, ready


@pytest.fixture
def tx(connect):
    """A channel with transactions."""
    channel = connect().channel()
    channel.tx_select()
    return channel


def test_published_messages_wait_for_the_commit(channel, tx, queue):
    publish(tx, queue, b"one", b"two")
    tx.basic_qos(prefetch_count=0)
    assert ready(channel, queue) == 0
    tx.tx_commit()

    assert drain(channel, queue) == [b"one", b"two"]


def test_rollback_forgets_what_was_published(channel, tx, queue):
    publish(tx, queue, b"one")
    tx.tx_rollback()
    publish(tx, queue, b"two")
    tx.tx_commit()

    assert drain(channel, queue) == [b"two"]


def test_committed_acks_count(tx, other, publisher, queue):
    publish(publisher, queue, b"one", b"two")
    tx.basic_ack(get(tx, queue).tag)
    tx.tx_commit()
    tx.close()

    assert drain(other, queue) == [b"two"]


def test_acks_without_commit_are_forgotten(tx, other, publisher, queue):
    publish(publisher, queue, b"one")
    tx.basic_ack(get(tx, queue).tag)
    tx.close()

    assert drain(other, queue) == [b"one"]


def test_rolled_back_ack_may_be_sent_again(tx, other, publisher, queue):
    publish(publisher, queue, b"one")
    tag = get(tx, queue).tag
    tx.basic_ack(tag)
    tx.tx_rollback()
    tx.basic_ack(tag)
    tx.tx_commit()
    tx.close()

    assert drain(other, queue) == []


def test_rollback_does_not_requeue(tx, other, publisher, queue):
    publish(publisher, queue, b"one")
    get(tx, queue)
    tx.tx_rollback()

    assert drain(other, queue) == []


@pytest.mark.parametrize("requeue", [True, False])
def test_rejects_wait_for_the_commit(tx, other, publisher, queue, requeue):
    publish(publisher, queue, b"one")
    tx.basic_reject(get(tx, queue).tag, requeue=requeue)
    tx.basic_qos(prefetch_count=0)
    assert ready(other, queue) == 0
    tx.tx_commit()

    eventually(lambda: ready(other, queue) == int(requeue))


def test_close_without_commit_publishes_nothing(channel, tx, queue):
    publish(tx, queue, b"one")
    tx.close()

    assert drain(channel, queue) == []


def test_acks_and_publishes_are_committed_together(channel, tx, publisher, declare):
    source, target = declare(), declare()
    publish(publisher, source, b"one")
    delivery = get(tx, source)
    publish(tx, target, delivery.body)
    tx.basic_ack(delivery.tag)
    tx.tx_commit()

    assert (drain(channel, source), drain(channel, target)) == ([], [b"one"])


def test_committed_messages_are_there_when_commit_returns(channel, tx, declare):
    queues = [declare() for _ in range(5)]
    for queue in queues:
        publish(tx, queue, b"one", b"two")
    tx.tx_commit()

    assert [drain(channel, queue) for queue in queues] == [[b"one", b"two"]] * 5


def test_empty_commit_and_rollback(tx):
    tx.tx_commit()
    tx.tx_rollback()

    assert tx.is_open


def test_select_twice_changes_nothing(channel, tx, queue):
    publish(tx, queue, b"one")
    tx.tx_select()
    tx.tx_commit()

    assert drain(channel, queue) == [b"one"]


def test_consumer_in_a_transaction_gets_more_only_after_the_commit(tx, publisher, queue):
    publish(publisher, queue, b"one", b"two")
    tx.basic_qos(prefetch_count=1)
    consumer = Consumer(tx, queue)
    (delivery,) = consumer.take()
    tx.basic_ack(delivery.tag)
    tx.queue_declare(queue, passive=True)
    assert consumer.deliveries == []
    tx.tx_commit()

    assert consumer.take_bodies() == [b"two"]


def test_missing_exchange_is_seen_at_once_or_at_the_commit(tx, queue, channel, name):
    publish(tx, queue, b"one")
    with channel_refused(404):
        tx.basic_publish(name(), "", b"lost")
        tx.tx_commit()

    assert poll(channel, queue) is None


@pytest.mark.parametrize("method", ["tx_commit", "tx_rollback"])
def test_without_select_it_is_406(channel, method):
    with channel_refused(406, "channel is not transactional"):
        getattr(channel, method)()


def test_thousand_messages_in_one_transaction(channel, tx, queue):
    bodies = [b"%d" % number for number in range(1000)]
    publish(tx, queue, *bodies)
    tx.tx_commit()

    assert drain(channel, queue) == bodies


def test_unknown_tag_is_406(tx, queue):
    tx.basic_ack(7)

    with channel_refused(406, "unknown delivery tag 7"):
        tx.tx_commit()
