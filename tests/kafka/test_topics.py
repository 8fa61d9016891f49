"""CreateTopics, DeleteTopics and CreatePartitions: what is done, and what Kafka refuses with which words."""

import uuid

import pytest
from gevent.event import Event

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.tables import CREATE_PARTITIONS, CREATE_TOPICS, DELETE_TOPICS
from portask.errors import StorageFullError, UnknownTopicError
from portask.storage.memory import MemoryStorage

Creatable = CREATE_TOPICS.Request.CreatableTopic
Assignment = CREATE_TOPICS.Request.CreatableReplicaAssignment
Config = CREATE_TOPICS.Request.CreatableTopicConfig
Growth = CREATE_PARTITIONS.Request.CreatePartitionsTopic
GrowthAssignment = CREATE_PARTITIONS.Request.CreatePartitionsAssignment
Deletion = DELETE_TOPICS.Request.DeleteTopicState


def asked(name="orders", partitions=1, factor=1, configs=None, assignments=()):
    """A topic to be made."""
    return Creatable(
        name=name,
        num_partitions=partitions,
        replication_factor=factor,
        configs=[Config(name=key, value=value) for key, value in (configs or {}).items()],
        assignments=[Assignment(partition_index=index, broker_ids=brokers) for index, brokers in assignments],
    )


def create(peer, *topics, version=7, **fields):
    """The answer for each topic."""
    return peer.ask(CREATE_TOPICS, version, topics=list(topics), **fields).topics


def refused(answers):
    """Code and text of the only answer."""
    (answer,) = answers
    return ErrorCode(answer.error_code), answer.error_message


# -- making ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 8))
def test_a_topic_is_made_in_every_version(served, peer, version):
    (answer,) = create(peer, asked(partitions=3, configs={"retention.ms": "1000"}), version=version)

    topic = served.broker.topic("orders")
    assert answer.error_code == ErrorCode.NONE
    assert answer.name == "orders"
    assert len(topic.partitions) == 3
    assert topic.config.retention_ms == 1000


def test_the_answer_says_what_the_topic_became(served, peer):
    (answer,) = create(peer, asked(partitions=3, configs={"retention.ms": "1000"}))

    assert answer.topic_id.hex() == served.broker.topic("orders").id
    assert (answer.num_partitions, answer.replication_factor) == (3, 1)
    configs = {config.name: (config.value, config.config_source) for config in answer.configs}
    assert configs["retention.ms"] == ("1000", 1)
    assert configs["cleanup.policy"] == ("delete", 5)
    assert answer.error_message is None


def test_minus_one_stands_for_the_defaults(serve):
    served = serve("--default-partitions", "4")
    (answer,) = create(served.peer(), asked(partitions=-1, factor=-1), version=4)

    assert answer.error_code == ErrorCode.NONE
    assert len(served.broker.topic("orders").partitions) == 4


def test_more_replicas_than_nodes_are_accepted_with_a_warning(served, peer, caplog):
    (answer,) = create(peer, asked(factor=3))

    assert (answer.error_code, answer.replication_factor) == (ErrorCode.NONE, 1)
    assert [record.replication_factor for record in caplog.records if "replicas" in record.message] == [3]


def test_only_validating_makes_nothing(served, peer):
    (answer,) = create(peer, asked(partitions=2), validate_only=True)

    assert (answer.error_code, answer.num_partitions) == (ErrorCode.NONE, 2)
    assert served.broker.topics() == []


def test_only_validating_refuses_what_making_would(served, peer):
    served.topic("orders")

    code, _ = refused(create(peer, asked(), validate_only=True))

    assert code == ErrorCode.TOPIC_ALREADY_EXISTS


def test_of_many_topics_each_has_its_own_answer(served, peer):
    answers = create(peer, asked("good"), asked("b d"), asked("also.good"), asked("none", partitions=0))

    assert {answer.name: answer.error_code for answer in answers} == {
        "good": ErrorCode.NONE,
        "b d": ErrorCode.INVALID_TOPIC_EXCEPTION,
        "also.good": ErrorCode.NONE,
        "none": ErrorCode.INVALID_PARTITIONS,
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "the empty string is not allowed"),
        (".", "'.' is not allowed"),
        ("..", "'..' is not allowed"),
        ("x" * 250, f"the length of '{'x' * 250}' is longer than the max allowed length 249"),
        ("a b", "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
        ("na\u00e9", "'na\u00e9' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
    ],
)
def test_a_name_that_no_topic_can_have_is_refused(peer, name, reason):
    assert refused(create(peer, asked(name))) == (
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        f"Topic name is invalid: {reason}",
    )


def test_names_that_differ_only_in_dot_and_underscore_collide(served, peer):
    served.topic("my.topic_a")

    assert refused(create(peer, asked("my_topic.a"))) == (
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        "Topic 'my_topic.a' collides with existing topic: my.topic_a",
    )


def test_a_topic_that_exists_is_not_made_again(served, peer):
    served.topic("my.topic")

    assert refused(create(peer, asked("my.topic"))) == (
        ErrorCode.TOPIC_ALREADY_EXISTS,
        "Topic 'my.topic' already exists.",
    )


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        (
            {"partitions": 0},
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            {"partitions": -2},
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            {"factor": 0},
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            {"factor": -2},
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            {"partitions": 10_001},
            ErrorCode.POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
        (
            {"configs": {"retention.ms": "soon"}},
            ErrorCode.INVALID_CONFIG,
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
        ({"configs": {"colour": "red"}}, ErrorCode.INVALID_CONFIG, "Unknown topic config name: colour"),
        (
            {"configs": {"retention.ms": None, "preallocate": None}},
            ErrorCode.INVALID_CONFIG,
            "Null value not supported for topic configs: retention.ms,preallocate",
        ),
        (
            {"assignments": [(0, [1])]},
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ),
        (
            {"assignments": [(0, [1])], "factor": -1},
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_kafkas_words(served, peer, fields, code, text):
    assert refused(create(peer, asked(**fields))) == (code, text)
    assert served.broker.topics() == []


@pytest.mark.parametrize(
    ("assignments", "text"),
    [
        ([(0, [1]), (0, [1])], "Found multiple manual partition assignments for partition 0"),
        ([(0, [])], "The manual partition assignment includes an empty replica list."),
        ([(0, [2])], "The manual partition assignment includes broker 2, but no such broker is registered."),
        ([(0, [1, 1])], "The manual partition assignment includes the broker 1 more than once."),
        ([(0, [1]), (2, [1])], "partitions should be a consecutive 0-based integer sequence"),
    ],
)
def test_a_wrong_assignment_is_refused(peer, assignments, text):
    wrong = asked(partitions=-1, factor=-1, assignments=assignments)

    assert refused(create(peer, wrong)) == (ErrorCode.INVALID_REPLICA_ASSIGNMENT, text)


def test_an_assignment_says_how_many_partitions_there_are(served, peer):
    create(peer, asked(partitions=-1, factor=-1, assignments=[(1, [1]), (0, [1])]))

    assert len(served.broker.topic("orders").partitions) == 2


def test_a_name_that_comes_twice_is_made_not_even_once(served, peer):
    answers = create(peer, asked("twice"), asked("once"), asked("twice", partitions=2))

    assert [(answer.name, answer.error_code, answer.error_message) for answer in answers] == [
        ("once", ErrorCode.NONE, None),
        ("twice", ErrorCode.INVALID_REQUEST, "Duplicate topic name."),
    ]
    assert [topic.name for topic in served.broker.topics()] == ["once"]


class FullStorage(MemoryStorage):
    """Memory whose writes fail while told to."""

    refuses = False

    def write(self, round_):
        if self.refuses:
            raise StorageFullError("no space left")
        super().write(round_)


def test_what_storage_refuses_is_told(serve):
    storage = FullStorage()
    peer = serve(storage=storage).peer()
    storage.refuses = True

    code, text = refused(create(peer, asked()))

    assert (code, text) == (ErrorCode.KAFKA_STORAGE_ERROR, "no space left")


def test_more_partitions_than_the_core_allows_are_too_many(served, peer):
    topic = served.topic("orders", 95_000)

    assert grow(peer, Growth(name="orders", count=100_001, assignments=None)) == [
        (
            "orders",
            ErrorCode.INVALID_PARTITIONS,
            "topic orders has 95000 partitions; it can get more, up to 100000, not 100001",
        )
    ]
    assert len(topic.partitions) == 95_000


class GatedStorage(MemoryStorage):
    """Memory that syncs only while its gate is open."""

    def __init__(self):
        super().__init__()
        self.gate = Event()
        self.gate.set()

    def sync(self):
        self.gate.wait()
        super().sync()


def test_a_request_whose_time_is_over_is_answered_while_the_work_goes_on(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    storage.gate.clear()
    try:
        code, text = refused(create(served.peer(), asked(), timeout_ms=1))
    finally:
        storage.gate.set()

    assert (code, text) == (ErrorCode.REQUEST_TIMED_OUT, "The request timed out.")
    wait_until(lambda: [topic.name for topic in served.broker.topics()] == ["orders"])


def test_many_topics_are_made_by_one_request(served, peer):
    answers = create(peer, *(asked(f"t{number}") for number in range(600)))

    assert {answer.error_code for answer in answers} == {ErrorCode.NONE}
    assert len(served.broker.topics()) == 600


# -- deleting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 6))
def test_a_topic_is_deleted_by_name(served, peer, version):
    served.topic("orders")

    (answer,) = peer.ask(DELETE_TOPICS, version, topic_names=["orders"], timeout_ms=5000).responses

    assert (answer.name, answer.error_code) == ("orders", ErrorCode.NONE)
    assert served.broker.topics() == []


@pytest.mark.parametrize("by_id", [False, True])
def test_version_6_deletes_by_name_or_by_id(served, peer, by_id):
    topic = served.topic("orders")
    topic_id = bytes.fromhex(topic.id)
    one = Deletion(name=None, topic_id=topic_id) if by_id else Deletion(name="orders")

    (answer,) = peer.ask(DELETE_TOPICS, 6, topics=[one], timeout_ms=5000).responses

    assert (answer.name, answer.topic_id, answer.error_code) == ("orders", topic_id, ErrorCode.NONE)
    with pytest.raises(UnknownTopicError):
        served.broker.topic("orders")


def delete(peer, *topics):
    """Name, code and text for each."""
    answers = peer.ask(DELETE_TOPICS, 6, topics=list(topics), timeout_ms=5000).responses
    return [(answer.name, ErrorCode(answer.error_code), answer.error_message) for answer in answers]


@pytest.mark.parametrize("name", ["none", "a b", ""])
def test_a_name_that_is_not_there_is_not_deleted(peer, name):
    assert delete(peer, Deletion(name=name)) == [
        (name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
    ]


def test_an_id_that_is_not_there_is_not_deleted(peer):
    assert delete(peer, Deletion(name=None, topic_id=uuid.uuid4().bytes)) == [
        (None, ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
    ]


def test_a_deletion_names_the_topic_in_exactly_one_way(served, peer):
    topic = served.topic("orders")

    assert delete(peer, Deletion(name=None), Deletion(name="orders", topic_id=bytes.fromhex(topic.id))) == [
        (None, ErrorCode.INVALID_REQUEST, "Neither topic name nor id were specified."),
        ("orders", ErrorCode.INVALID_REQUEST, "You may not specify both topic name and topic id."),
    ]
    assert served.broker.topics() == [topic]


def test_what_is_named_twice_is_not_deleted(served, peer):
    topic, other = served.topic("orders"), served.topic("other")
    by_id = Deletion(name=None, topic_id=bytes.fromhex(other.id))

    assert delete(peer, Deletion(name="orders"), Deletion(name="orders"), by_id, by_id) == [
        ("orders", ErrorCode.INVALID_REQUEST, "Duplicate topic name."),
        (None, ErrorCode.INVALID_REQUEST, "Duplicate topic id."),
    ]
    assert served.broker.topics() == [topic, other]


def test_a_topic_that_is_named_by_name_and_by_id_is_not_deleted(served, peer):
    topic = served.topic("orders")
    by_id = Deletion(name=None, topic_id=bytes.fromhex(topic.id))

    assert delete(peer, Deletion(name="orders"), by_id) == [
        ("orders", ErrorCode.INVALID_REQUEST, "The provided topic name maps to an ID that was already supplied.")
    ]
    assert served.broker.topics() == [topic]


# -- growing --------------------------------------------------------------------------------------


def grow(peer, *topics, version=3, **fields):
    """Name, code and text for each."""
    answers = peer.ask(CREATE_PARTITIONS, version, topics=list(topics), timeout_ms=5000, **fields).results
    return [(answer.name, ErrorCode(answer.error_code), answer.error_message) for answer in answers]


@pytest.mark.parametrize("version", range(4))
def test_a_topic_gets_more_partitions(served, peer, version):
    topic = served.topic("orders", 2)

    answers = grow(peer, Growth(name="orders", count=5, assignments=None), version=version)

    assert answers == [("orders", ErrorCode.NONE, None)]
    assert len(topic.partitions) == 5


def test_partitions_can_be_assigned_to_the_only_broker(served, peer):
    topic = served.topic("orders", 1)
    assignments = [GrowthAssignment(broker_ids=[1]), GrowthAssignment(broker_ids=[1])]

    assert grow(peer, Growth(name="orders", count=3, assignments=assignments))[0][1] == ErrorCode.NONE
    assert len(topic.partitions) == 3


def test_growing_can_be_tried_only(served, peer):
    topic = served.topic("orders", 1)

    assert grow(peer, Growth(name="orders", count=3, assignments=None), validate_only=True)[0][1] == ErrorCode.NONE
    assert len(topic.partitions) == 1


@pytest.mark.parametrize(
    ("name", "count", "brokers", "code", "text"),
    [
        ("none", 3, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None),
        ("orders", 2, None, ErrorCode.INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (
            "orders",
            1,
            None,
            ErrorCode.INVALID_PARTITIONS,
            "The topic orders currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            "orders",
            -1,
            None,
            ErrorCode.INVALID_PARTITIONS,
            "The topic orders currently has 2 partition(s); -1 would not be an increase.",
        ),
        (
            "orders",
            20_000,
            None,
            ErrorCode.POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
        (
            "orders",
            4,
            [[1]],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            "orders",
            3,
            [[7]],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 7, but no such broker is registered.",
        ),
    ],
)
def test_growth_that_cannot_be_is_refused(served, peer, name, count, brokers, code, text):
    topic = served.topic("orders", 2)
    assignments = None if brokers is None else [GrowthAssignment(broker_ids=ids) for ids in brokers]

    assert grow(peer, Growth(name=name, count=count, assignments=assignments)) == [(name, code, text)]
    assert len(topic.partitions) == 2


def test_a_topic_that_is_to_grow_twice_does_not(served, peer):
    topic = served.topic("orders", 1)
    twice = [Growth(name="orders", count=count, assignments=None) for count in (2, 3)]

    assert grow(peer, *twice) == [("orders", ErrorCode.INVALID_REQUEST, "Duplicate topic name.")]
    assert len(topic.partitions) == 1
