"""Compaction: the newest record of each key stays where it was, and the rest goes."""

import pytest

from portask import cleaning
from portask.cleaning_progress import TABLE, Progress
from portask.errors import CorruptError, StorageError
from portask.key_table import KeyTable
from portask.message import encode_cbor, to_message
from portask.partition import cut_runs
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage

DAY_S = 86400
CONFIG = {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": "0"}


@pytest.fixture
def topic(broker):
    return broker.create_topic("orders", config=CONFIG)


def put(broker, topic, *pairs):
    """Publish (key, value) pairs, all at once."""
    records = [[value, key.encode()] if key else [value] for key, value in pairs]
    return broker.publish(topic.partitions[0], records, 1)


def stored(broker, topic):
    """(offset, key, value) of all that storage holds."""
    partition = topic.partitions[0]
    found = []
    for frame in broker.storage.read(partition.log, 0, 1 << 30):
        for run in cut_runs(cleaning.decode_batch(frame), 0):
            for offset, record in enumerate(run.records, run.base_offset):
                message = to_message(record)
                found.append((offset, message.key and message.key.decode(), message.payload))
    return found


def test_the_newest_record_of_each_key_stays_at_its_offset(broker, topic):
    put(broker, topic, ("a", b"1"), ("b", b"2"), ("a", b"3"))
    put(broker, topic, ("c", b"4"), ("a", b"5"), ("d", b"6"))

    assert broker.compaction.apply() == 1

    assert stored(broker, topic) == [(1, "b", b"2"), (3, "c", b"4"), (4, "a", b"5"), (5, "d", b"6")]
    assert broker.compaction.removed_records == 2
    assert (topic.partitions[0].log_start_offset, topic.partitions[0].high_watermark) == (0, 6)


def test_readers_no_longer_find_in_the_cache_what_compaction_took(broker, topic):
    put(broker, topic, ("a", b"1"), ("b", b"2"))
    put(broker, topic, ("a", b"3"))
    partition = topic.partitions[0]
    broker.compaction.apply()
    put(broker, topic, ("b", b"4"))

    assert [run.base_offset for run in partition.read_runs(0, 1000)] == [1, 2, 3]
    assert [batch.base_offset for batch in partition.read(0, 1000)] == [0, 2, 3]
    assert partition.read_runs(3, 1000)[0].records == [[b"4", b"b"]]


def test_what_was_cleaned_before_gives_way_to_what_is_new(broker, topic):
    put(broker, topic, ("a", b"1"), ("b", b"2"))
    broker.compaction.apply()
    put(broker, topic, ("a", b"3"))
    broker.compaction.apply()

    assert stored(broker, topic) == [(1, "b", b"2"), (2, "a", b"3")]


def test_a_partition_without_anything_new_is_left_alone(broker, topic):
    put(broker, topic, ("a", b"1"), ("a", b"2"))
    broker.compaction.apply()

    assert broker.compaction.apply() == 0


def test_other_topics_are_left_alone(broker):
    topic = broker.create_topic("orders")
    put(broker, topic, ("a", b"1"), ("a", b"2"))

    assert broker.compaction.apply() == 0
    assert len(stored(broker, topic)) == 2


def test_records_without_a_key_stay(broker, topic):
    put(broker, topic, (None, b"1"), ("a", b"2"), (None, None), ("a", b"3"))
    broker.compaction.apply()

    assert stored(broker, topic) == [(0, None, b"1"), (2, None, None), (3, "a", b"3")]


def test_a_thinned_batch_has_the_time_of_its_newest_record(broker, topic, clock):
    now = clock.now_ms()
    records = [[b"1", b"a", None, now + 90], [b"2", b"b", None, now + 50], [b"3", b"a", None, now + 10]]
    broker.publish(topic.partitions[0], records, 3)
    broker.compaction.apply()

    assert topic.partitions[0].read(0, 100)[0].max_timestamp == now + 50
    assert topic.partitions[0].find_time(now + 51) == 3


def test_a_tombstone_outdates_its_key_at_once_and_goes_when_its_time_is_over(broker, topic, clock):
    put(broker, topic, ("a", b"1"), ("a", None), ("b", b"2"))
    broker.compaction.apply()
    assert stored(broker, topic) == [(1, "a", None), (2, "b", b"2")]

    clock.advance(DAY_S - 1)
    assert broker.compaction.apply() == 0
    clock.advance(1)
    assert broker.compaction.apply() == 1
    assert stored(broker, topic) == [(2, "b", b"2")]
    assert broker.compaction.apply() == 0


def test_the_time_of_a_tombstone_begins_with_the_first_cleaning_that_saw_it(broker, topic, clock):
    put(broker, topic, ("a", None), ("x", b""))
    clock.advance(2 * DAY_S)
    broker.compaction.apply()
    assert (0, "a", None) in stored(broker, topic)

    put(broker, topic, ("b", None), ("x", b""))
    clock.advance(DAY_S / 2)
    broker.compaction.apply()
    clock.advance(DAY_S / 2)
    put(broker, topic, ("x", b""))
    broker.compaction.apply()
    assert stored(broker, topic) == [(2, "b", None), (4, "x", b"")]


def test_the_last_record_of_a_log_stays_even_as_a_tombstone(broker, topic, clock):
    put(broker, topic, ("a", b"1"), ("a", None))
    for _ in range(3):
        broker.compaction.apply()
        clock.advance(2 * DAY_S)

    assert stored(broker, topic) == [(1, "a", None)]
    assert broker.compaction.apply() == 0


def test_what_is_younger_than_the_lag_is_not_touched(broker, clock):
    topic = broker.create_topic("orders", config={**CONFIG, "min_compaction_lag_ms": "10000"})
    put(broker, topic, ("a", b"1"), ("a", b"2"))
    clock.advance(6)
    put(broker, topic, ("a", b"3"))
    clock.advance(3)
    assert broker.compaction.apply() == 0
    clock.advance(1)

    assert broker.compaction.apply() == 1
    assert stored(broker, topic) == [(1, "a", b"2"), (2, "a", b"3")]
    clock.advance(6)
    broker.compaction.apply()
    assert stored(broker, topic) == [(2, "a", b"3")]


def test_a_partition_waits_until_enough_is_new(broker):
    topic = broker.create_topic("orders", config={"cleanup_policy": "compact"})
    for number in range(10):
        put(broker, topic, (f"{number}", b"x" * 100))
    assert broker.compaction.apply() == 1
    for count in range(9):
        put(broker, topic, ("a", b"x" * 100))
        assert broker.compaction.apply() == 0, count
    put(broker, topic, ("a", b"x" * 100))

    assert broker.compaction.apply() == 1


def test_a_partition_does_not_wait_beyond_the_longest_lag(broker, clock):
    topic = broker.create_topic("orders", config={"cleanup_policy": "compact", "max_compaction_lag_ms": "5000"})
    for number in range(10):
        put(broker, topic, (f"{number}", b"x" * 100))
    broker.compaction.apply()
    put(broker, topic, ("1", b"y"))
    assert broker.compaction.apply() == 0
    clock.advance(5)

    assert broker.compaction.apply() == 1
    assert (1, "1", b"x" * 100) not in stored(broker, topic)


def test_the_dirtiest_partition_comes_first(broker, monkeypatch):
    topics = [broker.create_topic(name, config=CONFIG) for name in ("a", "b")]
    put(broker, topics[0], *[(f"{number}", b"x" * 100) for number in range(10)])
    broker.compaction.apply()
    put(broker, topics[0], ("a", b"x"))
    put(broker, topics[1], ("a", b"x"))
    order = []
    clean = broker.compaction.clean
    monkeypatch.setattr(
        broker.compaction, "clean", lambda partition: order.append(partition.topic.name) or clean(partition)
    )
    broker.compaction.apply()

    assert order == ["b", "a"]


def test_trimmed_bytes_do_not_count_as_clean(broker):
    topic = broker.create_topic("orders", config={**CONFIG, "cleanup_policy": "compact,delete"})
    partition = topic.partitions[0]
    for number in range(10):
        put(broker, topic, (f"{number}", b"x" * 100))
    broker.compaction.apply()
    reach = broker.storage.rewritable(partition.log)
    assert broker.compaction._measure(partition, reach.next_offset + 1, reach.size_bytes).ratio == 0
    partition.log_start_offset = 5
    put(broker, topic, ("a", b""))

    assert broker.compaction._measure(partition, 11, reach.size_bytes).ratio == pytest.approx(0.5, abs=0.01)


def test_only_delete_as_well_lets_retention_at_a_compacted_topic(broker, clock):
    compacted = broker.create_topic("a", config={**CONFIG, "retention_ms": "1000"})
    both = broker.create_topic("b", config={"cleanup_policy": "compact,delete", "retention_ms": "1000"})
    put(broker, compacted, ("a", b"1"))
    put(broker, both, ("a", b"1"))
    clock.advance(10)
    broker.retention.apply()

    assert compacted.partitions[0].log_start_offset == 0
    assert both.partitions[0].log_start_offset == 1


@pytest.mark.parametrize("memory", [0, 24 * 100])
def test_more_keys_than_the_table_holds_take_several_passes(broker, topic, memory, caplog):
    caplog.set_level("INFO")
    broker.settings._values["compaction_memory_bytes"] = memory
    for turn in range(3):
        put(broker, topic, *[(f"{number}", b"%d" % turn) for number in range(500)])
    broker.compaction.apply()

    assert stored(broker, topic) == [(1000 + number, f"{number}", b"2") for number in range(500)]
    (line,) = [record for record in caplog.records if record.message == "partition compacted"]
    assert line.passes > 500 * 3 // 100 // 2
    assert line.removed == 1000


@pytest.mark.parametrize("strategy", ["bulk_batching", "single_message"])
def test_large_batches_are_cleaned_in_a_thread(broker, strategy, monkeypatch):
    monkeypatch.setattr(cleaning, "THREAD_BYTES", 100)
    topic = broker.create_topic("orders", config={**CONFIG, "compression": strategy})
    put(broker, topic, *[(f"{number % 7}", b"x" * 50) for number in range(100)])
    broker.compaction.apply()

    assert [offset for offset, *_ in stored(broker, topic)] == list(range(93, 100))


@pytest.mark.parametrize("limit", [1, 1 << 30], ids=["thread", "loop"])
def test_a_broken_batch_ends_it_for_its_partition_alone(broker, monkeypatch, caplog, limit):
    monkeypatch.setattr(cleaning, "THREAD_BYTES", limit)
    broken, sound = (broker.create_topic(name, config=CONFIG) for name in ("a", "b"))
    for topic in (broken, sound):
        put(broker, topic, ("a", b"1"), ("a", b"2"))
    kept = broker.storage._logs[broken.partitions[0].log]
    frame = kept.frames[0]
    kept.frames[0] = frame._replace(body=frame.body[:-1])

    assert broker.compaction.apply() == 1
    assert broker.compaction.apply() == 0
    assert len(stored(broker, sound)) == 1
    assert len(broker.compaction.broken) == 1
    assert "partition is not compacted until the next start" in caplog.messages


def test_trouble_that_may_pass_is_tried_again(broker, topic, caplog):
    put(broker, topic, ("a", b"1"), ("a", b"2"))
    rewrite = broker.storage.rewrite

    def fail(*arguments):
        broker.storage.rewrite = rewrite
        raise StorageError("not now")

    broker.storage.rewrite = fail

    assert broker.compaction.apply() == 0
    assert broker.compaction.apply() == 1
    assert "compaction failed, it is tried again" in caplog.messages


def test_a_deleted_topic_leaves_no_row(broker, topic):
    put(broker, topic, ("a", b"1"))
    broker.compaction.apply()
    assert len(broker.storage.load(TABLE)) == 1
    broker.delete_topic("orders")

    assert broker.storage.load(TABLE) == {}


def test_a_topic_that_is_deleted_while_it_is_cleaned_leaves_no_row(broker, topic):
    put(broker, topic, ("a", b"1"), ("a", b"2"))
    rewrite = broker.storage.rewrite

    def delete_first(*arguments):
        broker.delete_topic("orders")
        rewrite(*arguments)

    broker.storage.rewrite = delete_first
    broker.compaction.apply()

    assert broker.storage.load(TABLE) == {}


def test_a_broken_row_is_reported():
    with pytest.raises(CorruptError, match="table compaction is broken"):
        Progress.decode(encode_cbor([1, 2]))


def test_the_times_of_cleanings_stay_few_and_never_early():
    progress = Progress()
    for minute in range(3 * 24 * 60):
        progress.clean_offset = minute
        progress.mark(minute * 60_000, DAY_S * 1000)
        assert len(progress.marks) <= 36
        expired = progress.expired_before(minute * 60_000, DAY_S * 1000)
        assert max(0, minute - 24 * 60 - 46) <= expired <= max(0, minute - 24 * 60)


@pytest.fixture
def local(tmp_path):
    """A function that makes a local storage of small files."""

    def make(**options):
        sizes = {"journal_bytes": 65536, "segment_bytes": 65536, **options}
        return LocalStorage(LocalOptions(tmp_path / "data", sync="never", **sizes))

    return make


def test_memory_for_keys_is_what_the_option_allows(broker, topic, monkeypatch):
    memory_bytes = 64 * 1024
    broker.settings._values["compaction_memory_bytes"] = memory_bytes
    tables = []

    class Seen(KeyTable):
        def __init__(self, keys, memory_bytes):
            super().__init__(keys, memory_bytes)
            tables.append(self)

    monkeypatch.setattr(cleaning, "KeyTable", Seen)
    for turn in range(5):
        put(broker, topic, *[(f"{turn}-{number}", b"x") for number in range(1000)])
    broker.compaction.apply()

    assert len(stored(broker, topic)) == 5000
    assert sum(table.count > 0 for table in tables) > 1
    assert all(table.size_bytes <= memory_bytes + 24 for table in tables)


def test_a_restart_goes_on_where_cleaning_was(make_broker, local):
    broker = make_broker(storage=local())
    topic = broker.create_topic("orders", config=CONFIG)
    for _ in range(20):
        put(broker, topic, *[(f"{number}", bytes(100)) for number in range(50)])
    broker.storage.rewritable(topic.partitions[0].log, gather=True)
    broker.compaction.apply()
    before = stored(broker, topic)
    broker.stop(5)

    again = make_broker(storage=local())
    assert stored(again, again.topic("orders")) == before
    assert [offset for offset, *_ in before] == list(range(950, 1000))
    assert again.compaction.apply() == 0


def test_what_lies_in_the_journal_is_gathered_now_and_then(make_broker, local, clock):
    broker = make_broker(storage=local())
    topic = broker.create_topic("orders", config=CONFIG)
    put(broker, topic, ("a", b"1"), ("a", b"2"))
    assert broker.compaction.apply() == 0
    clock.advance(60)

    assert broker.compaction.apply() == 1
    assert stored(broker, topic) == [(1, "a", b"2")]
    put(broker, topic, ("a", b"3"))
    clock.advance(59)
    assert broker.compaction.apply() == 0
    clock.advance(1)
    assert broker.compaction.apply() == 1


def test_nothing_is_gathered_for_a_topic_that_is_clean_enough(make_broker, local, clock):
    broker = make_broker(storage=local())
    topic = broker.create_topic("orders", config={"cleanup_policy": "compact"})
    put(broker, topic, *[(f"{number}", bytes(100)) for number in range(50)])
    clock.advance(60)
    broker.compaction.apply()
    put(broker, topic, ("a", b"1"))
    clock.advance(60)
    files = broker.storage.stats()["journal_files"]

    assert broker.compaction.apply() == 0
    assert broker.storage.stats()["journal_files"] == files
    assert broker.storage.rewritable(topic.partitions[0].log).next_offset == 50


def test_the_greenlet_compacts_by_itself_and_survives_trouble(make_broker, wait_until, caplog):
    storage = MemoryStorage()
    broker = make_broker("--compaction-interval-ms", "10", storage=storage)
    topic = broker.create_topic("orders", config=CONFIG)
    put(broker, topic, ("a", b"1"), ("a", b"2"))
    wait_until(lambda: stored(broker, topic) == [(1, "a", b"2")])
    rewritable = storage.rewritable

    def fail(*arguments):
        storage.rewritable = rewritable
        raise KeyError

    storage.rewritable = fail
    put(broker, topic, ("a", b"3"))
    wait_until(lambda: stored(broker, topic) == [(2, "a", b"3")])

    assert "compaction failed, it is tried again" in caplog.messages


def test_a_stop_ends_a_cleaning_where_it_is(broker, topic, caplog):
    put(broker, topic, ("a", b"1"), ("a", b"2"))
    rewrite = broker.storage.rewrite

    def stop_first(*arguments):
        broker.compaction._stopped.set()
        rewrite(*arguments)

    broker.storage.rewrite = stop_first

    assert broker.compaction.apply() == 0
    assert len(stored(broker, topic)) == 2
    assert not caplog.messages


def test_a_stop_does_not_wait_for_a_cleaning(make_broker, wait_until):
    storage = MemoryStorage()
    broker = make_broker("--compaction-interval-ms", "10", storage=storage)
    topic = broker.create_topic("orders", config=CONFIG)
    put(broker, topic, ("a", b"1"), ("a", b"2"))
    broker.compaction.stop()
    before = stored(broker, topic)
    put(broker, topic, ("a", b"3"))
    broker.compaction._run()

    assert broker.compaction.apply() == 0
    with pytest.raises(cleaning.CleaningStoppedError):
        broker.compaction.clean(topic.partitions[0])
    assert broker.compaction._try(topic.partitions[0], broker.compaction.clean) is None
    assert stored(broker, topic) == [*before, (2, "a", b"3")]
