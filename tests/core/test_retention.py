"""Retention: old and surplus messages go, nothing else does."""

import random

import pytest

from portask.errors import CorruptError, OffsetOutOfRangeError
from portask.retention import trim
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage


def fill(broker, topic, clock, count, size=1):
    for _ in range(count):
        broker.publish(topic.partitions[0], [b"x" * size], size)
        clock.advance(1)


def test_messages_older_than_retention_go(broker, clock):
    topic = broker.create_topic("orders", config={"retention_ms": "4500"})
    fill(broker, topic, clock, 10)

    assert broker.retention.apply() == 1

    assert topic.partitions[0].log_start_offset == 6
    with pytest.raises(OffsetOutOfRangeError, match="outside 6 to 10"):
        topic.partitions[0].read(5, 1000)
    assert topic.partitions[0].read(6, 1000)[0].base_offset == 6


def test_all_messages_go_when_all_are_old(broker, clock):
    topic = broker.create_topic("orders", config={"retention_ms": "1000"})
    fill(broker, topic, clock, 3)
    clock.advance(10)

    broker.retention.apply()

    assert topic.partitions[0].log_start_offset == 3
    assert broker.publish(topic.partitions[0], [b"x"], 1) == 3


def test_without_limit_everything_stays(broker, clock):
    topic = broker.create_topic("orders", config={"retention_ms": "-1", "retention_bytes": "-1"})
    fill(broker, topic, clock, 3)
    clock.advance(100 * 366 * 86400)

    assert broker.retention.apply() == 0


def test_a_second_look_finds_nothing_to_do(broker, clock):
    topic = broker.create_topic("orders", config={"retention_ms": "1500"})
    fill(broker, topic, clock, 3)
    broker.retention.apply()

    assert broker.retention.apply() == 0


def test_surplus_bytes_go_and_not_less_than_the_limit_stays(make_broker, clock, tmp_path, wait_until):
    storage = LocalStorage(
        LocalOptions(directory=str(tmp_path / "data"), journal_bytes=65536, segment_bytes=65536, sync="never")
    )
    broker = make_broker(storage=storage)
    topic = broker.create_topic("orders", config={"retention_bytes": "200000"})
    rng = random.Random(1)
    for _ in range(150):
        broker.publish(topic.partitions[0], [rng.randbytes(5000)], 5000)
    partition = topic.partitions[0]
    before = storage.bounds(partition.log).size_bytes
    wait_until(lambda: broker.retention.apply() == 1)

    after = storage.bounds(partition.log).size_bytes
    assert 200_000 <= after < before
    assert partition.log_start_offset > 0
    assert partition.read(partition.log_start_offset, 1)[0].base_offset <= partition.log_start_offset


def test_a_damaged_partition_does_not_keep_the_others_from_being_trimmed(make_broker, clock, caplog):
    storage = MemoryStorage()
    broker = make_broker(storage=storage)
    damaged, sound = (broker.create_topic(name, config={"retention_ms": "1000"}) for name in ("a", "b"))
    for topic in (damaged, sound):
        fill(broker, topic, clock, 2)
    clock.advance(10)
    find_time = storage.find_time

    def find_time_but_once(log, timestamp):
        if log == damaged.partitions[0].log:
            raise CorruptError("a segment is damaged")
        return find_time(log, timestamp)

    storage.find_time = find_time_but_once

    assert broker.retention.apply() == 1

    assert sound.partitions[0].log_start_offset == 2
    assert "a segment is damaged" in [record.error for record in caplog.records if hasattr(record, "error")]


def test_a_trim_is_kept_over_a_restart(make_broker, tmp_path):
    options = LocalOptions(directory=str(tmp_path / "data"))
    broker = make_broker(storage=LocalStorage(options))
    topic = broker.create_topic("orders")
    broker.publish(topic.partitions[0], [b"a", b"b"], 2)
    trim(broker.bus, {topic.partitions[0]: 1})
    broker.stop(5)

    partition = make_broker(storage=LocalStorage(options)).topic("orders").partitions[0]

    assert partition.log_start_offset == 1
    assert partition.read_runs(1, 100)[0].records == [b"b"]


def test_the_greenlet_applies_retention_by_itself(make_broker, clock, wait_until):
    broker = make_broker("--retention-interval-ms", "1000")
    broker.settings._values["retention_interval_ms"] = 1
    topic = broker.create_topic("orders", config={"retention_ms": "1000"})
    fill(broker, topic, clock, 2)
    clock.advance(10)
    broker.retention.stop()
    broker.retention._stopped.clear()
    broker.retention.start()

    wait_until(lambda: topic.partitions[0].log_start_offset == 2)
