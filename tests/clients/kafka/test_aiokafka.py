"""aiokafka against the listener."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from tests.clients.kafka.child import in_child

LONGEST_S = 60
CODECS = (None, "gzip", "snappy", "lz4", "zstd")


def run(coroutine):
    """Run one with a deadline."""
    return asyncio.run(asyncio.wait_for(coroutine, LONGEST_S))


async def write(bootstrap, topic, values, **config):
    """Produce *values* and return their offsets."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **config) as producer:
        futures = [await producer.send(topic, value) for value in values]
        return [metadata.offset for metadata in await asyncio.gather(*futures)]


def consumer_of(bootstrap, *topics, **config):
    return AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, **{"auto_offset_reset": "earliest", **config})


async def take(consumer, count):
    """The next *count* records."""
    return [await consumer.getone() for _ in range(count)]


def numbered(count):
    return [b"message %d" % number for number in range(count)]


@pytest.mark.parametrize("acks", [1, "all"])
@pytest.mark.parametrize("codec", CODECS)
@in_child
def test_what_was_produced_is_consumed_in_order(bootstrap, topic, codec, acks):
    async def body():
        offsets = await write(bootstrap, topic, numbered(300), compression_type=codec, acks=acks)
        assert offsets == list(range(300))
        async with consumer_of(bootstrap, topic) as consumer:
            records = await take(consumer, 300)
        assert [record.value for record in records] == numbered(300)

    run(body())


@in_child
def test_messages_without_acks_are_consumed(bootstrap, topic):
    async def body():
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks=0) as producer:
            for value in numbered(300):
                await producer.send(topic, value)
            await producer.flush()
        async with consumer_of(bootstrap, topic) as consumer:
            assert [record.value for record in await take(consumer, 300)] == numbered(300)

    run(body())


@in_child
def test_an_idempotent_producer_is_told_consecutive_offsets(bootstrap, topic):
    offsets = run(write(bootstrap, topic, numbered(1000), enable_idempotence=True, max_batch_size=500))
    assert offsets == list(range(1000))


@in_child
def test_keys_values_headers_and_timestamps_are_intact(bootstrap, topic):
    headers = [("kind", b"note"), ("kind", b"again"), ("empty", b"")]

    async def body():
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            await producer.send_and_wait(topic, b"a value", b"a key", 0, 1_700_000_000_000, headers)
            await producer.send_and_wait(topic, None, b"gone", 0, 1_600_000_000_000)
        async with consumer_of(bootstrap, topic) as consumer:
            return await take(consumer, 2)

    first, second = run(body())
    assert (first.value, first.key, first.timestamp) == (b"a value", b"a key", 1_700_000_000_000)
    assert list(first.headers) == headers
    assert (second.value, second.key, second.timestamp) == (None, b"gone", 1_600_000_000_000)


@in_child
def test_a_message_above_the_limit_is_refused(bootstrap, topic):
    with pytest.raises(MessageSizeTooLargeError):
        run(write(bootstrap, topic, [bytes(1_048_600)], max_request_size=3_000_000))


@in_child
def test_a_consumer_seeks_and_finds_offsets_by_time(bootstrap, topic):
    times = [1_700_000_000_000 + 1000 * number for number in range(5)]
    partition = TopicPartition(topic, 0)

    async def body():
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            for time in times:
                await producer.send_and_wait(topic, b"%d" % time, timestamp_ms=time)
        async with consumer_of(bootstrap, topic) as consumer:
            found = await consumer.offsets_for_times({partition: times[3]})
            assert found[partition].offset == 3
            assert await consumer.beginning_offsets([partition]) == {partition: 0}
            assert await consumer.end_offsets([partition]) == {partition: 5}
            consumer.seek(partition, 3)
            assert [record.offset for record in await take(consumer, 2)] == [3, 4]

    run(body())


@in_child
def test_an_offset_out_of_range_is_reported_if_the_consumer_wants(bootstrap, topic):
    async def body():
        await write(bootstrap, topic, numbered(3))
        async with consumer_of(bootstrap, auto_offset_reset="none") as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            consumer.seek(TopicPartition(topic, 0), 1000)
            with pytest.raises(OffsetOutOfRangeError):
                await take(consumer, 1)

    run(body())


@in_child
def test_a_group_goes_on_where_it_committed(bootstrap, topic, group):
    partition = TopicPartition(topic, 0)

    async def body():
        await write(bootstrap, topic, numbered(20))
        async with consumer_of(bootstrap, topic, group_id=group, enable_auto_commit=False) as consumer:
            await take(consumer, 7)
            await consumer.commit({partition: OffsetAndMetadata(7, "a note")})
        async with consumer_of(bootstrap, topic, group_id=group, enable_auto_commit=False) as consumer:
            assert [record.offset for record in await take(consumer, 13)] == list(range(7, 20))
            assert await consumer.committed(partition) == 7

    run(body())


@in_child
def test_two_consumers_of_a_group_share_the_partitions(bootstrap, topic, group):
    def config():
        return {"group_id": group, "heartbeat_interval_ms": 300, "metadata_max_age_ms": 1000}

    async def body():
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 4, 1)])
        await admin.close()
        async with (
            consumer_of(bootstrap, topic, **config()) as first,
            consumer_of(bootstrap, topic, **config()) as last,
        ):
            readers = [asyncio.create_task(anext(consumer)) for consumer in (first, last)]
            while [len(consumer.assignment()) for consumer in (first, last)] != [2, 2]:  # noqa: ASYNC110  # they tell nobody
                await asyncio.sleep(0.01)
            assert len(first.assignment() | last.assignment()) == 4
            for reader in readers:
                reader.cancel()

    run(body())


@in_child
def test_topics_settings_and_groups_are_administered(bootstrap, topic, group):
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)

    async def body():
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "5000000"})])
            assert topic in await admin.list_topics()
            await admin.create_partitions({topic: NewPartitions(3)})
            (described,) = await admin.describe_topics([topic])
            assert len(described["partitions"]) == 3
            (answer,) = await admin.describe_configs([resource])
            ((_, _, _, _, entries),) = answer.resources
            assert {name: value for name, value, *_ in entries}["retention.ms"] == "5000000"
            await write(bootstrap, topic, numbered(10), enable_idempotence=True)
            async with consumer_of(bootstrap, topic, group_id=group) as consumer:
                await take(consumer, 10)
                await consumer.commit()
            assert (group, "consumer") in await admin.list_consumer_groups()
            offsets = await admin.list_consumer_group_offsets(group)
            assert sum(place.offset for place in offsets.values()) == 10
            await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(0)})
            await admin.delete_topics([topic])
            assert topic not in await admin.list_topics()
        finally:
            await admin.close()

    run(body())
