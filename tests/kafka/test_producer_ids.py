"""InitProducerId, DescribeProducers, and what an idempotent producer is told."""

import pytest

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode
from portask.errors import StorageFailedError, StorageFullError
from portask.storage.local import LocalOptions, LocalStorage
from tests.kafka.batches import batch
from tests.kafka.peer import produce_request
from tests.native.gated_storage import GatedStorage

OTHER = ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def new_id(peer, version=4, **fields):
    answer = peer.ask(tables.INIT_PRODUCER_ID, version, **{"transactional_id": None, **fields})
    return answer.error_code, answer.producer_id, answer.producer_epoch


def send(peer, sequence, *values, producer_id=1, epoch=0, **options):
    answer = peer.produce("t", batch(*values, producer=(producer_id, epoch, sequence)), **options)
    return answer.error_code, answer.base_offset


# -- InitProducerId --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(6))
def test_every_version_gives_an_id_and_epoch_0(peer, version):
    assert [new_id(peer, version), new_id(peer, version)] == [(ErrorCode.NONE, 0, 0), (ErrorCode.NONE, 1, 0)]


def test_a_producer_that_has_an_id_gets_a_new_one(peer):
    assert new_id(peer, producer_id=0, producer_epoch=3) == (ErrorCode.NONE, 0, 0)
    assert new_id(peer, producer_id=0, producer_epoch=3) == (ErrorCode.NONE, 1, 0)


@pytest.mark.parametrize("fields", [{"producer_id": 5}, {"producer_epoch": 5}])
def test_an_id_without_an_epoch_is_invalid(peer, fields):
    assert new_id(peer, **fields) == (ErrorCode.INVALID_REQUEST, -1, -1)


def test_an_empty_transactional_id_is_invalid(peer):
    assert new_id(peer, transactional_id="") == (ErrorCode.INVALID_REQUEST, -1, -1)


def test_transactions_are_refused_clearly(peer):
    assert new_id(peer, transactional_id="tx") == (ErrorCode.UNSUPPORTED_VERSION, -1, -1)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (StorageFullError("no space"), ErrorCode.KAFKA_STORAGE_ERROR),
        (StorageFailedError("gone"), ErrorCode.KAFKA_STORAGE_ERROR),
    ],
)
def test_no_id_is_given_that_storage_does_not_know(serve, failure, code):
    storage = GatedStorage()
    peer = serve(storage=storage).peer()
    storage.failure = failure

    assert new_id(peer) == (code, -1, -1)


def test_a_producer_asks_again_when_the_broker_stops(served, peer):
    served.broker.bus.close()

    assert new_id(peer) == (ErrorCode.COORDINATOR_NOT_AVAILABLE, -1, -1)


# -- what is appended once -------------------------------------------------------------------------


def test_a_repeated_batch_succeeds_with_its_first_offset(peer, topic):
    sent = [send(peer, 0, b"1", b"2"), send(peer, 2, b"3")]

    assert sent == [(ErrorCode.NONE, 0), (ErrorCode.NONE, 2)]
    assert [send(peer, 0, b"1", b"2"), send(peer, 2, b"3")] == sent
    assert topic.partitions[0].high_watermark == 3


def test_a_repetition_over_another_connection_succeeds_too(served, peer, topic):
    sent = send(peer, 0, b"1")
    peer.close()

    assert send(served.peer(), 0, b"1") == sent


def test_a_repetition_of_what_is_not_safe_yet_waits_for_it(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    topic = served.topic()
    first, second = served.peer(), served.peer()
    storage.gate.clear()
    request = produce_request("t", batch(b"1", producer=(1, 0, 0)))
    first.send(tables.PRODUCE, 9, request)
    wait_until(lambda: topic.partitions[0].written_offset == 1)
    second.send(tables.PRODUCE, 9, request)
    wait_until(lambda: len(served.broker.connections) == 2 and not len(served.broker.bus))
    storage.gate.set()
    answers = [peer.read(tables.PRODUCE, 9).responses[0].partition_responses[0] for peer in (first, second)]

    assert [(answer.error_code, answer.base_offset) for answer in answers] == [(ErrorCode.NONE, 0)] * 2
    assert topic.partitions[0].written_offset == 1


def test_a_missing_batch_is_noticed(peer, topic):
    send(peer, 0, b"1")

    assert send(peer, 2, b"3") == (OTHER, -1)
    assert [send(peer, 1, b"2"), send(peer, 2, b"3")] == [(ErrorCode.NONE, 1), (ErrorCode.NONE, 2)]


def test_an_older_epoch_is_told_that_it_is_over(peer, topic):
    send(peer, 0, b"1", epoch=1)

    assert send(peer, 0, b"1", epoch=0) == (ErrorCode.INVALID_PRODUCER_EPOCH, -1)


def test_a_new_epoch_begins_at_0(peer, topic):
    send(peer, 0, b"1")

    assert send(peer, 1, b"2", epoch=1) == (OTHER, -1)
    assert send(peer, 0, b"2", epoch=1) == (ErrorCode.NONE, 1)


def test_a_repetition_has_the_time_of_its_original(serve, clock):
    served = serve(clock=clock)
    served.topic(timestamp_type="LogAppendTime")
    peer = served.peer()
    made = batch(b"1", producer=(1, 0, 0))
    first = peer.produce("t", made).log_append_time_ms
    clock.advance(10)

    assert peer.produce("t", made).log_append_time_ms == first == clock.now_ms() - 10_000


def test_a_refused_batch_may_come_again(serve):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic()
    peer = served.peer()
    storage.failure = StorageFullError("no space")
    refused = send(peer, 0, b"1")
    storage.failure = None

    assert (refused, send(peer, 0, b"1")) == ((ErrorCode.KAFKA_STORAGE_ERROR, -1), (ErrorCode.NONE, 0))


def test_the_last_five_batches_are_known_after_a_restart(serve, tmp_path):
    options = LocalOptions(directory=str(tmp_path / "data"))
    served = serve(storage=LocalStorage(options))
    served.topic()
    peer = served.peer()
    sent = [send(peer, number, b"x") for number in range(6)]
    served.handler.close(1)
    served.broker.stop(5)
    peer = serve(storage=LocalStorage(options)).peer()

    assert [send(peer, number, b"x") for number in range(1, 6)] == sent[1:]
    assert send(peer, 0, b"x") == (OTHER, -1)
    assert send(peer, 6, b"x") == (ErrorCode.NONE, 6)


@pytest.mark.parametrize("producer_id", [-2, -(1 << 63)])
def test_a_negative_id_is_that_of_no_producer(peer, topic, producer_id):
    assert [send(peer, 5, b"1", producer_id=producer_id) for _ in range(2)] == [(0, 0), (0, 1)]
    assert topic.partitions[0].producers == {}


def test_the_highest_id_is_an_id(peer, topic):
    assert [send(peer, 0, b"1", producer_id=(1 << 63) - 1) for _ in range(2)] == [(0, 0), (0, 0)]


# -- DescribeProducers -----------------------------------------------------------------------------


def describe(peer, *places):
    request = tables.DESCRIBE_PRODUCERS.Request
    topics = [request.TopicRequest(name=name, partition_indexes=numbers) for name, numbers in places]
    return [topic.partitions for topic in peer.ask(tables.DESCRIBE_PRODUCERS, 0, topics=topics).topics]


def test_producers_are_described(serve, clock):
    served = serve(clock=clock)
    served.topic()
    peer = served.peer()
    send(peer, 0, b"1", b"2", producer_id=4, epoch=3)
    ((partition,),) = describe(peer, ("t", [0]))
    (producer,) = partition.active_producers

    assert (partition.error_code, producer.producer_id, producer.producer_epoch) == (ErrorCode.NONE, 4, 3)
    assert (producer.last_sequence, producer.last_timestamp) == (1, clock.now_ms())
    assert (producer.coordinator_epoch, producer.current_txn_start_offset) == (-1, -1)


def test_a_partition_without_producers_has_none(peer, topic):
    assert describe(peer, ("t", [0]))[0][0].active_producers == []


@pytest.mark.parametrize("place", [("t", 1), ("u", 0), ("t", -1)])
def test_producers_of_an_unknown_partition_are_not_described(peer, topic, place):
    ((partition,),) = describe(peer, (place[0], [place[1]]))

    assert partition.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("name", ["no/name", ""])
def test_producers_of_a_name_that_no_topic_can_have_are_not_described(peer, name):
    assert describe(peer, (name, [0]))[0][0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
