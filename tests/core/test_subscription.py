"""Subscriptions on a running broker: who gets what, what comes back, what stays settled."""

import json
from collections import Counter

import gevent
import pytest
from gevent.event import AsyncResult, Event

from portask.errors import (
    CorruptError,
    NotInFlightError,
    PortaskError,
    ShuttingDownError,
    StorageFullError,
    UnavailableError,
    UnknownSubscriptionError,
    UnknownTopicError,
)
from portask.settlement import MAX_RESERVE, RESERVE
from portask.storage.base import Round
from portask.storage.memory import MemoryStorage
from portask.subscription import TURN_MESSAGES, Consumer, Start


class AwkwardStorage(MemoryStorage):
    """Memory that keeps what it holds when closed, and refuses, waits or fails when told to."""

    def __init__(self):
        super().__init__()
        self.refuses = False
        self.synced = Event()
        self.synced.set()
        self.read_error = None
        self.reads = 0
        self.compacted = set()

    def write(self, round_):
        if self.refuses:
            raise StorageFullError("no space left")
        super().write(round_)

    def sync(self):
        self.synced.wait()
        super().sync()

    def read(self, log, offset, max_bytes):
        self.reads += 1
        if self.read_error is not None:
            raise self.read_error
        return [frame for frame in super().read(log, offset, max_bytes) if frame.base_offset not in self.compacted]


class Peer:
    """A consumer with a memory."""

    def __init__(self, subscription, prefetch=0):
        self.subscription = subscription
        self.deliveries = []
        self.cancelled = []
        self.consumer = Consumer(self.deliveries.extend, prefetch, self.cancelled.append)
        subscription.attach(self.consumer)

    @property
    def offsets(self):
        return [offset for one in self.deliveries for offset in range(one.base_offset, one.next_offset)]

    @property
    def payloads(self):
        return [record for delivery in self.deliveries for record in delivery.records]

    def ack(self, first, last, partition=0, done=None):
        self.subscription.ack(self.consumer, partition, first, last, done)

    def nack(self, first, last, partition=0):
        self.subscription.nack(self.consumer, partition, first, last)

    def detach(self):
        self.subscription.detach(self.consumer)


@pytest.fixture
def storage():
    return AwkwardStorage()


@pytest.fixture
def broker(make_broker, storage):
    return make_broker(storage=storage)


@pytest.fixture
def topic(broker):
    return broker.create_topic("orders", 1)


@pytest.fixture
def subscription(broker, topic):
    return broker.subscribe(topic, "billing")


@pytest.fixture
def publish(broker, topic):
    """A function that publishes *count* numbered messages and waits until they are stored."""

    def publish(count, partition=0):
        start = topic.partitions[partition].written_offset
        broker.publish(topic.partitions[partition], [b"%d" % (start + number) for number in range(count)], count)

    return publish


@pytest.fixture
def restart(make_broker, storage):
    """A function that gives the subscription as a broker finds it that starts on what is stored now."""

    def restart():
        topic = make_broker(storage=storage).topic("orders")
        return topic.subscriptions["billing"]

    return restart


def idle():
    """Let every greenlet that can do something do it."""
    for _ in range(50):
        gevent.sleep(0)


def settle(peer, first, last):
    """Ack and wait until that is durable."""
    answer = AsyncResult()
    peer.ack(first, last, done=answer.set)
    assert answer.get(timeout=5).error is None


# -- handing out ----------------------------------------------------------------------------------


def test_what_was_stored_before_is_handed_out(subscription, publish, wait_until):
    publish(3)
    peer = Peer(subscription)

    wait_until(lambda: peer.payloads == [b"0", b"1", b"2"])
    assert subscription.in_flight == peer.consumer.in_flight == 3


def test_what_is_published_later_is_handed_out(subscription, publish, wait_until):
    peer = Peer(subscription)
    publish(2)

    wait_until(lambda: peer.payloads == [b"0", b"1"])


def test_a_batch_arrives_as_one_run(subscription, publish, wait_until):
    publish(100)
    peer = Peer(subscription)

    wait_until(lambda: len(peer.payloads) == 100)
    assert len(peer.deliveries) == 1


def test_delivery_does_not_wait_for_the_sync(storage, broker, topic, subscription, wait_until):
    storage.synced.clear()
    peer = Peer(subscription)
    publisher = gevent.spawn(broker.publish, topic.partitions[0], [b"early"], 5)

    wait_until(lambda: peer.payloads == [b"early"])
    assert not publisher.ready()
    storage.synced.set()
    assert publisher.get(timeout=5) == 0


def test_no_more_than_prefetch_is_in_flight(subscription, publish, wait_until):
    publish(10)
    peer = Peer(subscription, prefetch=4)

    wait_until(lambda: peer.offsets == [0, 1, 2, 3])
    idle()
    assert peer.consumer.in_flight == 4


def test_an_ack_makes_room_for_as_many(subscription, publish, wait_until):
    publish(10)
    peer = Peer(subscription, prefetch=4)
    wait_until(lambda: peer.consumer.in_flight == 4)
    peer.ack(1, 2)

    wait_until(lambda: peer.offsets == [0, 1, 2, 3, 4, 5])


def test_a_backlog_is_shared_evenly(subscription, publish, wait_until):
    publish(100)
    peers = [Peer(subscription, prefetch=50) for _ in range(4)]

    wait_until(lambda: subscription.in_flight == 100)
    assert [len(peer.offsets) for peer in peers] == [25, 25, 25, 25]


def test_single_messages_go_to_each_in_turn(subscription, publish, wait_until):
    peers = [Peer(subscription), Peer(subscription)]
    for count in range(1, 5):
        publish(1)
        wait_until(lambda count=count: subscription.in_flight == count)

    assert sorted(peer.offsets for peer in peers) == [[0, 2], [1, 3]]


def test_nobody_gets_more_than_a_turn_at_once(subscription, publish, wait_until):
    publish(1000)
    turns = []
    consumer = Consumer(lambda run: turns.append(sum(len(one.records) for one in run)), 0, print)
    subscription.attach(consumer)

    wait_until(lambda: sum(turns) == 1000)
    assert max(turns) == TURN_MESSAGES


def test_a_consumer_without_credit_does_not_hold_up_the_others(subscription, publish, wait_until):
    full = Peer(subscription, prefetch=1)
    publish(1)
    wait_until(lambda: full.consumer.in_flight == 1)
    other = Peer(subscription)
    publish(5)

    wait_until(lambda: other.offsets == [1, 2, 3, 4, 5])


def test_a_paused_consumer_gets_nothing_until_it_resumes(subscription, publish, wait_until):
    peer = Peer(subscription)
    peer.consumer.pause()
    publish(2)
    idle()
    assert peer.offsets == []

    peer.consumer.resume()
    wait_until(lambda: peer.offsets == [0, 1])


def test_resuming_without_a_pause_changes_nothing(subscription, publish, wait_until):
    peers = [Peer(subscription), Peer(subscription)]
    peers[0].consumer.resume()
    for count in range(1, 5):
        publish(1)
        wait_until(lambda count=count: subscription.in_flight == count)

    assert [len(peer.offsets) for peer in peers] == [2, 2]


def test_a_detached_consumer_may_be_paused_and_resumed(subscription):
    peer = Peer(subscription)
    peer.detach()
    peer.consumer.pause()
    peer.consumer.resume()

    assert not peer.consumer.is_ready


def test_partitions_take_turns(broker, wait_until):
    topic = broker.create_topic("wide", 3)
    for partition in topic.partitions:
        broker.publish(partition, [b"x"] * 600, 600)
    order = []
    subscription = broker.subscribe(topic, "billing")
    subscription.attach(Consumer(lambda run: order.append(run[0].partition.number), 0, print))

    wait_until(lambda: subscription.in_flight == 1800)
    assert order[:3] == [1, 2, 0]
    assert Counter(order) == {0: len(order) / 3, 1: len(order) / 3, 2: len(order) / 3}


def test_more_than_a_reservation_is_handed_out_without_an_ack(subscription, publish, wait_until):
    peer = Peer(subscription)
    publish(3 * RESERVE)

    wait_until(lambda: peer.offsets == list(range(3 * RESERVE)))


def test_the_reservation_grows_while_a_backlog_waits_for_it_and_shrinks_when_it_is_caught_up(
    subscription, publish, wait_until
):
    (feed,) = subscription.feeds
    publish(20 * RESERVE)
    peer = Peer(subscription)
    widest = 0
    while len(peer.offsets) < 20 * RESERVE:
        widest = max(widest, feed.settlement.reserved - feed.next)
        gevent.sleep(0)
    for _ in range(2 * MAX_RESERVE // 100):
        publish(100)
        idle()
    wait_until(lambda: len(peer.offsets) > 20 * RESERVE + MAX_RESERVE)

    assert widest > 2 * RESERVE
    assert feed.settlement.reserved - feed.next <= 2 * RESERVE


def test_a_backlog_beyond_the_cache_is_read_in_large_pieces(make_broker, storage, wait_until):
    broker = make_broker("--tail-cache-bytes=1MB", storage=storage)
    topic = broker.create_topic("large")
    for _ in range(150):
        broker.publish(topic.partitions[0], [bytes(1000)] * 100, 100_000)
    peer = Peer(broker.subscribe(topic, "billing"), prefetch=100)
    while len(peer.deliveries) < 100:
        wait_until(lambda: peer.consumer.in_flight)
        (number,) = peer.consumer.held
        for first, stop in list(peer.consumer.held[number].ranges()):
            peer.ack(first, stop - 1)
        idle()

    assert 1 <= storage.reads <= 20


def test_messages_trimmed_before_they_are_handed_out_are_passed_over(
    broker, topic, storage, subscription, publish, wait_until
):
    publish(5)
    publish(5)
    round_ = Round()
    round_.trims[topic.partitions[0].log] = 5
    storage.write(round_)
    topic.partitions[0].trimmed(5)
    peer = Peer(subscription)

    wait_until(lambda: peer.offsets == [5, 6, 7, 8, 9])
    assert subscription.lag() == 5


def test_a_message_trimmed_while_in_flight_does_not_come_back(topic, subscription, publish, wait_until):
    publish(5)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 5)
    topic.partitions[0].trimmed(3)
    idle()
    peer.detach()
    other = Peer(subscription)

    wait_until(lambda: other.offsets == [3, 4])


def test_a_gap_in_the_log_is_passed_over(storage, topic, subscription, publish, wait_until):
    for _ in range(4):
        publish(2)
    storage.compacted = {0, 4}
    topic.partitions[0]._tail.clear()
    peer = Peer(subscription)

    wait_until(lambda: peer.offsets == [2, 3, 6, 7])
    settle(peer, 2, 3)
    settle(peer, 6, 7)
    assert subscription.describe()["partitions"][0]["floor"] == 8


def test_a_gap_at_the_end_of_the_log_is_passed_over(storage, topic, subscription, publish, wait_until):
    publish(2)
    publish(2)
    storage.compacted = {2}
    topic.partitions[0]._tail.clear()
    peer = Peer(subscription)
    wait_until(lambda: peer.offsets == [0, 1])
    settle(peer, 0, 1)

    assert subscription.lag() == 0


def test_a_message_compacted_away_while_in_flight_does_not_come_back(storage, topic, subscription, publish, wait_until):
    for _ in range(3):
        publish(2)
    peer = Peer(subscription)
    wait_until(lambda: peer.consumer.in_flight == 6)
    storage.compacted = {2}
    topic.partitions[0]._tail.clear()
    peer.detach()
    other = Peer(subscription)

    wait_until(lambda: other.offsets == [0, 1, 4, 5])
    assert subscription.lag() == 4


# -- giving back ----------------------------------------------------------------------------------


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


# -- settling -------------------------------------------------------------------------------------


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
    monkeypatch.setattr("portask.ledger.RETRY_S", 0.01)
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


# -- restarts -------------------------------------------------------------------------------------


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


# -- what goes wrong ------------------------------------------------------------------------------


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
    monkeypatch.setattr("portask.subscription.RETRY_S", 0.01)
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


# -- the end --------------------------------------------------------------------------------------


def test_the_deletion_of_the_topic_cancels_the_consumers(broker, subscription):
    peer = Peer(subscription)
    broker.delete_topic("orders")

    assert isinstance(peer.cancelled[0], UnknownTopicError)
    with pytest.raises(UnknownTopicError):
        Peer(subscription)


def test_a_deletion_that_fails_lets_the_consumers_go_on(
    storage, broker, subscription, publish, wait_until, monkeypatch
):
    monkeypatch.setattr("portask.subscription.RETRY_S", 0.01)
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


# -- what is known of it --------------------------------------------------------------------------


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
