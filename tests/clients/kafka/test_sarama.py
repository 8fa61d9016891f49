"""Sarama: producers, consumers and the admin client, at the version it takes by default and at the highest it knows.

What the default version of Kafka did not have yet is asked for at the highest only.
"""

import pytest

from tests.clients.program import Program, column

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture
def sarama(go_programs, bootstrap):
    return Program([go_programs / "sarama"], bootstrap)


@pytest.fixture(params=["default", "max"])
def version(request):
    """The version of Kafka that Sarama is told to speak to."""
    return request.param


@pytest.fixture
def orders(sarama, topic, version):
    """A topic with one partition."""
    sarama("create", topic=topic, version=version)
    return topic


def numbers(rows):
    return [int(row["value"].removeprefix("value ")) for row in rows]


def test_a_sync_producer_gets_one_offset_after_the_other(sarama, orders, version):
    assert column(sarama("produce", topic=orders, count=20, version=version), "offset") == list(range(20))


def test_an_async_producer_gets_one_offset_after_the_other(sarama, orders, version):
    sent = sarama("produce-async", topic=orders, count=500, version=version)
    assert sorted(column(sent, "offset")) == list(range(500))
    assert numbers(sarama("consume", topic=orders, count=500, version=version)) == list(range(500))


def test_a_producer_with_idempotence_gets_one_offset_after_the_other(sarama, orders, version):
    sent = sarama("produce", topic=orders, count=20, idempotent=True, version=version)
    assert column(sent, "offset") == list(range(20))


@pytest.mark.parametrize("codec", CODECS)
def test_keys_values_and_headers_come_back_as_they_were_sent(sarama, orders, version, codec):
    sarama("produce-async", topic=orders, count=3, codec=codec, version=version)
    assert sarama("consume", topic=orders, count=3, version=version) == [
        {"partition": 0, "offset": n, "key": f"key {n}", "value": f"value {n}", "headers": {"number": str(n)}}
        for n in range(3)
    ]


def test_a_consumer_starts_at_the_offset_that_it_asks_for(sarama, orders, version):
    sarama("produce-async", topic=orders, count=10, version=version)
    assert numbers(sarama("consume", topic=orders, offset=7, count=3, version=version)) == [7, 8, 9]


def test_a_group_goes_on_behind_what_it_committed(sarama, orders, version, group):
    sarama("produce-async", topic=orders, count=10, version=version)
    first = sarama("group", topic=orders, group=group, count=6, version=version)
    second = sarama("group", topic=orders, group=group, count=4, version=version)
    assert (numbers(first), numbers(second)) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])


def test_the_offsets_of_a_group_are_told(sarama, orders, version, group):
    sarama("produce-async", topic=orders, count=10, version=version)
    sarama("group", topic=orders, group=group, count=6, version=version)
    assert sarama("committed", group=group, version=version) == [{"topic": orders, "partition": 0, "offset": 6}]


def test_an_offset_of_a_group_can_be_deleted_alone(sarama, topic, group):
    sarama("create", topic=topic, version="max")
    sarama("produce-async", topic=topic, count=10, version="max")
    sarama("group", topic=topic, group=group, count=6, version="max")
    sarama("delete-offset", group=group, topic=topic, version="max")
    assert sarama("committed", group=group, version="max") == []


def test_a_group_is_listed_described_and_deleted(sarama, orders, version, group):
    sarama("produce-async", topic=orders, version=version)
    sarama("group", topic=orders, group=group, version=version)
    assert {"group": group, "protocol": "consumer"} in sarama("groups", version=version)
    assert sarama("describe-group", group=group, version=version) == [{"state": "Empty", "members": 0}]
    sarama("delete-group", group=group, version=version)
    assert group not in column(sarama("groups", version=version), "group")


def test_a_topic_is_described_with_its_partitions(sarama, topic, version):
    sarama("create", topic=topic, partitions=3, version=version)
    described = sarama("describe", topic=topic, version=version)
    assert column(described, "partition") == [0, 1, 2]
    assert all(row["isr"] == row["replicas"] == [row["leader"]] for row in described)
    assert {"topic": topic, "partitions": 3} in sarama("topics", version=version)


def test_partitions_are_added(sarama, orders, version):
    sarama("add-partitions", topic=orders, partitions=3, version=version)
    assert column(sarama("describe", topic=orders, version=version), "partition") == [0, 1, 2]


def test_a_deleted_topic_is_gone(sarama, orders, version):
    sarama("delete", topic=orders, version=version)
    assert orders not in column(sarama("topics", version=version), "topic")


def test_a_topic_cannot_be_created_twice(sarama, orders, version):
    assert "already exists" in sarama.failure("create", topic=orders, version=version)


def test_a_config_is_changed_alone(sarama, topic):
    sarama("create", topic=topic, name="retention.ms", value="60000", version="max")
    sarama("alter-config", topic=topic, name="segment.bytes", value="2000000", version="max")
    assert sarama("configs", topic=topic, name="segment.bytes", version="max") == [
        {"name": "segment.bytes", "value": "2000000", "source": "Topic"}
    ]
    assert column(sarama("configs", topic=topic, name="retention.ms", version="max"), "value") == ["60000"]


def test_altering_all_configs_takes_the_others_back(sarama, topic, version):
    sarama("create", topic=topic, name="retention.ms", value="60000", version=version)
    sarama("replace-configs", topic=topic, name="segment.bytes", value="2000000", version=version)
    assert column(sarama("configs", topic=topic, name="segment.bytes", version=version), "value") == ["2000000"]
    assert column(sarama("configs", topic=topic, name="retention.ms", version=version), "value") == ["604800000"]


def test_deleted_records_are_not_read_again(sarama, orders, version):
    sarama("produce-async", topic=orders, count=10, version=version)
    sarama("delete-records", topic=orders, offset=4, version=version)
    assert "outside the range" in sarama.failure("consume", topic=orders, offset=3, version=version)
    assert numbers(sarama("consume", topic=orders, offset=4, version=version)) == [4]


def test_the_cluster_names_the_address_that_the_client_came_by(sarama, bootstrap, version):
    (described,) = sarama("cluster", version=version)
    assert (described["brokers"], described["address"]) == (1, bootstrap)


def test_the_log_directories_hold_the_partition(sarama, orders, version):
    sarama("produce-async", topic=orders, count=10, version=version)
    sizes = {row["topic"]: row["size"] for row in sarama("log-dirs", version=version)}
    assert sizes[orders] > 10


def test_no_partition_is_being_moved(sarama, topic):
    sarama("create", topic=topic, version="max")
    assert sarama("reassignments", topic=topic, version="max") == [{"under way": 0}]
