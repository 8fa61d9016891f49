"""Subscriptions over damage, outages, deletion and shutdown."""

import json

import gevent
import pytest
from gevent.event import Event

from portask.errors import (
    CorruptError,
    PortaskError,
    ShuttingDownError,
    StorageFullError,
    UnavailableError,
    UnknownSubscriptionError,
    UnknownTopicError,
)
from portask.subscriptions.subscription import Consumer, Start
from tests.core.subscription.peer import Peer, idle, settle


def unread(storage, topic, error):
    """Have reads fail: the tail cache holds nothing any more."""
    topic.partitions[0]._tail.clear()
    storage.read_error = error


def test_damage_cancels_the_consumers_and_skips_nothing(storage, topic, subscription, publish, wait_until):
    publish(3)
    unread(storage, topic, CorruptError("offset 0"))
    peer = Peer(subscription)
    wait_until(lambda: peer.cancelled)

    assert isinstance(peer.cancelled[0], CorruptError)
    idle()
    assert storage.reads == 1
    assert (subscription.consumers, subscription.lag()) == ([], 3)


def test_damage_that_nobody_waits_for_any_more_is_nobodys_trouble(storage, topic, subscription, publish, wait_until):
    publish(3)
    topic.partitions[0]._tail.clear()
    gate = Event()

    def read(*arguments):
        gate.wait()
        raise CorruptError("offset 0")

    storage.read = read
    peer = Peer(subscription)
    idle()
    peer.detach()
    gate.set()

    wait_until(lambda: subscription._greenlet is None)
    assert peer.cancelled == []


def test_a_consumer_that_comes_after_the_repair_is_served(storage, topic, subscription, publish, wait_until):
    publish(3)
    unread(storage, topic, CorruptError("offset 0"))
    peer = Peer(subscription)
    wait_until(lambda: peer.cancelled)
    storage.read_error = None
    other = Peer(subscription)

    wait_until(lambda: other.offsets == [0, 1, 2])


def test_consumers_wait_while_storage_is_unavailable(storage, topic, subscription, publish, wait_until, monkeypatch):
    monkeypatch.setattr("portask.subscriptions.subscription.RETRY_S", 0.01)
    publish(3)
    unread(storage, topic, UnavailableError("no connection"))
    peer = Peer(subscription)
    wait_until(lambda: storage.reads > 2)
    storage.read_error = None

    wait_until(lambda: peer.offsets == [0, 1, 2])


def test_a_consumer_that_breaks_ends_with_an_error(subscription, publish, wait_until):
    told = []
    subscription.attach(Consumer(lambda run: 1 / 0, 0, told.append))
    publish(1)

    wait_until(lambda: told)
    assert isinstance(told[0], PortaskError)
    assert subscription.requeued == 1


def test_the_greenlet_ends_with_the_last_consumer(subscription, wait_until):
    peer = Peer(subscription)
    peer.detach()

    wait_until(lambda: subscription._greenlet is None)


def test_without_consumers_nothing_is_kept_in_memory(subscription, publish, wait_until):
    publish(100)
    peer = Peer(subscription, prefetch=1)
    wait_until(lambda: peer.consumer.in_flight == 1)
    peer.detach()
    wait_until(lambda: subscription._greenlet is None)

    assert not subscription.feeds[0]._fresh._runs


def test_consumers_may_come_and_go_while_a_read_waits(storage, topic, subscription, publish, wait_until):
    publish(3)
    topic.partitions[0]._tail.clear()
    gate = Event()
    read = storage.read
    storage.read = lambda *arguments: (gate.wait(), read(*arguments))[1]
    lost = Peer(subscription)
    idle()
    lost.detach()
    other = Peer(subscription)
    gate.set()

    wait_until(lambda: other.offsets == [0, 1, 2])
    assert lost.offsets == []


def test_the_deletion_of_the_topic_cancels_the_consumers(broker, subscription):
    peer = Peer(subscription)
    broker.delete_topic("orders")

    assert isinstance(peer.cancelled[0], UnknownTopicError)
    with pytest.raises(UnknownTopicError):
        Peer(subscription)


def test_a_deletion_that_fails_lets_the_consumers_go_on(
    storage, broker, subscription, publish, wait_until, monkeypatch
):
    monkeypatch.setattr("portask.subscriptions.subscription.RETRY_S", 0.01)
    peer = Peer(subscription)
    idle()
    storage.refuses = True
    with pytest.raises(StorageFullError):
        broker.delete_topic("orders")
    storage.refuses = False
    publish(2)

    wait_until(lambda: peer.offsets == [0, 1])


def test_a_deleted_subscription_leaves_no_rows(storage, broker, topic, subscription, publish, wait_until):
    publish(5)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 5)
    settle(peer, 2, 3)
    peer.detach()
    broker.unsubscribe(topic, "billing")

    assert storage.load("settled") == storage.load("subscriptions") == {}
    with pytest.raises(UnknownSubscriptionError):
        Peer(subscription)


def test_rows_saved_while_the_subscription_is_deleted_are_deleted_too(
    storage, broker, topic, subscription, publish, wait_until
):
    publish(5)
    storage.synced.clear()
    deletion = gevent.spawn(broker.unsubscribe, topic, "billing")
    wait_until(lambda: not storage.load("subscriptions"))
    late = Peer(subscription)
    wait_until(lambda: late.consumer.in_flight == 5)
    late.ack(2, 3)
    wait_until(lambda: storage.load("settled"))
    storage.synced.set()
    deletion.get(timeout=5)

    wait_until(lambda: not storage.load("settled"))
    assert isinstance(late.cancelled[0], UnknownSubscriptionError)


def test_nobody_attaches_after_the_end(broker, subscription):
    broker.stop(5)

    with pytest.raises(ShuttingDownError):
        Peer(subscription)


def test_an_ack_that_the_bus_does_not_take_is_answered_with_the_error(broker, subscription, publish, wait_until):
    publish(1)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 1)
    idle()
    broker.bus.close()
    answers = []
    peer.ack(0, 0, done=answers.append)

    assert isinstance(answers[0].error, ShuttingDownError)


def test_closing_twice_does_nothing(broker, subscription):
    subscription.close()
    idle()
    subscription.close()

    assert len(broker.bus) == 0


def test_it_describes_itself_in_json(subscription, publish, wait_until):
    publish(10)
    peer = Peer(subscription, prefetch=4)
    wait_until(lambda: peer.consumer.in_flight == 4)
    peer.ack(1, 1)
    peer.consumer.pause()
    peer.nack(2, 2)

    assert json.loads(json.dumps(subscription.describe())) == {
        "topic": "orders",
        "name": "billing",
        "start": "first",
        "consumers": 1,
        "in_flight": 2,
        "requeued": 1,
        "lag": 9,
        "deliveries_total": 4,
        "redeliveries_total": 0,
        "partitions": [
            {
                "partition": 0,
                "floor": 0,
                "next": 4,
                "settled_beyond_floor": 1,
                "in_flight": 2,
                "requeued": 1,
                "lag": 9,
            }
        ],
    }


def test_a_subscription_that_begins_later_lags_by_what_follows(broker, topic, publish):
    publish(10)

    assert broker.subscribe(topic, "late", Start("offset", 7)).lag() == 3
