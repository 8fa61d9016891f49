"""Where in a partition a time is, against a look at every record."""

import random

import pytest

from portask.retention import trim
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage
from portask.time_search import POOL_BYTES, READ_BYTES, find_newest, find_record


def publish(broker, partition, *timestamps, size=5):
    broker.publish(partition, [(b"v" * size, None, None, timestamp) for timestamp in timestamps], 1000)


@pytest.fixture
def partition(broker):
    return broker.create_topic("t").partition(0)


def test_an_empty_log_has_no_times(partition):
    assert find_record(partition, 0) is None
    assert find_newest(partition) is None


def test_the_first_record_as_new_as_the_time_is_found(broker, partition):
    publish(broker, partition, 10, 30, 20, 40)

    assert [find_record(partition, time) for time in (0, 10, 11, 31, 41)] == [(10, 0), (10, 0), (30, 1), (40, 3), None]


def test_the_first_of_the_newest_records_is_found(broker, partition):
    publish(broker, partition, 10, 30, 20)
    publish(broker, partition, 30, 5)

    assert find_newest(partition) == (30, 1)


def test_a_time_of_0_and_none_at_all_are_times(broker, partition):
    publish(broker, partition, 0, 0)

    assert (find_newest(partition), find_record(partition, 0)) == ((0, 0), (0, 0))


def test_the_newest_time_that_there_can_be_is_found(broker, partition):
    newest = (1 << 63) - 1
    publish(broker, partition, 1, newest)

    assert find_newest(partition) == find_record(partition, newest) == (newest, 1)


def test_records_without_a_time_have_that_of_their_arrival(broker, partition, clock):
    broker.publish(partition, [b"one", b"two"], 6)
    now = clock.now_ms()

    assert (find_newest(partition), find_record(partition, now)) == ((now, 0), (now, 0))
    assert find_record(partition, now + 1) is None


def test_records_that_were_trimmed_have_no_times(broker, partition):
    publish(broker, partition, 30, 10, 20)
    partition.trimmed(1)

    assert find_record(partition, 5) == (10, 1)
    assert find_record(partition, 11) == (20, 2)


def test_large_batches_are_searched_too(broker, partition):
    publish(broker, partition, *range(100), size=POOL_BYTES // 10)

    assert find_record(partition, 57) == (57, 57)


def test_a_search_goes_on_behind_what_is_read_at_once(broker, partition):
    for time in range(5):
        broker.publish(partition, [(random.Random(time).randbytes(READ_BYTES), None, None, 10 - time)], READ_BYTES)
    publish(broker, partition, 50)

    assert find_record(partition, 50) == find_newest(partition) == (50, 5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_random_logs_are_searched_as_a_look_at_every_record_would(make_broker, tmp_path, kind, seed):
    storage = MemoryStorage() if kind == "memory" else LocalStorage(LocalOptions(directory=str(tmp_path / "data")))
    broker = make_broker(storage=storage)
    partition = broker.create_topic("t").partition(0)
    numbers = random.Random(seed)
    times = [numbers.randrange(1000) for _ in range(300)]
    for start in range(0, len(times), 7):
        publish(broker, partition, *times[start : start + 7])
    newest = max(times)
    for time in [0, newest, newest + 1, *numbers.choices(range(1100), k=50)]:
        first = next(((one, offset) for offset, one in enumerate(times) if one >= time), None)
        assert find_record(partition, time) == first, (seed, time)

    assert find_newest(partition) == (newest, times.index(newest))


def test_a_batch_whose_newest_record_was_trimmed_is_passed_over(broker, partition):
    publish(broker, partition, 90, 10)
    publish(broker, partition, 50)
    partition.trimmed(1)

    assert find_record(partition, 40) == (50, 2)
    assert find_record(partition, 60) is None


def test_the_newest_of_what_is_left_of_a_batch_is_found(broker, partition):
    publish(broker, partition, 50, 10, 30)
    trim(broker.bus, {partition: 1})

    assert find_newest(partition) == (30, 2)
