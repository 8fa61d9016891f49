"""Queues whose topics lose messages by what Kafka's clients ask for: they go on with the rest."""

import random

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.clients.amqp.session import PERSISTENT, drain, eventually, get, ready
from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import admin_of, one
from tests.clients.ports import AllPorts

BODY = random.Random(1).randbytes(5000)
COUNT = 60


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """A server that removes and compacts at once what may go."""
    server = AllPorts(
        tmp_path_factory.mktemp("server") / "data",
        *("--segment-bytes", "65536", "--journal-bytes", "65536"),
        *("--retention-interval-ms", "10", "--compaction-interval-ms", "10"),
    )
    server.start()
    yield server.ports
    server.kill()


def fill(channel, queue):
    """A durable queue with numbered messages, the first of which is unacked."""
    channel.queue_declare(queue, durable=True)
    for number in range(COUNT):
        channel.basic_publish("", queue, b"%d " % number + BODY, PERSISTENT)
    return get(channel, queue)


def numbers(bodies):
    return [int(body.split(b" ")[0]) for body in bodies]


def alter(ports, queue, **config):
    """Change settings of the queue's topic."""
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for key, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, queue, incremental_configs=entries)
    one(admin_of(ports.bootstrap).incremental_alter_configs([resource]))


@in_child
def test_retention_takes_the_oldest_and_the_rest_is_consumed(ports):
    with ports.channel() as channel:
        first = fill(channel, "kept")
        alter(ports, "kept", cleanup_policy="delete", retention_bytes="65536")
        eventually(lambda: ready(channel, "kept") < COUNT - 1)
        channel.basic_ack(first.tag)
        left = numbers(drain(channel, "kept"))

        assert left == list(range(COUNT - len(left), COUNT))
        assert ready(channel, "kept") == 0


@in_child
def test_compaction_takes_older_ones_and_the_rest_is_consumed_in_order(ports):
    with ports.channel() as channel:
        first = fill(channel, "compacted")
        alter(ports, "compacted", cleanup_policy="compact", min_cleanable_dirty_ratio="0.0")
        channel.basic_nack(first.tag)
        left = numbers(drain(channel, "compacted"))

        assert left == sorted(set(left))
        assert left[-1] == COUNT - 1
        eventually(lambda: ready(channel, "compacted") == 0)


@in_child
def test_records_of_a_queue_are_not_deleted_before_its_settings_allow_it(ports):
    with ports.channel() as channel:
        fill(channel, "whole")
        with pytest.raises(KafkaException, match="POLICY_VIOLATION"):
            one(admin_of(ports.bootstrap).delete_records([TopicPartition("whole", 0, 50)]))


@in_child
def test_deleted_records_are_not_delivered(ports):
    with ports.channel() as channel:
        channel.basic_ack(fill(channel, "cut").tag)
        alter(ports, "cut", cleanup_policy="delete")
        one(admin_of(ports.bootstrap).delete_records([TopicPartition("cut", 0, 50)]))

        assert ready(channel, "cut") == COUNT - 50
        assert numbers(drain(channel, "cut")) == list(range(50, COUNT))


@in_child
def test_message_larger_than_the_topic_allows_is_refused_or_kept_and_hurts_nobody(ports):
    with ports.channel() as channel:
        channel.queue_declare("small", durable=True)
        alter(ports, "small", max_message_bytes="1000")
        channel.basic_publish("", "small", BODY, PERSISTENT)
        channel.basic_publish("", "small", b"hello", PERSISTENT)

        assert drain(channel, "small")[-1] == b"hello"
