"""Dead letters of queues on a running broker: RabbitMQ's dead_lettering_SUITE, and what a crash must not lose."""

import pytest

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
def dead(peer, wait_until):
    """A function that gives the bodies of the queue "dead" when it has *count* messages."""
    return dead_of(peer, wait_until)


def dead_of(peer, wait_until):
    def dead(count, name="dead"):
        wait_until(lambda: peer.queue(name).ready == count)
        return peer.bodies(name)

    return dead


def declare_both(peer, **arguments):
    peer.exchange("dlx")
    peer.declare("jobs", dead_letter_exchange="dlx", dead_letter_routing_key="gone", **arguments)
    peer.declare("dead")
    peer.bind("dlx", "dead", "gone")


def test_rejected_message_is_dead_lettered(peer, dead):
    declare_both(peer)
    peer.publish("jobs", b"1", b"2", b"3")
    peer.get("jobs").reject()

    assert dead(1) == [b"1"]
    assert peer.bodies("jobs") == [b"2", b"3"]


def test_rejected_messages_are_dead_lettered_in_order(peer, dead):
    bodies = [b"%d" % number for number in range(100)]
    declare_both(peer)
    peer.publish("jobs", *bodies)
    for _ in bodies:
        peer.get("jobs").reject()

    assert dead(100) == bodies


def test_rejected_messages_of_one_call_are_dead_lettered_in_order(peer, dead, wait_until):
    declare_both(peer)
    peer.publish("jobs", b"1", b"2", b"3")
    consumer = peer.consume("jobs")
    wait_until(lambda: len(consumer.got) == 3)
    peer.queue("jobs").reject(consumer, 0, 0, 2)

    assert dead(3) == [b"1", b"2", b"3"]


def test_requeued_message_is_not_dead_lettered(peer):
    declare_both(peer)
    peer.publish("jobs", b"1")
    peer.get("jobs").requeue()

    assert peer.bodies("jobs") == [b"1"]
    assert peer.bodies("dead") == []


def test_message_that_was_requeued_and_then_rejected_is_dead_lettered_once(peer, dead):
    declare_both(peer)
    peer.publish("jobs", b"1")
    peer.get("jobs").requeue()
    peer.get("jobs").reject()

    assert dead(1) == [b"1"]
    assert peer.queue("jobs").unacked == 0


def test_rejected_message_without_a_dead_letter_exchange_is_dropped(peer, wait_until):
    peer.declare("jobs", max_length=10)
    peer.publish("jobs", b"1")
    peer.get("jobs").reject()

    wait_until(lambda: peer.queue("jobs").unacked == 0)
    assert peer.bodies("jobs") == []


def test_missing_dead_letter_exchange_drops(peer, wait_until):
    peer.declare("jobs", dead_letter_exchange="nowhere")
    peer.publish("jobs", b"1")
    peer.get("jobs").reject()

    wait_until(lambda: peer.queue("jobs").unacked == 0)


def test_dead_letter_exchange_may_come_later(peer, dead, wait_until):
    peer.declare("jobs", dead_letter_exchange="dlx", dead_letter_routing_key="gone")
    peer.declare("dead")
    peer.publish("jobs", b"1", b"2")
    peer.get("jobs").reject()
    wait_until(lambda: peer.queue("jobs").unacked == 0)
    peer.exchange("dlx")
    peer.bind("dlx", "dead", "gone")
    peer.get("jobs").reject()

    assert dead(1) == [b"2"]


def test_dead_letter_that_no_binding_matches_is_dropped(peer, wait_until):
    peer.exchange("dlx")
    peer.declare("jobs", dead_letter_exchange="dlx")
    peer.publish("jobs", b"1")
    peer.get("jobs").reject()

    wait_until(lambda: peer.queue("jobs").unacked == 0)


def test_dead_letter_is_routed_by_its_own_key_without_another(peer, dead):
    peer.exchange("dlx")
    peer.declare("jobs", dead_letter_exchange="dlx")
    peer.declare("dead")
    peer.bind("dlx", "dead", "jobs")
    peer.publish("jobs", b"1")
    peer.get("jobs").reject()

    assert dead(1) == [b"1"]


def test_dead_letter_is_routed_by_the_keys_of_its_header_cc(peer, dead):
    peer.exchange("dlx")
    peer.declare("jobs", dead_letter_exchange="dlx")
    peer.declare("dead")
    peer.bind("dlx", "dead", "copy")
    peer.publish("jobs", b"1", headers={"CC": ["copy"]})
    peer.get("jobs").reject()

    assert dead(1) == [b"1"]


def test_dead_letter_has_the_dead_letter_routing_key(peer, wait_until):
    declare_both(peer)
    peer.publish("jobs", b"1")
    peer.get("jobs").reject()
    wait_until(lambda: peer.queue("dead").ready)

    assert peer.get("dead").key == "gone"


def test_headers_exchange_routes_by_the_first_death(peer, dead, wait_until):
    peer.exchange("dlx", "headers")
    peer.declare("jobs", dead_letter_exchange="dlx")
    peer.declare("other", dead_letter_exchange="dlx")
    peer.declare("dead")
    match = {"x-match": "all-with-x", "x-first-death-reason": "rejected", "x-first-death-queue": "jobs"}
    peer.host.bind("dlx", "queue", "dead", "", match)
    peer.publish("other", b"1")
    peer.get("other").reject()
    wait_until(lambda: peer.queue("other").unacked == 0)
    peer.publish("jobs", b"2")
    peer.get("jobs").reject()

    assert dead(1) == [b"2"]


def test_dead_letter_goes_to_every_queue(peer, dead):
    peer.exchange("dlx", "fanout")
    peer.declare("jobs", dead_letter_exchange="dlx")
    for name in ("dead", "copy"):
        peer.declare(name)
        peer.bind("dlx", name)
    peer.publish("jobs", b"1")
    peer.get("jobs").reject()

    assert dead(1) == [b"1"]
    assert dead(1, "copy") == [b"1"]


def test_message_of_a_fully_automatic_cycle_is_dropped(peer, wait_until):
    peer.declare("jobs", dead_letter_exchange="", max_length=1)
    peer.publish("jobs", b"1", b"2")

    wait_until(lambda: (peer.queue("jobs").ready, peer.queue("jobs").unacked) == (1, 0))
    assert peer.bodies("jobs") == [b"2"]


def test_expired_message_of_a_cycle_is_dropped(peer, clock, wait_until):
    peer.declare("jobs", dead_letter_exchange="", message_ttl=1000)
    peer.publish("jobs", b"1")
    clock.advance(2)
    peer.broker.queue_reaper.tick()

    wait_until(lambda: (peer.queue("jobs").ready, peer.queue("jobs").unacked) == (0, 0))


def test_rejected_message_comes_round(peer, wait_until):
    peer.declare("jobs", dead_letter_exchange="")
    peer.publish("jobs", b"1")
    for _ in range(3):
        peer.get("jobs").reject()
        wait_until(lambda: peer.queue("jobs").ready == 1)

    assert peer.get("jobs").headers["x-death"][0]["count"] == 3


def test_message_that_waits_in_two_queues_in_turn_is_dropped_at_the_third(peer, clock, wait_until):
    peer.declare("jobs", dead_letter_exchange="", dead_letter_routing_key="late", message_ttl=1000)
    peer.declare("late", dead_letter_exchange="", dead_letter_routing_key="jobs", message_ttl=1000)
    peer.publish("jobs", b"1")
    clock.advance(2)
    peer.broker.queue_reaper.tick()
    wait_until(lambda: peer.queue("late").ready == 1)
    clock.advance(2)
    peer.broker.queue_reaper.tick()

    wait_until(lambda: peer.queue("late").unacked + peer.queue("late").ready == 0)
    assert peer.queue("jobs").ready == 0


def test_full_target_that_refuses_drops_the_dead_letter(peer, wait_until):
    declare_both(peer)
    peer.declare("small", max_length=1, overflow="reject-publish")
    peer.bind("dlx", "small", "gone")
    peer.publish("jobs", b"1", b"2")
    peer.get("jobs").reject()
    peer.get("jobs").reject()

    wait_until(lambda: peer.queue("jobs").unacked == 0)
    assert peer.bodies("small") == [b"1"]
    assert peer.bodies("dead") == [b"1", b"2"]


def test_deleted_queue_dead_letters_nothing(peer):
    declare_both(peer)
    peer.publish("jobs", b"1")
    peer.host.queues.delete(peer.queue("jobs"))

    assert peer.bodies("dead") == []


def test_purged_messages_are_not_dead_lettered(peer):
    declare_both(peer)
    peer.publish("jobs", b"1")
    peer.queue("jobs").purge()

    assert peer.bodies("dead") == []


def test_dead_letters_are_counted_by_reason_with_and_without_an_exchange(peer, wait_until):
    peer.declare("jobs", max_length=1)
    peer.publish("jobs", b"1", b"2", b"3")
    peer.get("jobs").reject()

    assert peer.queue("jobs").upkeep.dead_letters.totals == {
        "rejected": 1,
        "expired": 0,
        "maxlen": 2,
        "delivery_limit": 0,
    }


def test_kafka_messages_are_dead_lettered(lasting, broker, wait_until):
    declare_both(lasting)
    broker.publish(broker.topic("jobs").partition(0), [b"plain", (b"body", b"key", ["name", b"value"])], 20)
    lasting.get("jobs").reject()
    lasting.get("jobs").reject()

    assert dead_of(lasting, wait_until)(2) == [b"plain", b"body"]


# -- failures -----------------------------------------------------------------------------------------


def test_original_is_settled_only_when_the_dead_letter_is_safe(lasting, storage, wait_until):
    declare_both(lasting)
    lasting.publish("jobs", b"1")
    got = lasting.get("jobs")
    storage.refuses = True
    got.reject()
    idle()

    assert (lasting.queue("jobs").unacked, lasting.queue("dead").ready) == (1, 0)


def test_dead_letter_that_storage_refused_is_tried_again(lasting, storage, wait_until):
    declare_both(lasting)
    lasting.publish("jobs", b"1")
    got = lasting.get("jobs")
    storage.refuses = True
    got.reject()
    idle()
    storage.refuses = False

    assert dead_of(lasting, wait_until)(1) == [b"1"]
    wait_until(lambda: lasting.queue("jobs").unacked == 0)


def test_message_that_was_rejected_before_a_crash_is_in_one_of_the_queues(make_broker, broker, lasting, storage):
    declare_both(lasting)
    lasting.publish("jobs", b"1")
    lasting.get("jobs").reject()
    again = QueueChannel(make_broker(storage=crashed(storage)))

    assert again.bodies("jobs") + again.bodies("dead") in ([b"1"], [b"1", b"1"])


def test_dead_letter_survives_a_restart(make_broker, broker, lasting, storage, wait_until):
    declare_both(lasting)
    lasting.publish("jobs", b"1")
    lasting.get("jobs").reject()
    wait_until(lambda: lasting.queue("dead").ready == 1 and lasting.queue("jobs").unacked == 0)
    broker.stop(5)
    again = QueueChannel(make_broker(storage=storage))

    assert again.bodies("jobs") == []
    assert again.get("dead").headers["x-death"][0]["queue"] == "jobs"
