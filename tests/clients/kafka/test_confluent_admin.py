"""confluent-kafka's AdminClient."""

import pytest
from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import (
    LONGEST_S,
    admin_of,
    await_value,
    consumer,
    create,
    one,
    read,
    take,
    values,
    write,
)


def error_code(futures):
    """The code that the only result of an admin call was refused with."""
    with pytest.raises(KafkaException) as raised:
        one(futures)
    return raised.value.args[0].code()


# -- topics -------------------------------------------------------------------------------------------


@in_child
def test_a_topic_is_listed_with_its_partitions(bootstrap, topic):
    create(bootstrap, topic, 3)
    metadata = admin_of(bootstrap).list_topics(timeout=LONGEST_S)
    assert sorted(metadata.topics[topic].partitions) == [0, 1, 2]
    (node,) = metadata.brokers
    for partition in metadata.topics[topic].partitions.values():
        assert (partition.leader, partition.replicas, partition.isrs) == (node, [node], [node])


@in_child
def test_a_topic_is_described_with_its_id(bootstrap, topic):
    create(bootstrap, topic, 2)
    description = one(admin_of(bootstrap).describe_topics(TopicCollection([topic])))
    assert description.name == topic
    assert not description.is_internal
    assert [partition.id for partition in description.partitions] == [0, 1]
    assert str(description.topic_id) != "AAAAAAAAAAAAAAAAAAAAAA"


@in_child
def test_an_unknown_topic_cannot_be_described(bootstrap, topic):
    futures = admin_of(bootstrap).describe_topics(TopicCollection([topic]))
    assert error_code(futures) == KafkaError.UNKNOWN_TOPIC_OR_PART


@in_child
def test_a_topic_cannot_be_made_twice(bootstrap, topic):
    create(bootstrap, topic)
    assert error_code(admin_of(bootstrap).create_topics([NewTopic(topic, 1)])) == KafkaError.TOPIC_ALREADY_EXISTS


@pytest.mark.parametrize("name", ["not a topic", "..", "x" * 250])
@in_child
def test_a_topic_of_an_invalid_name_cannot_be_made(bootstrap, name):
    assert error_code(admin_of(bootstrap).create_topics([NewTopic(name, 1)])) == KafkaError.TOPIC_EXCEPTION


@in_child
def test_a_topic_with_an_unknown_setting_cannot_be_made(bootstrap, topic):
    new = NewTopic(topic, 1, config={"no.such.setting": "1"})
    assert error_code(admin_of(bootstrap).create_topics([new])) == KafkaError.INVALID_CONFIG


@in_child
def test_a_topic_that_is_only_checked_is_not_made(bootstrap, topic):
    admin = admin_of(bootstrap)
    one(admin.create_topics([NewTopic(topic, 2)], validate_only=True))
    assert topic not in admin.list_topics(timeout=LONGEST_S).topics


@in_child
def test_a_topic_gets_the_default_number_of_partitions(bootstrap, topic):
    admin = admin_of(bootstrap)
    one(admin.create_topics([NewTopic(topic)]))
    assert len(admin.list_topics(timeout=LONGEST_S).topics[topic].partitions) == 1


@in_child
def test_a_deleted_topic_is_gone(bootstrap, topic):
    create(bootstrap, topic)
    admin = admin_of(bootstrap)
    one(admin.delete_topics([topic]))
    await_value(lambda: topic in admin.list_topics(timeout=LONGEST_S).topics, expected=False)


@in_child
def test_an_unknown_topic_cannot_be_deleted(bootstrap, topic):
    assert error_code(admin_of(bootstrap).delete_topics([topic])) == KafkaError.UNKNOWN_TOPIC_OR_PART


@in_child
def test_a_topic_made_again_is_empty_and_another_one(bootstrap, topic):
    admin = admin_of(bootstrap)
    create(bootstrap, topic)
    write(bootstrap, topic, values(3))
    first = one(admin.describe_topics(TopicCollection([topic]))).topic_id
    one(admin.delete_topics([topic]))
    create(bootstrap, topic)
    await_value(lambda: one(admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()})).offset, 0)
    assert str(one(admin.describe_topics(TopicCollection([topic]))).topic_id) != str(first)


@in_child
def test_partitions_are_added(bootstrap, topic):
    create(bootstrap, topic)
    admin = admin_of(bootstrap)
    one(admin.create_partitions([NewPartitions(topic, 4)]))
    await_value(lambda: len(admin.list_topics(timeout=LONGEST_S).topics[topic].partitions), 4)
    assert write(bootstrap, topic, [{"value": b"x", "partition": 3}]) == [(3, 0)]


@pytest.mark.parametrize("count", [1, 2])
@in_child
def test_partitions_are_never_taken_away(bootstrap, topic, count):
    create(bootstrap, topic, 2)
    futures = admin_of(bootstrap).create_partitions([NewPartitions(topic, count)])
    assert error_code(futures) == KafkaError.INVALID_PARTITIONS


@in_child
def test_deleted_records_are_not_read_any_more(bootstrap, topic):
    create(bootstrap, topic)
    write(bootstrap, topic, values(10))
    deleted = one(admin_of(bootstrap).delete_records([TopicPartition(topic, 0, 6)]))
    assert deleted.low_watermark == 6
    assert [message.offset() for message in read(bootstrap, topic, 4)] == [6, 7, 8, 9]


@in_child
def test_records_after_the_end_cannot_be_deleted(bootstrap, topic):
    create(bootstrap, topic)
    write(bootstrap, topic, values(10))
    futures = admin_of(bootstrap).delete_records([TopicPartition(topic, 0, 11)])
    assert error_code(futures) == KafkaError.OFFSET_OUT_OF_RANGE


# -- settings -----------------------------------------------------------------------------------------


def described(admin, topic):
    return one(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))


@in_child
def test_the_settings_of_a_topic_are_described_with_their_defaults(bootstrap, topic):
    create(bootstrap, topic)
    settings = described(admin_of(bootstrap), topic)
    assert settings["min.insync.replicas"].value == "1"
    expected = {
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "max.message.bytes": "1048588",
        "message.timestamp.type": "CreateTime",
        "retention.ms": "604800000",
        "retention.bytes": "-1",
        "segment.bytes": "1073741824",
    }
    assert {name: settings[name].value for name in expected} == expected
    assert all(settings[name].is_default for name in expected)


@in_child
def test_a_setting_given_when_the_topic_was_made_is_described_as_the_topics_own(bootstrap, topic):
    create(bootstrap, topic, retention_ms="86400000")
    setting = described(admin_of(bootstrap), topic)["retention.ms"]
    assert (setting.value, setting.is_default) == ("86400000", False)
    assert setting.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value


@in_child
def test_one_setting_is_altered_and_the_others_stay(bootstrap, topic):
    create(bootstrap, topic, retention_ms="86400000")
    admin = admin_of(bootstrap)
    change = ConfigEntry("max.message.bytes", "5000", incremental_operation=AlterConfigOpType.SET)
    one(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])]))
    await_value(lambda: described(admin, topic)["max.message.bytes"].value, "5000")
    settings = described(admin, topic)
    assert settings["retention.ms"].value == "86400000"


@in_child
def test_a_setting_is_taken_back_to_its_default(bootstrap, topic):
    create(bootstrap, topic, retention_ms="86400000")
    admin = admin_of(bootstrap)
    change = ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)
    one(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])]))
    await_value(lambda: described(admin, topic)["retention.ms"].value, "604800000")
    assert described(admin, topic)["retention.ms"].is_default


@in_child
def test_a_word_is_added_to_a_list_and_taken_away(bootstrap, topic):
    create(bootstrap, topic)
    admin = admin_of(bootstrap)
    for operation, word, expected in (
        (AlterConfigOpType.APPEND, "compact", {"delete", "compact"}),
        (AlterConfigOpType.SUBTRACT, "delete", {"compact"}),
    ):
        change = ConfigEntry("cleanup.policy", word, incremental_operation=operation)
        one(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])]))
        await_value(lambda: set(described(admin, topic)["cleanup.policy"].value.split(",")), expected)


@in_child
def test_altering_all_settings_takes_the_others_back(bootstrap, topic):
    create(bootstrap, topic, retention_ms="86400000")
    admin = admin_of(bootstrap)
    one(admin.alter_configs([ConfigResource(ResourceType.TOPIC, topic, set_config={"max.message.bytes": "5000"})]))
    await_value(lambda: described(admin, topic)["max.message.bytes"].value, "5000")
    settings = described(admin, topic)
    assert settings["retention.ms"].value == "604800000"


@pytest.mark.parametrize(("name", "value"), [("retention.ms", "soon"), ("no.such.setting", "1")])
@in_child
def test_an_invalid_setting_is_refused(bootstrap, topic, name, value):
    create(bootstrap, topic)
    change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    assert error_code(admin_of(bootstrap).incremental_alter_configs([resource])) == KafkaError.INVALID_CONFIG


@in_child
def test_the_settings_of_an_unknown_topic_are_not_there(bootstrap, topic):
    futures = admin_of(bootstrap).describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
    assert error_code(futures) == KafkaError.UNKNOWN_TOPIC_OR_PART


@in_child
def test_the_settings_of_the_broker_are_described(bootstrap):
    admin = admin_of(bootstrap)
    (node,) = admin.list_topics(timeout=LONGEST_S).brokers
    settings = one(admin.describe_configs([ConfigResource(ResourceType.BROKER, str(node))]))
    assert settings["auto.create.topics.enable"].value == "true"
    assert settings["num.partitions"].value == "1"


# -- the cluster --------------------------------------------------------------------------------------


@in_child
def test_the_cluster_is_described(bootstrap):
    admin = admin_of(bootstrap)
    description = admin.describe_cluster().result(LONGEST_S)
    assert description.cluster_id == admin.list_topics(timeout=LONGEST_S).cluster_id
    assert description.controller.id == description.nodes[0].id
    host, _, port = bootstrap.rpartition(":")
    assert [(node.host, node.port) for node in description.nodes] == [(host, int(port))]


@in_child
def test_a_leader_that_leads_need_not_be_elected(bootstrap, topic):
    create(bootstrap, topic)
    partition = TopicPartition(topic, 0)
    results = admin_of(bootstrap).elect_leaders(ElectionType.PREFERRED, [partition]).result(LONGEST_S)
    assert results[partition].code() == KafkaError.ELECTION_NOT_NEEDED


# -- groups -------------------------------------------------------------------------------------------


def committed(bootstrap, topic, group, offset):
    """A group without members that has committed *offset*."""
    reader = consumer(bootstrap, group)
    reader.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    reader.close()


def offsets_of(admin, group):
    listed = one(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
    return {(place.topic, place.partition): place.offset for place in listed.topic_partitions}


@in_child
def test_a_group_is_listed(bootstrap, topic, group):
    create(bootstrap, topic)
    committed(bootstrap, topic, group, 0)
    listed = admin_of(bootstrap).list_consumer_groups().result(LONGEST_S)
    assert listed.errors == []
    (found,) = [each for each in listed.valid if each.group_id == group]
    assert found.state == ConsumerGroupState.EMPTY


@in_child
def test_groups_are_listed_by_their_state(bootstrap, topic, group):
    create(bootstrap, topic)
    committed(bootstrap, topic, group, 0)
    admin = admin_of(bootstrap)
    for state, expected in ((ConsumerGroupState.EMPTY, True), (ConsumerGroupState.STABLE, False)):
        listed = admin.list_consumer_groups(states={state}).result(LONGEST_S)
        assert (group in {each.group_id for each in listed.valid}) == expected


@in_child
def test_a_group_is_described_with_its_members_and_their_partitions(bootstrap, topic, group):
    create(bootstrap, topic, 2)
    write(bootstrap, topic, [{"value": b"x", "partition": 0}])
    reader = consumer(bootstrap, group, client_id="one of them", partition_assignment_strategy="roundrobin")
    reader.subscribe([topic])
    take(reader, 1)
    description = one(admin_of(bootstrap).describe_consumer_groups([group]))
    assert description.state == ConsumerGroupState.STABLE
    assert description.partition_assignor == "roundrobin"
    assert not description.is_simple_consumer_group
    (member,) = description.members
    assert member.client_id == "one of them"
    assert member.host.lstrip("/") == "127.0.0.1"
    places = member.assignment.topic_partitions
    assert sorted((place.topic, place.partition) for place in places) == [(topic, 0), (topic, 1)]
    reader.close()


@in_child
def test_the_offsets_of_a_group_are_altered(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(10))
    committed(bootstrap, topic, group, 9)
    admin = admin_of(bootstrap)
    change = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 3)])
    one(admin.alter_consumer_group_offsets([change]))
    assert offsets_of(admin, group) == {(topic, 0): 3}
    reader = consumer(bootstrap, group)
    reader.subscribe([topic])
    assert take(reader, 1)[0].offset() == 3
    reader.close()


@in_child
def test_the_offsets_of_a_group_with_members_cannot_be_altered(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(1))
    reader = consumer(bootstrap, group)
    reader.subscribe([topic])
    take(reader, 1)
    change = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])
    refused = one(admin_of(bootstrap).alter_consumer_group_offsets([change]))
    assert refused.topic_partitions[0].error.code() == KafkaError.UNKNOWN_MEMBER_ID
    reader.close()


@in_child
def test_a_group_without_members_is_deleted_with_its_offsets(bootstrap, topic, group):
    create(bootstrap, topic)
    committed(bootstrap, topic, group, 0)
    admin = admin_of(bootstrap)
    one(admin.delete_consumer_groups([group]))
    assert offsets_of(admin, group) == {}
    assert group not in {each.group_id for each in admin.list_consumer_groups().result(LONGEST_S).valid}


@in_child
def test_a_group_with_members_cannot_be_deleted(bootstrap, topic, group):
    create(bootstrap, topic)
    write(bootstrap, topic, values(1))
    reader = consumer(bootstrap, group)
    reader.subscribe([topic])
    take(reader, 1)
    assert error_code(admin_of(bootstrap).delete_consumer_groups([group])) == KafkaError.NON_EMPTY_GROUP
    reader.close()


@in_child
def test_an_unknown_group_cannot_be_deleted(bootstrap, group):
    assert error_code(admin_of(bootstrap).delete_consumer_groups([group])) == KafkaError.GROUP_ID_NOT_FOUND


@in_child
def test_offsets_are_listed_for_those_who_read_committed_messages_only(bootstrap, topic):
    create(bootstrap, topic)
    write(bootstrap, topic, values(5))
    level = IsolationLevel.READ_COMMITTED
    futures = admin_of(bootstrap).list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()}, isolation_level=level)
    assert one(futures).offset == 5
