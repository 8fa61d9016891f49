"""Expiry of messages and of unused queues, on a running broker whose clock the test moves."""

import pytest

from portask.broker import Broker
from portask.clock import Clock
from portask.config import load_settings
from portask.definitions.policy import Policy
from portask.errors import CorruptError, NotFoundError, StorageError
from portask.queues.expiry import EXPIRY
from portask.subscriptions.settlement import TABLE as SETTLED
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


@pytest.fixture
def pass_time(broker, clock):
    """A function that lets *seconds* pass and has what is due done."""

    def pass_time(seconds):
        idle()
        clock.advance(seconds)
        broker.queue_reaper.tick()
        idle()

    return pass_time


@pytest.fixture
def dead_letters(peer):
    """The queue that gets what expires in queues with this dead letter exchange and key."""
    peer.exchange("dlx", "fanout")
    peer.declare("dead")
    peer.bind("dlx", "dead")
    return {"dead_letter_exchange": "dlx"}


# -- the queue's time to live -------------------------------------------------------------------------


def test_message_is_handed_out_within_the_queues_time_to_live(peer, pass_time):
    peer.declare("jobs", message_ttl=1000)
    peer.publish("jobs", b"1")
    pass_time(0.999)

    assert peer.bodies("jobs") == [b"1"]


def test_message_expires_at_the_end_of_the_queues_time_to_live(peer, pass_time, wait_until):
    peer.declare("jobs", message_ttl=1000)
    peer.publish("jobs", b"1")
    pass_time(1)

    wait_until(lambda: peer.queue("jobs").ready == 0)
    assert peer.queue("jobs").unacked == 0


def test_expired_message_is_not_handed_out_even_before_anyone_has_looked(peer, clock):
    peer.declare("jobs", message_ttl=1000)
    peer.publish("jobs", b"1")
    idle()
    clock.advance(2)

    assert peer.bodies("jobs") == []


def test_expired_message_is_not_given_to_a_new_consumer(peer, clock):
    peer.declare("jobs", message_ttl=1000)
    peer.publish("jobs", b"1")
    idle()
    clock.advance(2)
    peer.publish("jobs", b"2")
    consumer = peer.consume("jobs")
    idle()

    assert consumer.bodies == [b"2"]


def test_younger_messages_stay_when_older_ones_expire(peer, pass_time, wait_until):
    peer.declare("jobs", message_ttl=1000)
    peer.publish("jobs", b"old")
    pass_time(0.6)
    peer.publish("jobs", b"young")
    pass_time(0.6)

    wait_until(lambda: peer.queue("jobs").ready == 1)
    assert peer.bodies("jobs") == [b"young"]


def test_each_of_several_messages_expires_in_its_time(peer, pass_time, wait_until):
    peer.declare("jobs", message_ttl=1000)
    for number in range(5):
        peer.publish("jobs", b"%d" % number)
        pass_time(0.1)
    left = []
    pass_time(0.45)
    for _ in range(6):
        pass_time(0.1)
        left.append(peer.queue("jobs").ready)

    assert left == [4, 3, 2, 1, 0, 0]


def test_time_to_live_0_expires_at_once_without_a_consumer(peer, wait_until):
    peer.declare("jobs", message_ttl=0)
    peer.publish("jobs", b"1")

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_time_to_live_0_is_enough_for_a_consumer_that_waits(peer, wait_until):
    peer.declare("jobs", message_ttl=0)
    consumer = peer.consume("jobs")
    idle()
    peer.publish("jobs", b"1", b"2")

    wait_until(lambda: consumer.bodies == [b"1", b"2"])


def test_time_to_live_0_is_too_short_for_a_consumer_without_credit(peer, wait_until):
    peer.declare("jobs", message_ttl=0)
    consumer = peer.consume("jobs", prefetch=1)
    idle()
    peer.publish("jobs", b"1", b"2")
    wait_until(lambda: peer.queue("jobs").ready == 0)
    consumer.got[0].ack()
    idle()

    assert consumer.bodies == [b"1"]


def test_message_in_flight_does_not_expire(peer, pass_time):
    peer.declare("jobs", message_ttl=1000)
    peer.publish("jobs", b"1")
    got = peer.get("jobs")
    pass_time(2)
    got.ack()

    assert peer.queue("jobs").unacked == 0


def test_message_that_is_given_back_too_late_expires(peer, pass_time, wait_until):
    peer.declare("jobs", message_ttl=1000)
    peer.publish("jobs", b"1")
    got = peer.get("jobs")
    pass_time(2)
    got.requeue()

    wait_until(lambda: peer.queue("jobs").ready == 0)
    assert peer.bodies("jobs") == []


def test_message_that_is_given_back_in_time_expires_in_its_time(peer, pass_time, wait_until):
    peer.declare("jobs", message_ttl=1000)
    peer.publish("jobs", b"1")
    got = peer.get("jobs")
    pass_time(0.5)
    got.requeue()
    idle()
    assert peer.queue("jobs").ready == 1
    pass_time(0.6)

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_expired_messages_are_dead_lettered_in_order(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", message_ttl=1000, **dead_letters)
    peer.publish("jobs", b"1", b"2", b"3")
    pass_time(1)

    wait_until(lambda: peer.queue("dead").ready == 3)
    assert peer.bodies("dead") == [b"1", b"2", b"3"]


def test_death_by_the_queues_time_to_live_tells_of_no_expiration(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", message_ttl=1000, **dead_letters)
    peer.publish("jobs", b"1")
    pass_time(1)
    wait_until(lambda: peer.queue("dead").ready)

    (death,) = peer.get("dead").headers["x-death"]
    assert death["reason"] == "expired"
    assert "original-expiration" not in death


def test_ten_thousand_messages_expire_together(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", message_ttl=1000, **dead_letters)
    peer.publish("jobs", *[b"%d" % number for number in range(10_000)])
    pass_time(1)

    wait_until(lambda: peer.queue("dead").ready == 10_000)
    assert (peer.queue("jobs").ready, peer.queue("jobs").unacked) == (0, 0)


def test_kafka_messages_expire(lasting, broker, pass_time, wait_until):
    lasting.declare("jobs", message_ttl=1000)
    broker.publish(broker.topic("jobs").partition(0), [b"1"], 1)
    pass_time(1)

    wait_until(lambda: lasting.queue("jobs").ready == 0)


def test_log_is_trimmed_when_all_is_expired(lasting, pass_time, wait_until):
    queue = lasting.declare("jobs", message_ttl=1000)
    lasting.publish("jobs", b"1", b"2")
    pass_time(1)

    wait_until(lambda: queue.topic.partitions[0].log_start_offset == 2)


# -- expirations of their own -------------------------------------------------------------------------


def test_message_expires_after_its_own_expiration(peer, pass_time, wait_until):
    peer.declare("jobs")
    peer.publish("jobs", b"1", expiration="1000")
    pass_time(0.999)
    assert peer.queue("jobs").ready == 1
    pass_time(0.001)

    wait_until(lambda: peer.queue("jobs").ready == 0)


@pytest.mark.parametrize(("own", "queues"), [("1000", 5000), ("5000", 1000)])
def test_shorter_time_counts(peer, pass_time, wait_until, own, queues):
    peer.declare("jobs", message_ttl=queues)
    peer.publish("jobs", b"1", expiration=own)
    pass_time(1)

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_message_expires_behind_one_that_lives_longer(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", **dead_letters)
    peer.publish("jobs", b"long", expiration="60000")
    peer.publish("jobs", b"short", expiration="1000")
    peer.publish("jobs", b"for ever")
    pass_time(1)

    wait_until(lambda: peer.queue("dead").ready == 1)
    assert peer.bodies("dead") == [b"short"]
    assert peer.bodies("jobs") == [b"long", b"for ever"]


def test_expired_message_in_the_middle_is_never_handed_out(peer, clock):
    peer.declare("jobs")
    peer.publish("jobs", b"1", b"2")
    peer.publish("jobs", b"short", expiration="1000")
    peer.publish("jobs", b"3")
    idle()
    clock.advance(2)
    consumer = peer.consume("jobs")
    idle()

    assert consumer.bodies == [b"1", b"2", b"3"]


def test_expiration_0_expires_at_once_without_a_consumer(peer, wait_until):
    peer.declare("jobs")
    peer.publish("jobs", b"1", expiration="0")

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_expiration_0_is_enough_for_a_consumer_that_waits(peer, wait_until):
    peer.declare("jobs")
    consumer = peer.consume("jobs")
    idle()
    peer.publish("jobs", b"1", expiration="0")

    wait_until(lambda: consumer.bodies == [b"1"])


def test_messages_of_different_expirations_expire_one_by_one(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", **dead_letters)
    for number in (3, 1, 2):
        peer.publish("jobs", b"%d" % number, expiration=f"{number}000")
    for number in (1, 2, 3):
        pass_time(1)
        wait_until(lambda number=number: peer.queue("dead").ready == number)

    assert peer.bodies("dead") == [b"1", b"2", b"3"]


def test_message_with_an_expiration_that_is_given_back_too_late_expires(peer, pass_time, wait_until):
    peer.declare("jobs")
    peer.publish("jobs", b"1", expiration="1000")
    got = peer.get("jobs")
    pass_time(2)
    got.requeue()

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_dead_letter_does_not_expire_again(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", **dead_letters)
    peer.publish("jobs", b"1", expiration="1000")
    pass_time(1)
    wait_until(lambda: peer.queue("dead").ready == 1)
    pass_time(100)

    assert peer.bodies("dead") == [b"1"]


def test_death_by_expiration_tells_of_it(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", **dead_letters)
    peer.publish("jobs", b"1", expiration="1000")
    pass_time(1)
    wait_until(lambda: peer.queue("dead").ready == 1)

    got = peer.get("dead")
    assert got.headers["x-death"][0]["original-expiration"] == "1000"
    assert got.properties.expiration is None


def test_ten_thousand_messages_of_different_expirations_expire(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", **dead_letters)
    for expiration in ("1000", "3000"):
        peer.publish("jobs", *[b"%d" % number for number in range(5_000)], expiration=expiration)
    pass_time(2)
    wait_until(lambda: peer.queue("dead").ready == 5_000)
    pass_time(2)

    wait_until(lambda: peer.queue("dead").ready == 10_000)


def test_messages_of_pages_that_are_not_in_memory_expire(peer, pass_time, wait_until, monkeypatch):
    monkeypatch.setattr("portask.queues.expiry_index.MAX_OPEN", 2)
    peer.declare("jobs")
    for start in range(0, 6000, 1000):
        peer.publish("jobs", *[b"%d" % number for number in range(start, start + 500)], expiration="1000")
        peer.publish("jobs", *[b"%d" % number for number in range(start + 500, start + 1000)], expiration="3000")
    pass_time(2)
    wait_until(lambda: peer.queue("jobs").ready == 3000)
    pass_time(2)

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_message_that_is_given_back_expires_in_its_time_with_its_neighbours(peer, pass_time, wait_until):
    peer.declare("jobs")
    for seconds in (1, 3, 5):
        peer.publish("jobs", b"%d" % seconds, expiration=f"{seconds}000")
    peer.get("jobs").requeue()
    left = []
    for _ in range(3):
        pass_time(2)
        left.append(peer.queue("jobs").ready)

    assert left == [2, 1, 0]


def test_priorities_do_not_keep_messages_from_expiring(peer, pass_time, wait_until):
    peer.declare("jobs", max_priority=5)
    peer.publish("jobs", b"high", priority=5)
    peer.publish("jobs", b"low", priority=1, expiration="1000")
    pass_time(1)

    wait_until(lambda: peer.queue("jobs").ready == 1)


def test_policy_gives_messages_that_are_there_a_time_to_live(peer, broker, pass_time, wait_until):
    peer.declare("jobs")
    peer.publish("jobs", b"1")
    broker.policies.put(Policy("/", "short", "jobs", {"message-ttl": 1000}, "queues"))
    pass_time(1)

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_message_that_is_given_back_has_its_own_page_looked_at_and_no_other(peer, wait_until):
    queue = peer.declare("jobs")
    peer.publish("jobs", *[b"%d" % number for number in range(1100)], expiration="60000")
    consumer = peer.consume("jobs")
    wait_until(lambda: len(consumer.got) == 1100)
    index = queue.upkeep._expiry._index
    consumer.pause()
    consumer.got[0].requeue()
    assert index.must_read((0, 0))
    wait_until(lambda: not index.must_read((0, 0)))
    consumer.got[1050].requeue()

    assert (index.must_read((0, 0)), index.must_read((0, 1))) == (False, True)


# -- after a restart ----------------------------------------------------------------------------------


@pytest.fixture
def again(make_broker, storage, clock):
    """A function that crashes the broker and starts another *seconds* later on what was written."""

    def again(seconds=0):
        clock.advance(seconds)
        return QueueChannel(make_broker(storage=crashed(storage)))

    return again


def test_messages_expire_after_a_restart(lasting, again, pass_time, wait_until):
    lasting.declare("jobs", message_ttl=1000)
    lasting.publish("jobs", b"1")
    peer = again(2)

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_messages_with_an_expiration_expire_after_a_restart(lasting, again, wait_until):
    lasting.declare("jobs")
    lasting.publish("jobs", b"stays")
    lasting.publish("jobs", b"1", expiration="1000")
    peer = again(2)

    wait_until(lambda: peer.queue("jobs").ready == 1)
    assert peer.bodies("jobs") == [b"stays"]


def test_messages_expire_after_a_restart_though_storage_refused_the_first_one(lasting, storage, again, wait_until):
    lasting.declare("jobs")
    storage.refuses = True
    with pytest.raises(StorageError):
        lasting.publish("jobs", b"1", expiration="1000")
    storage.refuses = False
    lasting.publish("jobs", b"2", expiration="1000")
    wait_until(lambda: storage.load(EXPIRY))
    peer = again(1)

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_expired_message_is_not_handed_out_right_after_a_restart(lasting, again):
    lasting.declare("jobs")
    lasting.publish("jobs", b"1", expiration="1000")
    peer = again(2)
    consumer = peer.consume("jobs")
    idle()

    assert consumer.bodies == []


def test_expiry_goes_on_when_storage_can_be_read_again(lasting, make_broker, storage, clock, wait_until):
    lasting.declare("jobs", message_ttl=1000)
    lasting.publish("jobs", b"1")
    clock.advance(2)
    broken = crashed(storage)
    broken.read_error = StorageError("cannot be read")
    peer = QueueChannel(make_broker(storage=broken))
    idle()
    assert peer.queue("jobs").ready == 1
    broken.read_error = None
    clock.advance(2)
    peer.broker.queue_reaper.tick()

    wait_until(lambda: peer.queue("jobs").ready == 0)


def test_broken_row_stops_the_start(lasting, make_broker, storage):
    lasting.declare("jobs")
    lasting.publish("jobs", b"1", expiration="1000")
    broken = crashed(storage)
    for key in broken._tables["expiry"]:
        broken._tables["expiry"][key] = b"\xff"
    with pytest.raises(CorruptError):
        make_broker(storage=broken)


def test_expired_message_is_gone_after_a_restart(lasting, again, pass_time, wait_until, storage):
    lasting.declare("jobs", message_ttl=1000)
    lasting.publish("jobs", b"1")
    pass_time(1)
    wait_until(lambda: storage.load(SETTLED) and lasting.queue("jobs").topic.partitions[0].log_start_offset == 1)

    assert again().bodies("jobs") == []


def test_queue_that_never_had_expirations_is_not_read_at_start(lasting, again):
    lasting.declare("jobs")
    lasting.publish("jobs", b"1")

    assert again().queue("jobs").upkeep is None


def test_deleted_queue_leaves_no_row(lasting, storage):
    lasting.declare("jobs")
    lasting.publish("jobs", b"1", expiration="1000")
    assert storage.load("expiry")
    lasting.host.queues.delete(lasting.queue("jobs"))

    assert storage.load("expiry") == {}


# -- unused queues ------------------------------------------------------------------------------------


def exists(peer, name="jobs"):
    try:
        peer.queue(name)
    except NotFoundError:
        return False
    return True


def test_unused_queue_expires(peer, pass_time, wait_until):
    peer.declare("jobs", expires=1000)
    pass_time(1)

    wait_until(lambda: not exists(peer))


def test_queue_does_not_expire_before_its_time(peer, pass_time):
    peer.declare("jobs", expires=1000)
    pass_time(0.9)

    assert exists(peer)


def test_published_messages_do_not_keep_a_queue(peer, pass_time, wait_until):
    peer.declare("jobs", expires=1000)
    pass_time(0.9)
    peer.publish("jobs", b"1")
    pass_time(0.2)

    wait_until(lambda: not exists(peer))


def test_messages_of_an_expired_queue_are_not_dead_lettered(peer, dead_letters, pass_time, wait_until):
    peer.declare("jobs", expires=1000, **dead_letters)
    peer.publish("jobs", b"1")
    pass_time(1)
    wait_until(lambda: not exists(peer))

    assert peer.bodies("dead") == []


def test_getting_keeps_a_queue(peer, pass_time):
    peer.declare("jobs", expires=1000)
    pass_time(0.9)
    peer.get("jobs")
    pass_time(0.9)

    assert exists(peer)


def test_declaring_again_keeps_a_queue(peer, pass_time):
    peer.declare("jobs", expires=1000)
    pass_time(0.9)
    peer.declare("jobs", expires=1000)
    pass_time(0.9)

    assert exists(peer)


def test_queue_does_not_expire_while_it_has_a_consumer(peer, pass_time):
    peer.declare("jobs", expires=1000)
    peer.consume("jobs")
    pass_time(5)

    assert exists(peer)


def test_time_begins_anew_when_the_last_consumer_has_gone(peer, pass_time, wait_until):
    peer.declare("jobs", expires=1000)
    consumer = peer.consume("jobs")
    pass_time(5)
    peer.queue("jobs").cancel(consumer)
    pass_time(0.9)
    assert exists(peer)
    pass_time(0.2)

    wait_until(lambda: not exists(peer))


def test_restart_begins_the_time_anew(lasting, again, clock, wait_until):
    lasting.declare("jobs", expires=1000)
    peer = again(5)
    idle()

    assert exists(peer)


def test_expiry_comes_by_itself(wait_until):
    broker = Broker(load_settings((), {}), AwkwardStorage(), Clock())
    broker.start()
    peer = QueueChannel(broker)
    peer.declare("jobs", expires=50)
    peer.declare("short", message_ttl=20)
    peer.publish("short", b"1")

    wait_until(lambda: not exists(peer) and peer.queue("short").ready == 0)
    broker.stop(5)
