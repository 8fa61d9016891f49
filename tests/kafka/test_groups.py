"""FindCoordinator, JoinGroup, SyncGroup, Heartbeat and LeaveGroup, in every version."""

import pytest

from handlers.kafka import groups, tables
from handlers.kafka.error_codes import ErrorCode
from portask.clock import ManualClock
from portask.errors import ProtocolError
from tests.kafka.group_peer import JOIN, SYNC, GroupPeer, form, join_request, subscription, sync_request

FIND = tables.FIND_COORDINATOR
LEAVE = tables.LEAVE_GROUP
Leaver = LEAVE.Request.MemberIdentity


@pytest.fixture
def member(served):
    """A function that makes a member of group "g" with a connection of its own."""

    def make(**more):
        return GroupPeer(served.peer(), **more)

    return make


# -- FindCoordinator ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(4))
def test_the_coordinator_is_this_node(served, peer, version):
    found = peer.ask(FIND, version, key="g")

    assert (found.error_code, found.node_id, found.host, found.port) == (0, 1, "127.0.0.1", served.port)
    if version:
        assert found.error_message == "NONE"


@pytest.mark.parametrize("version", range(4, 7))
def test_the_coordinators_of_many_groups_are_this_node(served, peer, version):
    found = peer.ask(FIND, version, coordinator_keys=["a", "b"]).coordinators

    assert [(one.key, one.error_code, one.node_id, one.port) for one in found] == [
        ("a", 0, 1, served.port),
        ("b", 0, 1, served.port),
    ]


@pytest.mark.parametrize("version", [1, 3, 4, 6])
def test_the_coordinator_of_a_transaction_is_this_node(peer, version):
    found = peer.ask(FIND, version, key="t", coordinator_keys=["t"], key_type=1)

    assert (found.coordinators[0] if version >= 4 else found).node_id == 1


@pytest.mark.parametrize("version", [1, 3, 4, 6])
@pytest.mark.parametrize("key_type", [2, -1])
def test_other_coordinators_do_not_exist(peer, version, key_type):
    found = peer.ask(FIND, version, key="t", coordinator_keys=["t"], key_type=key_type)
    one = found.coordinators[0] if version >= 4 else found

    assert (one.error_code, one.node_id) == (ErrorCode.INVALID_REQUEST, -1)
    assert "coordinators of type" in one.error_message


# -- JoinGroup ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(4))
def test_old_clients_join_at_once(member, version):
    joined = member(join_version=version).join()

    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (0, 1, "range")
    assert joined.leader == joined.member_id
    assert [one.member_id for one in joined.members] == [joined.member_id]
    assert joined.members[0].metadata == subscription("t")


@pytest.mark.parametrize("version", range(4, 10))
def test_new_clients_are_given_an_id_first(served, version):
    peer = served.peer()
    refused = peer.ask(JOIN, version, join_request())
    joined = peer.ask(JOIN, version, join_request(member_id=refused.member_id))

    assert refused.error_code == ErrorCode.MEMBER_ID_REQUIRED
    assert (joined.error_code, joined.member_id) == (0, refused.member_id)
    assert refused.member_id.startswith("peer-")
    assert joined.protocol_type == ("consumer" if version >= 7 else None)


@pytest.mark.parametrize("version", range(5, 10))
def test_static_members_need_no_id(member, version):
    joined = member(join_version=version, instance_id="one").join()

    assert joined.error_code == 0
    assert [one.group_instance_id for one in joined.members] == ["one"]


def test_the_rebalance_timeout_of_the_first_version_is_the_session_timeout(served, member):
    member(join_version=0, session_timeout_ms=7_000).join()
    (one,) = served.broker.coordinator.group("g").roster

    assert one.rebalance_timeout_s == 7.0


def test_only_the_leader_is_told_who_is_there(member):
    first, second = member(), member()
    form(first, second)

    assert {one.member_id for one in first.joined.members} == {first.member_id, second.member_id}
    assert second.joined.members == []
    assert second.joined.leader == first.member_id


def test_a_restarted_static_leader_is_told_not_to_assign(member):
    form(member(instance_id="one"))
    joined = member(instance_id="one").join()

    assert joined.skip_assignment
    assert len(joined.members) == 1


@pytest.mark.parametrize("version", [0, 5, 6, 7, 9])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"group": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"session_timeout_ms": 5_999}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"session_timeout_ms": 1_800_001}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"member_id": "somebody"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"protocols": []}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_type": ""}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
    ],
)
def test_a_join_is_refused(peer, version, fields, code):
    refused = peer.ask(JOIN, version, join_request(**fields))

    assert (refused.error_code, refused.generation_id, refused.leader) == (code, -1, "")
    assert refused.member_id == fields.get("member_id", "")
    assert refused.members == []


def test_a_join_with_a_fenced_instance_is_refused(member):
    before, after = member(instance_id="one"), member(instance_id="one")
    form(before)
    after.join()

    assert before.join().error_code == ErrorCode.FENCED_INSTANCE_ID
    assert before.sync().error_code == ErrorCode.FENCED_INSTANCE_ID
    assert before.heartbeat() == ErrorCode.FENCED_INSTANCE_ID


def test_a_join_to_a_full_group_is_refused(serve):
    served = serve("--group-max-size=1")
    form(GroupPeer(served.peer()))
    refused = served.peer().ask(JOIN, 3, join_request())

    assert (refused.error_code, refused.member_id) == (ErrorCode.GROUP_MAX_SIZE_REACHED, "")


def test_a_join_is_refused_while_the_broker_stops(served, peer):
    served.broker.coordinator.stop()

    assert peer.ask(JOIN, 9, join_request()).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


def test_a_join_that_waits_is_answered_when_the_broker_stops(served, member):
    first, second = member(), member(join_version=0)
    form(first)
    second.send_join()
    while first.heartbeat() != ErrorCode.REBALANCE_IN_PROGRESS:
        pass
    served.broker.coordinator.stop()

    assert second.read_join().error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


def test_a_client_that_hangs_up_while_it_waits_stays_a_member(member):
    first, second = member(), member(join_version=0)
    form(first)
    second.send_join()
    while first.heartbeat() != ErrorCode.REBALANCE_IN_PROGRESS:
        pass
    second.peer.close()

    assert len(first.join().members) == 2


def test_a_long_reason_is_cut_short(served, member, caplog):
    caplog.set_level("INFO")
    member(reason="x" * 10_000).join()

    assert any("x" * 255 in str(getattr(record, "reason", "")) for record in caplog.records)
    assert not any("x" * 256 in str(getattr(record, "reason", "")) for record in caplog.records)


# -- SyncGroup ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(6))
def test_a_member_gets_its_assignment(member, version):
    one = member()
    one.join()
    synced = one.sync(version)

    assert (synced.error_code, synced.assignment) == (0, one.member_id.encode())
    if version >= 5:
        assert (synced.protocol_type, synced.protocol_name) == ("consumer", "range")


@pytest.mark.parametrize("version", range(6))
def test_a_sync_is_refused(member, version):
    one = member()
    one.join()

    def sync(**more):
        request = sync_request(**{"group": "g", "member_id": one.member_id, "generation": 1, "assignments": {}, **more})
        return one.peer.ask(SYNC, version, request).error_code

    assert sync(group="") == ErrorCode.INVALID_GROUP_ID
    assert sync(group="other") == ErrorCode.UNKNOWN_MEMBER_ID
    assert sync(member_id="somebody") == ErrorCode.UNKNOWN_MEMBER_ID
    assert sync(generation=2) == ErrorCode.ILLEGAL_GENERATION
    if version >= 5:
        assert sync(protocol_type=None) == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        assert sync(protocol_name=None) == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        assert sync(protocol_type="connect") == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        assert sync(protocol_name="sticky") == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_a_sync_in_a_rebalance_is_told_to_join(member):
    first, second = member(), member(join_version=0)
    form(first)
    second.send_join()
    while first.heartbeat() != ErrorCode.REBALANCE_IN_PROGRESS:
        pass

    assert first.sync().error_code == ErrorCode.REBALANCE_IN_PROGRESS


# -- Heartbeat ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(5))
def test_a_heartbeat_is_answered(member, version):
    one = member()
    form(one)

    assert one.heartbeat(version) == ErrorCode.NONE


@pytest.mark.parametrize("version", range(5))
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"group_id": "other"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "somebody"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"generation_id": 9}, ErrorCode.ILLEGAL_GENERATION),
    ],
)
def test_a_heartbeat_is_refused(member, version, fields, code):
    one = member()
    form(one)
    values = {"generation_id": 1, **fields}

    assert one.ask(tables.HEARTBEAT, version, **values).error_code == code


def test_a_member_without_heartbeats_is_forgotten(serve):
    clock = ManualClock()
    served = serve(clock=clock)
    one = GroupPeer(served.peer())
    form(one)
    clock.advance(10)
    served.broker.coordinator.tick()

    assert one.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID


# -- LeaveGroup ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3))
def test_a_member_leaves(served, member, version):
    one = member()
    form(one)

    assert one.ask(LEAVE, version).error_code == ErrorCode.NONE
    assert served.broker.coordinator.group("g").state_name == "Empty"


@pytest.mark.parametrize("version", range(3))
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"group_id": "other"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "somebody"}, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_a_single_leave_is_refused(member, version, fields, code):
    one = member()
    form(one)

    assert one.ask(LEAVE, version, **fields).error_code == code


@pytest.mark.parametrize("version", range(3, 6))
def test_many_leave_and_each_has_an_answer(served, member, version):
    first, second = member(instance_id="one"), member()
    form(first, second)
    left = first.ask(
        LEAVE,
        version,
        members=[
            Leaver(member_id="", group_instance_id="one", reason="closed" if version >= 5 else None),
            Leaver(member_id=second.member_id, group_instance_id=None),
            Leaver(member_id="somebody", group_instance_id=None),
            Leaver(member_id="somebody", group_instance_id="two"),
        ],
    )

    assert left.error_code == ErrorCode.NONE
    assert [(one.member_id, one.group_instance_id, one.error_code) for one in left.members] == [
        ("", "one", 0),
        (second.member_id, None, 0),
        ("somebody", None, ErrorCode.UNKNOWN_MEMBER_ID),
        ("somebody", "two", ErrorCode.UNKNOWN_MEMBER_ID),
    ]
    assert served.broker.coordinator.group("g").state_name == "Empty"


@pytest.mark.parametrize("version", range(3, 6))
def test_of_no_group_nobody_is_a_member(member, version):
    left = member().ask(LEAVE, version, members=[Leaver(member_id="somebody", group_instance_id=None)])

    assert left.error_code == 0
    assert [(one.member_id, one.error_code) for one in left.members] == [("somebody", ErrorCode.UNKNOWN_MEMBER_ID)]


@pytest.mark.parametrize("version", range(3, 6))
def test_many_leave_a_group_that_cannot_be(member, version):
    left = member(group="").ask(LEAVE, version, members=[Leaver(member_id="somebody", group_instance_id=None)])

    assert (left.error_code, left.members) == (ErrorCode.INVALID_GROUP_ID, [])


# -- metadata of consumers ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2, 3, 9])
def test_topics_of_a_subscription_are_read_in_every_version(version):
    assert groups.read_subscription(subscription("a", "b", version=version)) == ["a", "b"]


@pytest.mark.parametrize("metadata", [b"", b"\0", b"\xff\xff", b"\0\0\0\0\0\7", b"\0\0\x7f\xff\xff\xff"])
def test_broken_metadata_are_refused(metadata):
    with pytest.raises(ProtocolError):
        groups.read_subscription(metadata)


def test_broken_metadata_are_the_clients_matter(member):
    one = member(metadata=b"anything")

    assert one.join().members[0].metadata == b"anything"
