"""KafkaJS: producer, consumer group and admin client."""

import os

import pytest

from tests.clients import toolchain
from tests.clients.program import Program, column


@pytest.fixture
def kafkajs(node_modules, bootstrap):
    environ = {**os.environ, "NODE_PATH": str(node_modules)}
    return Program(["node", toolchain.NODE.sources / "client.js"], bootstrap, dashes="--", environ=environ)


@pytest.fixture
def orders(kafkajs, topic):
    """A topic with one partition."""
    kafkajs("create", topic=topic)
    return topic


def numbers(rows):
    return [int(row["value"].removeprefix("value ")) for row in rows]


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_what_a_producer_sends_each_message_gets(kafkajs, orders, group, codec):
    assert kafkajs("produce", topic=orders, count=3, codec=codec) == [{"partition": 0, "offset": 0, "error": 0}]
    assert kafkajs("group", topic=orders, group=group, count=3) == [
        {"partition": 0, "offset": n, "key": f"key {n}", "value": f"value {n}", "headers": {"number": str(n)}}
        for n in range(3)
    ]


def test_a_producer_with_idempotence_gets_one_offset_after_the_other(kafkajs, orders):
    sent = [kafkajs("produce", topic=orders, count=5, idempotent="true") for _ in range(2)]
    assert [column(rows, "offset") for rows in sent] == [[0], [5]]


def test_a_producer_that_waits_for_no_answer_is_served(kafkajs, orders, group):
    kafkajs("produce", topic=orders, count=5, acks=0)
    assert numbers(kafkajs("group", topic=orders, group=group, count=5)) == list(range(5))


def test_a_producer_gets_the_topic_that_it_writes_to(kafkajs, topic):
    kafkajs("produce", topic=topic)
    assert topic in column(kafkajs("topics"), "topic")


def test_a_group_goes_on_behind_what_it_committed(kafkajs, orders, group):
    kafkajs("produce", topic=orders, count=10)
    first = kafkajs("group", topic=orders, group=group, count=6)
    assert kafkajs("committed", topic=orders, group=group) == [{"partition": 0, "offset": 6}]
    second = kafkajs("group", topic=orders, group=group, count=4)
    assert (numbers(first), numbers(second)) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])


def test_an_offset_set_by_the_admin_client_is_where_the_group_begins(kafkajs, orders, group):
    kafkajs("produce", topic=orders, count=10)
    kafkajs("commit", topic=orders, group=group, offset=8)
    assert numbers(kafkajs("group", topic=orders, group=group, count=2)) == [8, 9]


def test_a_group_is_listed_described_and_deleted(kafkajs, orders, group):
    kafkajs("produce", topic=orders)
    kafkajs("group", topic=orders, group=group)
    assert {"group": group, "protocol": "consumer"} in kafkajs("groups")
    assert kafkajs("describe-group", group=group) == [{"state": "Empty", "members": 0}]
    kafkajs("delete-group", group=group)
    assert group not in column(kafkajs("groups"), "group")


def test_a_topic_is_described_with_its_partitions(kafkajs, topic):
    assert kafkajs("create", topic=topic, partitions=3) == [{"made": True}]
    described = kafkajs("describe", topic=topic)
    assert column(described, "partition") == [0, 1, 2]
    assert all(row["isr"] == [row["leader"]] for row in described)


def test_a_topic_that_is_there_is_not_made_again(kafkajs, orders):
    assert kafkajs("create", topic=orders) == [{"made": False}]


def test_partitions_are_added(kafkajs, orders):
    kafkajs("add-partitions", topic=orders, partitions=3)
    assert column(kafkajs("describe", topic=orders), "partition") == [0, 1, 2]


def test_a_deleted_topic_is_gone(kafkajs, orders):
    kafkajs("delete", topic=orders)
    assert orders not in column(kafkajs("topics"), "topic")


def test_the_ends_of_a_topic_are_told(kafkajs, orders):
    kafkajs("produce", topic=orders, count=10)
    assert kafkajs("offsets", topic=orders) == [{"partition": 0, "start": 0, "end": 10}]


def test_the_offset_at_a_time_is_that_of_the_first_record_not_older(kafkajs, orders):
    kafkajs("produce", topic=orders, count=10)
    assert kafkajs("offset-at", topic=orders, millis=1000) == [{"offset": 0}]


def test_deleted_records_move_the_start(kafkajs, orders):
    kafkajs("produce", topic=orders, count=10)
    kafkajs("delete-records", topic=orders, offset=4)
    assert kafkajs("offsets", topic=orders) == [{"partition": 0, "start": 4, "end": 10}]


def test_records_beyond_the_end_cannot_be_deleted(kafkajs, orders):
    assert "Error while deleting records" in kafkajs.failure("delete-records", topic=orders, offset=4)


def test_altering_all_configs_takes_the_others_back(kafkajs, topic):
    kafkajs("create", topic=topic, name="retention.ms", value="60000")
    kafkajs("alter-config", topic=topic, name="segment.bytes", value="2000000")
    assert kafkajs("configs", topic=topic, name="segment.bytes") == [{"name": "segment.bytes", "value": "2000000"}]
    assert kafkajs("configs", topic=topic, name="retention.ms") == [{"name": "retention.ms", "value": "604800000"}]


def test_the_cluster_names_the_address_that_the_client_came_by(kafkajs, bootstrap):
    (described,) = kafkajs("cluster")
    assert (described["brokers"], described["address"]) == (1, bootstrap)
    assert described["id"]
