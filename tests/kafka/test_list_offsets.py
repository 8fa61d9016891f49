"""ListOffsets and OffsetForLeaderEpoch: where a log begins, ends, and stood at a time or an epoch."""

import pytest

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.list_offsets import (
    EARLIEST,
    EARLIEST_LOCAL,
    EARLIEST_PENDING_UPLOAD,
    LATEST,
    LATEST_TIERED,
    MAX_TIMESTAMP,
)
from tests.kafka.batches import batch
from tests.kafka.peer import produce_request
from tests.kafka.record_samples import NOW, build
from tests.native.gated_storage import GatedStorage

VERSIONS = range(1, 12)
FIRST = {LATEST: 1, EARLIEST: 1, MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}
UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def ask(peer, *places, version=11, epoch=-1, **fields):
    """The answers for topics, partitions and timestamps."""
    request = tables.LIST_OFFSETS.Request
    topics = [
        request.ListOffsetsTopic(
            name=name,
            partitions=[
                request.ListOffsetsPartition(partition_index=number, timestamp=timestamp, current_leader_epoch=epoch)
            ],
        )
        for name, number, timestamp in places
    ]
    response = peer.ask(tables.LIST_OFFSETS, version, replica_id=-1, topics=topics, **fields)
    return [partition for topic in response.topics for partition in topic.partitions]


def find(peer, timestamp, version=11, **fields):
    """Error, timestamp and offset of one question."""
    (answer,) = ask(peer, ("t", 0, timestamp), version=version, **fields)
    return answer.error_code, answer.timestamp, answer.offset


def timed(*timestamps, compression=0):
    return build([(timestamp, None, b"v" * 50, []) for timestamp in timestamps], compression)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_tells_the_first_and_the_next_offset(peer, topic, version):
    peer.produce("t", batch(b"1", b"2", b"3"))
    topic.partitions[0].trimmed(1)

    assert find(peer, EARLIEST, version) == (ErrorCode.NONE, -1, 1)
    assert find(peer, LATEST, version) == (ErrorCode.NONE, -1, 3)


@pytest.mark.parametrize("timestamp", FIRST)
@pytest.mark.parametrize("version", VERSIONS)
def test_special_timestamps_are_known_from_their_version_on(peer, topic, timestamp, version):
    peer.produce("t", timed(NOW, NOW + 5, NOW + 1))
    known = {
        LATEST: (-1, 3),
        EARLIEST: (-1, 0),
        MAX_TIMESTAMP: (NOW + 5, 1),
        EARLIEST_LOCAL: (-1, 0),
        LATEST_TIERED: (-1, -1),
        EARLIEST_PENDING_UPLOAD: (-1, -1),
    }
    wanted = (0, *known[timestamp]) if version >= FIRST[timestamp] else (ErrorCode.UNSUPPORTED_VERSION, -1, -1)

    assert find(peer, timestamp, version) == wanted


@pytest.mark.parametrize("topic_name", ["t", "unknown"])
@pytest.mark.parametrize("version", VERSIONS)
def test_other_negative_timestamps_are_known_to_no_version(peer, topic, topic_name, version):
    (answer, another) = ask(peer, (topic_name, 0, -7), (topic_name, 1, -(1 << 63)), version=version)

    assert answer.error_code == another.error_code == ErrorCode.UNSUPPORTED_VERSION


def test_an_empty_log_begins_and_ends_at_0(peer, topic):
    assert [find(peer, timestamp)[2] for timestamp in (EARLIEST, LATEST, MAX_TIMESTAMP, NOW)] == [0, 0, -1, -1]


def test_the_latest_offset_is_that_of_what_is_safe(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    topic = served.topic()
    peer = served.peer()
    storage.gate.clear()
    served.peer().send(tables.PRODUCE, 9, produce_request("t", batch()))
    wait_until(lambda: topic.partitions[0].written_offset == 1)

    assert find(peer, LATEST) == (ErrorCode.NONE, -1, 0)
    assert find(peer, MAX_TIMESTAMP) == find(peer, 0) == (ErrorCode.NONE, -1, -1)
    storage.gate.set()


def test_read_committed_ends_where_everything_ends_without_transactions(peer, topic):
    peer.produce("t", batch(b"1", b"2"))

    assert find(peer, LATEST, isolation_level=1) == (ErrorCode.NONE, -1, 2)


@pytest.mark.parametrize("compression", range(5))
@pytest.mark.parametrize(
    ("timestamp", "found"),
    [
        (0, (NOW, 0)),
        (NOW, (NOW, 0)),
        (NOW + 1, (NOW + 10, 1)),
        (NOW + 10, (NOW + 10, 1)),
        (NOW + 11, (NOW + 30, 3)),
        (NOW + 30, (NOW + 30, 3)),
        (NOW + 31, (NOW + 100, 4)),
        (NOW + 101, (-1, -1)),
        ((1 << 63) - 1, (-1, -1)),
    ],
)
def test_a_time_is_found_inside_a_batch(peer, topic, compression, timestamp, found):
    peer.produce("t", timed(NOW, NOW + 10, NOW + 5, NOW + 30, compression=compression))
    peer.produce("t", timed(NOW + 100, compression=compression))

    assert find(peer, timestamp) == (ErrorCode.NONE, *found)


def test_a_time_is_found_among_what_is_kept(peer, topic):
    peer.produce("t", timed(NOW, NOW + 1, NOW + 2))
    topic.partitions[0].trimmed(2)

    assert find(peer, NOW) == (ErrorCode.NONE, NOW + 2, 2)


def test_the_time_is_that_of_the_append_where_the_broker_gives_it(serve, clock):
    served = serve(clock=clock)
    served.topic(timestamp_type="LogAppendTime")
    peer = served.peer()
    peer.produce("t", timed(1, 2))
    clock.advance(1)
    peer.produce("t", timed(1, 2))

    assert find(peer, 1) == (ErrorCode.NONE, clock.now_ms() - 1000, 0)
    assert find(peer, clock.now_ms()) == find(peer, MAX_TIMESTAMP) == (ErrorCode.NONE, clock.now_ms(), 2)


@pytest.mark.parametrize("place", [("u", 0), ("t", 1), ("t", -1), ("no/name", 0), ("", 0)])
@pytest.mark.parametrize("version", [1, 11])
def test_an_unknown_partition_is_told_so(peer, topic, place, version):
    (answer,) = ask(peer, (*place, LATEST), version=version)

    assert (answer.error_code, answer.timestamp, answer.offset) == (UNKNOWN, -1, -1)


def test_a_partition_that_is_asked_for_twice_is_an_invalid_request(peer, served):
    served.topic(partitions=2)
    answers = ask(peer, ("t", 0, LATEST), ("t", 1, LATEST), ("t", 0, EARLIEST))

    assert [answer.error_code for answer in answers] == [ErrorCode.INVALID_REQUEST, 0, ErrorCode.INVALID_REQUEST]


def test_asking_for_many_partitions_many_times_takes_no_longer_than_once(peer, topic):
    answers = ask(peer, *[("t", number // 2, LATEST) for number in range(40_000)])

    assert {answer.error_code for answer in answers} == {ErrorCode.INVALID_REQUEST}


@pytest.mark.parametrize(
    ("epoch", "code"),
    [(-1, 0), (2, 0), (1, ErrorCode.FENCED_LEADER_EPOCH), (3, ErrorCode.UNKNOWN_LEADER_EPOCH)],
)
@pytest.mark.parametrize("version", [4, 11])
def test_the_epoch_of_the_leader_is_checked(peer, topic, epoch, code, version):
    topic.partitions[0].leader_epoch = 2

    assert find(peer, LATEST, version, epoch=epoch)[0] == code


@pytest.mark.parametrize("version", range(4, 12))
def test_the_epoch_of_the_leader_is_told(peer, topic, version):
    topic.partitions[0].leader_epoch = 2
    (answer,) = ask(peer, ("t", 0, LATEST), version=version)

    assert answer.leader_epoch == 2


# -- OffsetForLeaderEpoch --------------------------------------------------------------------------


def epoch_end(peer, epoch, current=-1, version=2, place=("t", 0)):
    request = tables.OFFSET_FOR_LEADER_EPOCH.Request
    partition = request.OffsetForLeaderPartition(partition=place[1], current_leader_epoch=current, leader_epoch=epoch)
    topics = [request.OffsetForLeaderTopic(topic=place[0], partitions=[partition])]
    response = peer.ask(tables.OFFSET_FOR_LEADER_EPOCH, version, topics=topics)
    (answer,) = response.topics[0].partitions
    return answer.error_code, answer.leader_epoch, answer.end_offset


@pytest.mark.parametrize("version", [2, 3, 4])
def test_the_present_epoch_ends_where_the_log_ends(peer, topic, version):
    peer.produce("t", batch(b"1", b"2"))

    assert epoch_end(peer, 0, version=version) == (ErrorCode.NONE, 0, 2)


@pytest.mark.parametrize("epoch", [1, -1, (1 << 31) - 1])
def test_of_other_epochs_nothing_is_known(peer, topic, epoch):
    assert epoch_end(peer, epoch) == (ErrorCode.NONE, -1, -1)


@pytest.mark.parametrize(("current", "code"), [(1, ErrorCode.FENCED_LEADER_EPOCH), (3, ErrorCode.UNKNOWN_LEADER_EPOCH)])
def test_a_client_that_knows_another_leader_is_told_so(peer, topic, current, code):
    topic.partitions[0].leader_epoch = 2

    assert epoch_end(peer, 2, current) == (code, -1, -1)
    assert epoch_end(peer, 2, 2) == (ErrorCode.NONE, 2, 0)


@pytest.mark.parametrize("place", [("u", 0), ("t", 1), ("no/name", 0)])
def test_the_epochs_of_an_unknown_partition_are_unknown(peer, topic, place):
    assert epoch_end(peer, 0, place=place) == (UNKNOWN, -1, -1)
