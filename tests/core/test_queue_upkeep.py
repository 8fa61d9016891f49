"""What a queue does with messages that fail too often and consumers that are too slow."""

import gc
from weakref import ref

import pytest

from portask.errors import ConsumerTimeoutError
from tests.core.queue_channel import QueueChannel, crashed
from tests.core.subscription.peer import AwkwardStorage, Peer, idle


@pytest.fixture
def storage():
    return AwkwardStorage()


@pytest.fixture
def broker(make_broker, storage):
    return make_broker(storage=storage)


@pytest.fixture(params=[True, False], ids=["durable", "volatile"])
def peer(broker, request):
    return QueueChannel(broker, request.param)


@pytest.fixture
def lasting(broker):
    return QueueChannel(broker)


# -- the delivery limit -------------------------------------------------------------------------------


def declare_limited(peer):
    arguments = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead", "delivery_limit": 2}
    peer.declare("dead")
    peer.declare("jobs", queue_type="quorum", **arguments)
    peer.publish("jobs", b"1")


def fail(peer, times):
    for _ in range(times):
        peer.get("jobs").requeue(counted=True)


def test_message_may_fail_as_often_as_the_limit_says(lasting):
    declare_limited(lasting)
    fail(lasting, 2)
    got = lasting.get("jobs")

    assert (got.body, got.failures) == (b"1", 2)


def test_message_that_fails_more_often_is_dead(lasting, wait_until):
    declare_limited(lasting)
    fail(lasting, 3)

    wait_until(lambda: lasting.queue("dead").ready == 1)
    assert lasting.get("dead").headers["x-death"][0]["reason"] == "delivery_limit"
    assert (lasting.queue("jobs").ready, lasting.queue("jobs").unacked) == (0, 0)


def test_message_that_is_given_back_without_a_failure_lives_on(lasting):
    declare_limited(lasting)
    for _ in range(10):
        lasting.get("jobs").requeue()

    assert lasting.bodies("jobs") == [b"1"]


def test_channel_that_ends_counts_as_a_failure(lasting, wait_until):
    declare_limited(lasting)
    for _ in range(3):
        got = lasting.get("jobs")
        lasting.queue("jobs").release(got.holder)

    wait_until(lambda: lasting.queue("dead").ready == 1)


def test_failures_of_consumers_by_another_protocol_count(lasting, wait_until):
    declare_limited(lasting)
    subscription = lasting.queue("jobs").subscription
    for _ in range(2):
        other = Peer(subscription, 1)
        wait_until(lambda other=other: other.offsets)
        other.detach()
    other = Peer(subscription, 1)
    wait_until(lambda: other.offsets)
    other.nack(0, 0)

    wait_until(lambda: lasting.queue("dead").ready == 1)
    assert len(other.offsets) == 1


def test_message_without_a_dead_letter_exchange_is_dropped_at_the_limit(lasting, wait_until):
    lasting.declare("jobs", queue_type="quorum", delivery_limit=0)
    lasting.publish("jobs", b"1")
    fail(lasting, 1)

    wait_until(lambda: lasting.queue("jobs").unacked == 0)
    assert lasting.bodies("jobs") == []


def test_quorum_queue_has_a_limit_of_20(lasting, wait_until):
    lasting.declare("jobs", queue_type="quorum")
    lasting.publish("jobs", b"1")
    fail(lasting, 20)
    assert lasting.queue("jobs").ready == 1
    fail(lasting, 1)

    assert lasting.queue("jobs").ready == 0


def test_quorum_queue_may_have_no_limit(lasting):
    lasting.declare("jobs", queue_type="quorum", delivery_limit=-1)
    lasting.publish("jobs", b"1")
    fail(lasting, 30)

    assert lasting.queue("jobs").ready == 1


def test_classic_queue_has_no_limit(peer):
    peer.declare("jobs")
    peer.publish("jobs", b"1")
    fail(peer, 30)

    assert peer.queue("jobs").ready == 1


def test_failures_are_counted_across_a_restart(lasting, make_broker, storage, wait_until):
    declare_limited(lasting)
    fail(lasting, 2)
    wait_until(lambda: not len(lasting.broker.bus))
    lasting.publish("jobs", b"2")
    again = QueueChannel(make_broker(storage=crashed(storage)))

    assert again.get("jobs").failures == 2


def test_crash_is_no_failure_of_messages_that_nobody_had(lasting, make_broker, storage):
    declare_limited(lasting)
    again = QueueChannel(make_broker(storage=crashed(storage)))
    fail(again, 2)

    assert again.get("jobs").failures == 2


def test_deleted_queues_are_not_kept_until_they_would_have_expired(peer, broker):
    upkeeps = []
    for number in range(100):
        name = f"reply-{number}"
        upkeeps.append(ref(peer.declare(name, expires=86_400_000).upkeep))
        queue = peer.queue(name)
        consumer = peer.consume(name)
        peer.host.queues.delete(queue)
        queue.release(consumer)
    del queue, consumer
    idle()
    gc.collect()

    assert len([upkeep for upkeep in upkeeps if upkeep() is not None]) <= 2


def test_queues_that_stay_expire_when_others_were_deleted(peer, broker, clock, wait_until):
    peer.declare("short", expires=1000)
    for number in range(10):
        peer.declare(f"long-{number}", expires=5000)
    for number in range(9):
        peer.host.queues.delete(peer.queue(f"long-{number}"))
    clock.advance(2)
    broker.queue_reaper.tick()

    wait_until(lambda: peer.host.queues.find("short") is None)
    clock.advance(4)
    broker.queue_reaper.tick()
    wait_until(lambda: peer.host.queues.find("long-9") is None)


# -- the consumer timeout -----------------------------------------------------------------------------


@pytest.fixture
def pass_time(broker, clock):
    def pass_time(seconds):
        idle()
        clock.advance(seconds)
        broker.queue_reaper.tick()
        idle()

    return pass_time


def test_consumer_that_does_not_settle_in_time_is_ended(peer, pass_time, wait_until):
    peer.declare("jobs", consumer_timeout=1000)
    consumer = peer.consume("jobs")
    peer.publish("jobs", b"1")
    wait_until(lambda: consumer.got)
    pass_time(1)

    wait_until(lambda: consumer.error)
    assert isinstance(consumer.error, ConsumerTimeoutError)
    assert "timed out. Timeout value used: 1000 ms. This timeout value can be configured" in str(consumer.error)


def test_consumer_that_settles_in_time_stays(peer, pass_time, wait_until):
    peer.declare("jobs", consumer_timeout=1000)
    consumer = peer.consume("jobs")
    peer.publish("jobs", b"1")
    wait_until(lambda: consumer.got)
    pass_time(0.9)
    consumer.got[0].ack()
    pass_time(5)

    assert consumer.error is None


def test_time_counts_from_each_delivery(peer, pass_time, wait_until):
    peer.declare("jobs", consumer_timeout=1000)
    consumer = peer.consume("jobs")
    peer.publish("jobs", b"1")
    wait_until(lambda: len(consumer.got) == 1)
    pass_time(0.9)
    peer.publish("jobs", b"2")
    wait_until(lambda: len(consumer.got) == 2)
    consumer.got[0].ack()
    pass_time(0.9)
    assert consumer.error is None
    pass_time(0.1)

    wait_until(lambda: consumer.error)


def test_message_that_was_given_back_has_its_time_anew(peer, pass_time, wait_until):
    peer.declare("jobs", consumer_timeout=1000)
    consumer = peer.consume("jobs")
    peer.publish("jobs", b"1")
    wait_until(lambda: len(consumer.got) == 1)
    pass_time(0.9)
    consumer.got[0].requeue()
    wait_until(lambda: len(consumer.got) == 2)
    pass_time(0.9)
    assert consumer.error is None
    pass_time(0.1)

    wait_until(lambda: consumer.error)


def test_consumer_that_does_not_ack_has_all_time(peer, pass_time, wait_until):
    peer.declare("jobs", consumer_timeout=1000)
    consumer = peer.consume("jobs", no_ack=True)
    peer.publish("jobs", b"1")
    wait_until(lambda: consumer.got)
    pass_time(5)

    assert consumer.error is None


def test_idle_consumer_has_all_time(peer, pass_time):
    peer.declare("jobs", consumer_timeout=1000)
    consumer = peer.consume("jobs")
    pass_time(5)

    assert consumer.error is None


def test_there_is_no_timeout_by_default(peer, pass_time, wait_until):
    peer.declare("jobs")
    consumer = peer.consume("jobs")
    peer.publish("jobs", b"1")
    wait_until(lambda: consumer.got)
    pass_time(100_000)

    assert consumer.error is None


def test_plain_queue_has_no_upkeep(peer):
    peer.declare("jobs")
    peer.publish("jobs", b"1")

    assert peer.queue("jobs").upkeep is None
