"""OffsetCommit, OffsetFetch and OffsetDelete, in every version."""

import pytest

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode
from portask.clock import ManualClock
from portask.coordinator.offset_row import OffsetKey
from portask.errors import StorageFullError
from tests.kafka.group_peer import GroupPeer, form
from tests.native.gated_storage import GatedStorage

COMMIT = tables.OFFSET_COMMIT
FETCH = tables.OFFSET_FETCH
DELETE = tables.OFFSET_DELETE
NOWHERE = b"\7" * 16


@pytest.fixture
def member(served):
    """A function that makes a member of group "g" with a connection of its own."""

    def make(**more):
        return GroupPeer(served.peer(), **more)

    return make


def commit_request(offsets, version=10, metadata="", epoch=3, **more):
    """An OffsetCommit of {(topic, partition): offset}; a topic that is bytes is named by its id."""
    topics = {}
    for (topic, partition), offset in offsets.items():
        one = COMMIT.Request.OffsetCommitRequestPartition(
            partition_index=partition,
            committed_offset=offset,
            committed_leader_epoch=epoch if version >= 6 else -1,
            committed_metadata=metadata,
        )
        topics.setdefault(topic, []).append(one)
    named = [
        COMMIT.Request.OffsetCommitRequestTopic(
            **({"topic_id": topic} if isinstance(topic, bytes) else {"name": topic}), partitions=partitions
        )
        for topic, partitions in topics.items()
    ]
    return COMMIT.Request(**{"group_id": "g", "topics": named, **more})


def commit(peer, offsets, version=10, **more):
    """Commit; the codes by topic and partition."""
    answer = peer.ask(COMMIT, version, commit_request(offsets, version, **more))
    return {
        (topic.topic_id if version >= 10 else topic.name, one.partition_index): one.error_code
        for topic in answer.topics
        for one in topic.partitions
    }


def fetch(peer, places, version=9, group="g", **more):
    """Fetch; what comes by topic and partition, as (offset, epoch, metadata, code). None fetches everything."""
    asked = None
    if places is not None:
        topics = {}
        for topic, partition in places:
            topics.setdefault(topic, []).append(partition)
        kind = FETCH.Request.OffsetFetchRequestTopics if version >= 8 else FETCH.Request.OffsetFetchRequestTopic
        asked = [
            kind(**({"topic_id": topic} if version >= 10 else {"name": topic}), partition_indexes=partitions)
            for topic, partitions in topics.items()
        ]
    if version >= 8:
        groups = [FETCH.Request.OffsetFetchRequestGroup(group_id=group, topics=asked)]
        (answer,) = peer.ask(FETCH, version, groups=groups, **more).groups
    else:
        answer = peer.ask(FETCH, version, group_id=group, topics=asked, **more)
    assert answer.error_code == 0
    return {
        (topic.topic_id if version >= 10 else topic.name, one.partition_index): (
            one.committed_offset,
            one.committed_leader_epoch,
            one.metadata,
            one.error_code,
        )
        for topic in answer.topics
        for one in topic.partitions
    }


# -- OffsetCommit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 10))
def test_offsets_are_committed_by_name(served, peer, version):
    served.topic("t", 2)

    assert commit(peer, {("t", 0): 5, ("t", 1): 6}, version, metadata="here") == {("t", 0): 0, ("t", 1): 0}
    epoch = 3 if version >= 6 else -1
    assert fetch(peer, [("t", 0), ("t", 1)]) == {("t", 0): (5, epoch, "here", 0), ("t", 1): (6, epoch, "here", 0)}


def test_offsets_are_committed_by_id(served, peer):
    topic_id = bytes.fromhex(served.topic("t").id)

    assert commit(peer, {(topic_id, 0): 5}) == {(topic_id, 0): 0}
    assert fetch(peer, [("t", 0)]) == {("t", 0): (5, 3, "", 0)}


def test_no_text_is_the_empty_text(topic, peer):
    commit(peer, {("t", 0): 5}, 9, metadata=None)

    assert fetch(peer, [("t", 0)])["t", 0][2] == ""


@pytest.mark.parametrize("version", range(2, 10))
def test_topics_and_partitions_that_are_not_there_are_told_one_by_one(topic, peer, version):
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    places = {("t", 0): 1, ("t", 1): 1, ("t", -1): 1, ("none", 0): 1, ("no name", 0): 1}

    assert commit(peer, places, version) == {
        ("t", 0): 0,
        ("t", 1): unknown,
        ("t", -1): unknown,
        ("none", 0): unknown,
        ("no name", 0): unknown,
    }


def test_ids_and_partitions_that_are_not_there_are_told_one_by_one(served, peer):
    topic_id = bytes.fromhex(served.topic("t").id)

    assert commit(peer, {(topic_id, 0): 1, (topic_id, 1): 1, (NOWHERE, 0): 1}) == {
        (topic_id, 0): 0,
        (topic_id, 1): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        (NOWHERE, 0): ErrorCode.UNKNOWN_TOPIC_ID,
    }


def test_a_commit_of_nothing_that_is_there_makes_no_group(served, peer):
    commit(peer, {("none", 0): 1}, 9)

    assert served.broker.coordinator.groups() == []


def test_text_that_is_too_long_is_refused_by_itself(served, peer):
    served.topic("t", 2)

    assert commit(peer, {("t", 0): 1}, 9, metadata="x" * 4096) == {("t", 0): 0}
    assert commit(peer, {("t", 1): 1}, 9, metadata="x" * 4097) == {("t", 1): ErrorCode.OFFSET_METADATA_TOO_LARGE}
    assert fetch(peer, [("t", 1)])["t", 1][0] == -1


def test_members_commit(topic, member):
    one = member()
    form(one)
    fields = {"member_id": one.member_id, "generation_id_or_member_epoch": one.generation}

    assert commit(one.peer, {("t", 0): 1}, 9, **fields) == {("t", 0): 0}


@pytest.mark.parametrize("version", [2, 7, 9])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "somebody", "generation_id_or_member_epoch": 1}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"generation_id_or_member_epoch": 9}, ErrorCode.ILLEGAL_GENERATION),
    ],
)
def test_others_do_not_commit_for_a_group_with_members(topic, member, version, fields, code):
    one = member()
    form(one)
    if "generation_id_or_member_epoch" in fields:
        fields = {"member_id": one.member_id, **fields}

    assert commit(one.peer, {("t", 0): 1}, version, **fields) == {("t", 0): code}


def test_a_fenced_member_does_not_commit(topic, member):
    before = member(instance_id="one")
    form(before)
    member(instance_id="one").join()
    fields = {
        "member_id": before.member_id,
        "group_instance_id": "one",
        "generation_id_or_member_epoch": before.generation,
    }

    assert commit(before.peer, {("t", 0): 1}, 9, **fields) == {("t", 0): ErrorCode.FENCED_INSTANCE_ID}


def test_nobody_commits_while_the_leader_assigns(topic, member):
    one = member()
    one.join()
    fields = {"member_id": one.member_id, "generation_id_or_member_epoch": one.generation}

    assert commit(one.peer, {("t", 0): 1}, 9, **fields) == {("t", 0): ErrorCode.REBALANCE_IN_PROGRESS}


@pytest.mark.parametrize(
    ("version", "code"),
    [(2, ErrorCode.ILLEGAL_GENERATION), (8, ErrorCode.ILLEGAL_GENERATION), (9, ErrorCode.GROUP_ID_NOT_FOUND)],
)
def test_a_generation_of_no_group_is_refused(topic, peer, version, code):
    fields = {"member_id": "somebody", "generation_id_or_member_epoch": 3}

    assert commit(peer, {("t", 0): 1, ("none", 0): 1}, version, **fields) == {
        ("t", 0): code,
        ("none", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }


@pytest.mark.parametrize("version", range(2, 5))
def test_old_clients_say_how_long_an_offset_is_kept(serve, version):
    clock = ManualClock()
    served = serve(clock=clock)
    topic = served.topic("t")
    commit(served.peer(), {("t", 0): 1}, version, retention_time_ms=5_000)

    kept = served.broker.coordinator.offsets.get(OffsetKey("g", topic.id, 0))
    assert kept.expires_at_ms == clock.now_ms() + 5_000


def test_an_offset_may_be_kept_for_ever(serve):
    clock = ManualClock()
    served = serve(clock=clock)
    served.topic("t")
    peer = served.peer()

    assert commit(peer, {("t", 0): 1}, 4, retention_time_ms=(1 << 63) - 1) == {("t", 0): 0}
    clock.advance(1000 * 365 * 24 * 3600)
    assert served.broker.coordinator.retention.apply() == 0


@pytest.mark.parametrize("offset", [-(1 << 63), -1, (1 << 63) - 1])
def test_every_number_can_be_an_offset(topic, peer, offset):
    commit(peer, {("t", 0): offset}, 9, epoch=-(1 << 31))

    assert fetch(peer, [("t", 0)]) == {("t", 0): (offset, -(1 << 31), "", 0)}


def test_the_longest_group_id_has_offsets(topic, peer):
    group_id = "x" * 32_767

    assert commit(peer, {("t", 0): 1}, 9, group_id=group_id) == {("t", 0): 0}
    assert fetch(peer, [("t", 0)], group=group_id)["t", 0][0] == 1


def test_the_empty_group_id_may_have_offsets(topic, peer):
    assert commit(peer, {("t", 0): 1}, 9, group_id="") == {("t", 0): 0}
    assert fetch(peer, [("t", 0)], group="")["t", 0][0] == 1


def test_a_commit_is_answered_when_it_is_durable(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic("t")
    peer = served.peer()
    storage.gate.clear()
    peer.send(COMMIT, 9, commit_request({("t", 0): 1}, 9))
    coordinator = served.broker.coordinator
    wait_until(lambda: coordinator.offsets.is_busy("g"))

    assert fetch(served.peer(), [("t", 0)])["t", 0][0] == -1
    storage.gate.set()
    assert peer.read(COMMIT, 9).topics[0].partitions[0].error_code == 0


def test_a_commit_that_storage_refuses_may_be_tried_again(serve):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic("t")
    storage.failure = StorageFullError("no space left")

    assert commit(served.peer(), {("t", 0): 1}, 9) == {("t", 0): ErrorCode.COORDINATOR_NOT_AVAILABLE}


# -- OffsetFetch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 10))
def test_what_was_committed_is_fetched(served, peer, version):
    served.topic("t", 2)
    commit(peer, {("t", 0): 5}, 9, metadata="here")
    epoch = 3 if version >= 5 else -1

    assert fetch(peer, [("t", 0), ("t", 1)], version) == {("t", 0): (5, epoch, "here", 0), ("t", 1): (-1, -1, "", 0)}


def test_what_was_committed_is_fetched_by_id(served, peer):
    topic_id = bytes.fromhex(served.topic("t").id)
    commit(peer, {("t", 0): 5}, 9)

    assert fetch(peer, [(topic_id, 0), (topic_id, 7)], 10) == {
        (topic_id, 0): (5, 3, "", 0),
        (topic_id, 7): (-1, -1, "", 0),
    }


@pytest.mark.parametrize("version", range(1, 10))
def test_topics_and_groups_that_are_not_there_have_no_offsets_and_no_errors(peer, version):
    nothing = (-1, -1, "", 0)

    assert fetch(peer, [("none", 0), ("no name", 3)], version) == {("none", 0): nothing, ("no name", 3): nothing}


def test_an_id_that_is_not_there_is_told(peer):
    assert fetch(peer, [(NOWHERE, 0)], 10) == {(NOWHERE, 0): (-1, -1, "", ErrorCode.UNKNOWN_TOPIC_ID)}


@pytest.mark.parametrize("version", range(2, 11))
def test_everything_is_fetched(served, peer, version):
    for name in ("t", "u"):
        served.topic(name)
    commit(peer, {("t", 0): 5, ("u", 0): 6}, 9)
    found = fetch(peer, None, version)

    names = {bytes.fromhex(topic.id): topic.name for topic in served.broker.topics()}
    by_name = {(names.get(topic, topic), partition): value[0] for (topic, partition), value in found.items()}
    assert by_name == {("t", 0): 5, ("u", 0): 6}


def test_everything_of_a_deleted_topic_is_nothing(served, peer):
    served.topic("t")
    commit(peer, {("t", 0): 5}, 9)
    served.broker.delete_topic("t")

    assert fetch(peer, None) == {}


@pytest.mark.parametrize("version", [8, 9, 10])
def test_several_groups_are_fetched_at_once(served, peer, version):
    served.topic("t")
    commit(peer, {("t", 0): 5}, 9, group_id="a")
    commit(peer, {("t", 0): 6}, 9, group_id="b")
    groups = [FETCH.Request.OffsetFetchRequestGroup(group_id=name, topics=None) for name in ("a", "b", "c")]
    answer = peer.ask(FETCH, version, groups=groups)

    assert [
        (group.group_id, [topic.partitions[0].committed_offset for topic in group.topics]) for group in answer.groups
    ] == [
        ("a", [5]),
        ("b", [6]),
        ("c", []),
    ]


def test_a_group_in_a_rebalance_has_its_offsets(topic, member):
    one = member()
    one.join()

    assert fetch(one.peer, [("t", 0)])["t", 0] == (-1, -1, "", 0)


@pytest.mark.parametrize("version", [7, 8, 9, 10])
def test_an_offset_that_a_transaction_may_change_is_not_stable(served, peer, version, monkeypatch):
    topic_id = bytes.fromhex(served.topic("t").id)
    commit(peer, {("t", 0): 5}, 9)
    monkeypatch.setattr(served.broker.coordinator, "is_unstable", lambda key: True)
    place = (topic_id if version >= 10 else "t", 0)

    assert fetch(peer, [place], version)[place][0] == 5
    assert fetch(peer, [place], version, require_stable=True) == {place: (-1, -1, "", ErrorCode.UNSTABLE_OFFSET_COMMIT)}


def test_a_stable_offset_is_fetched(topic, peer):
    commit(peer, {("t", 0): 5}, 9)

    assert fetch(peer, [("t", 0)], 7, require_stable=True)["t", 0][0] == 5


@pytest.mark.parametrize("version", range(1, 11))
def test_nothing_is_fetched_while_the_broker_stops(served, peer, version):
    served.broker.coordinator.stop()
    topics = [FETCH.Request.OffsetFetchRequestTopic(name="t", partition_indexes=[0])]
    groups = [FETCH.Request.OffsetFetchRequestGroup(group_id="g", topics=None)]
    answer = peer.ask(FETCH, version, group_id="g", topics=topics, groups=groups)

    if version >= 8:
        code = answer.groups[0].error_code
    elif version >= 2:
        code = answer.error_code
    else:
        code = answer.topics[0].partitions[0].error_code
    assert code == ErrorCode.COORDINATOR_NOT_AVAILABLE


# -- OffsetDelete -------------------------------------------------------------------------------------


def delete(peer, places, group="g"):
    """Delete offsets; the code of the whole, and those by topic and partition."""
    topics = {}
    for topic, partition in places:
        one = DELETE.Request.OffsetDeleteRequestPartition(partition_index=partition)
        topics.setdefault(topic, []).append(one)
    named = [DELETE.Request.OffsetDeleteRequestTopic(name=name, partitions=parts) for name, parts in topics.items()]
    answer = peer.ask(DELETE, 0, group_id=group, topics=named)
    codes = {(topic.name, one.partition_index): one.error_code for topic in answer.topics for one in topic.partitions}
    return answer.error_code, codes


def test_offsets_are_deleted(served, peer):
    served.topic("t", 2)
    commit(peer, {("t", 0): 5, ("t", 1): 6}, 9)

    assert delete(peer, [("t", 0)]) == (0, {("t", 0): 0})
    assert fetch(peer, None) == {("t", 1): (6, 3, "", 0)}


def test_offsets_that_are_not_there_are_deleted_in_peace(topic, peer):
    commit(peer, {("t", 0): 5}, 9)
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    assert delete(peer, [("t", 0), ("t", 1), ("none", 0)]) == (
        0,
        {("t", 0): 0, ("t", 1): unknown, ("none", 0): unknown},
    )


def test_offsets_of_topics_that_members_read_are_not_deleted(served, member):
    for name in ("t", "u"):
        served.topic(name)
    one = member()
    form(one)
    fields = {"member_id": one.member_id, "generation_id_or_member_epoch": one.generation}
    commit(one.peer, {("t", 0): 5, ("u", 0): 6}, 9, **fields)

    assert delete(one.peer, [("t", 0), ("u", 0)]) == (
        0,
        {("t", 0): ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, ("u", 0): 0},
    )
    assert fetch(one.peer, None) == {("t", 0): (5, 3, "", 0)}


def test_offsets_of_another_kind_of_group_are_not_deleted_while_it_has_members(topic, member):
    one = member(protocol_type="connect")
    one.join()

    assert delete(one.peer, [("t", 0)]) == (ErrorCode.NON_EMPTY_GROUP, {})


def test_offsets_of_no_group_are_not_deleted(topic, peer):
    assert delete(peer, [("t", 0)]) == (ErrorCode.GROUP_ID_NOT_FOUND, {})


def test_offsets_of_the_group_without_an_id_are_not_deleted(topic, peer):
    commit(peer, {("t", 0): 5}, 9, group_id="")

    assert delete(peer, [("t", 0)], group="") == (ErrorCode.INVALID_GROUP_ID, {})
