"""The batcher: rounds in, answers out, and what happens when storage says no."""

import gevent
import pytest
from gevent.event import AsyncResult, Event

from portask import encoder
from portask.batch import decode_records, encode_records
from portask.batcher import ROUND_BYTES
from portask.bus import Append, Change, Opaque
from portask.errors import ShuttingDownError, StorageFailedError, StorageFullError, UnknownTopicError
from portask.storage.memory import MemoryStorage


class StubbornStorage(MemoryStorage):
    """Memory that can be told to refuse writes, to fail syncs, and to make them wait."""

    def __init__(self):
        super().__init__()
        self.refuse_write = None
        self.refuse_sync = None
        self.may_sync = Event()
        self.may_sync.set()
        self.writes = 0
        self.syncs = 0

    def write(self, round_):
        if self.refuse_write is not None:
            raise self.refuse_write
        super().write(round_)
        self.writes += 1

    def sync(self):
        self.may_sync.wait()
        if self.refuse_sync is not None:
            raise self.refuse_sync
        self.syncs += 1


@pytest.fixture
def storage():
    return StubbornStorage()


def append(partition, records):
    answers = []
    size = sum(len(record) for record in records)
    return Append(partition, records, size, answers.append), answers


class TestRounds:
    """What one look at the bus becomes."""

    def test_messages_of_one_round_share_a_batch(self, make_broker, wait_until):
        broker = make_broker()
        partition = broker.create_topic("orders").partitions[0]
        first, answers = append(partition, [b"a", b"b"])
        second, more = append(partition, [b"c"])
        broker.append(first)
        broker.append(second)
        wait_until(lambda: answers and more)

        (batch,) = partition.read(0, 1000)
        assert decode_records(batch) == [b"a", b"b", b"c"]
        assert (first.base_offset, second.base_offset) == (0, 2)
        assert first.error is second.error is None

    def test_the_appends_of_one_round_are_joined_at_once(self, make_broker, wait_until):
        class Records(list):
            def __add__(self, other):
                raise AssertionError("joined one by one, which takes the square of their number")

        broker = make_broker()
        partition = broker.create_topic("orders").partitions[0]
        items = [append(partition, Records([b"%d" % number])) for number in range(3)]
        for item, _ in items:
            broker.append(item)
        wait_until(lambda: all(answers for _, answers in items))

        assert [item.error for item, _ in items] == [None] * 3
        (batch,) = partition.read(0, 1000)
        assert decode_records(batch) == [b"0", b"1", b"2"]

    def test_a_batch_holds_at_most_batch_messages(self, make_broker):
        broker = make_broker("--batch-messages", "3")
        partition = broker.create_topic("orders").partitions[0]

        broker.publish(partition, [b"%d" % number for number in range(8)], 8)

        assert [batch.count for batch in partition.read(0, 1000)] == [3, 3, 2]

    def test_a_batch_holds_at_most_batch_bytes(self, make_broker):
        broker = make_broker("--batch-bytes", "1024")
        partition = broker.create_topic("orders").partitions[0]

        broker.publish(partition, [b"x" * 400] * 4 + [b"y" * 5000, (b"z" * 400, b"key")], 7003)

        batches = partition.read(0, 100_000)
        assert [batch.count for batch in batches] == [2, 2, 1, 1]
        assert decode_records(batches[-1]) == [[b"z" * 400, b"key"]]

    def test_much_is_written_in_several_rounds(self, make_broker, storage, wait_until):
        broker = make_broker(storage=storage)
        partition = broker.create_topic("orders").partitions[0]
        before = storage.writes
        items = [append(partition, [bytes(ROUND_BYTES // 2)]) for _ in range(5)]
        for item, _ in items:
            broker.append(item)
        wait_until(lambda: all(answers for _, answers in items))

        assert storage.writes - before == 3
        assert [item.base_offset for item, _ in items] == [0, 1, 2, 3, 4]

    def test_rounds_gather_while_one_is_synced(self, make_broker, storage, wait_until):
        broker = make_broker(storage=storage)
        partition = broker.create_topic("orders").partitions[0]
        storage.may_sync.clear()
        before = storage.syncs
        items = []
        for _ in range(20):
            items.append(append(partition, [b"x"]))
            broker.append(items[-1][0])
            gevent.idle()
        assert partition.written_offset == 20
        assert partition.high_watermark == 0
        assert not any(answers for _, answers in items)

        storage.may_sync.set()
        wait_until(lambda: all(answers for _, answers in items))

        assert storage.syncs - before == 2
        assert partition.high_watermark == 20

    def test_what_is_put_together_is_one_round_however_large(self, make_broker, storage, wait_until):
        broker = make_broker(storage=storage)
        partitions = [broker.create_topic(name).partitions[0] for name in ("one", "two")]
        before = storage.writes
        items = [append(partitions[number % 2], [bytes(ROUND_BYTES // 2)]) for number in range(6)]
        changes = []
        single, answers = append(partitions[0], [bytes(ROUND_BYTES)])
        broker.append(single)
        broker.bus.put_all([item for item, _ in items] + [Change(lambda round_: None, changes.append)])
        wait_until(lambda: changes and answers and all(more for _, more in items))

        assert storage.writes - before == 2
        assert broker.bus.used_bytes == 0

    def test_what_is_put_together_is_refused_together(self, make_broker, storage, wait_until):
        broker = make_broker(storage=storage)
        partitions = [broker.create_topic(name).partitions[0] for name in ("one", "two")]
        storage.refuse_write = StorageFullError("no space left")
        items = [append(partition, [b"x"]) for partition in partitions]
        broker.bus.put_all([item for item, _ in items])
        wait_until(lambda: all(answers for _, answers in items))

        assert all(item.error is storage.refuse_write for item, _ in items)
        assert [partition.written_offset for partition in partitions] == [0, 0]

    def test_of_what_is_put_together_only_that_for_a_deleted_topic_is_missing(self, make_broker, wait_until):
        broker = make_broker()
        partitions = [broker.create_topic(name).partitions[0] for name in ("one", "two")]
        broker.delete_topic("one")
        items = [append(partition, [b"x"]) for partition in partitions]
        broker.bus.put_all([item for item, _ in items])
        wait_until(lambda: all(answers for _, answers in items))

        assert isinstance(items[0][0].error, UnknownTopicError)
        assert items[1][0].error is None

    def test_records_that_go_to_many_partitions_are_encoded_once(self, make_broker, wait_until, monkeypatch):
        broker = make_broker()
        partitions = [broker.create_topic(f"orders-{number}").partitions[0] for number in range(10)]
        encoded = []

        def encode(records, *way):
            encoded.append(records)
            return encode_records(records, *way)

        monkeypatch.setattr(encoder, "encode_records", encode)
        first, second = [b"a", b"b"], [(b"c", b"key", None, None, b"properties")]
        items = [append(partition, records) for records in (first, second) for partition in partitions]
        for item, _ in items:
            broker.append(item)
        wait_until(lambda: all(answers for _, answers in items))

        assert len(encoded) == 1
        for partition in partitions:
            (batch,) = partition.read(0, 1000)
            assert decode_records(batch) == [b"a", b"b", [b"c", b"key", None, None, b"properties"]]

    def test_the_same_records_are_encoded_as_each_topic_says(self, make_broker, wait_until):
        broker = make_broker()
        plain = broker.create_topic("plain").partitions[0]
        single = broker.create_topic("single", config={"compression": "single_message"}).partitions[0]
        records = [b"x" * 1000] * 2
        items = [append(partition, records) for partition in (plain, single)]
        for item, _ in items:
            broker.append(item)
        wait_until(lambda: all(answers for _, answers in items))

        assert [partition.read(0, 1000)[0].envelope.codec for partition in (plain, single)] == [1, 2]
        assert decode_records(single.read(0, 1000)[0]) == records

    def test_what_goes_to_many_partitions_is_counted_for_each(self, make_broker, wait_until):
        broker = make_broker()
        partitions = [broker.create_topic(f"orders-{number}").partitions[0] for number in range(3)]
        before = broker.batcher.stats.plain_bytes
        records = [b"four"]
        items = [append(partition, records) for partition in partitions]
        for item, _ in items:
            broker.append(item)
        wait_until(lambda: all(answers for _, answers in items))

        assert broker.batcher.stats.plain_bytes - before == 12
        assert broker.batcher.stats.round_messages == 3

    def test_linger_gathers_more_into_a_round(self, make_broker, wait_until):
        broker = make_broker("--linger-ms", "50")
        partition = broker.create_topic("orders").partitions[0]
        first, answers = append(partition, [b"a"])
        broker.append(first)
        gevent.idle()
        second, more = append(partition, [b"b"])
        broker.append(second)
        wait_until(lambda: answers and more)

        assert [batch.count for batch in partition.read(0, 1000)] == [2]

    def test_an_opaque_run_is_stored_as_its_handler_encodes_it(self, make_broker, wait_until):
        broker = make_broker()
        partition = broker.create_topic("orders").partitions[0]
        broker.publish(partition, [b"before"], 6)
        answers = []
        opaque = Opaque(9, 5, 1234, 8, lambda base, epoch: (0, [b"base", b" %d" % base, b" epoch %d" % epoch]))
        loose, _ = append(partition, [b"loose"])
        broker.append(loose)
        broker.append(Append(partition, [], 8, answers.append, opaque))
        after, last = append(partition, [b"after"])
        broker.append(after)
        wait_until(lambda: answers and last)

        batches = partition.read(1, 1000)
        assert [(batch.base_offset, batch.count) for batch in batches] == [(1, 1), (2, 5), (7, 1)]
        assert bytes(batches[1].payload) == b"base 2 epoch 0"
        assert batches[1].envelope.encoding == 9
        assert batches[1].max_timestamp == 1234

    def test_the_newest_timestamp_counts(self, make_broker, clock):
        broker = make_broker()
        partition = broker.create_topic("orders").partitions[0]
        broker.publish(partition, [(b"x", None, None, 5), (b"y", None, None, 7)], 2)
        broker.publish(partition, [(b"x", None, None, 5), b"now"], 2)

        assert [batch.max_timestamp for batch in partition.read(0, 1000)] == [7, clock.now_ms()]


class TestRefusal:
    """Storage says no."""

    def test_a_refused_write_is_answered_and_leaves_no_gap(self, make_broker, storage):
        broker = make_broker(storage=storage)
        partition = broker.create_topic("orders").partitions[0]
        broker.publish(partition, [b"a"], 1)
        storage.refuse_write = StorageFullError("no space left")
        with pytest.raises(StorageFullError):
            broker.publish(partition, [b"lost"], 1)

        storage.refuse_write = None

        assert broker.publish(partition, [b"b"], 1) == 1
        assert broker.bus.used_bytes == 0

    def test_after_a_failed_sync_nothing_is_acknowledged(self, make_broker, storage):
        broker = make_broker(storage=storage)
        partition = broker.create_topic("orders").partitions[0]
        broker.publish(partition, [b"safe"], 1)
        storage.refuse_sync = StorageFailedError("EIO")

        with pytest.raises(StorageFailedError):
            broker.publish(partition, [b"unsafe"], 1)
        with pytest.raises(StorageFailedError, match="check the disk"):
            broker.publish(partition, [b"more"], 1)

        assert partition.high_watermark == 1
        assert [batch.count for batch in partition.read(0, 1000)] == [1]
        assert partition.read(1, 1000) == []
        assert broker.failure is storage.refuse_sync
        assert broker.info()["state"] == "failed"

    def test_a_write_that_failed_for_good_is_a_failure_of_the_broker(self, make_broker, storage):
        broker = make_broker(storage=storage)
        partition = broker.create_topic("orders").partitions[0]
        storage.refuse_write = StorageFailedError("EIO")

        with pytest.raises(StorageFailedError):
            broker.publish(partition, [b"unsafe"], 1)

        assert broker.failure is storage.refuse_write
        assert broker.info()["state"] == "failed"

    def test_a_refused_change_says_so(self, make_broker, storage):
        broker = make_broker(storage=storage)
        storage.refuse_write = StorageFullError("no space left")
        with pytest.raises(StorageFullError):
            broker.create_topic("orders")

        storage.refuse_write = None

        assert broker.create_topic("orders").name == "orders"

    def test_an_append_to_a_deleted_topic_is_refused(self, make_broker):
        broker = make_broker()
        partition = broker.create_topic("orders").partitions[0]
        broker.delete_topic("orders")

        with pytest.raises(UnknownTopicError):
            broker.publish(partition, [b"x"], 1)

    def test_a_mistake_in_a_handler_s_encoding_is_answered_and_stops_nothing(self, make_broker, caplog):
        broker = make_broker()
        partition = broker.create_topic("orders").partitions[0]

        def encode(base_offset, leader_epoch):
            raise TypeError("mistake")

        answer = AsyncResult()
        broker.append(Append(partition, [], 1, answer.set, Opaque(9, 1, 0, 1, encode)))

        assert "mistake" in str(answer.get(timeout=5).error)
        assert broker.publish(partition, [b"x"], 1) == 0
        assert "round failed" in caplog.text

    def test_a_mistake_in_storage_s_sync_stops_the_log_and_says_so(self, make_broker, storage):
        broker = make_broker(storage=storage)
        partition = broker.create_topic("orders").partitions[0]
        storage.refuse_sync = RuntimeError("mistake")
        answer = AsyncResult()
        broker.append(Append(partition, [b"x"], 1, answer.set))

        assert "mistake" in str(answer.get(timeout=5).error)
        assert broker.info()["state"] == "failed"

    def test_a_mistake_in_one_answer_does_not_stop_the_others(self, make_broker, wait_until, caplog):
        broker = make_broker()
        partition = broker.create_topic("orders").partitions[0]

        def fail(item):
            raise RuntimeError("mistake")

        broker.append(Append(partition, [b"a"], 1, fail))
        item, answers = append(partition, [b"b"])
        broker.append(item)
        wait_until(lambda: answers)

        assert "answering failed" in caplog.text


class Mistaken:
    """A subscription that is wrong about everything."""

    def arrived(self, *_):
        raise RuntimeError("mistaken")


class TestMistakes:
    """What is told of rounds must not raise. When it does, nobody may wait for ever."""

    @pytest.fixture
    def failed(self, make_broker, wait_until):
        """A broker that a mistake has stopped: when a message arrived, or when it was synced."""

        def fail(when):
            broker = make_broker()
            partition = broker.create_topic("orders").partitions[0]
            if when == "arrived":
                partition.subscriptions.append(Mistaken())
            else:
                partition.watch(Mistaken().arrived)
            item, answers = append(partition, [b"a"])
            broker.append(item)
            wait_until(lambda: broker.failure)
            partition.subscriptions.clear()
            return broker, partition, answers

        return fail

    @pytest.mark.parametrize("when", ["arrived", "synced"])
    def test_nothing_is_taken_any_more(self, failed, when):
        broker, partition, _ = failed(when)

        with pytest.raises(StorageFailedError):
            broker.append(append(partition, [b"b"])[0])
        with pytest.raises(ShuttingDownError):
            broker.create_topic("more")

    def test_what_was_written_is_answered(self, failed, wait_until):
        _, _, answers = failed("arrived")
        wait_until(lambda: answers)

        assert answers[0].error is None

    def test_what_cannot_be_said_to_be_safe_is_refused(self, failed, wait_until):
        _, _, answers = failed("synced")
        wait_until(lambda: answers)

        assert type(answers[0].error) is StorageFailedError


def test_syncs_are_counted_by_their_time(make_broker):
    stats = make_broker().batcher.stats
    before = list(stats.sync_buckets)
    for seconds in (0.00005, 0.0015, 100):
        stats.synced(seconds)

    assert [new - old for old, new in zip(before, stats.sync_buckets, strict=True)] == [1, 0, 0, 0, 1] + [0] * 7 + [1]


def test_a_storage_that_fails_at_the_end_does_not_break_the_stop_off(make_broker, caplog):
    storage = StubbornStorage()
    broker = make_broker(storage=storage)
    close = storage.close

    def fail():
        close()
        raise StorageFailedError("EIO")

    storage.close = fail

    assert broker.stop(5) is False
    assert "EIO" in [record.error for record in caplog.records if hasattr(record, "error")]


def test_stopping_answers_what_is_on_the_bus(make_broker):
    broker = make_broker()
    partition = broker.create_topic("orders").partitions[0]
    items = [append(partition, [b"x"]) for _ in range(10)]
    changes = []
    for item, _ in items:
        broker.append(item)
    broker.bus.put(Change(lambda round_: None, changes.append))

    assert broker.stop(5)

    assert all(answers for _, answers in items)
    assert len(changes) == 1
