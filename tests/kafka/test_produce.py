"""Produce: what is taken, what is refused and how, and what is stored of it."""

import random

import pytest
from crc32c import crc32c

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.record_batch import (
    CONTROL,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    ZSTD,
    read_header,
)
from handlers.kafka.record_checks import MAX_BLAMED
from portask.batch import decode_records
from portask.errors import StorageFailedError, StorageFullError
from tests.kafka.batches import batch, changed, offsets, placed, split
from tests.kafka.peer import produce_all, produce_request
from tests.kafka.record_samples import NOW, build
from tests.native.gated_storage import GatedStorage

VERSIONS = range(3, 14)
DAY_MS = 24 * 3_600_000
INVALID = ErrorCode.INVALID_RECORD
PLAIN = batch(b"one")
REFUSALS = {
    "null": (None, INVALID),
    "empty": (b"", INVALID),
    "cut": (PLAIN[:-1], INVALID),
    "cut header": (PLAIN[:40], INVALID),
    "magic 0": (changed(PLAIN, magic=0), INVALID),
    "magic 1": (changed(PLAIN, magic=1), INVALID),
    "magic 3": (changed(PLAIN, magic=3), ErrorCode.CORRUPT_MESSAGE),
    "two batches": (PLAIN + PLAIN, INVALID),
    "trailing bytes": (PLAIN + bytes(20), ErrorCode.CORRUPT_MESSAGE),
    "base offset": (changed(PLAIN, base_offset=1), INVALID),
    "count": (changed(PLAIN, count=2), INVALID),
    "no records": (changed(PLAIN, count=0, last_offset_delta=-1), INVALID),
    "last offset delta": (changed(PLAIN, last_offset_delta=5), INVALID),
    "control": (changed(PLAIN, attributes=CONTROL), INVALID),
    "no sequence": (changed(PLAIN, producer_id=1, producer_epoch=0, base_sequence=-1), INVALID),
    "checksum": (changed(PLAIN, crc=1), ErrorCode.CORRUPT_MESSAGE),
    "length": (changed(PLAIN, length=3), ErrorCode.CORRUPT_MESSAGE),
    "append time": (changed(PLAIN, attributes=LOG_APPEND_TIME), ErrorCode.INVALID_TIMESTAMP),
    "codec": (changed(PLAIN, attributes=5), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
    "transaction of nobody": (
        changed(PLAIN, attributes=TRANSACTIONAL),
        ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    ),
    "too large": (batch(bytes(1048588)), ErrorCode.MESSAGE_TOO_LARGE),
}


def stored(topic, partition=0):
    """The Kafka batches that a partition holds, as they are stored."""
    held = topic.partitions[partition]
    return [bytes(one.payload) for one in held.read(held.log_start_offset, 1 << 30)]


def refused(answer):
    """The error of an answer that says nothing of a place in the log."""
    assert (answer.base_offset, answer.log_append_time_ms) == (-1, -1)
    return answer.error_code


# -- what is taken ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_appends(peer, topic, version):
    name = bytes.fromhex(topic.id) if version >= 13 else "t"
    first = peer.produce(name, batch(b"one", b"two"), version)
    second = peer.produce(name, batch(b"three"), version)

    assert (first.error_code, first.base_offset, second.base_offset) == (ErrorCode.NONE, 0, 2)
    assert (first.log_append_time_ms, first.error_message, first.record_errors) == (-1, None, [])


@pytest.mark.parametrize("version", [12, 13])
def test_the_response_names_the_topic_as_the_request_does(peer, topic, version):
    name = bytes.fromhex(topic.id) if version >= 13 else "t"
    answer = peer.ask(tables.PRODUCE, version, produce_request(name, PLAIN, version)).responses[0]

    assert (answer.name, answer.topic_id) == (("t", bytes(16)) if version < 13 else ("", name))


def test_the_log_start_offset_is_told(peer, topic, served):
    peer.produce("t", batch(b"1", b"2", b"3"))
    topic.partitions[0].trimmed(2)

    assert peer.produce("t", PLAIN).log_start_offset == 2


@pytest.mark.parametrize("acks", [1, -1])
def test_acks_of_one_and_of_all_are_answered(peer, topic, acks):
    assert peer.produce("t", PLAIN, acks=acks).error_code == ErrorCode.NONE


@pytest.mark.parametrize("compression", range(5))
def test_every_codec_is_stored_and_read_by_others(peer, topic, compression):
    value = b"x" * 1000
    made = build([(NOW, b"k", value, [])], compression)
    peer.produce("t", made)

    assert read_header(made).compression == compression
    (held,) = topic.partitions[0].read(0, 1 << 20)
    assert decode_records(held) == [(value, b"k", None, NOW)]


def test_a_batch_that_came_compressed_is_stored_as_it_came(peer, topic):
    made = batch(b"x" * 1000, compression=1)
    peer.produce("t", made)

    assert stored(topic) == [made]


def test_a_small_batch_is_stored_as_it_came(peer, topic):
    peer.produce("t", PLAIN)

    assert stored(topic) == [PLAIN]


def test_a_large_uncompressed_batch_is_stored_in_zstd_and_ready_to_be_fetched(peer, topic):
    made = batch(b"x" * 10_000)
    peer.produce("t", made)
    (data,) = stored(topic)
    header = read_header(data)

    assert header == read_header(made)._replace(attributes=ZSTD, length=header.length, crc=crc32c(data[21:]))
    assert len(data) < 300


def test_what_does_not_shrink_is_stored_as_it_came(peer, topic):
    made = batch(random.Random(1).randbytes(10_000))
    peer.produce("t", made)

    assert stored(topic) == [made]


def test_the_batches_of_one_request_are_answered_each_in_its_place(peer, served):
    served.topic("a", 2)
    served.topic("b")
    peer.produce("b", batch(b"1", b"2"))
    request = produce_all({("a", 1): PLAIN, ("a", 0): None, ("b", 0): PLAIN, ("c", 0): PLAIN})
    response = peer.ask(tables.PRODUCE, 9, request)

    assert [
        (topic.name, part.index, part.error_code, part.base_offset)
        for topic in response.responses
        for part in topic.partition_responses
    ] == [
        ("a", 1, ErrorCode.NONE, 0),
        ("a", 0, INVALID, -1),
        ("b", 0, ErrorCode.NONE, 2),
        ("c", 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
    ]


def test_a_request_of_nothing_is_answered(peer):
    assert peer.ask(tables.PRODUCE, 9, acks=-1, topic_data=[]).responses == []


def test_messages_are_counted(peer, topic, served):
    peer.produce("t", batch(b"1", b"2", b"3"))

    assert served.broker.stats.protocol("kafka").messages_in == 3


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSALS)
def test_a_wrong_batch_is_refused_with_kafkas_code(peer, topic, name):
    data, code = REFUSALS[name]
    answer = peer.produce("t", data, version=12)

    assert refused(answer) == code
    assert answer.error_message
    assert topic.partitions[0].written_offset == 0


def test_a_batch_of_a_transaction_is_refused(peer, topic):
    answer = peer.produce("t", changed(PLAIN, attributes=TRANSACTIONAL), transactional_id="x")

    assert refused(answer) == ErrorCode.INVALID_TXN_STATE


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refusal_is_told_in_every_version(peer, topic, version):
    name = bytes.fromhex(topic.id) if version >= 13 else "t"

    assert refused(peer.produce(name, changed(PLAIN, crc=1), version)) == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("version", VERSIONS)
def test_zstd_is_taken_from_version_7_on(peer, topic, version):
    name = bytes.fromhex(topic.id) if version >= 13 else "t"
    code = peer.produce(name, build([(NOW, b"k", bytes(1000), [])], ZSTD), version).error_code

    assert code == (ErrorCode.NONE if version >= 7 else ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)


def test_a_batch_may_be_as_large_as_its_topic_allows(peer, served):
    made = batch(b"x" * 100)
    served.topic(max_batch_bytes=str(len(made)))

    assert peer.produce("t", made).error_code == ErrorCode.NONE
    assert refused(peer.produce("t", batch(b"x" * 101))) == ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("name", ["unknown", "", "no/name", "x" * 300])
def test_an_unknown_topic_is_told_so_whatever_its_name(peer, name):
    assert refused(peer.produce(name, PLAIN)) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_producing_makes_no_topic(peer, served):
    peer.produce("unknown", PLAIN)

    assert served.broker.topics() == []


@pytest.mark.parametrize("partition", [1, -1, (1 << 31) - 1])
def test_an_unknown_partition_is_told_so(peer, topic, partition):
    assert refused(peer.produce("t", PLAIN, partition=partition)) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("topic_id", [bytes(16), b"0123456789abcdef"])
def test_an_unknown_topic_id_is_told_so(peer, topic, topic_id):
    assert refused(peer.produce(topic_id, PLAIN, 13)) == ErrorCode.UNKNOWN_TOPIC_ID


@pytest.mark.parametrize("acks", [2, -2, 32767])
def test_other_acks_are_refused(peer, topic, acks):
    assert refused(peer.produce("t", PLAIN, acks=acks)) == ErrorCode.INVALID_REQUIRED_ACKS
    assert topic.partitions[0].written_offset == 0


def test_a_topic_that_is_being_deleted_is_unknown(peer, topic, served):
    served.broker.delete_topic("t")

    assert refused(peer.produce("t", PLAIN)) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("compression", range(5))
def test_a_compacted_topic_takes_no_record_without_a_key(peer, served, compression):
    topic = served.topic(cleanup_policy="compact")
    keyless = build([(NOW, b"k", bytes(500), []), (NOW, None, b"", []), (NOW, None, b"", [])], compression)
    answer = peer.produce("t", keyless)

    assert refused(answer) == INVALID
    assert [error.batch_index for error in answer.record_errors] == [1, 2]
    assert all("no key" in error.batch_index_error_message for error in answer.record_errors)
    assert topic.partitions[0].written_offset == 0
    assert peer.produce("t", build([(NOW, b"k", None, [])], compression)).error_code == ErrorCode.NONE


def test_no_more_than_some_records_are_blamed(peer, served):
    served.topic(cleanup_policy="compact,delete")
    answer = peer.produce("t", build([(NOW, None, b"", [])] * (MAX_BLAMED + 1)))

    assert len(answer.record_errors) == MAX_BLAMED


def test_a_large_batch_for_a_compacted_topic_is_looked_at_too(peer, served):
    served.topic(cleanup_policy="compact")

    assert peer.produce("t", batch(bytes(100_000))).error_code == ErrorCode.NONE
    assert refused(peer.produce("t", batch(bytes(100_000), key=None))) == INVALID


def test_records_of_a_compacted_topic_must_be_readable(peer, served):
    served.topic(cleanup_policy="compact")

    assert refused(peer.produce("t", changed(PLAIN, attributes=2))) == INVALID


def test_records_from_the_future_are_refused(serve, clock):
    served = serve(clock=clock)
    served.topic(timestamp_after_max_ms="1000")
    peer = served.peer()

    assert peer.produce("t", batch(timestamp=clock.now_ms() + 1000)).error_code == ErrorCode.NONE
    assert refused(peer.produce("t", batch(timestamp=clock.now_ms() + 1001))) == ErrorCode.INVALID_TIMESTAMP


def test_an_hour_ahead_is_allowed_by_default(serve, clock):
    served = serve(clock=clock)
    served.topic()
    peer = served.peer()

    assert peer.produce("t", batch(timestamp=clock.now_ms() + 3_600_000)).error_code == ErrorCode.NONE
    assert refused(peer.produce("t", batch(timestamp=clock.now_ms() + 3_600_001))) == ErrorCode.INVALID_TIMESTAMP


def test_records_from_the_past_are_refused(serve, clock):
    served = serve(clock=clock)
    served.topic(timestamp_before_max_ms=str(DAY_MS))
    peer = served.peer()
    old = build([(clock.now_ms(), None, b"", []), (clock.now_ms() - DAY_MS - 1, None, b"", [])])
    answer = peer.produce("t", old)

    assert refused(answer) == ErrorCode.INVALID_TIMESTAMP
    assert [error.batch_index for error in answer.record_errors] == [1]
    assert peer.produce("t", batch(timestamp=clock.now_ms() - DAY_MS)).error_code == ErrorCode.NONE


# -- the time of the append ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 10_000])
def test_the_broker_gives_records_the_time_of_their_append(serve, clock, size):
    served = serve(clock=clock)
    topic = served.topic(timestamp_type="LogAppendTime")
    peer = served.peer()
    clock.advance(5)
    answer = peer.produce("t", batch(bytes(size), timestamp=1000))
    (data,) = split(peer.fetch("t").records)
    header = read_header(data)

    assert (answer.error_code, answer.log_append_time_ms) == (ErrorCode.NONE, clock.now_ms())
    assert (header.attributes, header.base_timestamp, header.max_timestamp) == (LOG_APPEND_TIME, 1000, clock.now_ms())
    assert topic.partitions[0].read(0, 1 << 20)[0].max_timestamp == clock.now_ms()


def test_the_records_stay_as_they_were_sent_when_the_broker_gives_the_time(serve, clock):
    served = serve(clock=clock)
    served.topic(timestamp_type="LogAppendTime")
    peer = served.peer()
    made = batch(b"one", b"two", timestamp=1000)
    peer.produce("t", made)

    assert bytes(peer.fetch("t").records)[HEADER_BYTES:] == made[HEADER_BYTES:]


def test_no_timestamp_is_wrong_where_the_broker_gives_the_time(serve, clock):
    served = serve(clock=clock)
    limits = {"timestamp_before_max_ms": "1", "timestamp_after_max_ms": "1"}
    served.topic(timestamp_type="LogAppendTime", **limits)
    peer = served.peer()

    assert peer.produce("t", batch(timestamp=0)).error_code == ErrorCode.NONE
    assert peer.produce("t", batch(timestamp=clock.now_ms() + DAY_MS)).error_code == ErrorCode.NONE


def test_a_refused_batch_has_no_time(peer, served):
    served.topic(timestamp_type="LogAppendTime")

    assert refused(peer.produce("t", changed(PLAIN, attributes=LOG_APPEND_TIME))) == ErrorCode.INVALID_TIMESTAMP


# -- storage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [StorageFullError("no space"), StorageFailedError("disk gone")])
def test_storage_that_takes_nothing_is_told_so(serve, failure):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic(timestamp_type="LogAppendTime")
    peer = served.peer()
    storage.failure = failure
    answer = peer.produce("t", PLAIN)

    assert refused(answer) == ErrorCode.KAFKA_STORAGE_ERROR
    assert str(failure) in answer.error_message


def test_producing_goes_on_when_there_is_room_again(serve):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic()
    peer = served.peer()
    storage.failure = StorageFullError("no space")
    peer.produce("t", PLAIN)
    storage.failure = None
    answer = peer.produce("t", PLAIN)

    assert (answer.error_code, answer.base_offset) == (ErrorCode.NONE, 0)


def test_a_log_that_has_stopped_takes_nothing_more(serve):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic()
    peer = served.peer()
    storage.failure = StorageFailedError("disk gone")
    peer.produce("t", PLAIN)
    storage.failure = None

    assert refused(peer.produce("t", PLAIN)) == ErrorCode.KAFKA_STORAGE_ERROR


def test_a_broker_that_stops_sends_its_clients_to_look_for_another(serve):
    served = serve()
    served.topic()
    peer = served.peer()
    served.broker.bus.close()

    assert refused(peer.produce("t", PLAIN)) == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_bus_that_stays_full_lets_the_request_time_out(serve, wait_until):
    storage = GatedStorage()
    served = serve("--publish-timeout-ms", "100", "--bus-bytes", "1MiB", storage=storage)
    served.topic(max_batch_bytes=str(4 << 20))
    storage.gate.clear()
    first, second = served.peer(), served.peer()
    first.send(tables.PRODUCE, 9, produce_request("t", batch(bytes(2 << 20))))
    wait_until(lambda: served.broker.bus.used_bytes > 1 << 20)

    assert refused(second.produce("t", PLAIN)) == ErrorCode.REQUEST_TIMED_OUT
    storage.gate.set()


def test_nothing_is_answered_before_it_is_safe(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    topic = served.topic()
    peer = served.peer()
    storage.gate.clear()
    peer.send(tables.PRODUCE, 9, produce_request("t", PLAIN))
    wait_until(lambda: topic.partitions[0].written_offset == 1)
    other = served.peer()

    assert offsets(other.fetch("t").records) == []
    assert all(link.unsent_bytes == 0 for link in served.handler.links)
    storage.gate.set()
    assert peer.read(tables.PRODUCE, 9).responses[0].partition_responses[0].base_offset == 0


def test_what_is_stored_is_what_was_sent_at_its_place(peer, topic):
    made = [batch(bytes([number])) for number in range(3)]
    for one in made:
        peer.produce("t", one)

    assert stored(topic) == [placed(one, number) for number, one in enumerate(made)]
