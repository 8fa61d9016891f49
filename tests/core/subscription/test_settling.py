"""What comes back, what stays settled, and what a restart finds."""

import pytest
from gevent.event import AsyncResult

from portask.errors import (
    CorruptError,
    NotInFlightError,
    StorageFullError,
)
from tests.core.subscription.peer import Peer, idle, settle


def test_a_nacked_message_comes_back_first_and_flagged(subscription, publish, wait_until):
    publish(5)
    peer = Peer(subscription, prefetch=3)
    wait_until(lambda: peer.consumer.in_flight == 3)
    peer.nack(1, 1)

    wait_until(lambda: peer.offsets == [0, 1, 2, 1])
    assert peer.deliveries[-1].redeliveries == 1
    assert subscription.redeliveries_total == 1


def test_each_nack_counts(subscription, publish, wait_until):
    publish(1)
    peer = Peer(subscription)
    for count in range(4):
        wait_until(lambda count=count: len(peer.deliveries) == count + 1)
        peer.nack(0, 0)

    wait_until(lambda: [one.redeliveries for one in peer.deliveries] == [0, 1, 2, 3, 4])


def test_nothing_comes_back_when_all_of_it_was_trimmed(topic, subscription, publish, wait_until):
    publish(3)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 3)
    topic.partitions[0].trimmed(3)
    idle()
    peer.detach()

    assert (subscription.requeued, subscription.lag()) == (0, 0)


def test_what_a_lost_consumer_held_goes_to_another_in_order(subscription, publish, wait_until):
    publish(6)
    lost = Peer(subscription, prefetch=3)
    wait_until(lambda: lost.consumer.in_flight == 3)
    lost.detach()
    other = Peer(subscription)

    wait_until(lambda: other.offsets == [0, 1, 2, 3, 4, 5])
    assert [one.redeliveries for one in other.deliveries] == [1, 0]


def test_detaching_twice_does_nothing(subscription, publish, wait_until):
    publish(1)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 1)
    peer.detach()
    peer.detach()

    assert subscription.requeued == 1


def test_what_was_given_back_can_be_settled_in_the_end(subscription, publish, wait_until):
    publish(3)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 3)
    peer.nack(0, 2)
    wait_until(lambda: peer.consumer.in_flight == 3)
    settle(peer, 0, 2)

    assert subscription.lag() == 0


def test_one_ack_may_cover_several_deliveries(subscription, publish, wait_until):
    peer = Peer(subscription)
    publish(2)
    publish(2)
    wait_until(lambda: peer.consumer.in_flight == 4)
    assert len(peer.deliveries) == 2
    peer.ack(0, 3)

    assert subscription.lag() == 0


@pytest.mark.parametrize(("partition", "first", "last"), [(0, 0, 3), (0, 2, 3), (1, 0, 0), (0, 2, 1), (0, -1, 0)])
def test_nothing_is_settled_unless_all_is_in_flight(subscription, publish, wait_until, partition, first, last):
    publish(3)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 3)

    with pytest.raises(NotInFlightError, match="group billing"):
        peer.ack(first, last, partition)
    with pytest.raises(NotInFlightError, match="group billing"):
        peer.nack(first, last, partition)
    assert peer.consumer.in_flight == 3


def test_nobody_settles_what_another_holds(subscription, publish, wait_until):
    peers = [Peer(subscription, prefetch=1), Peer(subscription, prefetch=1)]
    publish(2)
    wait_until(lambda: subscription.in_flight == 2)

    with pytest.raises(NotInFlightError):
        peers[0].ack(*peers[1].offsets * 2)


def test_an_ack_is_answered_when_it_is_durable(storage, subscription, publish, wait_until):
    publish(1)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 1)
    idle()
    storage.synced.clear()
    answer = AsyncResult()
    peer.ack(0, 0, done=answer.set)
    idle()
    assert not answer.ready()

    storage.synced.set()
    assert answer.get(timeout=5).error is None


def test_acks_that_come_together_are_one_item_on_the_bus(broker, subscription, publish, wait_until):
    publish(1000)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 1000)
    idle()
    answers = []
    for offset in range(1000):
        peer.ack(offset, offset, done=answers.append)

    assert len(broker.bus) == 1
    wait_until(lambda: len(answers) == 1000)


def test_a_refused_ack_is_answered_with_the_error_and_stored_later(
    storage, subscription, publish, restart, wait_until, monkeypatch
):
    monkeypatch.setattr("portask.subscriptions.ledger.RETRY_S", 0.01)
    publish(1)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 1)
    idle()
    storage.refuses = True
    answer = AsyncResult()
    peer.ack(0, 0, done=answer.set)
    assert isinstance(answer.get(timeout=5).error, StorageFullError)

    storage.refuses = False
    wait_until(lambda: not subscription.feeds[0].settlement.dirty)
    assert restart().lag() == 0


def test_what_was_refused_is_saved_at_the_end(broker, storage, subscription, publish, restart, wait_until):
    publish(1)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 1)
    idle()
    storage.refuses = True
    answer = AsyncResult()
    peer.ack(0, 0, done=answer.set)
    assert answer.get(timeout=5).error is not None
    storage.refuses = False
    broker.stop(5)

    assert restart().lag() == 0


def test_one_waiting_for_an_ack_who_fails_does_not_keep_the_answer_from_others(subscription, publish, wait_until):
    publish(2)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 2)
    answers = []
    peer.ack(0, 0, done=lambda change: 1 / 0)
    peer.ack(1, 1, done=answers.append)

    wait_until(lambda: len(answers) == 1)


def test_settled_messages_stay_settled_after_a_crash(subscription, publish, restart, wait_until):
    publish(5)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 5)
    settle(peer, 0, 1)
    settle(peer, 3, 3)
    again = Peer(restart())

    wait_until(lambda: again.offsets == [2, 4])
    assert all(delivery.redeliveries for delivery in again.deliveries)


def test_after_a_crash_what_is_published_then_is_not_flagged(broker, subscription, publish, restart, wait_until):
    publish(2)
    again = Peer(restart())
    broker.publish(again.subscription.topic.partitions[0], [b"new"], 3)

    wait_until(lambda: again.offsets == [0, 1, 2])
    assert [(one.base_offset, one.redeliveries) for one in again.deliveries] == [(0, 1), (2, 0)]


def test_after_a_clean_stop_only_what_was_handed_out_is_flagged(broker, subscription, publish, restart, wait_until):
    publish(5)
    peer = Peer(subscription, prefetch=2)
    wait_until(lambda: peer.consumer.in_flight == 2)
    broker.stop(5)
    assert peer.cancelled == [None]
    again = Peer(restart())

    wait_until(lambda: again.offsets == [0, 1, 2, 3, 4])
    assert [(one.base_offset, one.redeliveries) for one in again.deliveries] == [(0, 1), (2, 0)]


def test_a_partition_that_was_added_is_read_from_its_start(broker, topic, subscription, publish, restart, storage):
    del storage._tables["settled"]
    publish(1)

    assert restart().lag() == 1


@pytest.mark.parametrize("row", [(b"\0" * 8, b"\xff"), (b"short", b""), (b"\0" * 8, b"\x84\x42ab\x61n\x65first\x00")])
def test_a_broken_row_is_corrupt(storage, subscription, restart, row):
    storage._tables["subscriptions"].update([row])

    with pytest.raises(CorruptError):
        restart()
