"""Who gets what, and in which order."""

from collections import Counter

import gevent

from portask.storage.base import Round
from portask.subscriptions.hand_out import TURN_MESSAGES
from portask.subscriptions.settlement import MAX_RESERVE, RESERVE
from portask.subscriptions.subscription import Consumer
from tests.core.subscription.peer import Peer, idle, settle


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
