"""franz-go: producer, consumer, group, fetch sessions and the admin client."""

import pytest

from tests.clients.program import Program, column

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture
def franz(go_programs, bootstrap):
    return Program([go_programs / "franz"], bootstrap)


@pytest.fixture
def orders(franz, topic):
    """A topic with one partition."""
    franz("create", topic=topic)
    return topic


def numbers(rows):
    return [int(row["value"].removeprefix("value ")) for row in rows]


def test_a_producer_with_idempotence_gets_one_offset_after_the_other(franz, orders):
    sent = franz("produce", topic=orders, count=100)
    assert column(sent, "offset") == list(range(100))


@pytest.mark.parametrize("codec", CODECS)
def test_keys_values_and_headers_come_back_as_they_were_sent(franz, orders, codec):
    franz("produce", topic=orders, count=3, codec=codec)
    assert franz("consume", topic=orders, count=3) == [
        {"partition": 0, "offset": n, "key": f"key {n}", "value": f"value {n}", "headers": {"number": str(n)}}
        for n in range(3)
    ]


@pytest.mark.parametrize("acks", ["1", "0"])
def test_a_producer_without_idempotence_is_served_with_every_acks(franz, orders, acks):
    franz("produce", topic=orders, count=5, acks=acks)
    assert numbers(franz("consume", topic=orders, count=5)) == list(range(5))


def test_a_topic_that_is_missing_is_made_for_a_producer_that_asks_for_it(franz, topic):
    franz("produce", topic=topic, auto_create=True)
    assert column(franz("describe", topic=topic), "partition") == [0]


def test_a_producer_that_does_not_ask_for_it_gets_no_topic(franz, topic):
    assert "UNKNOWN_TOPIC_OR_PARTITION" in franz.failure("produce", topic=topic)


def test_a_consumer_starts_at_the_offset_that_it_asks_for(franz, orders):
    franz("produce", topic=orders, count=10)
    assert numbers(franz("consume", topic=orders, offset=7, count=3)) == [7, 8, 9]


@pytest.mark.parametrize("version", [4, 6, 7, 11, 12])
def test_a_consumer_with_an_old_fetch_is_served(franz, orders, version):
    franz("produce", topic=orders, count=5)
    assert numbers(franz("consume", topic=orders, count=5, max_fetch=version)) == list(range(5))


def test_a_consumer_that_insists_on_topic_ids_is_served(franz, orders):
    franz("produce", topic=orders, count=5)
    assert numbers(franz("consume", topic=orders, count=5, min_fetch=13)) == list(range(5))


def test_a_consumer_without_group_reads_every_partition(franz, topic):
    franz("create", topic=topic, partitions=4)
    sent = [franz("produce", topic=topic, count=10) for _ in range(8)]
    got = franz("consume", topic=topic, partition=-1, count=80)
    assert sorted((row["partition"], row["offset"]) for row in got) == sorted(
        (row["partition"], row["offset"]) for rows in sent for row in rows
    )


def test_a_fetch_session_tells_only_what_has_changed(franz, topic):
    franz("create", topic=topic, partitions=3)
    opened, nothing_new, written, read, forgotten, wrong_epoch, no_such_session = franz("sessions", topic=topic)
    assert (opened["error"], opened["session"], sorted(opened["partitions"])) == (0, True, [0, 1, 2])
    assert (nothing_new["error"], nothing_new["same"], nothing_new["partitions"]) == (0, True, [])
    assert (written["error"], written["partitions"]) == (0, [1])
    assert (read["error"], read["partitions"]) == (0, [])
    assert (forgotten["error"], forgotten["partitions"]) == (0, [])
    assert wrong_epoch["error"] == 71
    assert no_such_session["error"] == 70


def test_a_group_goes_on_behind_what_it_committed(franz, orders, group):
    franz("produce", topic=orders, count=10)
    *first, _ = franz("group", topic=orders, group=group, count=6)
    *second, _ = franz("group", topic=orders, group=group, count=4)
    assert (numbers(first), numbers(second)) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])


@pytest.mark.parametrize("balancer", ["cooperative", "range"])
def test_two_members_share_a_topic_until_one_leaves(franz, topic, group, balancer):
    franz("create", topic=topic, partitions=4)
    shares = franz("share", topic=topic, group=group, count=4, value=balancer)
    assert column(shares, "partitions") == [[4], [2, 2], [4, 0]]


def test_a_static_member_that_comes_back_goes_on_in_its_generation(franz, orders, group):
    franz("produce", topic=orders, count=4)
    *first, before = franz("group", topic=orders, group=group, count=2, instance="till-1")
    *second, after = franz("group", topic=orders, group=group, count=2, instance="till-1")
    assert (numbers(first), numbers(second)) == ([0, 1], [2, 3])
    assert before["generation"] == after["generation"]
    assert before["member"] != after["member"]


def test_what_a_group_committed_is_told_with_metadata_and_epoch(franz, orders, group):
    franz("produce", topic=orders, count=10)
    *_, member = franz("group", topic=orders, group=group, count=6)
    assert franz("committed", group=group) == [
        {"topic": orders, "partition": 0, "offset": 6, "metadata": member["member"], "epoch": 0}
    ]


def test_a_group_whose_members_left_is_listed_and_described_as_empty(franz, orders, group):
    franz("produce", topic=orders)
    franz("group", topic=orders, group=group)
    assert {"group": group, "state": "Empty", "protocol": "consumer"} in franz("groups")
    assert franz("describe-group", group=group) == [{"state": "Empty", "members": 0}]


def test_offsets_committed_by_the_admin_client_are_where_the_group_begins(franz, orders, group):
    franz("produce", topic=orders, count=10)
    franz("commit", topic=orders, group=group, offset=8, value="by hand")
    assert franz("committed", group=group) == [
        {"topic": orders, "partition": 0, "offset": 8, "metadata": "by hand", "epoch": 0}
    ]
    *got, _ = franz("group", topic=orders, group=group, count=2)
    assert numbers(got) == [8, 9]


def test_an_offset_of_a_group_can_be_deleted_alone(franz, topic, group):
    franz("create", topic=topic, partitions=2)
    for partition in (0, 1):
        franz("commit", topic=topic, group=group, partition=partition, offset=0)
    franz("delete-offsets", topic=topic, group=group, partition=0)
    assert column(franz("committed", group=group), "partition") == [1]


def test_a_deleted_group_is_gone_with_its_offsets(franz, orders, group):
    franz("commit", topic=orders, group=group, offset=0)
    franz("delete-group", group=group)
    assert group not in column(franz("groups"), "group")
    assert franz("committed", group=group) == []


def test_a_group_that_never_was_cannot_be_deleted(franz, group):
    assert "GROUP_ID_NOT_FOUND" in franz.failure("delete-group", group=group)


def test_a_created_topic_is_described_with_its_id_and_leader(franz, topic):
    (made,) = franz("create", topic=topic, partitions=3)
    assert (made["partitions"], made["replicas"]) == (3, 1)
    assert made["configs"] > 20
    described = franz("describe", topic=topic)
    assert set(column(described, "id")) == {made["id"]}
    (broker,) = franz("cluster")[0]["brokers"]
    assert [(row["partition"], row["leader"], row["isr"]) for row in described] == [
        (n, broker, [broker]) for n in range(3)
    ]


def test_a_topic_cannot_be_created_twice(franz, orders):
    assert "TOPIC_ALREADY_EXISTS" in franz.failure("create", topic=orders)


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 250])
def test_a_topic_with_a_name_that_kafka_refuses_is_not_created(franz, name):
    assert "INVALID_TOPIC_EXCEPTION" in franz.failure("create", topic=name)


def test_a_deleted_topic_is_gone(franz, orders):
    franz("delete", topic=orders)
    assert orders not in column(franz("topics"), "topic")
    assert "UNKNOWN_TOPIC_OR_PARTITION" in franz.failure("delete", topic=orders)


def test_partitions_can_be_added_and_never_taken_away(franz, orders):
    franz("add-partitions", topic=orders, partitions=4)
    assert column(franz("describe", topic=orders), "partition") == [0, 1, 2, 3]
    assert "INVALID_PARTITIONS" in franz.failure("add-partitions", topic=orders, partitions=2)


def test_a_config_given_at_creation_is_told_as_the_topics_own(franz, topic):
    franz("create", topic=topic, name="retention.ms", value="60000")
    assert franz("configs", topic=topic, name="retention.ms") == [
        {"name": "retention.ms", "value": "60000", "source": "DYNAMIC_TOPIC_CONFIG", "sensitive": False}
    ]


def test_a_config_can_be_set_and_taken_back(franz, orders):
    (default,) = franz("configs", topic=orders, name="max.message.bytes")
    franz("alter-config", topic=orders, name="max.message.bytes", value="2000")
    (changed,) = franz("configs", topic=orders, name="max.message.bytes")
    assert (changed["value"], changed["source"]) == ("2000", "DYNAMIC_TOPIC_CONFIG")
    franz("alter-config", topic=orders, name="max.message.bytes", value="")
    assert franz("configs", topic=orders, name="max.message.bytes") == [default]


def test_a_config_that_kafka_does_not_know_is_refused(franz, orders):
    assert "INVALID_CONFIG" in franz.failure("alter-config", topic=orders, name="no.such.config", value="1")


def test_the_brokers_configs_are_described(franz):
    assert "num.partitions" in column(franz("broker-configs"), "name")


def test_the_ends_of_a_topic_are_told(franz, orders):
    franz("produce", topic=orders, count=10)
    assert franz("offsets", topic=orders) == [{"partition": 0, "start": 0, "end": 10, "epoch": 0}]


def test_the_offset_at_a_time_is_that_of_the_first_record_not_older(franz, orders):
    franz("produce", topic=orders, count=10)
    assert franz("offset-at", topic=orders, millis=1000)[0]["offset"] == 0
    # There is none in the year 2100: the client then asks for the end.
    assert franz("offset-at", topic=orders, millis=4102444800000)[0]["offset"] == 10


def test_deleted_records_move_the_start(franz, orders):
    franz("produce", topic=orders, count=10)
    assert franz("delete-records", topic=orders, offset=4) == [{"start": 4}]
    assert franz("offsets", topic=orders)[0]["start"] == 4
    assert numbers(franz("consume", topic=orders, offset=4, count=6)) == [4, 5, 6, 7, 8, 9]


def test_records_beyond_the_end_cannot_be_deleted(franz, orders):
    assert "OFFSET_OUT_OF_RANGE" in franz.failure("delete-records", topic=orders, offset=4)


def test_the_end_of_a_leader_epoch_is_the_end_of_the_log(franz, orders):
    franz("produce", topic=orders, count=10)
    assert franz("epoch-end", topic=orders) == [{"epoch": 0, "end": 10}]


def test_the_log_directory_of_a_partition_is_told_with_its_size(franz, orders):
    franz("produce", topic=orders, count=100)
    (described,) = franz("log-dirs", topic=orders)
    assert (described["topic"], described["partition"]) == (orders, 0)
    assert described["size"] > 100


def test_the_cluster_names_the_address_that_the_client_came_by(franz, bootstrap):
    (described,) = franz("cluster")
    assert described["address"] == bootstrap
    assert described["cluster"]
    assert described["controller"] in described["brokers"]


def test_every_version_that_is_advertised_is_a_range(franz):
    rows = franz("versions")
    assert {0, 1, 2, 3, *range(8, 17), 18} <= set(column(rows, "key"))
    assert [row for row in rows if row["min"] > row["max"]] == []
