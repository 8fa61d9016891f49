"""kafka-python 3 against the listener."""

import itertools
import time

import kafka
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from tests.clients.kafka.child import in_child

LONGEST_S = 60
CODECS = (None, "gzip", "snappy", "lz4", "zstd")


def producer_of(bootstrap, **config):
    return KafkaProducer(bootstrap_servers=bootstrap, **config)


def consumer_of(bootstrap, *topics, **config):
    """A consumer that gives up when nothing has come for a long time."""
    defaults = {"auto_offset_reset": "earliest", "consumer_timeout_ms": LONGEST_S * 1000, "group_id": None}
    return KafkaConsumer(*topics, bootstrap_servers=bootstrap, **{**defaults, **config})


def write(bootstrap, topic, values, **config):
    """Produce *values* and return their offsets."""
    with producer_of(bootstrap, **config) as producer:
        futures = [producer.send(topic, value) for value in values]
        return [future.get(LONGEST_S).offset for future in futures]


def take(consumer, count):
    """The next *count* records."""
    records = list(itertools.islice(consumer, count))
    assert len(records) == count
    return records


def numbered(count):
    return [b"message %d" % number for number in range(count)]


@in_child
def test_the_version_of_the_broker_is_guessed_as_a_recent_one(bootstrap):
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        assert admin.config["api_version"] is None
        assert admin.get_broker_version_data(next(iter(brokers(admin)))).broker_version >= (4, 1)


def brokers(admin):
    """The node ids of the cluster."""
    return [broker["broker_id"] for broker in admin.describe_cluster()["brokers"]]


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("codec", CODECS)
@in_child
def test_what_was_produced_is_consumed_in_order(bootstrap, topic, codec, acks):
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 1}}, wait_for_metadata=True)
    with producer_of(bootstrap, compression_type=codec, acks=acks, enable_idempotence=False) as producer:
        for value in numbered(300):
            producer.send(topic, value)
        producer.flush(LONGEST_S)
    with consumer_of(bootstrap, topic) as consumer:
        records = take(consumer, 300)
    assert [record.value for record in records] == numbered(300)
    assert [record.offset for record in records] == list(range(300))


@pytest.mark.parametrize("codec", CODECS)
@in_child
def test_an_idempotent_producer_is_told_consecutive_offsets(bootstrap, topic, codec):
    offsets = write(bootstrap, topic, numbered(1000), compression_type=codec, enable_idempotence=True, batch_size=500)
    assert offsets == list(range(1000))


@in_child
def test_keys_values_headers_and_timestamps_are_intact(bootstrap, topic):
    headers = [("kind", b"note"), ("kind", b"again"), ("empty", b"")]
    with producer_of(bootstrap) as producer:
        producer.send(topic, b"a value", b"a key", headers, timestamp_ms=1_700_000_000_000)
        producer.send(topic, None, b"gone", timestamp_ms=1_600_000_000_000)
        producer.flush(LONGEST_S)
    with consumer_of(bootstrap, topic) as consumer:
        first, second = take(consumer, 2)
    assert (first.value, first.key, first.timestamp) == (b"a value", b"a key", 1_700_000_000_000)
    assert list(first.headers) == headers
    assert (second.value, second.key, second.timestamp) == (None, b"gone", 1_600_000_000_000)


@in_child
def test_a_message_above_the_limit_is_refused(bootstrap, topic):
    with producer_of(bootstrap, max_request_size=3_000_000, enable_idempotence=False) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            producer.send(topic, bytes(1_048_600)).get(LONGEST_S)
        assert producer.send(topic, b"small").get(LONGEST_S).offset == 0


@pytest.mark.parametrize("incremental", [True, False])
@in_child
def test_many_partitions_are_read_with_and_without_a_fetch_session(bootstrap, topic, incremental):
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 20}}, wait_for_metadata=True)
    with (
        producer_of(bootstrap) as producer,
        consumer_of(bootstrap, enable_incremental_fetch_sessions=incremental) as consumer,
    ):
        consumer.assign([TopicPartition(topic, number) for number in range(20)])
        for turn in range(10):
            # A turn writes to some partitions only, so that a session leaves the others out of its answers.
            wanted = {(number, b"%d %d" % (turn, number)) for number in range(turn % 3, 20, 3)}
            for number, value in wanted:
                producer.send(topic, value, partition=number)
            producer.flush(LONGEST_S)
            assert {(record.partition, record.value) for record in take(consumer, len(wanted))} == wanted


@in_child
def test_a_fetch_session_follows_a_changed_assignment(bootstrap, topic):
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 3}}, wait_for_metadata=True)
    with producer_of(bootstrap) as producer, consumer_of(bootstrap) as consumer:
        for assigned in ([0, 1], [1, 2], [0], [0, 1, 2]):
            consumer.assign([TopicPartition(topic, number) for number in assigned])
            consumer.seek_to_end()
            for number in assigned:
                consumer.position(TopicPartition(topic, number))
            futures = [producer.send(topic, b"%d" % number, partition=number) for number in range(3)]
            for future in futures:
                future.get(LONGEST_S)
            assert {record.partition for record in take(consumer, len(assigned))} == set(assigned)


@in_child
def test_offsets_are_found_by_time_and_at_both_ends(bootstrap, topic):
    times = [1_700_000_000_000 + 1000 * number for number in range(5)]
    with producer_of(bootstrap) as producer:
        for time in times:
            producer.send(topic, b"x", timestamp_ms=time).get(LONGEST_S)
    partition = TopicPartition(topic, 0)
    with consumer_of(bootstrap) as consumer:
        found = consumer.offsets_for_times({partition: times[2] - 1})[partition]
        assert (found.offset, found.timestamp) == (2, times[2])
        assert consumer.offsets_for_times({partition: times[4] + 1})[partition] is None
        assert consumer.beginning_offsets([partition]) == {partition: 0}
        assert consumer.end_offsets([partition]) == {partition: 5}


@in_child
def test_an_offset_out_of_range_is_reported_if_the_consumer_wants(bootstrap, topic):
    write(bootstrap, topic, numbered(3))
    with consumer_of(bootstrap, auto_offset_reset="none") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 1000)
        with pytest.raises(OffsetOutOfRangeError):
            take(consumer, 1)


@in_child
def test_a_group_goes_on_where_it_committed(bootstrap, topic, group):
    write(bootstrap, topic, numbered(20))
    with consumer_of(bootstrap, topic, group_id=group, enable_auto_commit=False) as consumer:
        take(consumer, 7)
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(7, "a note", -1)})
    with consumer_of(bootstrap, topic, group_id=group, enable_auto_commit=False) as consumer:
        assert [record.offset for record in take(consumer, 13)] == list(range(7, 20))
        assert consumer.committed(TopicPartition(topic, 0), metadata=True).metadata == "a note"


@in_child
def test_two_consumers_of_a_group_share_the_partitions(bootstrap, topic, group):
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 4}}, wait_for_metadata=True)
    # Both in one thread: with a thread each, a poll of kafka-python 3.0 sometimes never returns, whatever the broker.
    config = {"group_id": group, "heartbeat_interval_ms": 300}
    with consumer_of(bootstrap, topic, **config) as first, consumer_of(bootstrap, topic, **config) as second:
        deadline, halves = time.monotonic() + LONGEST_S, []
        while [len(half) for half in halves] != [2, 2]:
            assert time.monotonic() < deadline, halves
            for consumer in (first, second):
                consumer.poll(50)
            halves = [consumer.assignment() for consumer in (first, second)]
    assert len(set.union(*halves)) == 4


@in_child
def test_topics_are_made_described_and_deleted(bootstrap, topic):
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 3, "configs": {"retention.ms": "5000000"}}})
        assert topic in admin.list_topics()
        (described,) = admin.describe_topics([topic])
        assert len(described["partitions"]) == 3
        with pytest.raises(TopicAlreadyExistsError):
            admin.create_topics({topic: {"num_partitions": 3}})
        admin.create_partitions({topic: 5})
        (described,) = admin.describe_topics([topic])
        assert len(described["partitions"]) == 5
        admin.delete_topics([topic])
        assert topic not in admin.list_topics()
        with pytest.raises(UnknownTopicOrPartitionError):
            admin.delete_topics([topic])


@in_child
def test_settings_are_described_and_altered(bootstrap, topic):
    def own():
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        return admin.describe_configs([resource])["topic"][topic]

    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 1, "configs": {"retention.ms": "5000000"}}})
        assert own()["retention.ms"]["value"] == "5000000"
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": "7000"})])
        assert own()["max.message.bytes"]["value"] == "7000"
        assert own()["retention.ms"]["value"] == "5000000"
        admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=["retention.ms"])])
        assert "retention.ms" not in own()


@in_child
def test_records_are_deleted_and_offsets_listed(bootstrap, topic):
    write(bootstrap, topic, numbered(10))
    partition = TopicPartition(topic, 0)
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.delete_records({partition: 6})
        assert admin.list_partition_offsets({partition: OffsetSpec.EARLIEST})[partition].offset == 6
        assert admin.list_partition_offsets({partition: OffsetSpec.LATEST})[partition].offset == 10


@in_child
def test_groups_are_listed_described_altered_and_deleted(bootstrap, topic, group):
    write(bootstrap, topic, numbered(10))
    partition = TopicPartition(topic, 0)
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        with consumer_of(bootstrap, topic, group_id=group, client_id="one of them") as consumer:
            take(consumer, 10)
            consumer.commit()
            described = admin.describe_groups([group])[group]
            assert described["group_state"] == "Stable"
            assert [member["client_id"] for member in described["members"]] == ["one of them"]
        assert group in {each["group_id"] for each in admin.list_groups()}
        assert admin.list_group_offsets({group: None})[group][partition].offset == 10
        admin.alter_group_offsets(group, {partition: OffsetAndMetadata(4, "", -1)})
        assert admin.list_group_offsets({group: None})[group][partition].offset == 4
        admin.delete_groups([group])
        assert group not in {each["group_id"] for each in admin.list_groups()}
        assert admin.delete_groups([group]) == {group: "GroupIdNotFoundError"}


@in_child
def test_the_log_directory_tells_the_size_of_a_partition(bootstrap, topic):
    write(bootstrap, topic, [bytes(range(256)) * 100])
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        (described,) = admin.describe_log_dirs([topic])
    directories = described["log_dirs"] if "log_dirs" in described else described["results"]
    sizes = [
        partition["partition_size"]
        for directory in directories
        for each in directory["topics"]
        for partition in each["partitions"]
    ]
    assert len(sizes) == 1
    assert sizes[0] > 0


def test_it_is_version_3():
    assert kafka.__version__.startswith("3.")
