"""DeleteRecords: what is behind an offset goes away, for good."""

import pytest

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.tables import DELETE_RECORDS
from portask.errors import StorageFullError
from portask.storage.memory import MemoryStorage

Topic = DELETE_RECORDS.Request.DeleteRecordsTopic
Partition = DELETE_RECORDS.Request.DeleteRecordsPartition


def delete(peer, offset, name="t", index=0, version=2):
    """Low watermark and code."""
    one = Topic(name=name, partitions=[Partition(partition_index=index, offset=offset)])
    (topic,) = peer.ask(DELETE_RECORDS, version, topics=[one], timeout_ms=5000).topics
    (answer,) = topic.partitions
    assert (topic.name, answer.partition_index) == (name, index)
    return answer.low_watermark, ErrorCode(answer.error_code)


@pytest.fixture
def filled(served, topic):
    """The topic t with messages 0 to 4, each in a batch of its own."""
    for number in range(5):
        served.broker.publish(topic.partitions[0], [b"%d" % number], 1)
    return topic


@pytest.mark.parametrize("version", range(3))
def test_the_log_starts_where_it_is_told_to(filled, peer, version):
    assert delete(peer, 3, version=version) == (3, ErrorCode.NONE)
    assert filled.partitions[0].log_start_offset == 3


def test_minus_one_deletes_all_that_readers_see(filled, peer):
    assert delete(peer, -1) == (5, ErrorCode.NONE)


def test_a_second_deletion_further_back_changes_nothing(filled, peer):
    delete(peer, 3)

    assert delete(peer, 1) == (3, ErrorCode.NONE)


@pytest.mark.parametrize("offset", [-2, 6])
def test_an_offset_that_is_not_there_is_out_of_range(filled, peer, offset):
    assert delete(peer, offset) == (-1, ErrorCode.OFFSET_OUT_OF_RANGE)


@pytest.mark.parametrize(("name", "index"), [("none", 0), ("t", 1), ("t", -1), ("a b", 0)])
def test_a_partition_that_is_not_there_is_unknown(filled, peer, name, index):
    assert delete(peer, 0, name, index) == (-1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


def test_records_of_a_topic_that_is_only_compacted_stay(served, peer):
    served.topic(cleanup_policy="compact")

    assert delete(peer, -1) == (-1, ErrorCode.POLICY_VIOLATION)


def test_records_of_a_topic_that_is_compacted_and_deleted_go(served, peer):
    served.topic(cleanup_policy="compact,delete")

    assert delete(peer, -1) == (0, ErrorCode.NONE)


def test_what_storage_refuses_is_told_of_those_that_it_was_asked_for(serve):
    class FullStorage(MemoryStorage):
        refuses = False

        def write(self, round_):
            if self.refuses:
                raise StorageFullError("no space left")
            super().write(round_)

    storage = FullStorage()
    served = serve(storage=storage)
    topic = served.topic("t", 2)
    served.broker.publish(topic.partitions[0], [b"x"], 1)
    storage.refuses = True
    both = Topic(name="t", partitions=[Partition(partition_index=index, offset=-1) for index in (0, 1)])

    (answer,) = served.peer().ask(DELETE_RECORDS, 2, topics=[both], timeout_ms=5000).topics

    assert [(part.low_watermark, part.error_code) for part in answer.partitions] == [
        (-1, ErrorCode.KAFKA_STORAGE_ERROR),
        (0, ErrorCode.NONE),
    ]
