"""DescribeTopicPartitions and DescribeLogDirs."""

import shutil

import pytest

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.tables import DESCRIBE_LOG_DIRS, DESCRIBE_TOPIC_PARTITIONS
from portask.storage.local import LocalOptions, LocalStorage

Topic = DESCRIBE_TOPIC_PARTITIONS.Request.TopicRequest
Cursor = DESCRIBE_TOPIC_PARTITIONS.Request.Cursor


def describe(peer, *names, limit=2000, cursor=None):
    topics = [Topic(name=name) for name in names]
    place = None if cursor is None else Cursor(topic_name=cursor[0], partition_index=cursor[1])
    return peer.ask(DESCRIBE_TOPIC_PARTITIONS, 0, topics=topics, response_partition_limit=limit, cursor=place)


def seen(answer):
    """The partitions of each topic, and where the next page begins."""
    topics = [(topic.name, [part.partition_index for part in topic.partitions]) for topic in answer.topics]
    cursor = answer.next_cursor
    return topics, cursor and (cursor.topic_name, cursor.partition_index)


@pytest.fixture
def topics(served):
    """Topic a of 2 partitions, b of 3, c of 1."""
    return [served.topic(name, count) for name, count in (("a", 2), ("b", 3), ("c", 1))]


def test_a_topic_is_described_with_its_partitions(topics, peer):
    (topic,) = describe(peer, "a").topics

    assert (topic.error_code, topic.topic_id.hex(), topic.is_internal) == (ErrorCode.NONE, topics[0].id, False)
    assert topic.topic_authorized_operations > 0
    (first, _) = topic.partitions
    assert (first.error_code, first.leader_id, first.replica_nodes, first.isr_nodes) == (0, 1, [1], [1])
    assert (first.eligible_leader_replicas, first.last_known_elr, first.offline_replicas) == ([], [], [])


def test_no_names_ask_for_all_topics(topics, peer):
    assert seen(describe(peer)) == ([("a", [0, 1]), ("b", [0, 1, 2]), ("c", [0])], None)


def test_topics_come_once_and_in_order(topics, peer):
    assert seen(describe(peer, "c", "a", "c")) == ([("a", [0, 1]), ("c", [0])], None)


def test_a_page_ends_inside_a_topic(topics, peer):
    assert seen(describe(peer, limit=3)) == ([("a", [0, 1]), ("b", [0])], ("b", 1))


def test_a_page_ends_between_two_topics(topics, peer):
    assert seen(describe(peer, limit=2)) == ([("a", [0, 1])], ("b", 0))


def test_the_next_page_begins_at_the_cursor(topics, peer):
    assert seen(describe(peer, cursor=("b", 1))) == ([("b", [1, 2]), ("c", [0])], None)


def test_a_topic_that_is_not_there_says_what_one_may_do(peer):
    (topic,) = describe(peer, "none").topics

    assert topic.topic_authorized_operations > 0


def test_a_cursor_at_a_topic_that_has_gone_goes_on_behind_it(topics, peer):
    assert seen(describe(peer, cursor=("aa", 1))) == ([("b", [0, 1, 2]), ("c", [0])], None)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_has_at_least_one_partition(topics, peer, limit):
    assert seen(describe(peer, limit=limit)) == ([("a", [0])], ("a", 1))


def test_a_page_has_no_more_partitions_than_the_broker_allows(served, peer):
    served.topic("large", 2001)

    found, cursor = seen(describe(peer, limit=100_000))

    assert (len(found[0][1]), cursor) == (2000, ("large", 2000))


@pytest.mark.parametrize(
    ("name", "code"), [("none", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION)]
)
def test_a_topic_that_is_not_there_is_told_among_the_others(topics, peer, name, code):
    answer = describe(peer, name, "c")

    assert {topic.name: topic.error_code for topic in answer.topics} == {name: code, "c": ErrorCode.NONE}


@pytest.mark.parametrize("cursor", [("a", -1), ("b", 0)])
def test_a_cursor_that_nobody_was_given_is_refused(topics, peer, cursor):
    (topic,) = describe(peer, "a", cursor=cursor).topics

    assert (topic.name, topic.error_code, topic.partitions) == ("a", ErrorCode.INVALID_REQUEST, [])


# -- log directories ------------------------------------------------------------------------------


def log_dir(peer, topics=None, version=4):
    answer = peer.ask(DESCRIBE_LOG_DIRS, version, topics=topics)
    assert answer.error_code == ErrorCode.NONE
    (found,) = answer.results
    assert found.error_code == ErrorCode.NONE
    return found


@pytest.fixture
def stored(serve, tmp_path):
    """A broker that stores on disk."""
    directory = str(tmp_path / "data")
    return serve("--data-dir", directory, storage=LocalStorage(LocalOptions(directory=directory)))


@pytest.mark.parametrize("version", range(1, 6))
def test_the_size_of_a_partition_is_what_storage_says(stored, version):
    topic = stored.topic()
    stored.broker.publish(topic.partitions[0], [b"x" * 1000], 1000)

    found = log_dir(stored.peer(), version=version)

    (partition,) = found.topics[0].partitions
    assert (found.topics[0].name, partition.partition_index) == ("t", 0)
    assert partition.partition_size == stored.broker.storage.bounds(topic.partitions[0].log).size_bytes > 0
    assert (partition.offset_lag, partition.is_future_key) == (0, False)


def test_the_room_on_the_disk_is_told(stored, tmp_path):
    found = log_dir(stored.peer())

    assert found.log_dir == str(tmp_path / "data")
    assert found.total_bytes == shutil.disk_usage(tmp_path).total
    assert 0 < found.usable_bytes < found.total_bytes


def test_a_directory_that_cannot_be_asked_has_unknown_room(serve, tmp_path):
    found = log_dir(serve("--data-dir", str(tmp_path / "none")).peer())

    assert (found.total_bytes, found.usable_bytes) == (-1, -1)


def test_memory_has_no_directory(serve):
    found = log_dir(serve("--storage", "memory").peer())

    assert (found.log_dir, found.total_bytes, found.usable_bytes) == ("memory", -1, -1)


def test_only_the_partitions_that_are_asked_for_are_told(topics, peer):
    asked = DESCRIBE_LOG_DIRS.Request.DescribableLogDirTopic
    wanted = [
        asked(topic="b", partitions=[2, 7, 2]),
        asked(topic="none", partitions=[0]),
        asked(topic="c", partitions=[9]),
    ]

    found = log_dir(peer, wanted)

    assert [(topic.name, [part.partition_index for part in topic.partitions]) for topic in found.topics] == [("b", [2])]
