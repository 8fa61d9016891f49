"""Partitions: what is visible to whom, and the tail cache in front of storage."""

import gc

import pytest

from portask.batch import decode_records
from portask.errors import OffsetOutOfRangeError
from portask.partition import TailBatch


class CountingSubscription:
    """Counts how often it is woken."""

    def __init__(self):
        self.wakes = 0

    def wake(self):
        self.wakes += 1

    def arrived(self, number, base_offset, timestamp, records):
        assert (number, base_offset, records) == (0, 0, [b"x"])
        self.wakes += 1

    def close(self):
        """Nothing to save."""


@pytest.fixture
def partition(broker):
    return broker.create_topic("orders").partitions[0]


def payloads(partition, offset, max_bytes=1 << 20):
    return [record for run in partition.read_runs(offset, max_bytes) for record in run.records]


def test_a_new_partition_is_empty(partition):
    assert partition.read(0, 1000) == []
    assert partition.read_runs(0, 1000) == []


def test_a_cursor_reads_the_batch_that_holds_the_offset(broker, partition):
    broker.publish(partition, [b"a", b"b", b"c"], 3)

    (batch,) = partition.read(1, 1000)

    assert batch.base_offset == 0
    assert decode_records(batch) == [b"a", b"b", b"c"]


def test_a_run_begins_at_the_offset_asked_for(broker, partition):
    broker.publish(partition, [b"a", b"b", b"c"], 3)
    broker.publish(partition, [b"d"], 1)

    assert [run.base_offset for run in partition.read_runs(1, 10_000)] == [1, 3]
    assert payloads(partition, 1) == [b"b", b"c", b"d"]


@pytest.mark.parametrize("offset", [-1, 4])
def test_an_offset_outside_the_log_is_refused(broker, partition, offset):
    broker.publish(partition, [b"a", b"b", b"c"], 3)

    with pytest.raises(OffsetOutOfRangeError, match=f"offset {offset} is outside 0 to 3"):
        partition.read(offset, 1000)


def test_what_left_the_tail_cache_is_read_from_storage(make_broker):
    broker = make_broker("--tail-cache-bytes", "2000")
    partition = broker.create_topic("orders").partitions[0]
    for number in range(1000):
        broker.publish(partition, [b"%d" % number], 3)

    seen = []
    while len(seen) < 1000:
        seen += payloads(partition, len(seen), 500)

    assert seen == [b"%d" % number for number in range(1000)]
    assert next(decode_records(batch) for batch in partition.read(3, 60)) == [b"3"]


def test_what_left_the_tail_cache_takes_no_memory(make_broker):
    broker = make_broker("--tail-cache-bytes", "2000")
    partition = broker.create_topic("orders").partitions[0]
    for number in range(100):
        broker.publish(partition, [b"%d" % number], 3)

    kept = [kept for kept in gc.get_objects() if type(kept) is TailBatch and kept.partition is partition]

    assert sum(batch.size_bytes for batch in kept) <= 2000


def test_the_tail_is_found_from_any_offset(broker, partition):
    for number in range(50):
        broker.publish(partition, [b"%d" % (2 * number), b"%d" % (2 * number + 1)], 3)

    for offset in range(100):
        assert payloads(partition, offset)[0] == b"%d" % offset
        assert partition.read(offset, 1)[0].base_offset == offset - offset % 2


def test_a_read_gives_one_batch_at_least_and_not_much_more_than_asked(broker, partition):
    for _ in range(10):
        broker.publish(partition, [b"x" * 100], 100)

    assert len(partition.read(0, 1)) == 1
    assert len(partition.read_runs(0, 1)) == 1
    assert 1 < len(partition.read(0, 350)) < 10


@pytest.fixture
def notified(partition):
    """A function that waits for what comes after an offset, and the list of those that were told."""
    told = []

    def notify(offset):
        def call():
            told.append(offset)

        partition.notify(offset, call)
        return call

    notify.told = told
    return notify


def test_a_reader_at_the_end_is_told_of_the_next_message_once(broker, partition, notified):
    notified(0)
    assert notified.told == []

    broker.publish(partition, [b"x"], 1)
    broker.publish(partition, [b"y"], 1)

    assert notified.told == [0]


def test_a_reader_of_what_is_there_is_told_at_once(broker, partition, notified):
    broker.publish(partition, [b"x"], 1)

    notified(0)

    assert notified.told == [0]


def test_a_reader_that_gives_up_is_not_told(broker, partition, notified):
    partition.forget(notified(0))

    broker.publish(partition, [b"x"], 1)

    assert notified.told == []


def test_a_reader_beyond_the_new_end_goes_on_waiting(broker, partition, notified):
    notified(1)
    broker.publish(partition, [b"x"], 1)
    assert notified.told == []

    broker.publish(partition, [b"y"], 1)

    assert notified.told == [1]


def test_a_deleted_topic_wakes_its_readers(broker, partition, notified):
    notified(0)

    broker.delete_topic("orders")

    assert notified.told == [0]


def test_a_reader_that_comes_after_the_topic_was_deleted_does_not_wait(broker, partition):
    broker.delete_topic("orders")
    calls = []

    partition.notify(0, lambda: calls.append("woken"))

    assert calls == ["woken"]


def test_subscriptions_are_woken_by_appends_and_trims(broker, partition):
    subscription = CountingSubscription()
    partition.subscriptions.append(subscription)
    broker.publish(partition, [b"x"], 1)
    appended = subscription.wakes
    partition.trimmed(1)

    assert appended == 1
    assert subscription.wakes == 2
    assert partition.log_start_offset == 1


def test_time_is_looked_up_in_milliseconds(broker, partition, clock):
    for _ in range(3):
        broker.publish(partition, [b"x"], 1)
        clock.advance(1)

    assert partition.find_time(clock.now_ms() - 2000) == 1
    assert partition.find_time(clock.now_ms()) == 3
