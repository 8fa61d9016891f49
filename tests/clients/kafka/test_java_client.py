"""Kafka's Java client: producer, classic consumer groups and Admin."""

import pytest

from tests.clients.kafka.java_client import JavaClient, JavaError
from tests.clients.toolchain import java_command

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture(scope="module")
def java(java_directory, bootstrap):
    client = JavaClient(java_command(java_directory, "Client", bootstrap))
    yield client
    client.close()


@pytest.fixture
def orders(java, topic):
    """A topic with one partition."""
    java("create", topic, 1)
    return topic


@pytest.fixture
def filled(java, orders):
    """A topic with ten records in one partition."""
    java("produce", orders, 10, "none")
    return orders


@pytest.fixture
def throws(java):
    """A function that returns the name of the exception that a command ends with."""

    def throws(*words):
        with pytest.raises(JavaError) as raised:
            java(*words)
        return raised.value.name

    return throws


def rows(numbers):
    return [[n, f"key {n}", f"value {n}", str(n)] for n in numbers]


@pytest.mark.parametrize("codec", CODECS)
def test_what_an_idempotent_producer_sends_comes_back_as_it_was(java, orders, codec):
    assert java("produce", orders, 20, codec) == list(range(20))
    assert java("consume", orders, 0, 20) == rows(range(20))


def test_a_producer_gets_the_topic_that_it_writes_to(java, topic):
    assert java("produce", topic, 3, "none") == [0, 1, 2]


def test_a_consumer_starts_at_the_offset_that_it_seeks(java, filled):
    assert java("consume", filled, 7, 3) == rows([7, 8, 9])


def test_a_group_goes_on_behind_what_it_committed(java, filled, group):
    assert java("group", filled, group, 6) == rows(range(6))
    assert java("group", filled, group, 4) == rows(range(6, 10))


def test_two_members_share_a_topic_until_one_leaves(java, topic, group):
    java("create", topic, 4)
    assert java("rebalance", topic, group, 4) == [2, 2, 4]


def test_a_consumer_finds_the_first_offset_at_a_time(java, filled):
    assert java("offsets-for-times", filled, 1, 4102444800000) == {"1": 0, "4102444800000": None}


def test_the_cluster_names_the_address_that_the_client_came_by(java, bootstrap):
    cluster = java("cluster")
    assert cluster["address"] == bootstrap
    assert cluster["nodes"] == [cluster["controller"]]
    assert cluster["id"]


def test_a_created_topic_is_told_with_its_id_and_configs(java, topic):
    made = java("create", topic, 3)
    assert (made["partitions"], made["replicas"]) == (3, 1)
    assert made["configs"] > 20
    described = java("describe", topic)
    (node,) = java("cluster")["nodes"]
    assert described == {"name": topic, "id": made["id"], "internal": False, "leaders": [node] * 3, "isr": [[node]] * 3}


def test_a_topic_is_described_by_its_id(java, topic):
    made = java("create", topic, 1)
    assert java("describe-by-id", made["id"])["name"] == topic


def test_a_topic_that_is_missing_is_not_described(throws, topic):
    assert throws("describe", topic) == "UnknownTopicOrPartitionException"


def test_a_deleted_topic_is_gone(java, orders):
    java("delete", orders)
    assert orders not in java("topics")


def test_a_topic_is_deleted_by_its_id(java, topic):
    java("delete-by-id", java("create", topic, 1)["id"])
    assert topic not in java("topics")


def test_a_topic_cannot_be_created_twice(throws, orders):
    assert throws("create", orders, 1) == "TopicExistsException"


def test_a_topic_with_a_config_that_is_no_number_is_not_created(java, throws, topic):
    assert throws("create", topic, 1, "retention.ms", "soon") == "InvalidConfigurationException"
    assert topic not in java("topics")


def test_partitions_are_added(java, orders):
    java("add-partitions", orders, 3)
    assert len(java("describe", orders)["leaders"]) == 3


def test_partitions_cannot_be_taken_away(java, throws, topic):
    java("create", topic, 3)
    assert throws("add-partitions", topic, 2) == "InvalidPartitionsException"


def test_deleted_records_move_the_start(java, filled):
    assert java("delete-records", filled, 4) == 4
    assert java("offsets", filled)["earliest"] == 4


def test_records_beyond_the_end_cannot_be_deleted(throws, filled):
    assert throws("delete-records", filled, 11) == "OffsetOutOfRangeException"


def test_a_topics_configs_are_told_with_source_and_type(java, topic):
    java("create", topic, 1, "cleanup.policy", "compact")
    configs = java("configs", topic)
    assert configs["cleanup.policy"] == ["compact", "DYNAMIC_TOPIC_CONFIG", "LIST"]
    assert configs["retention.ms"] == ["604800000", "DEFAULT_CONFIG", "LONG"]


def test_a_config_is_set_and_taken_back(java, orders):
    before = java("configs", orders)
    java("alter-config", orders, "SET", "segment.bytes", "2000000")
    assert java("configs", orders)["segment.bytes"] == ["2000000", "DYNAMIC_TOPIC_CONFIG", "INT"]
    java("alter-config", orders, "DELETE", "segment.bytes", "")
    assert java("configs", orders) == before


def test_a_config_that_is_a_list_is_added_to_and_subtracted_from(java, orders):
    java("alter-config", orders, "APPEND", "cleanup.policy", "compact")
    assert java("configs", orders)["cleanup.policy"][0] == "delete,compact"
    java("alter-config", orders, "SUBTRACT", "cleanup.policy", "delete")
    assert java("configs", orders)["cleanup.policy"][0] == "compact"


def test_a_config_that_kafka_does_not_know_is_refused(throws, orders):
    assert throws("alter-config", orders, "SET", "no.such.config", "1") == "InvalidConfigurationException"


def test_the_brokers_configs_are_described(java):
    (node,) = java("cluster")["nodes"]
    assert "num.partitions" in java("broker-configs", node)


def test_topics_and_brokers_are_listed_as_what_has_configs(java, orders):
    resources = java("config-resources")
    (node,) = java("cluster")["nodes"]
    assert ["TOPIC", orders] in resources
    assert ["BROKER", str(node)] in resources


def test_offsets_are_listed_by_every_question_that_admin_knows(java, filled):
    found = java("offsets", filled, 1)
    assert (found["earliest"], found["local"], found["at time"], found["latest"]) == (0, 0, 0, 10)
    assert 0 <= found["max timestamp"] <= 9


def test_the_log_directory_of_a_partition_is_told_with_its_size(java, filled):
    (size,) = java("log-dirs", filled)
    assert size > 10


def test_a_partition_tells_its_producers(java, filled):
    assert java("producers", filled) == [{"epoch": 0, "last sequence": 9}]


def test_a_group_is_listed_with_state_and_type(java, filled, group):
    java("group", filled, group, 1)
    assert java("groups")[group] == ["EMPTY", "CLASSIC", "consumer"]


def test_a_group_is_described(java, filled, group):
    java("group", filled, group, 1)
    (node,) = java("cluster")["nodes"]
    assert java("describe-group", group) == {"state": "EMPTY", "members": 0, "type": "CLASSIC", "coordinator": node}


def test_a_group_that_never_was_is_not_described(throws, group):
    assert throws("describe-group", group) == "GroupIdNotFoundException"


def test_a_deleted_group_is_gone(java, filled, group):
    java("group", filled, group, 1)
    java("delete-group", group)
    assert group not in java("groups")


def test_an_offset_that_is_altered_is_where_the_group_goes_on(java, filled, group):
    java("alter-group-offset", group, filled, 8)
    assert java("group-offsets", group) == {f"{filled}-0": [8, "by hand"]}
    assert java("group", filled, group, 2) == rows([8, 9])


def test_an_offset_of_a_group_is_deleted_alone(java, filled, group):
    java("group", filled, group, 1)
    java("delete-group-offset", group, filled)
    assert java("group-offsets", group) == {}
    assert group in java("groups")


@pytest.mark.parametrize("election", ["PREFERRED", "UNCLEAN"])
def test_a_leader_needs_no_election(java, orders, election):
    assert java("elect", orders, election) == "ElectionNotNeededException"


def test_a_partition_stays_on_the_only_broker(java, orders):
    (node,) = java("cluster")["nodes"]
    java("reassign", orders, node)
    assert java("reassignments") == 0


def test_a_partition_cannot_move_to_a_broker_that_does_not_exist(throws, orders):
    assert throws("reassign", orders, 77) == "InvalidReplicaAssignmentException"


def test_the_broker_leads_its_quorum_alone(java):
    (node,) = java("cluster")["nodes"]
    assert java("quorum") == {"leader": node, "voters": [node]}


def test_the_features_are_described(java):
    assert set(java("features")) == {"finalized", "supported"}
