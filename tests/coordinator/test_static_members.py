"""Static members (KIP-345): a restarted client takes its old place, and fences whoever was there."""

import pytest

from portask.coordinator.state import State
from portask.errors import (
    CoordinatorUnavailableError,
    FencedMemberError,
    RebalancingError,
    StorageFullError,
    UnknownMemberError,
)
from tests.coordinator.classic_bench import Bench, given
from tests.coordinator.test_join import refused


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def ids(bench):
    """A stable group of two static members."""
    return bench.bring_to(State.STABLE, ("one", "two"))


def test_a_restarted_member_goes_on_without_a_rebalance(bench, ids):
    joined = given(bench.join(instance_id="two"))

    assert bench.group.state is State.STABLE
    assert joined.generation == 2
    assert given(bench.sync(joined.member_id, instance_id="two")).assignment == ids[1].encode()


def test_who_was_there_before_is_fenced(bench, ids):
    bench.join(instance_id="two")

    with pytest.raises(FencedMemberError):
        bench.heartbeat(ids[1], "two")
    with pytest.raises(FencedMemberError):
        bench.sync(ids[1], instance_id="two")
    with pytest.raises(FencedMemberError):
        bench.join(ids[1], "two")
    with pytest.raises(FencedMemberError):
        bench.group.check_commit(ids[1], "two", 2)


def test_who_was_there_before_and_hides_its_instance_is_unknown(bench, ids):
    bench.join(instance_id="two")

    with pytest.raises(UnknownMemberError):
        bench.heartbeat(ids[1])


def test_an_instance_that_is_not_in_the_group_is_unknown(bench, ids):
    with pytest.raises(UnknownMemberError):
        bench.heartbeat(ids[1], "three")


def test_a_restarted_leader_is_told_not_to_assign(bench, ids):
    joined = given(bench.join(instance_id="one", can_skip_assignment=True))

    assert joined.skip_assignment
    assert joined.leader == joined.member_id
    assert {peer.instance_id for peer in joined.peers} == {"one", "two"}


def test_a_restarted_leader_of_old_takes_another_one_for_the_leader(bench, ids):
    joined = given(bench.join(instance_id="one"))

    assert joined.leader == ids[0]
    assert joined.peers == []
    assert bench.leader == joined.member_id


def test_a_restarted_follower_hears_who_leads(bench, ids):
    joined = given(bench.join(instance_id="two", can_skip_assignment=True))

    assert (joined.leader, joined.skip_assignment, joined.peers) == (ids[0], False, [])


def test_a_restarted_member_is_answered_when_the_store_knows_its_new_id(bench, ids):
    bench.holds_saves = True
    answer = bench.join(instance_id="two")
    assert not answer.is_given

    bench.stored()
    assert answer.is_given


def test_a_restart_that_cannot_be_stored_is_to_be_tried_again(bench, ids):
    bench.holds_saves = True
    answer = bench.join(instance_id="two")
    bench.stored(StorageFullError("no space left"))

    assert isinstance(refused(answer), CoordinatorUnavailableError)
    bench.holds_saves = False
    assert given(bench.join(instance_id="two")).generation == 2


def test_a_rebalance_overtakes_the_storing_of_a_restart(bench, ids):
    bench.holds_saves = True
    answer = bench.join(instance_id="two")
    bench.join(ids[0], "one")
    bench.stored()

    assert given(answer).generation == 3


def test_a_member_may_restart_twice_while_the_store_is_slow(bench, ids):
    bench.holds_saves = True
    before = bench.join(instance_id="two")
    after = bench.join(instance_id="two")
    (_, first_done), _ = bench.saves[-2:]
    first_done(None)

    assert isinstance(refused(before), FencedMemberError)
    assert not after.is_given
    bench.join(ids[0], "one")
    assert given(after).generation == 3


def test_a_member_that_restarts_before_it_has_synced_is_still_awaited(bench):
    first, _ = bench.bring_to(State.COMPLETING, ("one", "two"))
    bench.sync(first, instance_id="one")
    second = given(bench.join(instance_id="two")).member_id
    bench.sync(second, instance_id="two")
    for _ in range(20):
        bench.advance(5)
        bench.heartbeat(first, "one")
        bench.heartbeat(second, "two")

    assert bench.group.state is State.STABLE


def test_a_restarted_member_with_another_protocol_begins_a_rebalance(bench):
    # With the second member's vote for it, "sticky" is no longer a tie.
    ids = bench.bring_to(State.STABLE, ("one",))
    bench.join(instance_id="one", protocols=[("sticky", b"")])

    assert bench.group.rebalance.protocol == "sticky"
    assert bench.members != ids


def test_a_restarted_member_with_other_metadata_goes_on_with_its_assignment(bench, ids):
    joined = given(bench.join(instance_id="two", protocols=[("range", b"new"), ("sticky", b"s")]))

    assert joined.generation == 2


def test_a_member_that_restarts_while_it_waits_at_the_barrier_takes_its_own_place(bench, ids):
    bench.join(ids[0], "one")
    waits = bench.join(instance_id="two")

    assert given(waits).generation == 3


def test_the_old_join_of_a_member_that_restarts_is_fenced(bench):
    bench.bring_to(State.STABLE, ("one", "two"))
    before = bench.join(instance_id="three")
    bench.join(instance_id="three")

    assert isinstance(refused(before), FencedMemberError)


def test_the_old_sync_of_a_member_that_restarts_is_fenced(bench):
    _, second = bench.bring_to(State.COMPLETING, ("one", "two"))
    waits = bench.sync(second, instance_id="two")
    bench.join(instance_id="two")

    assert isinstance(refused(waits), FencedMemberError)


def test_a_restart_while_the_leader_assigns_begins_a_rebalance(bench):
    first, _ = bench.bring_to(State.COMPLETING, ("one", "two"))
    bench.join(instance_id="two")

    assert bench.group.state is State.PREPARING
    with pytest.raises(RebalancingError):
        bench.heartbeat(first, "one")


def test_a_static_member_that_does_not_come_back_goes_with_its_session(bench, ids):
    bench.advance(9)
    bench.heartbeat(ids[0], "one")
    bench.advance(2)

    assert bench.members == [ids[0]]
    assert bench.group.state is State.PREPARING


def test_another_one_leads_when_a_static_leader_does_not_join_in_time(bench, ids):
    answer = bench.join(ids[1], "two", protocols=[("range", b"changed")])
    for _ in range(13):
        bench.advance(5)
        if bench.group.state is State.PREPARING:
            with pytest.raises(RebalancingError):
                bench.heartbeat(ids[0], "one")

    assert given(answer).leader == ids[1]
    assert ids[0] in [peer.member_id for peer in given(answer).peers]


def test_a_static_member_that_has_gone_comes_back_as_a_new_one(bench, ids):
    bench.advance(10)
    assert bench.group.state is State.EMPTY

    assert given(bench.join(instance_id="two")).generation == 4


def test_the_new_client_of_a_static_member_is_the_one_described(bench, ids):
    bench.join(instance_id="two", client_id="after", client_host="/10.0.0.2")
    member = bench.group.roster.holder("two")

    assert (member.client_id, member.client_host) == ("after", "/10.0.0.2")
