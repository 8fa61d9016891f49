"""Producers that number their batches: what is taken, what was there before, and what is known after a restart."""

import struct

import gevent
import pytest
from gevent.event import AsyncResult

from portask.bus import Append, Opaque
from portask.catalog import COUNTERS
from portask.errors import CorruptError, OutOfOrderSequenceError, ProducerFencedError, StorageFullError
from portask.producer import MAX_SEQUENCE, PRODUCERS, WINDOW, Admission
from portask.storage.base import Round
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage
from tests.native.gated_storage import GatedStorage

ID = 7


class Producing:
    """A producer of batches for one partition."""

    def __init__(self, broker, partition):
        self.broker = broker
        self.partition = partition

    def begin(self, first, count=1, epoch=0, producer_id=ID):
        """Put a batch on the bus."""
        now_ms = self.broker.clock.now_ms()
        admission = Admission(self.partition, producer_id, epoch, first, count, now_ms)
        answer = AsyncResult()
        opaque = Opaque(1, count, now_ms, 100, lambda base_offset, leader_epoch: (0, [b"batch"]))
        self.broker.append(Append(self.partition, [], 100, answer.set, opaque, admission))
        return answer, admission

    def end(self, begun):
        """The offset that the batch got; raises why it got none."""
        answer, admission = begun
        item = answer.get(timeout=10)
        if item.error is not None:
            raise item.error
        return admission.entry.base_offset

    def send(self, first, count=1, epoch=0, producer_id=ID):
        """Append a batch and return its offset."""
        return self.end(self.begin(first, count, epoch, producer_id))

    def known(self):
        """What the partition knows: epoch, and first and last number and offset of each batch."""
        producer = self.partition.producers[ID]
        return producer.epoch, [
            (entry.first_sequence, entry.last_sequence, entry.base_offset) for entry in producer.entries
        ]


def start(make_broker, storage=None):
    broker = make_broker(storage=storage)
    names = [topic.name for topic in broker.topics()]
    topic = broker.topic("t") if "t" in names else broker.create_topic("t")
    return Producing(broker, topic.partition(0))


@pytest.fixture
def producer(make_broker):
    return start(make_broker)


# -- one batch after the other ---------------------------------------------------------------------


def test_batches_are_taken_in_order(producer):
    assert [producer.send(0, 3), producer.send(3, 2), producer.send(5)] == [0, 3, 5]


def test_a_repeated_batch_is_answered_with_its_first_offset(producer):
    sent = [producer.send(0, 3), producer.send(3, 2)]

    assert [producer.send(0, 3), producer.send(3, 2)] == sent
    assert producer.partition.written_offset == 5


@pytest.mark.parametrize("age", range(1, WINDOW + 1))
def test_each_of_the_last_five_batches_may_be_repeated(producer, age):
    for number in range(10):
        producer.send(number)

    assert producer.send(10 - age) == 10 - age


def test_a_batch_before_the_last_five_is_out_of_order(producer):
    for number in range(10):
        producer.send(number)

    with pytest.raises(OutOfOrderSequenceError):
        producer.send(10 - WINDOW - 1)


@pytest.mark.parametrize(("first", "count"), [(0, 2), (1, 2), (4, 1), (2, 1)])
def test_a_batch_that_is_neither_next_nor_a_repetition_is_out_of_order(producer, first, count):
    producer.send(0, 3)

    with pytest.raises(OutOfOrderSequenceError):
        producer.send(first, count)
    assert producer.send(3) == 3


@pytest.mark.parametrize("first", [0, 1, 1000, MAX_SEQUENCE])
def test_an_unknown_producer_may_begin_anywhere(producer, first):
    assert producer.send(first) == 0


@pytest.mark.parametrize(("first", "count", "after"), [(MAX_SEQUENCE, 1, 0), (MAX_SEQUENCE - 1, 4, 2)])
def test_numbers_go_on_from_0(producer, first, count, after):
    producer.send(first, count)

    assert producer.send(after) == count
    assert producer.send(first, count) == 0


def test_producers_do_not_know_each_other(producer):
    producer.send(0, 3)

    assert producer.send(0, 3, producer_id=8) == 3


def test_partitions_do_not_know_each_other(make_broker):
    broker = make_broker()
    topic = broker.create_topic("t", 2)

    assert [Producing(broker, partition).send(0) for partition in topic.partitions] == [0, 0]


# -- epochs ----------------------------------------------------------------------------------------


def test_an_older_epoch_is_fenced(producer):
    producer.send(0, epoch=2)

    with pytest.raises(ProducerFencedError):
        producer.send(1, epoch=1)


def test_a_repetition_of_an_older_epoch_is_fenced_too(producer):
    producer.send(0, epoch=1)
    producer.send(0, epoch=2)

    with pytest.raises(ProducerFencedError):
        producer.send(0, epoch=1)


def test_a_new_epoch_begins_at_0(producer):
    producer.send(0, 3)

    with pytest.raises(OutOfOrderSequenceError):
        producer.send(3, epoch=1)
    assert producer.send(0, epoch=1) == 3


def test_a_new_epoch_forgets_the_batches_of_the_old_one(producer):
    producer.send(0, 3)
    producer.send(3, 3)
    producer.send(0, 3, epoch=1)

    assert producer.known() == (1, [(0, 2, 6)])


# -- rounds ----------------------------------------------------------------------------------------


def test_batches_of_one_round_follow_each_other(producer):
    begun = [producer.begin(number) for number in range(8)]

    assert [producer.end(each) for each in begun] == list(range(8))
    assert producer.known() == (0, [(number, number, number) for number in range(3, 8)])


def test_a_repetition_in_the_round_of_its_original_is_answered_with_its_offset(producer):
    begun = [producer.begin(0, 2), producer.begin(0, 2), producer.begin(2)]

    assert [producer.end(each) for each in begun] == [0, 0, 2]


def test_a_batch_behind_one_that_is_out_of_order_is_so_too(producer):
    begun = [producer.begin(0), producer.begin(2), producer.begin(3)]

    assert producer.end(begun[0]) == 0
    for each in begun[1:]:
        with pytest.raises(OutOfOrderSequenceError):
            producer.end(each)


def test_a_repetition_is_not_answered_before_its_original_is_safe(make_broker, wait_until):
    storage = GatedStorage()
    producer = start(make_broker, storage)
    storage.gate.clear()
    original = producer.begin(0)
    wait_until(lambda: producer.partition.written_offset == 1)
    repetition = producer.begin(0)
    wait_until(lambda: not len(producer.broker.bus))
    gevent.sleep(0)

    assert not repetition[0].ready()
    storage.gate.set()
    assert [producer.end(original), producer.end(repetition)] == [0, 0]


def test_a_refused_round_is_as_if_it_had_never_been(make_broker):
    storage = GatedStorage()
    producer = start(make_broker, storage)
    producer.send(0)
    storage.failure = StorageFullError("no space")
    begun = [producer.begin(1), producer.begin(2), producer.begin(1), producer.begin(0, producer_id=8)]
    for each in begun:
        with pytest.raises(StorageFullError):
            producer.end(each)

    assert producer.known() == (0, [(0, 0, 0)])
    assert list(producer.partition.producers) == [ID]
    storage.failure = None
    assert [producer.send(1), producer.send(2), producer.send(0)] == [1, 2, 0]


def test_a_refused_new_epoch_leaves_the_old_one(make_broker):
    storage = GatedStorage()
    producer = start(make_broker, storage)
    producer.send(0)
    storage.failure = StorageFullError("no space")
    with pytest.raises(StorageFullError):
        producer.send(0, epoch=1)
    storage.failure = None

    assert producer.send(1) == 1


class BrokenAdmission:
    def admit(self):
        raise ZeroDivisionError


def test_an_admission_that_fails_on_its_own_is_refused_and_others_go_on(producer, caplog):
    answer = AsyncResult()
    opaque = Opaque(1, 1, 0, 1, lambda base_offset, leader_epoch: (0, [b"batch"]))
    producer.broker.append(Append(producer.partition, [], 1, answer.set, opaque, BrokenAdmission()))

    assert "could not be checked" in str(answer.get(timeout=10).error)
    assert "admission failed" in caplog.text
    assert producer.send(0) == 0


# -- restart and expiry ----------------------------------------------------------------------------


def test_all_five_batches_are_known_after_a_restart(make_broker, tmp_path):
    options = LocalOptions(directory=str(tmp_path / "data"))
    producer = start(make_broker, LocalStorage(options))
    for number in range(7):
        producer.send(number * 2, 2, epoch=3)
    known = producer.known()
    producer.broker.stop(5)
    producer = start(make_broker, LocalStorage(options))

    assert producer.known() == known
    assert [producer.send(number * 2, 2, epoch=3) for number in range(2, 7)] == [4, 6, 8, 10, 12]
    assert producer.send(14, epoch=3) == 14
    with pytest.raises(OutOfOrderSequenceError):
        producer.send(2, 2, epoch=3)


def test_batches_that_were_refused_are_unknown_after_a_restart(make_broker):
    storage = GatedStorage()
    producer = start(make_broker, storage)
    producer.send(0)
    storage.failure = StorageFullError("no space")
    with pytest.raises(StorageFullError):
        producer.send(1)
    storage.failure = None
    producer.broker.stop(5)

    assert start(make_broker, storage).known() == (0, [(0, 0, 0)])


@pytest.mark.parametrize("row", [b"", b"\0", b"\0\0", bytes(2 + 23), bytes(2 + 6 * 24)])
def test_a_broken_row_is_found_at_the_start(make_broker, row):
    storage = MemoryStorage()
    producer = start(make_broker, storage)
    producer.broker.stop(5)
    storage.open()
    round_ = Round()
    round_.puts[PRODUCERS, struct.pack(">Qq", producer.partition.log, 1)] = row
    storage.write(round_)

    with pytest.raises(CorruptError):
        make_broker(storage=storage)


def test_producers_of_a_deleted_topic_are_forgotten(make_broker):
    storage = MemoryStorage()
    producer = start(make_broker, storage)
    producer.send(0)
    producer.send(0, producer_id=8)
    producer.broker.delete_topic("t")

    assert storage.load(PRODUCERS) == {}


def test_rows_of_an_unknown_log_do_not_keep_the_broker_from_starting(make_broker):
    storage = MemoryStorage()
    storage.open()
    round_ = Round()
    round_.puts[PRODUCERS, struct.pack(">Qq", 999, 1)] = b"whatever"
    storage.write(round_)

    assert start(make_broker, storage).send(0) == 0


def test_producers_that_are_silent_for_long_are_forgotten(make_broker, clock):
    storage = MemoryStorage()
    producer = start(make_broker, storage)
    producer.send(0)
    producer.send(0, producer_id=8)
    clock.advance(producer.broker.settings.producer_expiry_ms / 1000)
    producer.send(1, producer_id=8)
    clock.advance(1)

    assert producer.broker.producers.expire() == 1
    assert list(producer.partition.producers) == [8]
    assert len(storage.load(PRODUCERS)) == 1
    assert producer.broker.producers.expire() == 0


def test_a_producer_that_sends_while_it_expires_is_kept(make_broker, clock):
    producer = start(make_broker)
    producer.send(0)
    clock.advance(producer.broker.settings.producer_expiry_ms / 1000 + 1)
    begun = producer.begin(1)
    producer.broker.producers.expire()

    assert producer.end(begun) == 1
    assert producer.known() == (0, [(0, 0, 0), (1, 1, 1)])


# -- ids -------------------------------------------------------------------------------------------


def test_ids_are_given_once(make_broker):
    broker = make_broker()
    ids = [broker.producers.new_id() for _ in range(2500)]

    assert ids == list(range(2500))


def test_ids_are_given_once_to_many_at_a_time(make_broker):
    broker = make_broker()
    jobs = [gevent.spawn(broker.producers.new_id) for _ in range(50)]

    assert sorted(job.get(timeout=10) for job in jobs) == list(range(50))


def test_ids_are_not_given_again_after_a_restart(make_broker):
    storage = MemoryStorage()
    broker = make_broker(storage=storage)
    before = {broker.producers.new_id() for _ in range(3)}
    broker.stop(5)
    broker = make_broker(storage=storage)

    assert broker.producers.new_id() not in before


def test_an_id_is_durable_before_it_is_given(make_broker):
    storage = GatedStorage()
    broker = make_broker(storage=storage)
    storage.failure = StorageFullError("no space")

    with pytest.raises(StorageFullError):
        broker.producers.new_id()
    storage.failure = None
    assert broker.producers.new_id() < int.from_bytes(storage.load(COUNTERS)[b"next producer id"], "big")


def test_an_id_that_a_client_made_up_does_not_use_up_the_others(make_broker):
    storage = MemoryStorage()
    producer = start(make_broker, storage)
    producer.send(0, producer_id=(1 << 63) - 1)
    producer.broker.stop(5)

    assert start(make_broker, storage).broker.producers.new_id() < 1 << 32
