"""Syncing: everybody waits for the leader, and for what it says to be stored."""

import pytest

from portask.coordinator.group_row import GroupRow
from portask.coordinator.state import State
from portask.errors import (
    CoordinatorUnavailableError,
    InconsistentProtocolError,
    RebalancingError,
    StaleGenerationError,
    StorageFullError,
    UnknownMemberError,
)
from tests.coordinator.classic_bench import PROTOCOLS, Bench, given
from tests.coordinator.test_join import refused


@pytest.fixture
def bench():
    return Bench()


def test_members_get_what_the_leader_has_assigned(bench):
    first, second = bench.bring_to(State.COMPLETING)
    waits = bench.sync(second)
    leads = bench.sync(first, {first: b"1", second: b"2"})

    assert (given(leads).assignment, given(waits).assignment) == (b"1", b"2")
    assert (given(waits).protocol_type, given(waits).protocol) == ("test", "range")


def test_a_follower_waits_for_the_leader(bench):
    _, second = bench.bring_to(State.COMPLETING)

    assert not bench.sync(second).is_given


def test_a_member_that_comes_late_gets_its_assignment(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.sync(first, {second: b"2"})

    assert given(bench.sync(second)).assignment == b"2"


def test_a_member_that_was_assigned_nothing_gets_nothing(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.sync(first, {"somebody": b"?"})

    assert given(bench.sync(second)).assignment == b""


def test_nobody_hears_of_an_assignment_before_it_is_stored(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.holds_saves = True
    answers = [bench.sync(second), bench.sync(first, {second: b"2"})]

    assert not any(answer.is_given for answer in answers)
    bench.stored()
    assert given(answers[0]).assignment == b"2"


def test_what_is_stored_is_the_generation_that_members_are_about_to_see(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.saves.clear()
    bench.sync(first, {second: b"2"})
    ((value, _),) = bench.saves
    _, row = GroupRow.decode(b"g", value)

    assert (row.generation, row.leader, row.protocol) == (2, first, "range")
    assert [(member.id, member.assignment) for member in row.members] == [(first, b""), (second, b"2")]


def test_an_assignment_that_cannot_be_stored_is_tried_again_by_a_rebalance(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.holds_saves = True
    answers = [bench.sync(second), bench.sync(first, {second: b"2"})]
    bench.stored(StorageFullError("no space left"))

    assert [type(refused(answer)) for answer in answers] == [CoordinatorUnavailableError] * 2
    assert bench.group.state is State.PREPARING


def test_an_assignment_that_another_rebalance_has_overtaken_is_forgotten(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.holds_saves = True
    leads = bench.sync(first, {second: b"2"})
    bench.join(second, protocols=[("range", b"other")])
    bench.stored()

    assert isinstance(refused(leads), RebalancingError)
    assert bench.group.state is State.PREPARING


def test_members_that_wait_for_the_leader_hear_of_a_new_rebalance(bench):
    _, second = bench.bring_to(State.COMPLETING)
    waits = bench.sync(second)
    bench.join()

    assert isinstance(refused(waits), RebalancingError)


def test_a_member_that_syncs_twice_is_answered_once(bench):
    first, second = bench.bring_to(State.COMPLETING)
    before = bench.sync(second)
    after = bench.sync(second)
    bench.sync(first, {second: b"2"})

    assert isinstance(refused(before), RebalancingError)
    assert given(after).assignment == b"2"


@pytest.mark.parametrize("state", [State.PREPARING, State.COMPLETING, State.STABLE])
def test_another_generation_is_refused(bench, state):
    first, _ = bench.bring_to(state)

    with pytest.raises(StaleGenerationError):
        bench.sync(first, generation=1)
    with pytest.raises(StaleGenerationError):
        bench.group.heartbeat(first, None, 1)
    with pytest.raises(StaleGenerationError):
        bench.group.check_commit(first, None, 1)


@pytest.mark.parametrize("state", [State.PREPARING, State.COMPLETING, State.STABLE])
def test_somebody_unknown_is_refused(bench, state):
    bench.bring_to(state)

    with pytest.raises(UnknownMemberError):
        bench.sync("somebody")
    with pytest.raises(UnknownMemberError):
        bench.heartbeat("somebody")
    with pytest.raises(UnknownMemberError):
        bench.group.check_commit("somebody", None, 2)


@pytest.mark.parametrize(("protocol_type", "protocol"), [("other", "range"), ("test", "sticky")])
def test_a_member_that_follows_another_protocol_is_refused(bench, protocol_type, protocol):
    first, _ = bench.bring_to(State.COMPLETING)

    with pytest.raises(InconsistentProtocolError):
        bench.group.sync(first, None, 2, protocol_type, protocol, {})


def test_a_member_that_says_what_it_follows_is_served(bench):
    first, _ = bench.bring_to(State.COMPLETING)

    assert given(bench.group.sync(first, None, 2, "test", "range", {first: b"1"})).assignment == b"1"


# -- the sync deadline --------------------------------------------------------------------------------


def test_members_that_do_not_ask_for_their_assignment_are_removed(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.sync(first, {first: b"1", second: b"2"})
    for _ in range(12):
        bench.advance(5)
        for member_id in bench.members:
            try_heartbeat(bench, member_id)

    assert bench.members == [first]
    assert bench.group.state is State.PREPARING


def try_heartbeat(bench, member_id):
    try:
        bench.heartbeat(member_id)
    except RebalancingError:
        assert bench.group.state is State.PREPARING


def test_followers_hear_when_the_leader_never_assigns(bench):
    _, second = bench.bring_to(State.COMPLETING)
    waits = bench.sync(second)
    bench.advance(10)

    assert isinstance(refused(waits), RebalancingError)
    assert bench.members == [second]


def test_a_group_in_which_nobody_asks_is_empty(bench):
    bench.bring_to(State.COMPLETING)
    bench.advance(60)

    assert bench.group.state is State.EMPTY


def test_a_group_that_has_synced_has_no_sync_deadline(bench):
    ids = bench.bring_to(State.STABLE)
    for _ in range(20):
        bench.advance(5)
        for member_id in ids:
            bench.heartbeat(member_id)

    assert bench.group.state is State.STABLE
    assert bench.members == ids


def test_nobody_waits_for_the_sync_of_a_member_that_has_left(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.group.leave([(second, None)], "left")
    bench.join(first)
    bench.sync(first)
    for _ in range(20):
        bench.advance(5)
        bench.heartbeat(first)

    assert bench.group.state is State.STABLE


def test_protocols_that_members_have_in_common_are_stored_one_only(bench):
    bench.bring_to(State.STABLE)
    _, row = GroupRow.decode(b"g", bench.saves[-1][0])

    assert [member.protocols for member in row.members] == [PROTOCOLS[:1]] * 2
