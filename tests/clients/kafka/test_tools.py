"""Kafka's own command-line tools. A virtual machine takes a second to start, so a test asks for as little as it can."""

import json
import re

import pytest

from tests.clients.kafka.tools import Tools, table


@pytest.fixture
def tools(java_directory, bootstrap):
    return Tools(java_directory, bootstrap)


@pytest.fixture
def orders(tools, topic):
    """A topic with the lines 0 to 9 in its only partition."""
    tools("console-producer", "--topic", topic, text="".join(f"{n}\n" for n in range(10)))
    return topic


def in_group(tools, topic, group, count):
    """Let a member of *group* read *count* records and leave."""
    words = ("--from-beginning", "--max-messages", count, "--group", group)
    return tools("console-consumer", "--topic", topic, *words).splitlines()


def test_a_topic_is_created_listed_altered_described_and_deleted(tools, topic):
    named = ("--topic", topic)
    assert tools("topics", "--create", *named, "--config", "retention.ms=60000") == f"Created topic {topic}.\n"
    assert topic in tools("topics", "--list").splitlines()
    tools("topics", "--alter", *named, "--partitions", 3)
    head, *parts = tools("topics", "--describe", *named).splitlines()
    assert re.search(r"PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention.ms=60000", head)
    assert [re.search(r"Partition: (\d+)\s+Leader: (\d+)\s+Replicas: \2\s+Isr: \2\s", part)[1] for part in parts] == [
        *("0", "1", "2")
    ]
    tools("topics", "--delete", *named)
    assert topic not in tools("topics", "--list").splitlines()


def test_a_topic_that_is_missing_is_not_described(tools, topic):
    done = tools.outcome("topics", "--describe", "--topic", topic)
    assert (done.code, "does not exist" in done.output) == (1, True)


def test_no_topic_is_under_replicated(tools, orders):
    assert tools("topics", "--describe", "--under-replicated-partitions") == ""


def test_the_console_consumer_prints_what_the_console_producer_read(tools, topic):
    reader = ("--property", "parse.key=true", "--property", "parse.headers=true")
    tools("console-producer", "--topic", topic, *reader, text="h:1\tkey\tvalue\nh:2\tother\tthing\n")
    shown = [
        word for name in ("key", "headers", "offset", "partition") for word in ("--property", f"print.{name}=true")
    ]
    printed = tools("console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 2, *shown)
    assert printed.splitlines() == [
        "Partition:0\tOffset:0\th:1\tkey\tvalue",
        "Partition:0\tOffset:1\th:2\tother\tthing",
    ]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_the_console_producer_compresses(tools, topic, codec):
    tools("console-producer", "--topic", topic, "--compression-codec", codec, text="one\ntwo\n")
    assert tools("console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 2) == "one\ntwo\n"


def test_the_console_consumer_reads_a_partition_from_an_offset(tools, orders):
    words = ("--partition", 0, "--offset", 7, "--max-messages", 3)
    assert tools("console-consumer", "--topic", orders, *words).split() == ["7", "8", "9"]


def test_a_group_is_described_with_its_lag(tools, orders, group):
    assert in_group(tools, orders, group, 6) == ["0", "1", "2", "3", "4", "5"]
    (row,) = table(tools("consumer-groups", "--describe", "--group", group))
    assert (row["TOPIC"], row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]) == (orders, "6", "10", "4")
    assert re.search(r"Empty\s+0\s*$", tools("consumer-groups", "--describe", "--state", "--group", group))


def test_a_groups_offsets_are_reset_and_the_group_goes_on_there(tools, orders, group):
    in_group(tools, orders, group, 6)
    reset = ("consumer-groups", "--reset-offsets", "--group", group, "--topic", orders, "--execute")
    assert table(tools(*reset, "--shift-by", -2))[0]["NEW-OFFSET"] == "4"
    assert in_group(tools, orders, group, 2) == ["4", "5"]
    assert table(tools(*reset, "--to-earliest"))[0]["NEW-OFFSET"] == "0"
    assert in_group(tools, orders, group, 1) == ["0"]


def test_a_group_is_listed_and_deleted(tools, orders, group):
    in_group(tools, orders, group, 1)
    assert group in tools("consumer-groups", "--list").split()
    tools("consumer-groups", "--delete-offsets", "--group", group, "--topic", orders)
    tools("consumer-groups", "--delete", "--group", group)
    assert group not in tools("groups", "--list").split()


def test_a_group_that_never_was_cannot_be_deleted(tools, group):
    assert "GroupIdNotFoundException" in tools("consumer-groups", "--delete", "--group", group)


def test_a_topics_configs_are_altered_and_described(tools, orders):
    entity = ("--entity-type", "topics", "--entity-name", orders)
    tools("configs", "--alter", *entity, "--add-config", "retention.ms=60000,cleanup.policy=[compact,delete]")
    described = tools("configs", "--describe", *entity)
    assert "retention.ms=60000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=60000" in described
    assert "cleanup.policy=compact,delete" in described
    tools("configs", "--alter", *entity, "--delete-config", "retention.ms,cleanup.policy")
    assert tools("configs", "--describe", *entity).splitlines() == [f"Dynamic configs for topic {orders} are:"]


def test_a_config_that_kafka_does_not_know_is_refused(tools, orders):
    entity = ("--entity-type", "topics", "--entity-name", orders)
    done = tools.outcome("configs", "--alter", *entity, "--add-config", "no.such.config=1")
    assert (done.code, "InvalidConfigurationException" in done.output + done.errors) == (1, True)


def test_a_brokers_configs_are_described_with_those_nobody_set(tools):
    assert "log.retention" in tools("configs", "--describe", "--all", "--entity-type", "brokers", "--entity-name", 1)


def test_the_ends_of_a_topic_are_told(tools, orders):
    assert tools("get-offsets", "--topic", orders) == f"{orders}:0:10\n"
    assert tools("get-offsets", "--topic", orders, "--time", "earliest") == f"{orders}:0:0\n"


def test_records_are_deleted_up_to_an_offset(tools, orders, tmp_path):
    wanted = {"version": 1, "partitions": [{"topic": orders, "partition": 0, "offset": 4}]}
    (tmp_path / "wanted.json").write_text(json.dumps(wanted))
    assert f"partition: {orders}-0\tlow_watermark: 4" in tools(
        "delete-records", "--offset-json-file", tmp_path / "wanted.json"
    )
    assert tools("console-consumer", "--topic", orders, "--from-beginning", "--max-messages", 1) == "4\n"


def test_the_log_directory_of_a_partition_is_told_with_its_size(tools, orders):
    *_, line = tools("log-dirs", "--describe", "--topic-list", orders).splitlines()
    (broker,) = json.loads(line)["brokers"]
    ((part,),) = [directory["partitions"] for directory in broker["logDirs"] if directory["partitions"]]
    assert part["partition"] == f"{orders}-0"
    assert part["size"] > 10


def test_the_performance_tools_produce_and_consume(tools, topic):
    words = ("--topic", topic, "--num-records", 2000, "--record-size", 100, "--throughput", -1)
    assert tools("producer-perf-test", *words).splitlines()[-1].startswith("2000 records sent")
    _, line = tools("consumer-perf-test", "--topic", topic, "--messages", 2000).splitlines()
    assert line.split(", ")[4] == "2000"


def test_the_verifiable_tools_find_every_record(tools, topic, group):
    sent = tools("verifiable-producer", "--topic", topic, "--max-messages", 50, "--acks", -1)
    *_, total = map(json.loads, sent.splitlines())
    assert (total["sent"], total["acked"]) == (50, 50)
    got = tools("verifiable-consumer", "--topic", topic, "--max-messages", 50, "--group-id", group)
    events = [json.loads(line) for line in got.splitlines()]
    assert sum(event["count"] for event in events if event["name"] == "records_consumed") == 50
    assert {event["success"] for event in events if event["name"] == "offsets_committed"} == {True}


def test_the_broker_tells_its_versions(tools):
    versions = tools("broker-api-versions")
    assert re.search(r"Produce\(0\): 0 to 13 \[usable: 13\]", versions)
    assert re.search(r"Fetch\(1\): 4 to 18 \[usable: 18\]", versions)


def test_the_features_are_described(tools):
    assert [line for line in tools("features", "describe").splitlines() if not line.startswith("Feature: ")] == []


def test_the_quorum_is_described(tools):
    assert re.search(r"LeaderId:\s+1\n", tools("metadata-quorum", "describe", "--status"))
    assert re.search(r"\n1\s.*\sLeader", tools("metadata-quorum", "describe", "--replication"))


def test_the_cluster_has_an_id(tools):
    assert re.fullmatch(r"Cluster ID: \S{22}\n", tools("cluster", "cluster-id"))


def test_a_leader_needs_no_election(tools, orders):
    words = ("--election-type", "preferred", "--topic", orders, "--partition", 0)
    assert tools("leader-election", *words) == f"Valid replica already elected for partitions {orders}-0\n"


def test_no_partition_is_being_moved(tools):
    assert tools("reassign-partitions", "--list") == "No partition reassignments found.\n"
