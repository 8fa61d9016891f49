"""Limits of queues on a running broker: RabbitMQ's queue_length_limits_SUITE, and what other protocols bring."""

import pytest

from portask.bus import Change
from portask.definitions.policy import Policy
from portask.errors import QueueFullError
from tests.core.queue_channel import QueueChannel, crashed
from tests.core.subscription.peer import AwkwardStorage, idle


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


@pytest.fixture(params=[({"max_length": 2}, 1), ({"max_length_bytes": 200}, 80)], ids=["length", "bytes"])
def limit(request):
    """Arguments that leave room for two messages, and the size of each."""
    return request.param


def idle_change(_):
    pass


def bodies(size, *letters):
    return [letter.encode() * size for letter in letters]


# -- drop-head ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", [{}, {"overflow": "drop-head"}], ids=["default", "drop-head"])
def test_oldest_messages_are_dropped(peer, limit, overflow):
    arguments, size = limit
    peer.declare("jobs", **arguments, **overflow)
    for body in bodies(size, "1", "2", "3", "4"):
        peer.publish("jobs", body)

    assert peer.bodies("jobs") == bodies(size, "3", "4")


def test_oldest_messages_of_one_batch_are_dropped(peer, limit):
    arguments, size = limit
    peer.declare("jobs", **arguments)
    peer.publish("jobs", *bodies(size, "1", "2", "3", "4"))

    assert peer.bodies("jobs") == bodies(size, "3", "4")


def test_both_limits_hold(peer):
    peer.declare("jobs", max_length=3, max_length_bytes=100)
    peer.publish("jobs", b"a" * 60, b"b" * 60, b"1", b"2", b"3", b"4")
    assert peer.bodies("jobs") == [b"2", b"3", b"4"]

    peer.publish("jobs", b"c" * 60, b"d" * 60)
    assert peer.bodies("jobs") == [b"d" * 60]


def test_limit_holds_when_the_publisher_has_its_answer(peer):
    peer.declare("jobs", max_length=1)
    peer.publish("jobs", b"1", b"2", b"3")

    assert peer.queue("jobs").ready == 1


def test_message_larger_than_the_limit_is_dropped_itself(peer):
    peer.declare("jobs", max_length_bytes=10)
    peer.publish("jobs", b"1")
    peer.publish("jobs", b"2" * 11)

    assert peer.bodies("jobs") == []


def test_messages_in_flight_do_not_count(peer):
    peer.declare("jobs", max_length=1)
    peer.publish("jobs", b"1")
    got = peer.get("jobs")
    peer.publish("jobs", b"2")
    assert peer.queue("jobs").ready == 1
    got.ack()

    assert peer.bodies("jobs") == [b"2"]


def test_message_that_a_transaction_settles_is_in_flight_until_that_is_stored(peer, storage, wait_until):
    queue = peer.declare("jobs", max_length=1)
    peer.publish("jobs", b"1")
    got = peer.get("jobs")
    storage.synced.clear()
    peer.send("jobs", b"2")
    wait_until(lambda: queue.ready == 1)
    items = []
    queue.ack(got.holder, got.partition, got.offset, got.offset, items)
    assert (queue.ready, queue.unacked) == (1, 1)
    queue.upkeep.grown()
    peer.broker.bus.put_all(items)
    storage.synced.set()

    wait_until(lambda: queue.unacked == 0)
    assert peer.bodies("jobs") == [b"2"]


def test_transaction_that_is_refused_leaves_what_it_settled_ready(peer, storage, wait_until):
    queue = peer.declare("jobs")
    peer.publish("jobs", b"1")
    got = peer.get("jobs")
    items = []
    queue.ack(got.holder, got.partition, got.offset, got.offset, items)
    storage.refuses = True
    peer.broker.bus.put_all([*items, Change(lambda round_: round_.puts.update({("test", b"key"): b""}), idle_change)])

    wait_until(lambda: (queue.ready, queue.unacked) == (1, 0))
    storage.refuses = False


def test_bytes_in_flight_do_not_count(peer):
    peer.declare("jobs", max_length_bytes=100)
    peer.publish("jobs", b"1" * 80)
    peer.get("jobs")
    peer.publish("jobs", b"2" * 80)

    assert peer.bodies("jobs") == [b"2" * 80]


def test_message_that_is_given_back_is_the_oldest(peer):
    peer.declare("jobs", max_length=1)
    peer.publish("jobs", b"1")
    got = peer.get("jobs")
    peer.publish("jobs", b"2")
    got.requeue()

    assert peer.bodies("jobs") == [b"2"]


def test_limit_0_is_enough_for_a_consumer_that_waits(peer, wait_until):
    peer.declare("jobs", max_length=0)
    consumer = peer.consume("jobs")
    idle()
    peer.publish("jobs", b"1", b"2")

    wait_until(lambda: consumer.bodies == [b"1", b"2"])


def test_consumer_gets_what_it_has_credit_for_before_anything_is_dropped(peer, wait_until):
    peer.declare("jobs", max_length=1)
    consumer = peer.consume("jobs", prefetch=2)
    idle()
    peer.publish("jobs", b"1", b"2", b"3", b"4")

    wait_until(lambda: peer.queue("jobs").ready == 1)
    assert consumer.bodies == [b"1", b"2"]
    assert peer.bodies("jobs") == [b"4"]


def test_dropped_messages_are_dead_lettered_in_order(peer, limit, wait_until):
    arguments, size = limit
    peer.declare("dead")
    peer.declare("jobs", dead_letter_exchange="", dead_letter_routing_key="dead", **arguments)
    for body in bodies(size, "1", "2", "3", "4"):
        peer.publish("jobs", body)

    wait_until(lambda: peer.queue("dead").ready == 2)
    got = peer.get("dead")
    assert (got.body, got.headers["x-death"][0]["reason"]) == (b"1" * size, "maxlen")


def test_messages_of_the_highest_priority_are_dropped_first(peer):
    peer.declare("jobs", max_priority=5, max_length=2)
    peer.publish("jobs", b"low", priority=1)
    peer.publish("jobs", b"high", priority=5)
    peer.publish("jobs", b"middle", priority=3)

    assert peer.bodies("jobs") == [b"middle", b"low"]


def test_messages_by_kafka_are_dropped_too(lasting, broker, limit, wait_until):
    arguments, size = limit
    lasting.declare("jobs", **arguments)
    broker.publish(broker.topic("jobs").partition(0), bodies(size, "1", "2", "3", "4"), 4 * size)

    wait_until(lambda: lasting.queue("jobs").ready == 2)
    assert lasting.bodies("jobs") == bodies(size, "3", "4")


def test_log_is_trimmed_to_what_is_left(lasting, wait_until):
    queue = lasting.declare("jobs", max_length=1)
    lasting.publish("jobs", b"1", b"2", b"3")

    wait_until(lambda: queue.topic.partitions[0].log_start_offset == 2)


def test_limit_holds_after_a_restart(lasting, make_broker, storage, limit):
    arguments, size = limit
    lasting.declare("jobs", **arguments)
    lasting.publish("jobs", *bodies(size, "1", "2"))
    again = QueueChannel(make_broker(storage=crashed(storage)))
    again.publish("jobs", *bodies(size, "3"))

    assert again.bodies("jobs") == bodies(size, "2", "3")


def test_policy_limits_what_is_there(peer, broker, wait_until):
    peer.declare("jobs")
    peer.publish("jobs", b"1", b"2", b"3")
    broker.policies.put(Policy("/", "small", "jobs", {"max-length": 1}, "queues"))

    wait_until(lambda: peer.queue("jobs").ready == 1)
    assert peer.bodies("jobs") == [b"3"]


def test_fifty_thousand_messages_leave_the_newest_hundred(peer):
    peer.declare("jobs", max_length=100)
    for start in range(0, 50_000, 1000):
        peer.publish("jobs", *[b"%d" % number for number in range(start, start + 1000)])

    assert peer.bodies("jobs") == [b"%d" % number for number in range(49_900, 50_000)]


def test_ten_thousand_messages_leave_the_newest_bytes(peer):
    peer.declare("jobs", max_length_bytes=1000)
    for start in range(0, 10_000, 500):
        peer.publish("jobs", *[b"%010d" % number for number in range(start, start + 500)])

    assert peer.bodies("jobs") == [b"%010d" % number for number in range(9_900, 10_000)]


# -- reject-publish -----------------------------------------------------------------------------------


@pytest.fixture(params=["reject-publish", "reject-publish-dlx"])
def overflow(request):
    return request.param


def test_message_that_is_too_much_is_refused(peer, limit, overflow):
    arguments, size = limit
    peer.declare("jobs", overflow=overflow, **arguments)
    peer.publish("jobs", *bodies(size, "1", "2"))
    with pytest.raises(QueueFullError):
        peer.publish("jobs", *bodies(size, "3"))

    assert peer.bodies("jobs") == bodies(size, "1", "2")


def test_messages_that_fit_are_taken_when_later_ones_do_not(peer, limit, overflow):
    arguments, size = limit
    peer.declare("jobs", overflow=overflow, **arguments)
    answers = [answer.get() for answer in peer.send("jobs", *bodies(size, "1", "2", "3", "4"))]

    assert [type(answer) for answer in answers] == [type(None), type(None), QueueFullError, QueueFullError]
    assert peer.bodies("jobs") == bodies(size, "1", "2")


def test_queue_takes_messages_again_when_there_is_room(peer, limit, overflow):
    arguments, size = limit
    peer.declare("jobs", overflow=overflow, **arguments)
    peer.publish("jobs", *bodies(size, "1", "2"))
    peer.get("jobs").ack()
    peer.publish("jobs", *bodies(size, "3"))

    assert peer.bodies("jobs") == bodies(size, "2", "3")


def test_message_in_flight_leaves_room_for_another(peer, limit, overflow):
    arguments, size = limit
    peer.declare("jobs", overflow=overflow, **arguments)
    peer.publish("jobs", *bodies(size, "1", "2"))
    peer.get("jobs")
    peer.publish("jobs", *bodies(size, "3"))

    assert peer.queue("jobs").ready == 2


def test_message_that_is_given_back_to_a_full_queue_is_kept(peer, limit, overflow):
    arguments, size = limit
    peer.declare("jobs", overflow=overflow, **arguments)
    peer.publish("jobs", *bodies(size, "1", "2"))
    got = peer.get("jobs")
    peer.publish("jobs", *bodies(size, "3"))
    got.requeue()

    assert peer.bodies("jobs") == bodies(size, "1", "2", "3")


def test_messages_by_kafka_drop_nothing_from_a_queue_that_refuses(lasting, broker, overflow):
    lasting.declare("jobs", max_length=1, overflow=overflow)
    broker.publish(broker.topic("jobs").partition(0), [b"1", b"2"], 2)
    with pytest.raises(QueueFullError):
        lasting.publish("jobs", b"3")

    assert lasting.bodies("jobs") == [b"1", b"2"]


def test_refused_message_is_dead_lettered_if_the_queue_says_so(peer, limit, wait_until):
    arguments, size = limit
    peer.declare("dead")
    peer.declare(
        "jobs",
        overflow="reject-publish-dlx",
        dead_letter_exchange="",
        dead_letter_routing_key="dead",
        **arguments,
    )
    for answer in peer.send("jobs", *bodies(size, "1", "2", "3")):
        answer.get()

    wait_until(lambda: peer.queue("dead").ready == 1)
    got = peer.get("dead")
    assert (got.body, got.headers["x-death"][0]["reason"]) == (b"3" * size, "maxlen")


def test_refused_message_is_not_dead_lettered_otherwise(peer):
    peer.declare("dead")
    peer.declare(
        "jobs", overflow="reject-publish", dead_letter_exchange="", dead_letter_routing_key="dead", max_length=0
    )
    with pytest.raises(QueueFullError):
        peer.publish("jobs", b"1")

    assert peer.bodies("dead") == []


def test_limit_0_refuses_even_with_a_consumer_that_waits(peer):
    peer.declare("jobs", overflow="reject-publish", max_length=0)
    consumer = peer.consume("jobs")
    idle()
    with pytest.raises(QueueFullError):
        peer.publish("jobs", b"1")

    assert consumer.bodies == []
