"""What Kafka's clients produce, Portask's own client reads, and the other way round."""

import pytest

from portask.client import Client, Message
from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import LONGEST_S, consumer, create, read, take, write
from tests.clients.kafka.kcat import Kcat

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
HEADERS = (("kind", b"note"), ("kind", b"again"), ("empty", b""), ("null", None), ("ü", b"\x00\xff"))


@pytest.fixture
def address(server):
    """Where Portask's own protocol is served."""
    return f"127.0.0.1:{server.port}"


@pytest.fixture
def kafka(server):
    """Where Kafka's is, on the same server."""
    return server.bootstrap


def seen_by_portask(address, topic, count):
    """The first *count* messages as (offset, payload, key, headers, timestamp)."""
    with Client(address) as client:
        messages = []
        while len(messages) < count:
            messages += client.read(topic, 0, len(messages), wait=LONGEST_S).messages
    return [
        (message.offset, message.payload, message.key, tuple(message.headers), message.timestamp)
        for message in messages
    ]


def seen_by_kafka(bootstrap, topic, count):
    """The same by confluent-kafka."""
    return [
        (message.offset(), message.value(), message.key(), tuple(message.headers() or ()), message.timestamp()[1])
        for message in read(bootstrap, topic, count)
    ]


@pytest.mark.parametrize("codec", CODECS)
@in_child
def test_portask_reads_what_kafka_produced(kafka, address, topic, codec):
    create(kafka, topic)
    records = [
        {"value": b"a value", "key": b"a key", "headers": list(HEADERS), "timestamp": 1_700_000_000_000},
        {"value": b"", "key": b"", "timestamp": 1_700_000_000_001},
        {"value": None, "key": b"gone", "timestamp": 1_600_000_000_000},
        {"value": b"\x00\xff" * 1000, "timestamp": 1_700_000_000_003},
    ]
    write(kafka, topic, records, compression_type=codec)
    assert seen_by_portask(address, topic, 4) == [
        (0, b"a value", b"a key", HEADERS, 1_700_000_000_000),
        (1, b"", b"", (), 1_700_000_000_001),
        (2, None, b"gone", (), 1_600_000_000_000),
        (3, b"\x00\xff" * 1000, None, (), 1_700_000_000_003),
    ]


@in_child
def test_kafka_reads_what_portask_published(kafka, address, topic):
    messages = [
        Message(b"a value", b"a key", HEADERS, 1_700_000_000_000, None),
        Message(b"", b"", (), 1_700_000_000_001, None),
        Message(None, b"gone", (), 1_600_000_000_000, None),
        Message(b"\x00\xff" * 1000, None, (), 1_700_000_000_003, None),
    ]
    with Client(address) as client:
        assert list(client.publish_many(topic, messages)) == [f"{topic}/0/{offset}" for offset in range(4)]
    assert seen_by_kafka(kafka, topic, 4) == [
        (offset, message.payload, message.key, message.headers, message.timestamp)
        for offset, message in enumerate(messages)
    ]


@in_child
def test_messages_of_both_lie_in_one_log_in_the_order_of_their_arrival(kafka, address, topic):
    with Client(address) as client:
        for number in range(0, 40, 2):
            client.publish(topic, b"%d" % number)
            write(kafka, topic, [{"value": b"%d" % (number + 1)}], compression_type="zstd")
    expected = [(number, b"%d" % number) for number in range(40)]
    assert [row[:2] for row in seen_by_portask(address, topic, 40)] == expected
    assert [row[:2] for row in seen_by_kafka(kafka, topic, 40)] == expected


@in_child
def test_a_large_batch_of_portask_is_read_by_kafka(kafka, address, topic):
    payloads = [b"%06d" % number * 20 for number in range(20_000)]
    with Client(address) as client:
        assert len(list(client.publish_many(topic, payloads))) == len(payloads)
    assert [message.value() for message in read(kafka, topic, len(payloads))] == payloads


@in_child
def test_kafka_finds_messages_of_portask_in_the_middle_of_a_batch(kafka, address, topic):
    with Client(address) as client:
        list(client.publish_many(topic, [b"%d" % number for number in range(1000)]))
    messages = read(kafka, topic, 400, offset=600)
    assert [(message.offset(), message.value()) for message in messages] == [(n, b"%d" % n) for n in range(600, 1000)]


@in_child
def test_portask_consumes_a_topic_of_kafka_in_a_group_of_its_own(kafka, address, topic, group):
    create(kafka, topic)
    write(kafka, topic, [{"value": b"%d" % number} for number in range(100)], compression_type="lz4")
    payloads = []
    with Client(address) as client, client.subscribe(topic, group) as subscription:
        while len(payloads) < 100:
            messages = subscription.receive_many(100)
            payloads += [message.payload for message in messages]
            subscription.ack_many(messages)
    assert payloads == [b"%d" % number for number in range(100)]


@in_child
def test_a_consumer_of_kafka_that_waits_gets_what_portask_publishes(kafka, address, topic, group):
    create(kafka, topic)
    waiting = consumer(kafka, group, fetch_wait_max_ms=30_000)
    waiting.subscribe([topic])
    with Client(address) as client:
        for number in range(20):
            client.publish(topic, b"%d" % number)
            assert take(waiting, 1)[0].value() == b"%d" % number
    waiting.close()


@in_child
def test_kcat_reads_what_portask_published(kafka, address, topic):
    with Client(address) as client:
        client.publish(topic, b"a value", b"a key", {"kind": b"note"}, 1_700_000_000_000)
    (message,) = Kcat(kafka).consume(topic)
    assert (message["payload"], message["key"], message["headers"]) == ("a value", "a key", ["kind", "note"])
    assert message["ts"] == 1_700_000_000_000


@in_child
def test_a_topic_that_portask_deleted_is_gone_for_kafka(kafka, address, topic):
    create(kafka, topic, 2)
    with Client(address) as client:
        assert len(client.topic(topic)["partitions"]) == 2
        client.delete_topic(topic)
    reader = consumer(kafka, allow_auto_create_topics=False)
    assert topic not in reader.list_topics(timeout=LONGEST_S).topics
    reader.close()
