"""Sessions of members: what keeps them, what ends them, and how members leave."""

import pytest

from portask.coordinator.state import State
from portask.errors import FencedMemberError, RebalancingError, UnknownMemberError
from tests.coordinator.classic_bench import Bench, given
from tests.coordinator.test_join import refused


@pytest.fixture
def bench():
    return Bench()


# -- sessions -----------------------------------------------------------------------------------------


def test_a_member_without_heartbeats_is_removed(bench):
    first, second = bench.bring_to(State.STABLE)
    bench.advance(9)
    bench.heartbeat(first)
    bench.advance(2)

    assert bench.members == [first]
    with pytest.raises(UnknownMemberError):
        bench.heartbeat(second)


def test_the_others_hear_of_it_by_their_heartbeats(bench):
    first, _ = bench.bring_to(State.STABLE)
    bench.advance(9)
    bench.heartbeat(first)
    bench.advance(2)

    with pytest.raises(RebalancingError):
        bench.heartbeat(first)


@pytest.mark.parametrize("state", [State.PREPARING, State.STABLE])
def test_a_commit_keeps_a_session(bench, state):
    ids = bench.bring_to(state)
    bench.advance(9)
    bench.group.check_commit(ids[1], None, 2)
    bench.advance(2)

    assert ids[1] in bench.members


def test_a_member_that_waits_for_the_others_needs_no_heartbeats(bench):
    first, second = bench.bring_to(State.STABLE)
    bench.join(first)
    for _ in range(5):
        bench.advance(9)
        with pytest.raises(RebalancingError):
            bench.heartbeat(second)

    assert first in bench.members


def test_a_member_that_waits_for_the_leader_needs_no_heartbeats(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.sync(second)
    for _ in range(5):
        bench.advance(9)
        bench.heartbeat(first)

    assert second in bench.members


def test_a_session_begins_anew_when_the_wait_is_over(bench):
    first, second = bench.bring_to(State.COMPLETING)
    bench.sync(second)
    for _ in range(5):
        bench.advance(9)
        bench.heartbeat(first)
    bench.sync(first)
    bench.advance(9)

    assert second in bench.members


def test_a_new_member_waits_five_minutes_and_no_longer(bench):
    first, _ = bench.bring_to(State.STABLE)
    bench.join(first, rebalance_timeout_ms=600_000, session_timeout_ms=1_800_000)
    bench.join(bench.members[1], rebalance_timeout_ms=600_000, session_timeout_ms=1_800_000)
    newcomer = bench.join(rebalance_timeout_ms=600_000)
    bench.advance(299)
    assert not newcomer.is_given
    bench.advance(2)

    assert isinstance(refused(newcomer), UnknownMemberError)


def test_the_last_one_takes_the_generation_with_it(bench):
    bench.bring_to(State.STABLE)
    bench.advance(10)

    assert (bench.group.state, bench.group.rebalance.generation) == (State.EMPTY, 3)


def test_when_a_missing_member_is_gone_the_others_go_on(bench):
    first, _ = bench.bring_to(State.STABLE)
    answer = bench.join(first)
    bench.advance(10)

    assert given(answer).generation == 3


# -- leaving ------------------------------------------------------------------------------------------


def test_the_others_rebalance_when_one_leaves(bench):
    first, second = bench.bring_to(State.STABLE)

    assert bench.group.leave([(second, None)], "left") == [None]
    assert bench.group.state is State.PREPARING
    assert bench.members == [first]


def test_those_at_the_barrier_go_on_when_one_leaves(bench):
    first, second = bench.bring_to(State.STABLE)
    answer = bench.join(first)
    bench.group.leave([(second, None)], "left")

    assert given(answer).generation == 3


def test_one_who_leaves_while_it_waits_is_answered(bench):
    first, second = bench.bring_to(State.COMPLETING)
    waits = bench.sync(second)
    bench.group.leave([(second, None)], "left")

    assert isinstance(refused(waits), UnknownMemberError)
    assert bench.members == [first]


def test_many_leave_at_once_with_one_rebalance(bench):
    first, *others = bench.bring_to(State.STABLE, ("one", None, "three"))
    saves = len(bench.saves)

    assert bench.group.leave([(others[0], None), ("", "three")], "left") == [None, None]
    assert bench.members == [first]
    assert (bench.group.state, bench.group.rebalance.generation) == (State.PREPARING, 2)
    assert len(bench.saves) == saves


@pytest.mark.parametrize(
    ("identity", "error"),
    [
        (("somebody", None), UnknownMemberError),
        (("", None), UnknownMemberError),
        (("", "three"), UnknownMemberError),
        (("somebody", "one"), FencedMemberError),
        (("somebody", "three"), UnknownMemberError),
    ],
)
def test_each_hears_for_itself_why_it_cannot_leave(bench, identity, error):
    _, second = bench.bring_to(State.STABLE, ("one", None))
    outcomes = bench.group.leave([identity, (second, None)], "left")

    assert [type(outcome) for outcome in outcomes] == [error, type(None)]


def test_nobody_leaves_twice(bench):
    _, second = bench.bring_to(State.STABLE)
    outcomes = bench.group.leave([(second, None), (second, None)], "left")

    assert [type(outcome) for outcome in outcomes] == [type(None), UnknownMemberError]


def test_nobody_is_disturbed_when_nobody_leaves(bench):
    bench.bring_to(State.STABLE)
    bench.group.leave([("somebody", None)], "left")

    assert bench.group.state is State.STABLE


def test_one_who_was_given_an_id_may_leave_before_it_joins(bench):
    bench.bring_to(State.STABLE)
    bench.group.roster.pending["soon"] = 100.0

    assert bench.group.leave([("soon", None)], "left") == [None]
    assert not bench.group.roster.pending
    assert bench.group.state is State.STABLE


def test_everybody_leaves_and_the_group_is_empty(bench):
    ids = bench.bring_to(State.STABLE)
    bench.group.leave([(member_id, None) for member_id in ids], "left")

    assert bench.group.state is State.EMPTY
    assert bench.group.is_empty
