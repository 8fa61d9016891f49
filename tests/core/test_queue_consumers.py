"""Who gets what: turns, priorities, limits, the only consumer of a queue, and queues with priorities."""

import pytest

from portask.errors import AccessRefusedError, LockedQueueError, UnknownTopicError
from portask.subscriptions.consumer import SharedCredit
from tests.core.queue_peer import QueuePeer, idle, publish, record, store


@pytest.fixture
def queues(broker):
    return broker.virtual_hosts.get("/").queues


@pytest.fixture(params=[True, False], ids=["durable", "volatile"])
def queue(queues, request):
    return queues.declare("q", durable=request.param)


def numbered(count, start=0):
    return [b"%d" % number for number in range(start, start + count)]


def test_equal_consumers_share_a_backlog(queue, wait_until):
    store(queue, *numbered(100))
    peers = [QueuePeer(queue, 10) for _ in range(3)]
    wait_until(lambda: all(len(peer.got) == 10 for peer in peers))

    assert sorted(body for peer in peers for body in peer.got) == sorted(numbered(30))


def test_single_messages_go_round(queue, wait_until):
    peers = [QueuePeer(queue) for _ in range(3)]
    for number in range(9):
        store(queue, b"%d" % number)
    wait_until(lambda: sum(len(peer.got) for peer in peers) == 9)

    assert [len(peer.got) for peer in peers] == [3, 3, 3]


def test_consumer_of_a_higher_priority_is_served_first(queue, wait_until):
    low, high = QueuePeer(queue, 5), QueuePeer(queue, 5, priority=10)
    store(queue, *numbered(5))
    wait_until(lambda: len(high.got) == 5)
    assert low.got == []
    store(queue, *numbered(2, 5))

    wait_until(lambda: low.got == [b"5", b"6"])


def test_consumer_of_a_lower_priority_gets_what_the_others_cannot_take(queue, wait_until):
    QueuePeer(queue, 1, priority=-1).consumer.pause()
    low, high = QueuePeer(queue, 0, priority=-5), QueuePeer(queue, 1)
    store(queue, *numbered(3))
    wait_until(lambda: len(high.got) == 1)

    wait_until(lambda: len(low.got) == 2)


def test_exclusive_consumer_lets_nobody_else_in(queue):
    peer = QueuePeer(queue, exclusive=True)
    with pytest.raises(AccessRefusedError, match=r"^queue 'q' in vhost '/' in exclusive use$"):
        QueuePeer(queue)
    peer.cancel()

    QueuePeer(queue)


def test_nobody_becomes_exclusive_beside_another(queue):
    QueuePeer(queue)

    with pytest.raises(AccessRefusedError, match="in exclusive use"):
        QueuePeer(queue, exclusive=True)


def test_get_works_beside_an_exclusive_consumer(queue, wait_until):
    peer = QueuePeer(queue, 1, exclusive=True)
    store(queue, b"1", b"2")
    wait_until(lambda: peer.got)

    assert QueuePeer(queue, attach=False).get() == (b"2", 0)


@pytest.fixture(params=[True, False], ids=["durable", "volatile"])
def single(queues, request):
    return queues.declare("s", durable=request.param, arguments={"x-single-active-consumer": True})


def test_only_the_first_consumer_is_active(single, wait_until):
    first, second = QueuePeer(single, 1), QueuePeer(single)
    store(single, *numbered(5))
    wait_until(lambda: first.got)
    idle()

    assert (first.got, second.got) == ([b"0"], [])


def test_the_next_consumer_takes_over_when_the_active_one_goes(single, wait_until):
    first, second, third = (QueuePeer(single, 1) for _ in range(3))
    store(single, *numbered(5))
    wait_until(lambda: first.got)
    first.release()
    wait_until(lambda: second.got)
    idle()

    assert second.got == [b"0"]
    assert second.flags[b"0"]
    assert third.got == []


def test_the_consumer_of_the_highest_priority_takes_over(single, wait_until):
    first = QueuePeer(single, 1)
    low, high = QueuePeer(single), QueuePeer(single, priority=1)
    first.cancel()
    store(single, b"1")
    wait_until(lambda: high.got)

    assert low.got == []


@pytest.mark.parametrize(("queue_type", "got"), [("classic", []), ("quorum", [b"1"])])
def test_active_consumer_of_a_quorum_queue_gives_way_to_a_higher_priority(queues, wait_until, queue_type, got):
    arguments = {"x-single-active-consumer": True, "x-queue-type": queue_type}
    queue = queues.declare("s", durable=True, arguments=arguments)
    low, high = QueuePeer(queue), QueuePeer(queue, priority=1)
    store(queue, b"1")
    wait_until(lambda: low.got or high.got)

    assert high.got == got


def test_quorum_queue_with_a_single_active_consumer_cannot_be_fetched_from(queues):
    arguments = {"x-single-active-consumer": True, "x-queue-type": "quorum"}
    queue = queues.declare("s", durable=True, arguments=arguments)

    with pytest.raises(LockedQueueError, match=r"^cannot obtain access to locked queue 's' in vhost '/'\."):
        QueuePeer(queue, attach=False).get()


def test_nobody_is_exclusive_on_a_queue_with_a_single_active_consumer(single):
    with pytest.raises(AccessRefusedError, match="in exclusive use"):
        QueuePeer(single, exclusive=True)


# -- a limit for several consumers together ---------------------------------------------------------


def test_consumers_with_a_shared_limit_get_no_more_than_that_together(queues, wait_until):
    shared = SharedCredit(3)
    peers = []
    for name in ("a", "b"):
        queue = queues.declare(name)
        store(queue, *numbered(5))
        peers.append(QueuePeer(queue, shared=shared))
    wait_until(lambda: shared.in_flight == 3)
    idle()

    assert sum(len(peer.got) for peer in peers) == 3


def test_what_one_consumer_settles_the_others_may_get(queues, wait_until):
    shared = SharedCredit(2)
    first = QueuePeer(queues.declare("a"), shared=shared)
    second = QueuePeer(queues.declare("b"), shared=shared)
    store(first.queue, b"1", b"2")
    wait_until(lambda: len(first.got) == 2)
    store(second.queue, b"3", b"4")
    idle()
    assert second.got == []
    first.ack(b"1", b"2")

    wait_until(lambda: second.got == [b"3", b"4"])


def test_shared_limit_can_be_raised(queue, wait_until):
    shared = SharedCredit(1)
    peer = QueuePeer(queue, shared=shared)
    store(queue, *numbered(5))
    wait_until(lambda: len(peer.got) == 1)
    shared.change(0)

    wait_until(lambda: len(peer.got) == 5)


def test_what_a_cancelled_consumer_holds_counts_until_it_is_released(queue, wait_until):
    shared = SharedCredit(1)
    first, second = QueuePeer(queue, shared=shared), QueuePeer(queue, shared=shared)
    store(queue, b"1", b"2")
    wait_until(lambda: first.got or second.got)
    one, other = (first, second) if first.got else (second, first)
    one.cancel()
    idle()
    assert other.got == []
    one.release()

    wait_until(lambda: other.got == [b"1"])


# -- queues with priorities -------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["durable", "volatile"])
def priority_queue(queues, request):
    return queues.declare("p", durable=request.param, arguments={"x-max-priority": 5})


def test_higher_priority_goes_first(priority_queue):
    for priority in (1, None, 5, 3):
        store(priority_queue, b"%d" % (priority or 0), priority=priority)
    peer = QueuePeer(priority_queue, attach=False, no_ack=True)
    while peer.get():
        pass

    assert peer.got == [b"5", b"3", b"1", b"0"]


def test_equal_priority_keeps_its_order(priority_queue):
    store(priority_queue, *numbered(50), priority=2)
    store(priority_queue, *numbered(50, 50), priority=2)
    peer = QueuePeer(priority_queue, attach=False, no_ack=True)
    while peer.get():
        pass

    assert peer.got == numbered(100)


def test_priority_beyond_the_highest_counts_as_the_highest(priority_queue):
    store(priority_queue, b"5", priority=5)
    store(priority_queue, b"200", priority=200)
    peer = QueuePeer(priority_queue, attach=False, no_ack=True)
    while peer.get():
        pass

    assert peer.got == [b"5", b"200"]


def test_requeued_message_of_a_priority_returns_to_its_place(priority_queue):
    store(priority_queue, b"low")
    store(priority_queue, b"high", b"higher", priority=4)
    peer = QueuePeer(priority_queue, attach=False)
    assert peer.get() == (b"high", 2)
    peer.requeue(b"high")

    assert peer.get() == (b"high", 2)
    assert peer.flags[b"high"]


def test_publish_of_several_priorities_is_answered_once(priority_queue):
    answers = []
    records = [record(b"x", priority=priority) for priority in (1, 2, 3, 1)]
    priority_queue.publish(records, 400, answers.append)
    priority_queue.flush()
    idle()

    assert answers == [None]
    assert priority_queue.ready == 4


def test_purge_empties_all_priorities(priority_queue):
    store(priority_queue, b"1", priority=1)
    store(priority_queue, b"2", priority=2)

    assert priority_queue.purge() == 2


# -- auto-delete ------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["durable", "volatile"])
def fleeting(queues, request):
    return queues.declare("f", durable=request.param, auto_delete=True)


def test_queue_goes_with_its_last_consumer(queues, fleeting):
    first, second = QueuePeer(fleeting), QueuePeer(fleeting)
    first.cancel()
    assert queues.find("f") is fleeting
    second.cancel()

    assert queues.find("f") is None


def test_queue_goes_when_its_last_consumer_is_released(queues, fleeting):
    QueuePeer(fleeting).release()
    assert queues.find("f") is None

    again = queues.declare("f", durable=fleeting.durable, auto_delete=True)
    assert again is not fleeting


def test_queue_stays_while_it_never_had_a_consumer(queues, fleeting):
    store(fleeting, b"1")
    peer = QueuePeer(fleeting, attach=False)
    peer.get()
    peer.release()

    assert queues.find("f") is fleeting


def test_what_was_published_to_a_queue_that_went_is_answered(queues, fleeting, wait_until):
    QueuePeer(fleeting).cancel()

    assert isinstance(publish(fleeting, b"1").get(timeout=5), UnknownTopicError)
