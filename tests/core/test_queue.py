"""What a queue does with messages: in, out, back, and gone."""

import pytest

from portask.bus import Append, Change
from portask.errors import NotInFlightError, StorageFullError, UnknownTopicError
from tests.core.queue_peer import QueuePeer, idle, publish, store
from tests.core.subscription.peer import AwkwardStorage


@pytest.fixture
def storage():
    return AwkwardStorage()


@pytest.fixture
def broker(make_broker, storage):
    return make_broker(storage=storage)


@pytest.fixture
def queues(broker):
    return broker.virtual_hosts.get("/").queues


@pytest.fixture(params=[True, False], ids=["durable", "volatile"])
def queue(queues, request):
    return queues.declare("q", durable=request.param)


def test_messages_come_in_the_order_in_which_they_were_published(queue, wait_until):
    store(queue, b"1", b"2")
    peer = QueuePeer(queue)
    store(queue, b"3")

    wait_until(lambda: peer.got == [b"1", b"2", b"3"])


def test_properties_and_routing_key_come_back_as_they_were_published(queue):
    store(queue, b"1", message_id="m")
    peer = QueuePeer(queue, attach=False)
    delivery, _ = queue.get(peer.consumer)

    assert delivery.records[0][1] == b"q"
    assert b"m" in delivery.records[0][4]


def test_message_that_a_queue_could_not_store_is_no_duplicate_later(queues, broker, monkeypatch):
    queue = queues.declare("q", arguments={"x-message-deduplication": True})
    spill = broker.volatile_memory.make_room

    def refuse(size_bytes):
        raise StorageFullError("no space left")

    monkeypatch.setattr(broker.volatile_memory, "make_room", refuse)
    broker.volatile_memory.limit_bytes = 0
    with pytest.raises(StorageFullError):
        publish(queue, b"1", headers={"x-deduplication-header": "one"})
    monkeypatch.setattr(broker.volatile_memory, "make_room", spill)
    store(queue, b"1", headers={"x-deduplication-header": "one"})

    assert queue.ready == 1


def test_answer_to_a_publisher_never_comes_before_publish_has_returned(queue):
    answer = publish(queue, b"1")

    assert not answer.ready()
    assert answer.get(timeout=5) is None


def test_message_is_handed_out_before_it_is_safe_and_confirmed_after(queues, storage, wait_until):
    queue = queues.declare("d", durable=True)
    peer = QueuePeer(queue)
    storage.synced.clear()
    answer = publish(queue, b"1")
    wait_until(lambda: peer.got == [b"1"])

    assert not answer.ready()
    storage.synced.set()
    assert answer.get(timeout=5) is None


def test_ready_and_unacked_add_up(queue, wait_until):
    store(queue, b"1", b"2", b"3")
    peer = QueuePeer(queue, 2)
    wait_until(lambda: len(peer.got) == 2)

    assert (queue.ready, queue.unacked, queue.consumer_count) == (1, 2, 1)


def test_acked_messages_are_gone(queue, wait_until):
    store(queue, b"1", b"2", b"3")
    peer = QueuePeer(queue)
    wait_until(lambda: len(peer.got) == 3)
    peer.ack(b"1", b"3")

    assert (queue.ready, queue.unacked) == (0, 1)
    peer.release()
    assert queue.ready == 1


def test_acking_trims_the_log(queue, wait_until):
    store(queue, b"1", b"2", b"3")
    peer = QueuePeer(queue)
    wait_until(lambda: len(peer.got) == 3)
    peer.ack(b"1", b"2")

    wait_until(lambda: queue.topic.partitions[0].log_start_offset == 2)


def test_settled_row_and_trim_are_in_one_round(queues, storage, wait_until):
    queue = queues.declare("d", durable=True)
    store(queue, b"1", b"2")
    rounds = []
    write = storage.write
    storage.write = lambda round_: (rounds.append(round_), write(round_))
    peer = QueuePeer(queue)
    wait_until(lambda: len(peer.got) == 2)
    peer.ack(b"1", b"2")
    wait_until(lambda: queue.topic.partitions[0].log_start_offset == 2)

    trims = [round_ for round_ in rounds if round_.trims]
    assert trims
    assert all(any(table == "settled" for table, _ in round_.puts) for round_ in trims)


def test_a_message_cannot_be_settled_twice(queue, wait_until):
    store(queue, b"1")
    peer = QueuePeer(queue)
    wait_until(lambda: peer.got)
    peer.ack(b"1")

    with pytest.raises(NotInFlightError):
        peer.ack(b"1")


def test_requeued_message_comes_first_again_and_is_flagged(queue, wait_until):
    store(queue, b"1", b"2", b"3")
    peer = QueuePeer(queue, 2)
    wait_until(lambda: len(peer.got) == 2)
    peer.requeue(b"1")
    wait_until(lambda: len(peer.got) == 3)

    assert peer.got == [b"1", b"2", b"1"]
    assert peer.flags[b"1"]
    assert not peer.flags[b"2"]


def test_requeued_messages_return_to_their_original_position(queue, wait_until):
    store(queue, *(b"%d" % number for number in range(6)))
    first = QueuePeer(queue, 4)
    wait_until(lambda: len(first.got) == 4)
    first.cancel()
    first.requeue(b"3")
    first.requeue(b"1")
    second = QueuePeer(queue)
    wait_until(lambda: len(second.got) == 4)

    assert second.got == [b"1", b"3", b"4", b"5"]


def test_failures_are_counted_only_where_they_are_said_to_be(queue):
    store(queue, b"1")
    peer = QueuePeer(queue, attach=False)
    for counted, failures in ((False, 0), (True, 0), (True, 1), (False, 2), (False, 2)):
        peer.get()
        assert peer.failures[b"1"] == failures
        peer.requeue(b"1", counted=counted)


def test_message_that_was_given_back_uncounted_is_flagged_all_the_same(queue):
    store(queue, b"1")
    peer = QueuePeer(queue, attach=False)
    peer.get()
    peer.requeue(b"1")
    peer.get()

    assert peer.flags[b"1"]


def test_rejected_message_without_a_dead_letter_exchange_is_gone(queue, wait_until):
    store(queue, b"1", b"2")
    peer = QueuePeer(queue)
    wait_until(lambda: len(peer.got) == 2)
    peer.reject(b"1")
    peer.release()

    assert queue.ready == 1


def test_cancelled_consumer_keeps_what_it_has(queue, wait_until):
    store(queue, b"1")
    peer = QueuePeer(queue)
    wait_until(lambda: peer.got)
    peer.cancel()
    store(queue, b"2")
    idle()

    assert peer.got == [b"1"]
    assert (queue.ready, queue.unacked, queue.consumer_count) == (1, 1, 0)
    peer.ack(b"1")
    assert queue.unacked == 0


def test_released_consumer_gives_back_what_it_has(queue, wait_until):
    store(queue, b"1", b"2")
    peer = QueuePeer(queue)
    wait_until(lambda: len(peer.got) == 2)
    peer.release()

    assert (queue.ready, queue.unacked) == (2, 0)
    with pytest.raises(NotInFlightError):
        peer.ack(b"1")


def test_no_ack_settles_at_hand_out_and_ignores_the_prefetch(queue, wait_until):
    store(queue, *(b"%d" % number for number in range(10)))
    peer = QueuePeer(queue, 1, no_ack=True)
    wait_until(lambda: len(peer.got) == 10)

    assert (queue.ready, queue.unacked) == (0, 0)


def test_no_ack_consumer_can_be_paused(queue, wait_until):
    peer = QueuePeer(queue, no_ack=True)
    peer.consumer.pause()
    store(queue, b"1")
    idle()
    assert peer.got == []
    peer.consumer.resume()

    wait_until(lambda: peer.got == [b"1"])


# -- get ------------------------------------------------------------------------------------------


def test_get_brings_the_oldest_message_and_how_many_are_left(queue):
    store(queue, b"1", b"2", b"3")
    peer = QueuePeer(queue, attach=False)

    assert peer.get() == (b"1", 2)
    assert queue.unacked == 1


def test_get_from_an_empty_queue_brings_nothing(queue):
    assert QueuePeer(queue, attach=False).get() is None


def test_get_sees_what_was_published_just_before(queue):
    publish(queue, b"1")

    assert QueuePeer(queue, attach=False).get() == (b"1", 0)


def test_get_with_no_ack_settles(queue):
    store(queue, b"1")
    peer = QueuePeer(queue, attach=False, no_ack=True)

    assert peer.get() == (b"1", 0)
    assert queue.unacked == 0


def test_a_whole_backlog_can_be_fetched_one_by_one(queue):
    bodies = [b"%d" % number for number in range(5000)]
    store(queue, *bodies)
    peer = QueuePeer(queue, attach=False, no_ack=True)
    while peer.get() is not None:
        pass

    assert peer.got == bodies


def test_what_was_fetched_goes_back_when_it_is_released(queue):
    store(queue, b"1")
    peer = QueuePeer(queue, attach=False)
    peer.get()
    peer.release()
    peer.get()

    assert peer.flags[b"1"]


def test_get_and_a_consumer_share_the_queue(queue, wait_until):
    store(queue, b"1", b"2", b"3")
    consumer = QueuePeer(queue, 1)
    wait_until(lambda: consumer.got)

    assert QueuePeer(queue, attach=False).get() == (b"2", 1)


# -- purge, flush ---------------------------------------------------------------------------------


def test_purge_drops_what_is_ready_and_leaves_what_is_in_flight(queue, wait_until):
    store(queue, b"1", b"2", b"3", b"4")
    peer = QueuePeer(queue, 2)
    wait_until(lambda: len(peer.got) == 2)
    peer.cancel()
    peer.requeue(b"1")

    assert queue.purge() == 3
    assert (queue.ready, queue.unacked) == (0, 1)
    peer.requeue(b"2")
    assert QueuePeer(queue, attach=False).get() == (b"2", 0)


def test_purge_takes_what_was_published_just_before(queue):
    publish(queue, b"1", b"2")

    assert queue.purge() == 2


def test_purged_queue_goes_on(queue, wait_until):
    store(queue, b"1")
    queue.purge()
    store(queue, b"2")
    peer = QueuePeer(queue)

    wait_until(lambda: peer.got == [b"2"])
    assert not peer.flags[b"2"]


# -- transactions ---------------------------------------------------------------------------------


def test_publish_into_a_list_appends_nothing_until_its_items_are_put(broker, queue):
    items = []
    answer = publish(queue, b"1", into=items)
    idle()
    assert queue.ready == 0
    broker.bus.put_all(items)

    assert answer.get(timeout=5) is None
    assert queue.ready == 1


def test_ack_into_a_list_settles_when_its_items_are_put(broker, queue, wait_until):
    store(queue, b"1")
    peer = QueuePeer(queue, attach=False)
    peer.get()
    items = []
    peer.ack(b"1", into=items)
    broker.bus.put_all(items)

    wait_until(lambda: queue.topic.partitions[0].log_start_offset == 1)
    assert queue.ready == 0


def test_ack_and_publish_of_one_transaction_are_in_one_round(broker, queues, storage):
    queue = queues.declare("d", durable=True)
    store(queue, b"1")
    peer = QueuePeer(queue, attach=False)
    peer.get()
    rounds = []
    write = storage.write
    storage.write = lambda round_: (rounds.append(round_), write(round_))
    items = []
    peer.ack(b"1", into=items)
    answer = publish(queue, b"2", into=items)
    broker.bus.put_all(items)
    answer.get(timeout=5)

    assert [bool(round_.trims) for round_ in rounds if round_.appends] == [True]


def test_refused_transaction_gives_the_message_back(broker, queues, storage, wait_until):
    queue = queues.declare("d", durable=True)
    store(queue, b"1", b"2")
    peer = QueuePeer(queue, attach=False)
    peer.get()
    storage.refuses = True
    items = []
    peer.ack(b"1", into=items)
    answer = publish(queue, b"3", into=items)
    broker.bus.put_all(items)
    assert isinstance(answer.get(timeout=5), StorageFullError)
    storage.refuses = False

    assert peer.get() == (b"1", 1)
    assert peer.flags[b"1"]


def test_item_that_never_came_to_a_round_gives_the_message_back(queue):
    store(queue, b"1")
    peer = QueuePeer(queue, attach=False)
    peer.get()
    items = []
    peer.ack(b"1", into=items)
    (change,) = items
    assert isinstance(change, Change)
    change.error = StorageFullError("no space left")
    change.done(change)

    assert peer.get() == (b"1", 0)


# -- deletion -------------------------------------------------------------------------------------


def test_publishing_to_a_deleted_queue_is_answered_with_that(queues, queue):
    queues.delete(queue)

    assert isinstance(publish(queue, b"1").get(timeout=5), UnknownTopicError)


def test_publishing_to_a_queue_that_is_being_deleted_is_answered(queues, broker, wait_until):
    queue = queues.declare("d", durable=True)
    answers = [publish(queue, b"1")]
    queues.delete_later(queue)
    answers.append(publish(queue, b"2"))

    assert answers[0].get(timeout=5) is None or isinstance(answers[0].get(), UnknownTopicError)
    assert isinstance(answers[1].get(timeout=5), UnknownTopicError)


def test_consumers_of_a_deleted_queue_are_cancelled(queues, queue, wait_until):
    peer = QueuePeer(queue)
    queues.delete(queue)

    assert len(peer.cancelled) == 1


def test_one_publish_of_many_records_is_one_append(queues):
    queue = queues.declare("d", durable=True)
    items = []
    publish(queue, *(b"%d" % number for number in range(100)), into=items)

    assert [type(item) for item in items] == [Append]
    assert len(items[0].records) == 100


def test_durable_auto_delete_queue_outlives_the_broker(make_broker, broker, queues, storage):
    queue = queues.declare("f", durable=True, auto_delete=True)
    peer = QueuePeer(queue)
    store(queue, b"1")
    broker.stop(5)
    peer.release()

    assert make_broker(storage=storage).virtual_hosts.get("/").queues.get("f").ready == 1
