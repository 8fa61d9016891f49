"""Messages of AMQP seen by Kafka, those of Kafka seen by AMQP, and what comes back of both."""

import itertools
import os
import time
from datetime import UTC, datetime
from decimal import Decimal

import pika
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from tests.clients.amqp.session import PERSISTENT, Consumer, channel_refused, drain, eventually, get, ready
from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import LONGEST_S, admin_of, consumer, create, read, write
from tests.clients.ports import AllPorts

NUMBERS = itertools.count()
TYPED = {
    "text": "ü",
    "number": 5,
    "large": 1 << 40,
    "flag": True,
    "nothing": None,
    "bytes": b"\xff\x00",
    "price": Decimal("1.25"),
    "time": datetime(2026, 11, 23, 12, tzinfo=UTC),
    "words": ["one", "two"],
    "array": [1, {"deep": b"\xfe"}],
    "table": {"a": {"b": None}},
}
EVERY = pika.BasicProperties(
    content_type="text/plain",
    content_encoding="utf-8",
    headers=TYPED,
    delivery_mode=2,
    priority=3,
    correlation_id="c-1",
    reply_to="answers",
    expiration="600000",
    message_id="m-1",
    timestamp=1_700_000_000,
    type="note",
    user_id="guest",
    app_id="shop",
    cluster_id="here",
)
ORIGIN = ("kafka.topic", "kafka.partition", "kafka.offset")


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """A server with all protocols."""
    server = AllPorts(tmp_path_factory.mktemp("server") / "data")
    server.start()
    yield server.ports
    server.kill()


@pytest.fixture
def name():
    """A name that nothing has."""
    return f"orders-{os.getpid()}-{next(NUMBERS)}"


def is_same(copy, original):
    """Whether two deliveries differ in nothing but in saying where the copy came from."""
    assert original.properties.headers.keys() == TYPED.keys()
    for name in ORIGIN:
        del copy.headers[name]
    same = (copy.body, copy.method.routing_key) == (original.body, original.method.routing_key)
    return same and copy.properties == original.properties


def publish(ports, queue, body, properties=PERSISTENT, **arguments):
    """Declare a durable queue and publish one message to it."""
    with ports.channel() as channel:
        channel.queue_declare(queue, durable=True, arguments=arguments)
        channel.basic_publish("", queue, body, properties)


# -- by AMQP, seen by the others --------------------------------------------------------------------------------------


@in_child
def test_durable_queue_is_a_topic_of_one_partition(ports, name):
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
    topic = admin_of(ports.bootstrap).list_topics(timeout=LONGEST_S).topics[name]

    assert list(topic.partitions) == [0]


@in_child
def test_kafka_reads_body_and_routing_key(ports, name):
    with ports.channel() as channel:
        channel.exchange_declare(name, "topic", durable=True)
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, name, "orders.*")
        channel.basic_publish(name, "orders.new", b"hello", PERSISTENT)
    ((message, headers),) = ports.seen_by_kafka(name, 1)

    assert (message.value(), message.key()) == (b"hello", b"orders.new")
    assert ("amqp.exchange", name.encode()) in headers


@in_child
def test_kafka_reads_properties_as_headers(ports, name):
    publish(ports, name, b"hello", EVERY)
    ((message, headers),) = ports.seen_by_kafka(name, 1)
    found = dict(headers)

    assert found["amqp.content_type"] == b"text/plain"
    assert found["amqp.priority"] == b"3"
    assert found["amqp.timestamp"] == b"1700000000"
    assert found["text"] == "ü".encode()
    assert found["bytes"] == b"\xff\x00"
    assert found["nothing"] is None
    assert found["number"] == b"5"
    assert found["table"] == b'{"a": {"b": null}}'
    assert [content for name, content in headers if name == "words"] == [b"one", b"two"]
    assert message.timestamp()[1] == 1_700_000_000_000


@in_child
def test_kafka_reads_the_time_of_arrival_of_a_message_without_a_timestamp(ports, name):
    before = time.time() * 1000 - 1
    publish(ports, name, b"hello")
    ((message, _),) = ports.seen_by_kafka(name, 1)

    assert before <= message.timestamp()[1] <= time.time() * 1000 + 1


@in_child
def test_empty_body_is_no_tombstone(ports, name):
    publish(ports, name, b"")
    ((message, _),) = ports.seen_by_kafka(name, 1)

    assert message.value() == b""


@in_child
def test_portask_reads_headers_and_properties(ports, name):
    publish(ports, name, b"hello", EVERY)
    (message,) = ports.seen_by_native(name, 1)

    assert (message.payload, message.key) == (b"hello", name.encode())
    assert dict(message.headers)["text"] == "ü".encode()
    assert [content for word, content in message.headers if word == "words"] == [b"one", b"two"]
    assert not [word for word, _ in message.headers if word.startswith("amqp.")]
    assert b"text/plain" in message.properties


@in_child
def test_message_that_kafka_copies_is_the_same_for_amqp(ports, name):
    publish(ports, name, b"hello", EVERY)
    ((message, headers),) = ports.seen_by_kafka(name, 1)
    with ports.channel() as channel:
        original = get(channel, name, auto_ack=True)
        write(ports.bootstrap, name, [{"value": message.value(), "key": message.key(), "headers": headers}])
        copy = get(channel, name)

    assert is_same(copy, original)


@in_child
def test_message_that_portask_copies_is_the_same_for_amqp(ports, name):
    publish(ports, name, b"hello", EVERY)
    (message,) = ports.seen_by_native(name, 1)
    with ports.channel() as channel, ports.client() as client:
        original = get(channel, name, auto_ack=True)
        client.publish(name, message.payload, message.key, message.headers, properties=message.properties)
        copy = get(channel, name)

    assert is_same(copy, original)


# -- by Kafka, seen by AMQP -------------------------------------------------------------------------------------------


@in_child
def test_amqp_reads_key_headers_and_origin(ports, name):
    create(ports.bootstrap, name)
    record = {
        "value": b"hello",
        "key": b"orders.new",
        "headers": [("kind", b"note"), ("raw", b"\xff"), ("null", None)],
        "timestamp": 1_700_000_000_123,
    }
    write(ports.bootstrap, name, [record])
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        message = get(channel, name)

    assert (message.body, message.method.exchange, message.method.routing_key) == (b"hello", "", "orders.new")
    assert message.headers == {
        "kind": "note",
        "raw": b"\xff",
        "null": None,
        "kafka.topic": name,
        "kafka.partition": 0,
        "kafka.offset": 0,
    }
    assert message.properties.timestamp == 1_700_000_000


@in_child
def test_amqp_reads_a_tombstone_as_an_empty_body(ports, name):
    create(ports.bootstrap, name)
    write(ports.bootstrap, name, [{"value": None, "key": b"gone"}])
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        message = get(channel, name)

    assert (message.body, message.method.routing_key) == (b"", "gone")
    assert message.headers["kafka.tombstone"] is True


@in_child
def test_tombstone_that_amqp_copies_is_one_for_kafka(ports, name):
    create(ports.bootstrap, name)
    write(ports.bootstrap, name, [{"value": None, "key": b"gone"}])
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        message = get(channel, name)
        channel.basic_publish("", name, message.body, message.properties)

    assert [message.value() for message in read(ports.bootstrap, name, 2)] == [None, None]


@in_child
def test_record_without_a_key_has_the_name_of_the_queue(ports, name):
    create(ports.bootstrap, name)
    write(ports.bootstrap, name, [{"value": b"hello"}])
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)

        assert get(channel, name).method.routing_key == name


@in_child
def test_headers_of_kafka_set_properties(ports, name):
    create(ports.bootstrap, name)
    headers = [("amqp.content_type", b"text/plain"), ("amqp.priority", b"4"), ("amqp.timestamp", b"soon")]
    write(ports.bootstrap, name, [{"value": b"hello", "headers": headers}])
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        message = get(channel, name)

    assert (message.properties.content_type, message.properties.priority) == ("text/plain", 4)
    assert message.headers["amqp.timestamp"] == "soon"


@in_child
def test_record_that_amqp_copies_is_the_same_for_kafka(ports, name):
    create(ports.bootstrap, name)
    headers = [("kind", b"note"), ("raw", b"\xff"), ("null", None), ("twice", b"a"), ("twice", b"b"), ("", b"")]
    write(ports.bootstrap, name, [{"value": b"\x00\xff", "key": b"orders.new", "headers": headers}])
    copy = f"{name}-copy"
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        channel.queue_declare(copy, durable=True)
        channel.exchange_declare(copy, "fanout", durable=True)
        channel.queue_bind(copy, copy)
        message = get(channel, name)
        channel.basic_publish(copy, message.method.routing_key, message.body, message.properties)
    ((copied, found),) = ports.seen_by_kafka(copy, 1)

    assert (copied.value(), copied.key()) == (b"\x00\xff", b"orders.new")
    assert [header for header in found if header in headers] == headers


@in_child
def test_keys_that_are_no_text_and_long_ones_do_no_harm(ports, name):
    create(ports.bootstrap, name)
    write(ports.bootstrap, name, [{"value": b"1", "key": b"\xff\xfe"}, {"value": b"2", "key": b"k" * 300}])
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        first, second = get(channel, name), get(channel, name)

    assert first.body == b"1"
    assert (second.body, second.method.routing_key) == (b"2", "k" * 255)


# -- a queue of its own -----------------------------------------------------------------------------------------------


@in_child
def test_own_queue_is_trimmed_as_it_is_settled(ports, name):
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        for number in range(5):
            channel.basic_publish("", name, b"%d" % number, PERSISTENT)
        for _ in range(3):
            channel.basic_ack(get(channel, name).tag)
        (trimmed,) = eventually(lambda: [low for low in [bounds(ports, name)[0]] if low == 3])

    assert trimmed == 3
    assert [message.value() for message, _ in ports.seen_by_kafka(name, 2)] == [b"3", b"4"]


@in_child
def test_stream_keeps_what_is_settled(ports, name):
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
        channel.basic_publish("", name, b"hello", PERSISTENT)
        channel.basic_qos(prefetch_count=1)
        for method, _, _ in channel.consume(name, arguments={"x-stream-offset": "first"}):
            channel.basic_ack(method.delivery_tag)
            break
        channel.cancel()

    assert [message.value() for message, _ in ports.seen_by_kafka(name, 1)] == [b"hello"]


@in_child
def test_subscribers_without_a_group_compete_with_consumers(ports, name):
    with ports.channel() as channel, ports.client() as client:
        channel.queue_declare(name, durable=True)
        for number in range(4):
            channel.basic_publish("", name, b"%d" % number, PERSISTENT)
        with client.subscribe(name, prefetch=2) as subscription:
            taken = [subscription.receive(timeout=LONGEST_S).payload for _ in range(2)]
            rest = drain(channel, name)

    assert (sorted(taken), rest) == ([b"0", b"1"], [b"2", b"3"])


@pytest.mark.parametrize("kind", ["exclusive", "transient", "illegal", "elsewhere"])
@in_child
def test_hidden_queue_is_shown_to_nobody(ports, name, kind):
    flags = {"exclusive": kind == "exclusive", "durable": kind in ("illegal", "elsewhere")}
    queue = f"{name} ü" if kind == "illegal" else name
    host = "/"
    if kind == "elsewhere":
        host = name
        with ports.client() as client:
            client.define({"vhosts": [{"name": host}]})
    with ports.channel(virtual_host=host) as channel:
        channel.queue_declare(queue, **flags)
        channel.basic_publish("", queue, b"hello", PERSISTENT)
        topics = admin_of(ports.bootstrap).list_topics(timeout=LONGEST_S).topics
        with ports.client() as client:
            names = {topic["name"] for topic in client.topics()}

        assert not [topic for topic in {*topics, *names} if topic.startswith(name)]
        assert drain(channel, queue) == [b"hello"]


@in_child
def test_topic_of_the_name_of_a_hidden_queue_is_another_one(ports, name):
    with ports.channel() as channel:
        channel.queue_declare(name)
        channel.basic_publish("", name, b"by amqp")
        create(ports.bootstrap, name)
        write(ports.bootstrap, name, [{"value": b"by kafka"}])

        assert drain(channel, name) == [b"by amqp"]
    assert [message.value() for message, _ in ports.seen_by_kafka(name, 1)] == [b"by kafka"]


@pytest.mark.parametrize(
    "config",
    [{"cleanup.policy": "compact"}, {"retention.ms": "1"}, {"retention.bytes": "1"}, {"max.message.bytes": "10"}],
)
@in_child
def test_settings_that_kafka_changes_do_no_harm(ports, name, config):
    publish(ports, name, b"before")
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()]
    (future,) = (
        admin_of(ports.bootstrap)
        .incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)])
        .values()
    )
    future.result(LONGEST_S)
    with ports.channel() as channel:
        channel.basic_publish("", name, b"after", PERSISTENT)

        assert drain(channel, name) in ([b"before", b"after"], [b"after"])


# -- a queue on a topic -----------------------------------------------------------------------------------------------


def fill(ports, name, count=9):
    """Make a topic of three partitions, with as many records in each."""
    create(ports.bootstrap, name, 3)
    records = [{"value": b"%d" % number, "key": b"k%d" % number, "partition": number % 3} for number in range(count)]
    write(ports.bootstrap, name, records)
    return {record["value"] for record in records}


def bounds(ports, name, partition=0):
    """First and next offset of a partition."""
    reader = consumer(ports.bootstrap)
    try:
        return reader.get_watermark_offsets(TopicPartition(name, partition), LONGEST_S)
    finally:
        reader.close()


@in_child
def test_attached_queue_has_all_of_the_topic(ports, name):
    everything = fill(ports, name)
    with ports.channel() as channel:
        assert channel.queue_declare(name, durable=True).method.message_count == 9
        assert set(drain(channel, name)) == everything


@in_child
def test_acks_of_an_attached_queue_trim_nothing(ports, name):
    everything = fill(ports, name)
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        drain(channel, name)
        channel.basic_publish("", name, b"later", PERSISTENT)

    assert {bounds(ports, name, partition)[0] for partition in range(3)} == {0}
    assert everything < {message.value() for message in read(ports.bootstrap, name, 10, (0, 1, 2))}


@in_child
def test_key_says_to_which_partition_a_message_goes(ports, name):
    create(ports.bootstrap, name, 3)
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        channel.exchange_declare(name, "fanout", durable=True)
        channel.queue_bind(name, name)
        for number in range(12):
            channel.basic_publish(name, f"k{number}", b"by amqp", PERSISTENT)
    write(ports.bootstrap, name, [{"value": b"by kafka", "key": b"k%d" % number} for number in range(12)])
    places = {}
    for message in read(ports.bootstrap, name, 24, (0, 1, 2)):
        places.setdefault(message.key(), set()).add(message.partition())

    assert all(len(partitions) == 1 for partitions in places.values())
    assert {partition for partitions in places.values() for partition in partitions} == {0, 1, 2}


@in_child
def test_topic_stays_when_the_attached_queue_is_deleted(ports, name):
    everything = fill(ports, name)
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        channel.queue_delete(name)

    assert {message.value() for message in read(ports.bootstrap, name, 9, (0, 1, 2))} == everything


@in_child
def test_consumers_are_told_when_the_topic_is_deleted(ports, name):
    fill(ports, name)
    cancelled = []
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        channel.add_on_cancel_callback(cancelled.append)
        channel.basic_consume(name, lambda *_: None)
        (future,) = admin_of(ports.bootstrap).delete_topics([name]).values()
        future.result(LONGEST_S)

        def told():
            channel.connection.process_data_events(time_limit=0.01)
            return cancelled

        eventually(told)
        with channel_refused(404):
            channel.queue_declare(name, passive=True)


@in_child
def test_kafka_may_delete_the_topic_of_a_queue(ports, name):
    publish(ports, name, b"hello")
    (future,) = admin_of(ports.bootstrap).delete_topics([name]).values()
    future.result(LONGEST_S)
    with ports.channel() as channel, channel_refused(404):
        channel.queue_declare(name, passive=True)


@in_child
def test_what_kafka_writes_to_the_topic_of_a_queue_is_consumed(ports, name):
    publish(ports, name, b"by amqp")
    write(ports.bootstrap, name, [{"value": b"by kafka"}], compression_type="zstd")
    with ports.channel() as channel:
        assert ready(channel, name) == 2
        assert drain(channel, name) == [b"by amqp", b"by kafka"]


@in_child
def test_partitions_that_are_added_are_consumed(ports, name):
    fill(ports, name)
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        drain(channel, name)
        (future,) = admin_of(ports.bootstrap).create_partitions([NewPartitions(name, 4)]).values()
        future.result(LONGEST_S)
        write(ports.bootstrap, name, [{"value": b"new", "partition": 3}])

        assert eventually(lambda: drain(channel, name)) == [b"new"]


@in_child
def test_consumers_and_a_group_of_kafka_read_the_same(ports, name):
    everything = fill(ports, name)
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True)
        assert set(drain(channel, name)) == everything
    reader = consumer(ports.bootstrap, "billing")
    reader.subscribe([name])
    found = set()
    while found != everything:
        message = reader.poll(LONGEST_S)
        found.add(message.value())
    reader.close()


@in_child
def test_attached_queue_goes_on_where_it_was_after_a_kill(tmp_path, name):
    server = AllPorts(tmp_path / "data")
    server.start()
    try:
        everything = fill(server.ports, name)
        with server.ports.channel() as channel:
            channel.queue_declare(name, durable=True)
            taken = {get(channel, name, auto_ack=True).body for _ in range(4)}
            # What is confirmed after the acks makes them durable.
            channel.basic_publish("", name, b"later", PERSISTENT)
        server.kill()
        server.start()
        with server.ports.channel() as channel:
            assert set(drain(channel, name)) == everything - taken | {b"later"}
        assert everything < {message.value() for message in read(server.ports.bootstrap, name, 10, (0, 1, 2))}
    finally:
        server.kill()


@in_child
def test_attached_stream_reads_all_of_the_topic_and_leaves_it_as_it_is(ports, name):
    create(ports.bootstrap, name)
    write(ports.bootstrap, name, [{"value": b"%d" % number} for number in range(5)])
    with ports.channel() as channel:
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
        channel.basic_qos(prefetch_count=10)
        consumer = Consumer(channel, name, arguments={"x-stream-offset": "first"})
        assert consumer.take_bodies(5) == [b"0", b"1", b"2", b"3", b"4"]
        consumer.cancel()
        channel.queue_delete(name)

    assert len(read(ports.bootstrap, name, 5)) == 5
