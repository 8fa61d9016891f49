"""The catalog: topics come, change, go, and come back after a restart."""

import re

import gevent
import pytest
from gevent.event import Event

from portask.errors import (
    CorruptError,
    InvalidPartitionsError,
    InvalidTopicError,
    StorageFullError,
    SubscriptionInUseError,
    TopicExistsError,
    UnknownSubscriptionError,
    UnknownTopicError,
)
from portask.storage.base import Round
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage
from portask.subscriptions.subscription import Consumer, Start


class HesitantStorage(MemoryStorage):
    """Memory that refuses writes while told to."""

    refuses = False

    def write(self, round_):
        if self.refuses:
            raise StorageFullError("no space left")
        super().write(round_)


@pytest.fixture
def reopen(make_broker, tmp_path):
    """A function that stops the broker, if there is one, and starts one on the same directory."""
    running = []

    def start():
        if running:
            running.pop().stop(5)
        running.append(make_broker(storage=LocalStorage(LocalOptions(directory=str(tmp_path / "data")))))
        return running[0]

    return start


def test_a_topic_has_the_partitions_and_settings_asked_for(broker):
    topic = broker.create_topic("orders", 3, {"retention_ms": "1000"})

    assert [partition.number for partition in topic.partitions] == [0, 1, 2]
    assert broker.topic("orders") is topic
    assert broker.topics() == [topic]


def test_a_name_is_given_once(broker):
    broker.create_topic("orders")

    with pytest.raises(TopicExistsError):
        broker.create_topic("orders")


def test_of_two_who_create_at_once_one_wins(broker):
    creators = [gevent.spawn(broker.create_topic, "orders") for _ in range(2)]
    gevent.joinall(creators, timeout=5)

    assert sorted(creator.successful() for creator in creators) == [False, True]


def test_all_who_publish_first_get_the_same_topic(broker):
    finders = [gevent.spawn(broker.topic, "orders", create=True) for _ in range(10)]
    gevent.joinall(finders, timeout=5)

    assert len({finder.value.id for finder in finders}) == 1


def test_a_topic_is_made_on_the_fly_only_where_that_is_allowed(make_broker):
    broker = make_broker("--auto-create-topics=false")

    with pytest.raises(UnknownTopicError, match="create it first"):
        broker.topic("orders", create=True)


@pytest.mark.parametrize(("name", "partitions"), [("a b", 1), ("orders", 0), ("orders", 100_001)])
def test_what_no_topic_can_be_is_refused(broker, name, partitions):
    with pytest.raises(InvalidTopicError):
        broker.create_topic(name, partitions)


def test_an_unknown_topic_is_told_from_an_impossible_one(broker):
    with pytest.raises(UnknownTopicError):
        broker.topic("orders")
    with pytest.raises(InvalidTopicError):
        broker.topic("a b")


def test_topics_come_back_after_a_restart(reopen):
    broker = reopen()
    broker.create_topic("orders", 2, {"retention_ms": "1000"})
    broker.publish(broker.topic("orders").partition(1), [b"x"], 1)
    broker.alter_topic("orders", {"zstd_level": "7"})

    topic = reopen().topic("orders")

    assert len(topic.partitions) == 2
    assert topic.config.items() == {"retention_ms": "1000", "zstd_level": "7"}
    assert [partition.high_watermark for partition in topic.partitions] == [0, 1]


def test_a_deleted_topic_stays_deleted_and_its_log_is_never_used_again(reopen):
    broker = reopen()
    old = broker.create_topic("orders").partitions[0]
    broker.publish(old, [b"x"], 1)
    broker.delete_topic("orders")

    broker = reopen()

    assert broker.topics() == []
    new = broker.create_topic("orders").partitions[0]
    assert new.log > old.log
    assert new.high_watermark == 0


def test_a_deletion_that_storage_refuses_changes_nothing(make_broker):
    storage = HesitantStorage()
    broker = make_broker(storage=storage)
    partition = broker.create_topic("orders").partitions[0]
    storage.refuses = True
    with pytest.raises(StorageFullError):
        broker.delete_topic("orders")
    with pytest.raises(StorageFullError):
        broker.alter_topic("orders", {"zstd_level": "7"})

    storage.refuses = False

    assert broker.publish(partition, [b"x"], 1) == 0
    assert broker.topic("orders").config.items() == {}


def test_a_broken_row_stops_the_start(make_broker):
    storage = MemoryStorage()
    storage.open()
    round_ = Round()
    round_.puts["topics", b"0" * 16] = b"rubbish"
    storage.write(round_)

    with pytest.raises(CorruptError):
        make_broker(storage=storage)


def consumer(received, prefetch=0):
    return Consumer(received.extend, prefetch, lambda error: None)


def payloads(deliveries):
    return [record for delivery in deliveries for record in delivery.records]


def test_a_subscription_goes_on_after_a_restart(reopen, wait_until):
    broker = reopen()
    topic = broker.create_topic("orders")
    broker.publish(topic.partitions[0], [b"a", b"b", b"c"], 3)
    subscription = broker.subscribe(topic, "group")
    received = []
    reader = consumer(received)
    subscription.attach(reader)
    wait_until(lambda: len(payloads(received)) == 3)
    settled = []
    subscription.ack(reader, 0, 0, 1, settled.append)
    wait_until(lambda: settled)
    subscription.detach(reader)

    topic = reopen().topic("orders")
    again = []
    topic.subscriptions["group"].attach(consumer(again))
    wait_until(lambda: again)

    assert payloads(again) == [b"c"]
    assert again[0].base_offset == 2
    assert again[0].redeliveries > 0


def test_a_subscription_is_one_for_all_who_ask(broker):
    topic = broker.create_topic("orders")
    askers = [gevent.spawn(broker.subscribe, topic, "group", Start.FIRST) for _ in range(5)]
    gevent.joinall(askers, timeout=5)

    assert len({id(asker.value) for asker in askers}) == 1
    assert len(topic.partitions[0].subscriptions) == 1


def test_a_subscription_with_consumers_is_not_deleted(broker):
    topic = broker.create_topic("orders")
    subscription = broker.subscribe(topic, "group")
    reader = consumer([])
    subscription.attach(reader)
    with pytest.raises(SubscriptionInUseError, match="1 consumers"):
        broker.unsubscribe(topic, "group")

    subscription.detach(reader)
    broker.unsubscribe(topic, "group")

    assert topic.subscriptions == {}
    assert topic.partitions[0].subscriptions == []
    with pytest.raises(UnknownSubscriptionError):
        broker.unsubscribe(topic, "group")


def test_a_deleted_subscription_begins_anew(reopen):
    broker = reopen()
    topic = broker.create_topic("orders")
    broker.subscribe(topic, "group")
    broker.unsubscribe(topic, "group")

    assert reopen().topic("orders").subscriptions == {}


def test_consumers_of_a_deleted_topic_are_told(broker, wait_until):
    topic = broker.create_topic("orders")
    told = []
    broker.subscribe(topic, "group").attach(Consumer(lambda deliveries: None, 0, told.append))

    broker.delete_topic("orders")
    wait_until(lambda: told)

    assert isinstance(told[0], UnknownTopicError)
    assert broker.storage.load("subscriptions") == broker.storage.load("settled") == {}


def test_a_subscription_of_a_topic_that_is_being_deleted_leaves_nothing_behind(reopen):
    broker = reopen()
    topic = broker.create_topic("orders")
    subscribing = [gevent.spawn(broker.subscribe, topic, f"group{number}") for number in range(3)]
    gevent.sleep(0)
    deleting = gevent.spawn(broker.delete_topic, "orders")
    late = gevent.spawn(broker.subscribe, topic, "late")
    gevent.joinall([*subscribing, deleting, late], timeout=5)

    assert deleting.successful()
    assert isinstance(late.exception, UnknownTopicError)
    assert broker.storage.load("subscriptions") == {}
    assert reopen().topics() == []


def test_a_deletion_that_ends_after_the_bus_was_closed_is_told_to_all_consumers(make_broker, wait_until):
    class GatedStorage(MemoryStorage):
        gate = Event()

        def sync(self):
            self.gate.wait()

    storage = GatedStorage()
    storage.gate.set()
    broker = make_broker(storage=storage)
    topic = broker.create_topic("orders")
    told, delivered = [], []
    consumers = [Consumer(delivered.extend, 0, told.append) for _ in range(2)]
    groups = [broker.subscribe(topic, name) for name in ("a", "b")]
    for group, consumer in zip(groups, consumers, strict=True):
        group.attach(consumer)
    broker.publish(topic.partitions[0], [b"x"], 1)
    wait_until(lambda: len(delivered) == 2)
    storage.gate.clear()
    deleting = gevent.spawn(broker.delete_topic, "orders")
    wait_until(lambda: not storage.load("topics"))
    groups[0].ack(consumers[0], 0, 0, 0)
    wait_until(lambda: storage.load("settled"))

    broker.bus.close()
    storage.gate.set()
    deleting.get(timeout=5)

    assert [type(error) for error in told] == [UnknownTopicError] * 2


def test_a_topic_is_found_by_its_id_until_it_is_deleted(reopen):
    broker = reopen()
    topic = broker.create_topic("orders")
    assert broker.catalog.topic_by_id(topic.id) is topic

    broker = reopen()
    assert broker.catalog.topic_by_id(topic.id).name == "orders"

    broker.delete_topic("orders")
    with pytest.raises(UnknownTopicError, match=topic.id):
        broker.catalog.topic_by_id(topic.id)


def test_a_topic_gets_more_partitions_and_keeps_them(reopen):
    broker = reopen()
    topic = broker.create_topic("orders", 2)
    before = list(topic.partitions)
    broker.add_partitions("orders", 4)

    assert topic.partitions[:2] == before
    assert [partition.number for partition in topic.partitions] == [0, 1, 2, 3]
    assert len({partition.log for partition in topic.partitions}) == 4
    broker.publish(topic.partition(3), [b"x"], 1)
    later = reopen().topic("orders")
    assert [partition.log for partition in later.partitions] == [partition.log for partition in topic.partitions]
    assert later.partition(3).high_watermark == 1


@pytest.mark.parametrize("total", [-1, 0, 1, 2, 100_001])
def test_a_topic_never_gets_fewer_partitions_or_too_many(broker, total):
    broker.create_topic("orders", 2)

    with pytest.raises(InvalidPartitionsError, match="has 2 partitions"):
        broker.add_partitions("orders", total)


def test_partitions_that_storage_refuses_are_not_there(make_broker):
    storage = HesitantStorage()
    broker = make_broker(storage=storage)
    topic = broker.create_topic("orders")
    storage.refuses = True
    with pytest.raises(StorageFullError):
        broker.add_partitions("orders", 2)

    storage.refuses = False

    assert len(topic.partitions) == 1
    broker.add_partitions("orders", 3)
    assert len(topic.partitions) == 3


def test_consumers_get_what_comes_to_a_partition_that_was_added(broker, wait_until):
    topic = broker.create_topic("orders")
    received = []
    broker.subscribe(topic, "group", Start.NEXT).attach(consumer(received))

    broker.add_partitions("orders", 2)
    broker.publish(topic.partition(1), [b"a", b"b"], 2)

    wait_until(lambda: payloads(received) == [b"a", b"b"])


def test_what_was_settled_in_an_added_partition_stays_settled(reopen, wait_until):
    broker = reopen()
    topic = broker.create_topic("orders")
    subscription = broker.subscribe(topic, "group")
    broker.add_partitions("orders", 2)
    received, settled = [], []
    reader = consumer(received)
    subscription.attach(reader)
    broker.publish(topic.partition(1), [b"a", b"b"], 2)
    wait_until(lambda: len(payloads(received)) == 2)
    subscription.ack(reader, 1, 0, 0, settled.append)
    wait_until(lambda: settled)

    again = []
    reopen().topic("orders").subscriptions["group"].attach(consumer(again))
    wait_until(lambda: again)

    assert payloads(again) == [b"b"]


def test_a_check_raises_what_creating_would(broker):
    broker.create_topic("orders")
    catalog = broker.catalog

    with pytest.raises(TopicExistsError):
        catalog.check("orders", 1, {})
    with pytest.raises(InvalidPartitionsError):
        catalog.check("new", 0, {})
    with pytest.raises(InvalidTopicError):
        catalog.check("new", 1, {"colour": "red"})
    assert catalog.check("new", None, {}) == 1
    assert broker.topics() == [broker.topic("orders")]


def test_what_else_belongs_to_a_topic_goes_with_it_in_the_same_round(broker):
    topic = broker.create_topic("orders")
    seen = []

    def forget(deleted, round_):
        seen.append((deleted, topic.partitions[0].log in round_.drops))

    broker.catalog.on_delete.append(forget)
    broker.delete_topic("orders")

    assert seen == [(topic, True)]


def test_the_cluster_is_named_once(reopen):
    name = reopen().catalog.cluster_id

    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", name)
    assert reopen().catalog.cluster_id == name
    assert reopen().info()["cluster_id"] == name


def test_two_clusters_have_two_names(make_broker):
    assert make_broker().catalog.cluster_id != make_broker().catalog.cluster_id
