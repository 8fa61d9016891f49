"""Queues are declared, compared, found, removed, and come back after a restart."""

import gevent
import pytest

from portask.errors import (
    AccessRefusedError,
    LockedQueueError,
    NotFoundError,
    PreconditionError,
    StorageFullError,
    SubscriptionInUseError,
    UnknownTopicError,
)
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


@pytest.fixture
def restart(make_broker, storage):
    """A function that gives the queues of a broker that starts on what is stored now."""

    def restart(virtual_host="/"):
        return make_broker(storage=storage).virtual_hosts.get(virtual_host).queues

    return restart


# -- declaring --------------------------------------------------------------------------------------


def test_declaring_again_finds_the_same_queue(queues):
    queue = queues.declare("q", durable=True, arguments={"x-message-ttl": 5})

    assert queues.declare("q", durable=True, arguments={"x-message-ttl": 5}) is queue
    assert queues.declare("q", passive=True) is queue
    assert queues.get("q") is queue


def test_passive_declaration_of_nothing_is_refused(queues):
    with pytest.raises(NotFoundError, match=r"^no queue 'q' in vhost '/'$"):
        queues.declare("q", passive=True)


def test_two_that_declare_at_once_get_the_same_queue(queues):
    greenlets = [gevent.spawn(queues.declare, "q", durable=True) for _ in range(3)]

    assert len({greenlet.get(timeout=5) for greenlet in greenlets}) == 1


def test_line_ends_are_taken_out_of_names(queues):
    assert queues.declare("a\r\nb").name == "ab"


def test_queue_without_a_name_gets_one(queues):
    one, other = queues.declare(""), queues.declare("")

    assert one.name.startswith("amq.gen-")
    assert one.name != other.name


def test_prefix_of_a_made_name_can_be_chosen(queues):
    assert queues.declare("", arguments={"x-name-prefix": "mine-"}).name.startswith("mine-")


@pytest.mark.parametrize("prefix", ["", "x" * 65, 5])
def test_prefix_that_cannot_be_is_not_taken(queues, prefix):
    assert queues.declare("", arguments={"x-name-prefix": prefix}).name.startswith("amq.gen-")


def test_reserved_names_cannot_be_declared(queues):
    with pytest.raises(AccessRefusedError, match=r"^queue name 'amq.x' contains reserved prefix 'amq\.\*'$"):
        queues.declare("amq.x")


def test_made_name_can_be_declared_again(queues):
    queue = queues.declare("", arguments={})

    assert queues.declare(queue.name) is queue


def test_durable_and_exclusive_is_not_durable(queues):
    owner = object()
    queue = queues.declare("q", durable=True, exclusive=True, owner=owner)

    assert not queue.durable
    assert queues.declare("q", durable=True, exclusive=True, owner=owner) is queue


@pytest.mark.parametrize(
    ("declared", "asked", "text"),
    [
        ({"durable": True}, {}, "inequivalent arg 'durable' for {}: received 'false' but current is 'true'"),
        ({}, {"auto_delete": True}, "inequivalent arg 'auto_delete' for {}: received 'true' but current is 'false'"),
        (
            {"arguments": {"x-message-ttl": 1}},
            {"arguments": {"x-message-ttl": 2}},
            "inequivalent arg 'x-message-ttl' for {}: received '2' but current is '1'",
        ),
        (
            {"arguments": {"x-dead-letter-exchange": "dx"}},
            {},
            (
                "inequivalent arg 'x-dead-letter-exchange' for {}:"
                " received none but current is the value 'dx' of type 'longstr'"
            ),
        ),
        (
            {},
            {"arguments": {"x-max-length": 5}},
            "inequivalent arg 'x-max-length' for {}: received the value '5' of type 'signedint' but current is none",
        ),
        (
            {"arguments": {"x-single-active-consumer": True}},
            {"arguments": {"x-single-active-consumer": False}},
            "inequivalent arg 'x-single-active-consumer' for {}: received 'false' but current is 'true'",
        ),
        (
            {"durable": True},
            {"durable": True, "arguments": {"x-queue-type": "quorum"}},
            "inequivalent arg 'x-queue-type' for {}: received the value 'quorum' of type 'longstr' but current is none",
        ),
    ],
)
def test_difference_is_told_in_the_words_that_clients_know(queues, declared, asked, text):
    queues.declare("q", **declared)
    with pytest.raises(PreconditionError) as raised:
        queues.declare("q", **asked)

    assert str(raised.value) == text.format("queue 'q' in vhost '/'")


@pytest.mark.parametrize(
    ("declared", "asked"),
    [({"x-queue-type": "classic"}, {}), ({}, {"x-queue-type": "classic"}), ({"x-else": 1}, {"x-else": 2})],
)
def test_arguments_that_mean_the_same_are_no_difference(queues, declared, asked):
    queue = queues.declare("q", arguments=declared)

    assert queues.declare("q", arguments=asked) is queue


LOCKED = (
    r"^cannot obtain exclusive access to locked queue 'q' in vhost '/'\. It could be originally declared on another"
    r" connection or the exclusive property value does not match that of the original declaration\.$"
)


@pytest.mark.parametrize(
    "use",
    [
        lambda queues, owner: queues.declare("q", exclusive=True, owner=owner),
        lambda queues, owner: queues.declare("q", passive=True, owner=owner),
        lambda queues, owner: queues.get("q", owner),
        lambda queues, owner: queues.delete(queues.find("q"), owner=owner),
        lambda queues, owner: queues.declare("q", owner=owner),
    ],
)
def test_exclusive_queue_is_locked_for_others(queues, use):
    queues.declare("q", exclusive=True, owner=object())
    with pytest.raises(LockedQueueError, match=LOCKED):
        use(queues, object())


def test_owner_must_keep_saying_that_it_is_exclusive(queues):
    owner = object()
    queues.declare("q", exclusive=True, owner=owner)

    with pytest.raises(LockedQueueError, match=LOCKED):
        queues.declare("q", owner=owner)


def test_shared_queue_cannot_be_declared_exclusive(queues):
    queues.declare("q")

    with pytest.raises(LockedQueueError, match=LOCKED):
        queues.declare("q", exclusive=True, owner=object())


@pytest.mark.parametrize("queue_type", ["quorum", "stream"])
@pytest.mark.parametrize(
    ("properties", "what"),
    [
        ({}, "non-durable"),
        ({"durable": True, "exclusive": True}, "exclusive-owner"),
        ({"durable": True, "auto_delete": True}, "auto-delete"),
    ],
)
def test_quorum_queues_and_streams_are_durable_and_shared(queues, queue_type, properties, what):
    with pytest.raises(PreconditionError, match=f"^invalid property '{what}' for queue 'q' in vhost '/'$"):
        queues.declare("q", arguments={"x-queue-type": queue_type}, owner=object(), **properties)


def test_quorum_queue_must_have_a_name(queues):
    text = "^Cannot declare a server-named queue for type rabbit_quorum_queue$"
    with pytest.raises(PreconditionError, match=text):
        queues.declare("", durable=True, arguments={"x-queue-type": "quorum"})


def test_declaration_that_storage_refuses_leaves_nothing(queues, storage):
    storage.refuses = True
    with pytest.raises(StorageFullError):
        queues.declare("q", durable=True)
    storage.refuses = False
    assert queues.find("q") is None

    queues.declare("q", durable=True)


# -- removing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
def test_deletion_tells_how_many_messages_were_ready(queues, durable):
    queue = queues.declare("q", durable=durable)
    publish(queue, b"1", b"2", b"3")
    QueuePeer(queue, attach=False).get()

    assert queues.delete(queue) == 2
    assert queues.find("q") is None


def test_queue_in_use_is_kept_if_that_is_wanted(queues):
    queue = queues.declare("q")
    peer = QueuePeer(queue)
    with pytest.raises(PreconditionError, match=r"^queue 'q' in vhost '/' in use$"):
        queues.delete(queue, if_unused=True)
    peer.cancel()

    queues.delete(queue, if_unused=True)


def test_queue_with_messages_is_kept_if_that_is_wanted(queues):
    queue = queues.declare("q", durable=True)
    publish(queue, b"1")
    with pytest.raises(PreconditionError, match=r"^queue 'q' in vhost '/' not empty$"):
        queues.delete(queue, if_empty=True)
    queue.purge()

    queues.delete(queue, if_empty=True)


def test_deletion_that_storage_refuses_leaves_the_queue_as_it_was(queues, storage, wait_until):
    queue = queues.declare("q", durable=True)
    storage.refuses = True
    with pytest.raises(StorageFullError):
        queues.delete(queue)
    storage.refuses = False
    assert queues.find("q") is queue

    peer = QueuePeer(queue)
    store(queue, b"1")
    wait_until(lambda: peer.got == [b"1"])


def test_deletion_that_storage_refuses_leaves_ready_what_a_consumer_gave_back_meanwhile(queues, storage, wait_until):
    queue = queues.declare("q", durable=True)
    store(queue, b"1")
    peer = QueuePeer(queue)
    wait_until(lambda: peer.got)
    storage.refuses = True
    deleting = gevent.spawn(queues.delete, queue)
    gevent.sleep(0)
    assert queue.closed
    peer.release()
    with pytest.raises(StorageFullError):
        deleting.get(timeout=5)
    storage.refuses = False

    assert (queue.ready, queue.unacked) == (1, 0)


def test_queue_that_is_deleted_while_its_last_consumer_goes_is_gone_once(queues, storage):
    queue = queues.declare("q", durable=True, auto_delete=True)
    peer = QueuePeer(queue)
    storage.synced.clear()
    publish(queue, b"1")
    deleting = gevent.spawn(queues.delete, queue)
    idle()
    peer.release()
    idle()
    storage.synced.set()

    assert deleting.get(timeout=5) == 0
    assert queues.find("q") is None
    queues.virtual_host.bind("amq.fanout", "queue", queues.declare("q", durable=True).name, "")


def test_deletion_takes_every_row_along(broker, queues, storage):
    virtual_host = broker.virtual_hosts.get("/")
    virtual_host.declare_exchange("x", "fanout", durable=True)
    tables = ("queues", "topics", "subscriptions", "settled", "bindings")
    before = {table: storage.load(table) for table in tables}
    queue = queues.declare("q", durable=True, arguments={"x-max-priority": 3})
    virtual_host.bind("x", "queue", "q", "k")
    store(queue, b"1", priority=2)
    queues.delete(queue)

    assert {table: storage.load(table) for table in tables} == before


def test_queue_and_its_bindings_go_in_one_round(broker, queues, storage):
    virtual_host = broker.virtual_hosts.get("/")
    virtual_host.declare_exchange("x", "fanout", durable=True)
    queue = queues.declare("q", durable=True)
    virtual_host.bind("x", "queue", "q", "k")
    rounds = []
    write = storage.write
    storage.write = lambda round_: (rounds.append(round_), write(round_))
    queues.delete(queue)

    gone = [{table for (table, _), value in round_.puts.items() if value is None} for round_ in rounds]
    assert any(tables >= {"queues", "topics", "subscriptions", "settled", "bindings"} for tables in gone)


def test_name_can_be_declared_again_at_once(queues):
    queue = queues.declare("q", durable=True)
    store(queue, b"1")
    queues.delete(queue)

    again = queues.declare("q", durable=True, auto_delete=True)
    assert again is not queue
    assert again.ready == 0


def test_who_declares_what_is_on_its_way_out_waits_until_it_is_gone(queues):
    queue = queues.declare("q", durable=True)
    queues.delete_later(queue)
    assert queues.find("q") is None

    assert queues.declare("q", durable=True) is not queue


def test_queues_of_a_connection_go_with_it(queues):
    owner = object()
    queues.declare("a", exclusive=True, owner=owner)
    queues.declare("b", exclusive=True, owner=object())
    queues.declare("c")
    queues.release(owner)

    assert [queue.name for queue in queues] == ["b", "c"]


# -- queues and topics ------------------------------------------------------------------------------


def test_durable_queue_is_a_topic_of_its_name(broker, queues):
    queue = queues.declare("orders", durable=True)

    assert broker.topic("orders") is queue.topic
    assert queue.topic.config.items() == {"retention_ms": "-1", "retention_bytes": "-1", "cleanup_policy": ""}
    assert list(queue.topic.subscriptions) == ["default"]


@pytest.mark.parametrize("name", ["a b", "ümlaut", "x" * 250, "\udcff"])
def test_queue_whose_name_no_topic_can_have_is_hidden(broker, queues, name):
    queue = queues.declare(name, durable=True)
    store(queue, b"1")

    assert broker.topics() == []
    assert queue.ready == 1
    with pytest.raises(UnknownTopicError):
        broker.catalog.topic_by_id(queue.topic.id)


def test_queue_of_another_virtual_host_is_hidden(broker):
    queues = broker.virtual_hosts.create("other").queues
    queues.declare("orders", durable=True)
    broker.create_topic("orders")

    assert [topic.name for topic in broker.topics()] == ["orders"]
    assert broker.topic("orders").queue is None


def test_volatile_queue_is_no_topic(broker, queues):
    queues.declare("orders")

    assert broker.topics() == []


def test_queue_attaches_to_a_topic_that_is_there(broker, queues, wait_until):
    topic = broker.create_topic("orders", 3)
    for partition in topic.partitions:
        broker.publish(partition, [b"%d" % partition.number], 1)
    queue = queues.declare("orders", durable=True)
    peer = QueuePeer(queue)
    wait_until(lambda: sorted(peer.got) == [b"0", b"1", b"2"])
    peer.ack(*peer.got)
    queue.flush()
    queue.subscription.save()

    assert queue.ready == 0
    assert [partition.log_start_offset for partition in topic.partitions] == [0, 0, 0]


def test_publishing_to_an_attached_queue_goes_by_key(broker, queues):
    topic = broker.create_topic("orders", 3)
    queue = queues.declare("orders", durable=True)
    store(queue, *(b"%d" % number for number in range(6)), key=b"a")

    assert sorted(partition.written_offset for partition in topic.partitions) == [0, 0, 6]


def test_the_name_of_an_attached_queue_is_no_key(broker, queues):
    topic = broker.create_topic("orders", 3)
    queue = queues.declare("orders", durable=True)
    store(queue, *(b"%d" % number for number in range(6)), key=b"orders")

    assert [partition.written_offset for partition in topic.partitions] == [2, 2, 2]


def test_deleting_an_attached_queue_leaves_the_topic(broker, queues):
    topic = broker.create_topic("orders", 2)
    broker.publish(topic.partitions[0], [b"1"], 1)
    queues.delete(queues.declare("orders", durable=True))

    assert broker.topic("orders") is topic
    assert topic.subscriptions == {}
    assert topic.partitions[0].read(0, 1000)
    assert queues.declare("orders", durable=True).ready == 1


@pytest.mark.parametrize("is_attached", [True, False])
def test_topic_that_is_deleted_takes_its_queue_along(broker, queues, storage, is_attached):
    if is_attached:
        broker.create_topic("orders")
    queue = queues.declare("orders", durable=True)
    peer = QueuePeer(queue)
    broker.delete_topic("orders")

    assert queues.find("orders") is None
    assert len(peer.cancelled) == 1
    assert storage.load("queues") == {}
    assert isinstance(publish(queue, b"1").get(timeout=5), UnknownTopicError)


def test_subscription_of_a_queue_cannot_be_deleted_alone(broker, queues):
    queue = queues.declare("orders", durable=True)
    with pytest.raises(SubscriptionInUseError):
        broker.unsubscribe(queue.topic, "default")

    assert queues.find("orders") is queue


def test_partitions_that_are_added_to_a_queue_are_consumed_and_trimmed_too(broker, queues, wait_until):
    queue = queues.declare("orders", durable=True)
    broker.add_partitions("orders", 2)
    store(queue, *(b"%d" % number for number in range(4)), key=b"orders")
    peer = QueuePeer(queue)
    wait_until(lambda: len(peer.got) == 4)
    peer.ack(*peer.got)

    wait_until(lambda: [one.log_start_offset for one in queue.topic.partitions] == [2, 2])


# -- restart ----------------------------------------------------------------------------------------


def test_queue_comes_back_with_its_messages(queues, restart):
    arguments = {"x-message-ttl": 100_000, "x-list": [1, "two", {"three": 3}], "x-void": None}
    queue = queues.declare("q", durable=True, auto_delete=True, arguments=arguments)
    store(queue, b"1", b"2")
    again = restart().get("q")

    assert (again.durable, again.auto_delete, again.arguments) == (True, True, arguments)
    assert again.settings == queue.settings
    assert again.ready == 2


def test_volatile_queues_do_not_come_back(queues, restart):
    queues.declare("q")

    assert list(restart()) == []


@pytest.mark.parametrize("name", ["orders", "a b", "\udcff"])
def test_names_of_any_kind_come_back(queues, restart, name):
    queues.declare(name, durable=True)

    assert [queue.name for queue in restart()] == [name]


def test_hidden_queue_comes_back_hidden(broker, make_broker, storage):
    broker.virtual_hosts.create("other").queues.declare("orders", durable=True)
    again = make_broker(storage=storage)

    assert again.topics() == []
    assert again.virtual_hosts.get("other").queues.get("orders").topic.is_hidden


def test_what_was_acked_does_not_come_back(queues, restart, wait_until):
    queue = queues.declare("q", durable=True)
    store(queue, *(b"%d" % number for number in range(5)))
    peer = QueuePeer(queue)
    wait_until(lambda: len(peer.got) == 5)
    peer.ack(b"1", b"3")
    queue.subscription.save()
    again = QueuePeer(restart().get("q"), attach=False)
    while again.get():
        pass

    assert again.got == [b"0", b"2", b"4"]
    assert all(again.flags.values())


def test_failures_come_back(queues, restart):
    queue = queues.declare("q", durable=True)
    store(queue, b"1", b"2")
    peer = QueuePeer(queue, attach=False)
    peer.get()
    peer.requeue(b"1", counted=True)
    peer.get()
    peer.requeue(b"1", counted=True)
    queue.subscription.save()
    again = QueuePeer(restart().get("q"), attach=False)
    again.get()

    assert again.failures == {b"1": 2}


def test_attached_queue_comes_back_attached(broker, queues, restart, wait_until):
    broker.create_topic("orders", 2)
    queues.declare("orders", durable=True)
    queue = restart().get("orders")
    store(queue, b"1", b"2", key=b"orders")
    peer = QueuePeer(queue)
    wait_until(lambda: len(peer.got) == 2)
    peer.ack(b"1", b"2")
    queue.subscription.save()
    idle()

    assert queue.is_attached
    assert [partition.log_start_offset for partition in queue.topic.partitions] == [0, 0]


def test_priorities_come_back(queues, restart):
    queue = queues.declare("q", durable=True, arguments={"x-max-priority": 2})
    for priority in (0, 2, 1):
        store(queue, b"%d" % priority, priority=priority)
    peer = QueuePeer(restart().get("q"), attach=False)
    while peer.get():
        pass

    assert peer.got == [b"2", b"1", b"0"]


def test_deleted_queue_does_not_come_back(queues, restart):
    queues.delete(queues.declare("q", durable=True))

    assert list(restart()) == []


def test_purged_messages_do_not_come_back(queues, restart):
    queue = queues.declare("q", durable=True)
    store(queue, b"1", b"2")
    queue.purge()

    assert restart().get("q").ready == 0
