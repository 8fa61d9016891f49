"""DescribeGroups, ListGroups and DeleteGroups, in every version."""

import pytest

from handlers.kafka import tables
from handlers.kafka.error_codes import ErrorCode
from portask.coordinator.offset_row import CommittedOffset
from tests.kafka.group_peer import GroupPeer, form, join_request, subscription

DESCRIBE = tables.DESCRIBE_GROUPS
LIST = tables.LIST_GROUPS
DELETE = tables.DELETE_GROUPS


@pytest.fixture
def member(served):
    """A function that makes a member of group "g" with a connection of its own."""

    def make(**more):
        return GroupPeer(served.peer(), **more)

    return make


def commit(served, group_id):
    topic = served.broker.topic("t", create=True)
    served.broker.coordinator.commit(group_id, "", None, -1, {(topic, 0): CommittedOffset(1, 0, "", 0)})


# -- DescribeGroups -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(7))
def test_a_stable_group_is_described(peer, member, version):
    first, second = member(instance_id="one"), member()
    form(first, second)
    (group,) = peer.ask(DESCRIBE, version, groups=["g"]).groups

    assert (group.error_code, group.error_message) == (0, None)
    assert (group.group_id, group.group_state) == ("g", "Stable")
    assert (group.protocol_type, group.protocol_data) == ("consumer", "range")
    assert group.authorized_operations == -(1 << 31)
    for one, described in zip((first, second), group.members, strict=True):
        assert described.member_id == one.member_id
        assert described.group_instance_id == (one.instance_id if version >= 4 else None)
        assert (described.client_id, described.client_host) == ("peer", "/127.0.0.1")
        assert described.member_metadata == subscription("t")
        assert described.member_assignment == one.member_id.encode()


def test_a_group_in_a_rebalance_is_described_by_what_its_members_had(peer, member):
    first, second = member(), member(join_version=0)
    form(first)
    second.send_join()
    while first.heartbeat() != ErrorCode.REBALANCE_IN_PROGRESS:
        pass
    (group,) = peer.ask(DESCRIBE, 6, groups=["g"]).groups

    assert (group.group_state, group.protocol_data) == ("PreparingRebalance", "")
    assert [each.member_metadata for each in group.members] == [b"", b""]
    assert [each.member_assignment for each in group.members] == [first.member_id.encode(), b""]


def test_an_empty_group_is_described(served, peer):
    commit(served, "g")
    (group,) = peer.ask(DESCRIBE, 6, groups=["g"]).groups

    assert (group.group_state, group.protocol_type, group.members) == ("Empty", "", [])


@pytest.mark.parametrize("version", range(7))
def test_no_group_is_dead(peer, version):
    (group,) = peer.ask(DESCRIBE, version, groups=["g"]).groups

    assert group.group_state == "Dead"
    assert group.error_code == (ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else ErrorCode.NONE)
    assert group.error_message == ("Group g not found." if version >= 6 else None)


def test_a_group_is_described_as_often_as_it_is_asked_for(peer):
    assert [group.group_id for group in peer.ask(DESCRIBE, 6, groups=["a", "b", "a"]).groups] == ["a", "b", "a"]


@pytest.mark.parametrize("version", range(3, 7))
def test_everything_is_allowed_as_long_as_there_are_no_permissions(served, peer, version):
    commit(served, "g")
    groups = peer.ask(DESCRIBE, version, groups=["g", "none"], include_authorized_operations=True).groups

    # A group that is said not to be there allows nothing; one that is said to be dead does.
    allowed = 0b110101001000
    assert [group.authorized_operations for group in groups] == [allowed, allowed if version < 6 else -(1 << 31)]


def test_nothing_is_described_while_the_broker_stops(served, peer):
    served.broker.coordinator.stop()
    (group,) = peer.ask(DESCRIBE, 6, groups=["g"]).groups

    assert group.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


def test_a_group_that_nobody_could_join_is_not_there(peer):
    joined = peer.ask(tables.JOIN_GROUP, 9, join_request("g", protocols=[]))

    assert joined.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert peer.ask(DESCRIBE, 6, groups=["g"]).groups[0].error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert peer.ask(LIST, 5).groups == []


# -- ListGroups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(6))
def test_groups_are_listed(served, peer, member, version):
    commit(served, "empty")
    form(member())
    listed = peer.ask(LIST, version)

    assert listed.error_code == 0
    assert [(group.group_id, group.protocol_type) for group in listed.groups] == [("empty", ""), ("g", "consumer")]
    if version >= 4:
        assert [group.group_state for group in listed.groups] == ["Empty", "Stable"]
    if version >= 5:
        assert [group.group_type for group in listed.groups] == ["classic", "classic"]


@pytest.mark.parametrize(
    ("fields", "listed"),
    [
        ({"states_filter": ["Stable"]}, ["g"]),
        ({"states_filter": ["stable", "EMPTY"]}, ["empty", "g"]),
        ({"states_filter": ["Dead"]}, []),
        ({"states_filter": ["nonsense"]}, []),
        ({"types_filter": ["Classic"]}, ["empty", "g"]),
        ({"types_filter": ["consumer"]}, []),
        ({"types_filter": ["classic"], "states_filter": ["Empty"]}, ["empty"]),
    ],
)
def test_only_groups_that_are_wanted_are_listed(served, peer, member, fields, listed):
    commit(served, "empty")
    form(member())

    assert [group.group_id for group in peer.ask(LIST, 5, **fields).groups] == listed


def test_nothing_is_listed_while_the_broker_stops(served, peer):
    served.broker.coordinator.stop()

    assert peer.ask(LIST, 5).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


# -- DeleteGroups -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3))
def test_groups_are_deleted_each_with_its_answer(served, peer, member, version):
    commit(served, "empty")
    form(member())
    deleted = peer.ask(DELETE, version, groups_names=["empty", "g", "none", "empty"])

    assert [(one.group_id, one.error_code) for one in deleted.results] == [
        ("empty", 0),
        ("g", ErrorCode.NON_EMPTY_GROUP),
        ("none", ErrorCode.GROUP_ID_NOT_FOUND),
    ]
    assert [group.group_id for group in peer.ask(LIST, 0).groups] == ["g"]


def test_a_group_with_the_empty_id_can_be_deleted(served, peer):
    commit(served, "")

    assert peer.ask(DELETE, 2, groups_names=[""]).results[0].error_code == 0
