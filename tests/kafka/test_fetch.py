"""Fetch: which batches are given, how much of them, and when."""

import select

import pytest

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode
from portask.errors import CorruptError
from portask.storage.memory import MemoryStorage
from tests.kafka.batches import batch, offsets, placed
from tests.kafka.peer import fetch_request, produce_request
from tests.native.gated_storage import GatedStorage

VERSIONS = range(4, 19)
LONG_MS = 300_000


def name_of(topic, version):
    """What a Fetch of *version* calls a topic."""
    return bytes.fromhex(topic.id) if version >= 13 else topic.name


def fill(peer, *sizes, name="t", partition=0):
    """A batch of two records for each of *sizes*, about so many bytes in all; what was sent."""
    made = [batch(b"a" * (size // 2 - 45), b"b" * (size // 2 - 45)) for size in sizes]
    for one in made:
        assert peer.produce(name, one, partition=partition).error_code == 0
    return made


def parts(response):
    """Partitions, their errors and the offsets of their batches."""
    return [
        (topic.topic, part.partition_index, part.error_code, offsets(part.records))
        for topic in response.responses
        for part in topic.partitions
    ]


def is_answered(peer):
    """Whether something has come for *peer*."""
    return bool(select.select([peer.sock], [], [], 0)[0])


# -- which batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_batches_and_where_the_log_stands(peer, topic, version):
    fill(peer, 200, 200)
    topic.partitions[0].trimmed(1)
    answer = peer.fetch(name_of(topic, version), 1, version)

    assert (answer.error_code, offsets(answer.records)) == (ErrorCode.NONE, [(0, 1), (2, 3)])
    assert (answer.high_watermark, answer.last_stable_offset) == (4, 4)
    assert answer.log_start_offset == (1 if version >= 5 else -1)
    assert answer.aborted_transactions is None


@pytest.mark.parametrize("version", VERSIONS)
def test_the_topic_is_named_as_the_request_does(peer, topic, version):
    request = fetch_request({(name_of(topic, version), 0): 0}, version)
    answer = peer.ask(tables.FETCH, version, request).responses[0]

    assert (answer.topic, answer.topic_id) == (("t", bytes(16)) if version < 13 else ("", bytes.fromhex(topic.id)))


@pytest.mark.parametrize("offset", range(8))
def test_the_whole_batch_that_holds_the_offset_is_given(peer, topic, offset):
    for _ in range(2):
        peer.produce("t", batch(b"1", b"2", b"3", b"4"))

    assert offsets(peer.fetch("t", offset).records)[0] == ((0, 3) if offset < 4 else (4, 7))


def test_what_is_given_is_what_was_sent_at_its_place(peer, topic):
    made = fill(peer, 300, 1000, 200)

    assert bytes(peer.fetch("t").records) == b"".join(placed(one, number * 2) for number, one in enumerate(made))


def test_at_the_end_there_is_nothing(peer, topic):
    fill(peer, 200)
    answer = peer.fetch("t", 2)

    assert (answer.error_code, bytes(answer.records), answer.high_watermark) == (ErrorCode.NONE, b"", 2)


@pytest.mark.parametrize("offset", [3, -1, -2, (1 << 63) - 1, -(1 << 63)])
@pytest.mark.parametrize("version", [4, 11, 12])
def test_an_offset_beyond_the_log_is_out_of_range(peer, topic, offset, version):
    fill(peer, 200)
    answer = peer.fetch("t", offset, version)

    assert answer.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert (answer.high_watermark, answer.log_start_offset) == (-1, -1)


def test_an_offset_before_the_log_is_out_of_range(peer, topic):
    fill(peer, 200, 200)
    topic.partitions[0].trimmed(2)

    assert peer.fetch("t", 1).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize("place", [("u", 0), ("t", 1), ("t", -1), ("no/name", 0), ("", 0)])
def test_an_unknown_partition_is_told_so(peer, topic, place):
    assert peer.fetch(place[0], partition=place[1]).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_an_unknown_topic_id_is_told_so(peer, topic):
    assert peer.fetch(b"0123456789abcdef", version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID
    assert peer.fetch(bytes(16), version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_only_what_is_safe_is_given(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    topic = served.topic()
    peer = served.peer()
    storage.gate.clear()
    served.peer().send(tables.PRODUCE, 9, produce_request("t", batch()))
    wait_until(lambda: topic.partitions[0].written_offset == 1)
    answer = peer.fetch("t")

    assert (bytes(answer.records), answer.high_watermark) == (b"", 0)
    assert peer.fetch("t", 1).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    storage.gate.set()


@pytest.mark.parametrize(("version", "replica_id"), [(4, 0), (11, 5), (14, 1), (15, 1), (18, 7)])
def test_who_says_to_be_a_broker_is_served_as_any_client(serve, wait_until, version, replica_id):
    storage = GatedStorage()
    served = serve(storage=storage)
    topic = served.topic()
    peer = served.peer()
    peer.produce("t", batch(b"1"))
    storage.gate.clear()
    served.peer().send(tables.PRODUCE, 9, produce_request("t", batch(b"2")))
    wait_until(lambda: topic.partitions[0].written_offset == 2)
    answer = peer.fetch(name_of(topic, version), 0, version, replica_id=replica_id)

    assert (answer.error_code, offsets(answer.records), answer.high_watermark) == (ErrorCode.NONE, [(0, 0)], 1)
    storage.gate.set()


def test_read_committed_is_told_of_no_aborted_transactions(peer, topic):
    fill(peer, 200)
    answer = peer.fetch("t", isolation_level=1)

    assert (offsets(answer.records), answer.last_stable_offset, answer.aborted_transactions) == ([(0, 1)], 2, [])
    assert peer.fetch("u", isolation_level=1).aborted_transactions == []


@pytest.mark.parametrize(
    ("epoch", "code"), [(-1, 0), (2, 0), (1, ErrorCode.FENCED_LEADER_EPOCH), (3, ErrorCode.UNKNOWN_LEADER_EPOCH)]
)
@pytest.mark.parametrize("version", [9, 12, 18])
def test_the_epoch_of_the_leader_is_checked(peer, topic, epoch, code, version):
    topic.partitions[0].leader_epoch = 2

    assert peer.fetch(name_of(topic, version), 0, version, current_leader_epoch=epoch).error_code == code


def test_a_consumer_beyond_the_end_of_its_epoch_is_told_where_that_was(peer, topic):
    fill(peer, 200)
    answer = peer.fetch("t", 5, 12, last_fetched_epoch=0)

    assert (answer.error_code, bytes(answer.records)) == (ErrorCode.NONE, b"")
    assert (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset) == (0, 2)


def test_a_consumer_within_its_epoch_is_served(peer, topic):
    fill(peer, 200)

    assert offsets(peer.fetch("t", 1, 12, last_fetched_epoch=0).records) == [(0, 1)]


class DamagedStorage(MemoryStorage):
    """Storage that finds all that it reads damaged."""

    def read(self, log, offset, max_bytes):
        raise CorruptError("damaged")


def test_damage_is_told_and_logged(serve, caplog):
    served = serve("--tail-cache-bytes", "0", storage=DamagedStorage())
    served.topic()
    peer = served.peer()
    fill(peer, 200, 200)

    assert peer.fetch("t").error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert "fetch failed" in caplog.text


def test_messages_are_counted(served, peer, topic):
    fill(peer, 200, 200)
    peer.fetch("t")

    assert served.broker.stats.protocol("kafka").messages_out == 4


# -- how much --------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 0, -1, -(1 << 31)])
@pytest.mark.parametrize("field", ["max_bytes", "partition_max_bytes"])
def test_the_first_batch_is_given_whatever_the_limit(peer, topic, limit, field):
    fill(peer, 5000, 200)

    assert offsets(peer.fetch("t", **{field: limit}).records) == [(0, 1)]


@pytest.mark.parametrize("cache", ["0", "8MiB"])
@pytest.mark.parametrize("choice", ["auto", "always"])
@pytest.mark.parametrize("field", ["max_bytes", "partition_max_bytes"])
def test_no_more_batches_are_given_than_fit(serve, cache, choice, field):
    served = serve("--tail-cache-bytes", cache, "--kafka-fetch-compression", choice)
    served.topic()
    peer = served.peer()
    fill(peer, *[100] * 50)
    answer = peer.fetch("t", **{field: 1000})

    assert 0 < len(answer.records) <= 1000
    assert len(peer.fetch("t", **{field: 10_000}).records) > 1000


def test_only_the_first_partition_with_records_gives_more_than_fits(peer, served):
    served.topic(partitions=4)
    for partition in (1, 2, 3):
        fill(peer, 1000, partition=partition)
    request = fetch_request({("t", number): 0 for number in (0, 3, 1, 2)}, max_bytes=100)

    assert parts(peer.ask(tables.FETCH, 11, request)) == [
        ("t", 0, 0, []),
        ("t", 3, 0, [(0, 1)]),
        ("t", 1, 0, []),
        ("t", 2, 0, []),
    ]


def test_partitions_are_served_in_the_order_of_the_request(peer, served):
    served.topic("a", 2)
    served.topic("b")
    for name, partition in (("a", 0), ("a", 1), ("b", 0)):
        fill(peer, 1000, name=name, partition=partition)
    request = fetch_request({("b", 0): 0, ("a", 1): 0, ("a", 0): 0}, max_bytes=2200)

    assert parts(peer.ask(tables.FETCH, 11, request)) == [
        ("b", 0, 0, [(0, 1)]),
        ("a", 1, 0, [(0, 1)]),
        ("a", 0, 0, []),
    ]


def test_the_broker_has_a_limit_of_its_own(serve):
    served = serve("--kafka-fetch-max-bytes", "1KiB")
    served.topic()
    peer = served.peer()
    fill(peer, *[100] * 50)

    assert len(peer.fetch("t").records) <= 1024


def test_all_is_read_in_steps(serve):
    served = serve("--tail-cache-bytes", "0")
    served.topic()
    peer = served.peer()
    fill(peer, *range(100, 5000, 97))
    offset, found = 0, []
    while offset < served.broker.topic("t").partitions[0].high_watermark:
        some = offsets(peer.fetch("t", offset, max_bytes=6000).records)
        found += some
        offset = some[-1][1] + 1

    assert found == [(number, number + 1) for number in range(0, offset, 2)]


# -- when ------------------------------------------------------------------------------------------


def wait_for_fetch(wait_until, partition):
    wait_until(lambda: partition._watchers)


def test_an_answer_waits_for_the_round_that_brings_something_and_no_longer(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    partition = served.topic().partitions[0]
    peer, producer = served.peer(), served.peer()
    peer.send(tables.FETCH, 11, fetch_request({("t", 0): 0}, max_wait_ms=LONG_MS))
    wait_for_fetch(wait_until, partition)
    storage.gate.clear()
    producer.send(tables.PRODUCE, 9, produce_request("t", batch()))
    wait_until(lambda: partition.written_offset == 1)
    before = is_answered(peer)
    storage.gate.set()

    assert parts(peer.read(tables.FETCH, 11)) == [("t", 0, 0, [(0, 0)])]
    assert not before


def test_a_partition_is_no_longer_watched_when_the_answer_is_given(served, peer, topic, wait_until):
    peer.send(tables.FETCH, 11, fetch_request({("t", 0): 0}, max_wait_ms=LONG_MS))
    wait_for_fetch(wait_until, topic.partitions[0])
    fill(served.peer(), 200)
    peer.read(tables.FETCH, 11)

    assert topic.partitions[0]._watchers == []


def test_an_answer_waits_for_as_many_bytes_as_were_asked_for(served, peer, topic, wait_until):
    producer = served.peer()
    fill(producer, 400)
    peer.send(tables.FETCH, 11, fetch_request({("t", 0): 0}, max_wait_ms=LONG_MS, min_bytes=1000))
    wait_for_fetch(wait_until, topic.partitions[0])
    fill(producer, 400)
    before = is_answered(peer)
    fill(producer, 400)

    assert parts(peer.read(tables.FETCH, 11)) == [("t", 0, 0, [(0, 1), (2, 3), (4, 5)])]
    assert not before


def test_bytes_of_all_partitions_count(served, peer, wait_until):
    topic = served.topic(partitions=2)
    producer = served.peer()
    fill(producer, 400, partition=0)
    request = fetch_request({("t", 0): 0, ("t", 1): 0}, max_wait_ms=LONG_MS, min_bytes=700)
    peer.send(tables.FETCH, 11, request)
    wait_for_fetch(wait_until, topic.partitions[1])
    fill(producer, 400, partition=1)

    assert parts(peer.read(tables.FETCH, 11)) == [("t", 0, 0, [(0, 1)]), ("t", 1, 0, [(0, 1)])]


def test_an_answer_comes_when_the_time_is_over(peer, topic):
    fill(peer, 200)

    assert offsets(peer.fetch("t", max_wait_ms=20, min_bytes=1 << 30).records) == [(0, 1)]
    assert offsets(peer.fetch("t", 2, max_wait_ms=20).records) == []


@pytest.mark.parametrize("fields", [{"min_bytes": 0}, {"min_bytes": -5}, {"max_wait_ms": 0}, {"max_wait_ms": -1}])
def test_who_does_not_want_to_wait_does_not(peer, topic, fields):
    assert offsets(peer.fetch("t", **{"max_wait_ms": LONG_MS, "min_bytes": 1, **fields}).records) == []


def test_a_fetch_of_nothing_does_not_wait(peer):
    assert peer.ask(tables.FETCH, 11, fetch_request({}, max_wait_ms=LONG_MS)).responses == []


@pytest.mark.parametrize("place", [("u", 0), ("t", 1)])
def test_an_unknown_partition_does_not_end_the_wait_for_others(served, peer, topic, wait_until, place):
    peer.send(tables.FETCH, 11, fetch_request({place: 0, ("t", 0): 0}, max_wait_ms=LONG_MS))
    wait_for_fetch(wait_until, topic.partitions[0])
    fill(served.peer(), 100)

    assert parts(peer.read(tables.FETCH, 11)) == [
        (*place, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, []),
        ("t", 0, 0, [(0, 1)]),
    ]


def test_unknown_partitions_alone_are_not_waited_for(peer, topic):
    request = fetch_request({("u", 0): 0, ("t", 1): 0}, max_wait_ms=LONG_MS)

    assert [error for _, _, error, _ in parts(peer.ask(tables.FETCH, 11, request))] == [
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    ] * 2


def test_an_error_of_another_kind_is_not_waited_with(served, peer, topic):
    served.topic("u")
    request = fetch_request({("t", 0): 0, ("u", 0): 9}, max_wait_ms=LONG_MS)

    assert parts(peer.ask(tables.FETCH, 11, request)) == [
        ("t", 0, 0, []),
        ("u", 0, ErrorCode.OFFSET_OUT_OF_RANGE, []),
    ]


@pytest.mark.parametrize("version", range(13, 19))
def test_a_topic_that_is_known_by_its_id_may_lack_the_partition(peer, topic, version):
    answer = peer.fetch(name_of(topic, version), 0, version, partition=1)

    assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("offset", [0, 1, 9])
def test_an_epoch_that_has_not_begun_has_no_records(peer, topic, offset):
    peer.produce("t", batch())

    assert peer.fetch("t", offset, 12, last_fetched_epoch=1).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_negative_epochs_are_none(peer, topic):
    peer.produce("t", batch())
    answer = peer.fetch("t", 0, 12, current_leader_epoch=-2, last_fetched_epoch=-2)

    assert (answer.error_code, offsets(answer.records)) == (0, [(0, 0)])


@pytest.mark.parametrize("offset", [7, -1])
def test_an_offset_out_of_range_is_not_waited_with(peer, topic, offset):
    assert peer.fetch("t", offset, max_wait_ms=LONG_MS).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_diverged_consumer_is_not_kept_waiting(peer, topic):
    assert peer.fetch("t", 9, 12, last_fetched_epoch=0, max_wait_ms=LONG_MS).diverging_epoch.end_offset == 0


@pytest.mark.parametrize(
    ("version", "code"), [(12, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), (13, ErrorCode.UNKNOWN_TOPIC_ID)]
)
def test_a_topic_that_is_deleted_meanwhile_is_told_at_once(served, peer, topic, wait_until, version, code):
    peer.send(tables.FETCH, version, fetch_request({(name_of(topic, version), 0): 0}, max_wait_ms=LONG_MS))
    wait_for_fetch(wait_until, topic.partitions[0])
    served.broker.delete_topic("t")

    assert peer.read(tables.FETCH, version).responses[0].partitions[0].error_code == code


def test_a_fetch_that_waits_is_answered_when_the_listener_closes(served, peer, topic, wait_until):
    peer.send(tables.FETCH, 11, fetch_request({("t", 0): 0}, max_wait_ms=LONG_MS))
    wait_for_fetch(wait_until, topic.partitions[0])
    served.handler.close(5)

    assert parts(peer.read(tables.FETCH, 11)) == [("t", 0, 0, [])]
    assert peer.is_closed()
    assert topic.partitions[0]._watchers == []


def test_many_fetches_wait_for_one_round(served, topic, wait_until):
    waiting = [served.peer() for _ in range(20)]
    for peer in waiting:
        peer.send(tables.FETCH, 11, fetch_request({("t", 0): 0}, max_wait_ms=LONG_MS))
    wait_until(lambda: len(topic.partitions[0]._watchers) == 20)
    fill(served.peer(), 200)

    assert [parts(peer.read(tables.FETCH, 11)) for peer in waiting] == [[("t", 0, 0, [(0, 1)])]] * 20
