"""confluent-kafka writes and reads back what it wrote."""

import random

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException

from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import LONGEST_S, consumer, create, producer, read, take, values, write

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("codec", CODECS)
@in_child
def test_what_was_produced_is_consumed_in_order(bootstrap, topic, codec, acks):
    create(bootstrap, topic)
    records = values(500)
    write(bootstrap, topic, records, compression_type=codec, acks=acks)
    messages = read(bootstrap, topic, len(records))
    assert [message.value() for message in messages] == [record["value"] for record in records]
    assert [message.offset() for message in messages] == list(range(len(records)))


@pytest.mark.parametrize("acks", [1, "all"])
@in_child
def test_the_producer_is_told_the_offset_of_each_message(bootstrap, topic, acks):
    create(bootstrap, topic)
    assert write(bootstrap, topic, values(300), acks=acks) == [(0, number) for number in range(300)]
    assert write(bootstrap, topic, values(300), acks=acks) == [(0, number) for number in range(300, 600)]


@pytest.mark.parametrize("codec", CODECS)
@in_child
def test_an_idempotent_producer_writes_each_message_once_and_in_order(bootstrap, topic, codec):
    create(bootstrap, topic, 2)
    records = [{"value": b"%d" % number, "partition": number % 2} for number in range(2000)]
    write(bootstrap, topic, records, compression_type=codec, enable_idempotence=True, batch_num_messages=20)
    for partition in (0, 1):
        messages = read(bootstrap, topic, 1000, [partition])
        assert [int(message.value()) for message in messages] == list(range(partition, 2000, 2))


@pytest.mark.parametrize("codec", CODECS)
@in_child
def test_keys_values_headers_and_timestamps_are_intact(bootstrap, topic, codec):
    create(bootstrap, topic)
    headers = [("kind", b"note"), ("kind", b"again"), ("empty", b""), ("null", None), ("ü", b"\x00\xff")]
    records = [
        {"value": b"a value", "key": b"a key", "headers": headers, "timestamp": 1_700_000_000_000},
        {"value": b"", "key": b"", "timestamp": 1_700_000_000_001},
        {"value": None, "key": b"gone", "timestamp": 1_600_000_000_000},
        {"value": b"\x00\xff" * 1000, "key": None, "timestamp": 1_700_000_000_003},
    ]
    write(bootstrap, topic, records, compression_type=codec)
    for message, record in zip(read(bootstrap, topic, len(records)), records, strict=True):
        assert message.value() == record["value"]
        assert message.key() == record["key"]
        assert message.headers() == record.get("headers")
        assert message.timestamp() == (TIMESTAMP_CREATE_TIME, record["timestamp"])


@in_child
def test_a_topic_may_stamp_its_messages_with_the_time_of_their_arrival(bootstrap, topic):
    create(bootstrap, topic, message_timestamp_type="LogAppendTime")
    write(bootstrap, topic, [{"value": b"one", "timestamp": 1_700_000_000_000}])
    (message,) = read(bootstrap, topic, 1)
    kind, timestamp = message.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert timestamp > 1_750_000_000_000


@in_child
def test_a_hundred_thousand_messages_keep_their_order_in_each_partition(bootstrap, topic):
    create(bootstrap, topic, 4)
    count = 100_000
    records = [{"value": b"%d" % number, "partition": number % 4} for number in range(count)]
    write(bootstrap, topic, records, linger_ms=5, compression_type="lz4")
    seen = {partition: [] for partition in range(4)}
    for message in read(bootstrap, topic, count, range(4)):
        seen[message.partition()].append((message.offset(), int(message.value())))
    for partition in range(4):
        assert seen[partition] == [(number // 4, number) for number in range(partition, count, 4)]


@pytest.mark.parametrize("codec", CODECS)
@in_child
def test_a_message_of_a_megabyte_is_intact(bootstrap, topic, codec):
    create(bootstrap, topic)
    value = random.Random(1).randbytes(1_048_000)
    write(bootstrap, topic, [{"value": value}], compression_type=codec, message_max_bytes=2_000_000)
    (message,) = read(bootstrap, topic, 1)
    assert message.value() == value


@in_child
def test_a_message_above_the_limit_of_the_topic_is_refused(bootstrap, topic):
    create(bootstrap, topic)
    refused = delivery_error(bootstrap, topic, {"value": bytes(1_048_600)}, message_max_bytes=2_000_000)
    assert refused == KafkaError.MSG_SIZE_TOO_LARGE


@in_child
def test_the_connection_goes_on_after_a_message_was_refused(bootstrap, topic):
    create(bootstrap, topic)
    sender = producer(bootstrap, message_max_bytes=2_000_000, linger_ms=0)
    codes = []
    for value in (b"one", bytes(1_048_600), b"two"):
        sender.produce(topic, value, on_delivery=lambda error, _: codes.append(error and error.code()))
        assert sender.flush(LONGEST_S) == 0
    assert codes == [None, KafkaError.MSG_SIZE_TOO_LARGE, None]
    assert [message.value() for message in read(bootstrap, topic, 2)] == [b"one", b"two"]


@in_child
def test_a_topic_may_allow_larger_messages(bootstrap, topic):
    create(bootstrap, topic, max_message_bytes="3000000")
    value = random.Random(2).randbytes(2_500_000)
    write(bootstrap, topic, [{"value": value}], message_max_bytes=3_000_000)
    (message,) = read(bootstrap, topic, 1)
    assert message.value() == value


@in_child
def test_a_topic_may_allow_only_smaller_messages(bootstrap, topic):
    create(bootstrap, topic, max_message_bytes="1000")
    assert delivery_error(bootstrap, topic, {"value": bytes(2000)}) == KafkaError.MSG_SIZE_TOO_LARGE


@in_child
def test_a_topic_is_made_by_the_first_message_to_it(bootstrap, topic):
    assert write(bootstrap, topic, [{"value": b"one"}]) == [(0, 0)]
    (message,) = read(bootstrap, topic, 1)
    assert message.value() == b"one"


@in_child
def test_a_topic_of_an_invalid_name_is_refused(bootstrap):
    assert delivery_error(bootstrap, "not a topic!", {"value": b"one"}) == KafkaError.TOPIC_EXCEPTION


@in_child
def test_a_partition_that_is_not_there_is_unknown(bootstrap, topic):
    create(bootstrap, topic, 2)
    code = delivery_error(bootstrap, topic, {"value": b"one", "partition": 2}, message_timeout_ms=3000)
    assert code == KafkaError._UNKNOWN_PARTITION


@in_child
def test_a_consumer_that_waits_gets_each_message_as_it_comes(bootstrap, topic):
    create(bootstrap, topic)
    waiting = consumer(bootstrap, fetch_wait_max_ms=30_000, fetch_min_bytes=1)
    write(bootstrap, topic, values(1))
    waiting.subscribe([topic])
    assert take(waiting, 1)[0].value() == b"message 0"
    for number in range(1, 20):
        write(bootstrap, topic, values(1, start=number))
        assert take(waiting, 1, longest_s=20)[0].value() == b"message %d" % number
    waiting.close()


def delivery_error(bootstrap, topic, record, **config):
    """The code with which one record is refused."""
    codes = []
    sender = producer(bootstrap, **config)
    try:
        sender.produce(topic, on_delivery=lambda error, _: codes.append(error.code()), **record)
    except KafkaException as error:
        return error.args[0].code()
    assert sender.flush(LONGEST_S) == 0
    return codes[0]
