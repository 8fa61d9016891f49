"""confluent-kafka goes to the places of a log that it asks for."""

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    ConsumerGroupTopicPartitions,
    KafkaError,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import (
    LONGEST_S,
    admin_of,
    consumer,
    create,
    error_of,
    one,
    read,
    take,
    values,
    write,
)


@in_child
def test_a_timestamp_is_found(bootstrap, topic):
    create(bootstrap, topic)
    times = [1_700_000_000_000 + 1000 * number for number in range(10)]
    for time in times:
        write(bootstrap, topic, [{"value": b"%d" % time, "timestamp": time}])
    reader = consumer(bootstrap)

    def offset_at(time):
        (place,) = reader.offsets_for_times([TopicPartition(topic, 0, time)], LONGEST_S)
        return place.offset

    assert offset_at(times[0] - 5000) == 0
    assert offset_at(times[4]) == 4
    assert offset_at(times[4] + 1) == 5
    assert offset_at(times[9]) == 9
    assert offset_at(times[9] + 1) == OFFSET_END
    reader.close()


@in_child
def test_a_timestamp_is_found_within_a_compressed_batch(bootstrap, topic):
    create(bootstrap, topic)
    times = [1_700_000_000_000 + 1000 * number for number in range(100)]
    write(bootstrap, topic, [{"value": b"x", "timestamp": time} for time in times], compression_type="gzip")
    reader = consumer(bootstrap)
    (place,) = reader.offsets_for_times([TopicPartition(topic, 0, times[41])], LONGEST_S)
    assert place.offset == 41
    reader.close()


@in_child
def test_watermarks_tell_the_first_offset_and_the_next(bootstrap, topic):
    create(bootstrap, topic)
    reader, partition = consumer(bootstrap), TopicPartition(topic, 0)
    assert reader.get_watermark_offsets(partition, LONGEST_S) == (0, 0)
    write(bootstrap, topic, values(10))
    assert reader.get_watermark_offsets(partition, LONGEST_S) == (0, 10)
    admin = admin_of(bootstrap)
    one(admin.delete_records([TopicPartition(topic, 0, 4)]))
    assert reader.get_watermark_offsets(partition, LONGEST_S) == (4, 10)
    reader.close()


@in_child
def test_the_offsets_of_a_partition_are_listed(bootstrap, topic):
    create(bootstrap, topic)
    times = [1_700_000_000_000, 1_700_000_009_000, 1_700_000_005_000]
    for time in times:
        write(bootstrap, topic, [{"value": b"x", "timestamp": time}])
    admin = admin_of(bootstrap)

    def listed(spec):
        return one(admin.list_offsets({TopicPartition(topic, 0): spec}))

    assert listed(OffsetSpec.earliest()).offset == 0
    assert listed(OffsetSpec.latest()).offset == 3
    assert listed(OffsetSpec.for_timestamp(times[1])).offset == 1
    newest = listed(OffsetSpec.max_timestamp())
    assert (newest.offset, newest.timestamp) == (1, times[1])


@pytest.mark.parametrize("codec", ["none", "zstd"])
@in_child
def test_reading_begins_in_the_middle_of_a_batch(bootstrap, topic, codec):
    create(bootstrap, topic)
    write(bootstrap, topic, values(100), linger_ms=200, compression_type=codec)
    messages = read(bootstrap, topic, 43, offset=57)
    assert [message.offset() for message in messages] == list(range(57, 100))
    assert messages[0].value() == b"message 57"


@in_child
def test_a_consumer_seeks_back_and_ahead(bootstrap, topic):
    create(bootstrap, topic)
    write(bootstrap, topic, values(50))
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert [message.offset() for message in take(reader, 30)] == list(range(30))
    for place in (3, 45):
        reader.seek(TopicPartition(topic, 0, place))
        assert [message.offset() for message in take(reader, 5)] == list(range(place, place + 5))
    reader.close()


@in_child
def test_a_paused_partition_gives_nothing_until_it_is_resumed(bootstrap, topic):
    create(bootstrap, topic, 2)
    for partition in (0, 1):
        write(bootstrap, topic, [{"value": b"%d" % number, "partition": partition} for number in range(20)])
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in (0, 1)])
    reader.pause([TopicPartition(topic, 1)])
    assert {message.partition() for message in take(reader, 20)} == {0}
    reader.resume([TopicPartition(topic, 1)])
    assert [(message.partition(), message.offset()) for message in take(reader, 20)] == [(1, n) for n in range(20)]
    reader.close()


@in_child
def test_the_end_of_a_partition_is_reported(bootstrap, topic):
    create(bootstrap, topic)
    write(bootstrap, topic, values(3))
    reader = consumer(bootstrap, enable_partition_eof=True)
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    take(reader, 3)
    assert error_of(reader) == KafkaError._PARTITION_EOF
    reader.close()


@in_child
def test_a_group_without_offsets_begins_at_the_first_message(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(5))
    reader = consumer(bootstrap, group, auto_offset_reset="earliest")
    reader.subscribe([topic])
    assert take(reader, 1)[0].offset() == 0
    reader.close()


@in_child
def test_a_group_without_offsets_begins_after_the_last_message_if_it_wants(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(5))
    reader = consumer(bootstrap, group, auto_offset_reset="latest", enable_partition_eof=True)
    reader.subscribe([topic])
    assert error_of(reader) == KafkaError._PARTITION_EOF
    write(bootstrap, topic, values(1, start=5))
    assert take(reader, 1)[0].offset() == 5
    reader.close()


@in_child
def test_a_group_without_offsets_gets_an_error_if_it_wants(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(5))
    reader = consumer(bootstrap, group, auto_offset_reset="error")
    reader.subscribe([topic])
    assert error_of(reader) == KafkaError._AUTO_OFFSET_RESET
    reader.close()


@pytest.mark.parametrize("offset", [6, 1_000_000])
@in_child
def test_an_offset_after_the_end_is_out_of_range(bootstrap, topic, offset):
    create(bootstrap, topic)
    write(bootstrap, topic, values(5))
    reader = consumer(bootstrap, auto_offset_reset="error")
    reader.assign([TopicPartition(topic, 0, offset)])
    message = None
    while message is None:
        message = reader.poll(1)
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET
    assert "out of range" in message.error().str().lower()
    reader.close()


@in_child
def test_an_offset_before_the_start_is_reset_to_the_start(bootstrap, topic):
    create(bootstrap, topic)
    write(bootstrap, topic, values(10))
    admin = admin_of(bootstrap)
    one(admin.delete_records([TopicPartition(topic, 0, 4)]))
    assert read(bootstrap, topic, 1, offset=2)[0].offset() == 4


@in_child
def test_a_batch_above_the_fetch_limit_comes_all_the_same(bootstrap, topic):
    create(bootstrap, topic)
    write(bootstrap, topic, [{"value": bytes(500_000)}, {"value": b"small"}], linger_ms=0)
    messages = read(bootstrap, topic, 2, max_partition_fetch_bytes=1000, fetch_max_bytes=1000, message_max_bytes=1000)
    assert [len(message.value()) for message in messages] == [500_000, 5]


@in_child
def test_a_fetch_answers_when_its_wait_is_over_though_few_bytes_are_there(bootstrap, topic):
    create(bootstrap, topic)
    write(bootstrap, topic, values(1))
    (message,) = read(bootstrap, topic, 1, fetch_min_bytes=10_000_000, fetch_wait_max_ms=300)
    assert message.offset() == 0


@in_child
def test_a_topic_that_is_unknown_is_not_made_by_a_consumer(bootstrap, topic, group):
    reader = consumer(bootstrap, group, allow_auto_create_topics=False)
    reader.subscribe([topic])
    assert error_of(reader) == KafkaError.UNKNOWN_TOPIC_OR_PART
    reader.close()
    admin = admin_of(bootstrap)
    assert topic not in admin.list_topics(timeout=LONGEST_S).topics


@in_child
def test_a_consumer_finds_topics_by_a_pattern(bootstrap, topic, group):
    for suffix in ("-a", "-b"):
        create(bootstrap, topic + suffix)
        write(bootstrap, topic + suffix, values(1))
    reader = consumer(bootstrap, group)
    reader.subscribe([f"^{topic}-.*"])
    assert {message.topic() for message in take(reader, 2)} == {topic + "-a", topic + "-b"}
    reader.close()


@in_child
def test_a_committed_offset_keeps_its_metadata(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(9))
    reader = consumer(bootstrap, group)
    reader.commit(offsets=[TopicPartition(topic, 0, 7, "a note")], asynchronous=False)
    reader.close()
    (place,) = consumer(bootstrap, group).committed([TopicPartition(topic, 0)], LONGEST_S)
    assert (place.offset, place.metadata) == (7, "a note")


@in_child
def test_a_group_goes_on_where_it_committed(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(20))
    first = consumer(bootstrap, group)
    first.subscribe([topic])
    seventh = take(first, 7)[-1]
    first.commit(seventh, asynchronous=False)
    first.close()
    second = consumer(bootstrap, group)
    second.subscribe([topic])
    assert [message.offset() for message in take(second, 13)] == list(range(7, 20))
    second.close()


@in_child
def test_offsets_are_committed_by_the_clock_and_when_a_consumer_closes(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(20))
    reader = consumer(bootstrap, group, enable_auto_commit=True, auto_commit_interval_ms=100)
    reader.subscribe([topic])
    take(reader, 20)
    reader.close()
    admin = admin_of(bootstrap)
    listed = one(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
    assert [(place.partition, place.offset) for place in listed.topic_partitions] == [(0, 20)]
