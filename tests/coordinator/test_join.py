"""Joining a classic group: ids, protocols, the barrier, and who leads."""

import pytest

from portask.coordinator.state import State
from portask.errors import (
    GroupFullError,
    InconsistentProtocolError,
    MemberIdRequiredError,
    RebalancingError,
    UnknownMemberError,
)
from tests.coordinator.classic_bench import PROTOCOLS, Bench, given


@pytest.fixture
def bench():
    return Bench()


def refused(answer):
    """The error of an answer that must be there."""
    with pytest.raises(Exception) as caught:
        given(answer)
    return caught.value


# -- ids ----------------------------------------------------------------------------------------------


def test_a_new_client_is_given_an_id_to_join_with(bench):
    with pytest.raises(MemberIdRequiredError) as caught:
        bench.join(needs_member_id=True)
    joined = given(bench.join(caught.value.member_id))

    assert joined.member_id == caught.value.member_id
    assert joined.member_id.startswith("client-")


def test_an_old_client_is_a_member_at_once(bench):
    assert given(bench.join()).member_id.startswith("client-")


def test_a_static_member_needs_no_second_join(bench):
    assert given(bench.join(instance_id="one", needs_member_id=True)).member_id.startswith("one-")


def test_an_id_that_was_given_out_is_void_after_the_session_timeout(bench):
    with pytest.raises(MemberIdRequiredError) as caught:
        bench.join(needs_member_id=True)
    bench.advance(10)

    with pytest.raises(UnknownMemberError):
        bench.join(caught.value.member_id)


def test_an_id_that_was_given_out_belongs_to_no_static_member(bench):
    with pytest.raises(MemberIdRequiredError) as caught:
        bench.join(needs_member_id=True)

    with pytest.raises(UnknownMemberError):
        bench.join(caught.value.member_id, "one")


def test_an_id_that_nobody_was_given_is_unknown(bench):
    bench.bring_to(State.STABLE)

    with pytest.raises(UnknownMemberError):
        bench.join("somebody")


def test_the_barrier_waits_for_those_who_were_given_an_id(bench):
    first, _ = bench.bring_to(State.STABLE)
    with pytest.raises(MemberIdRequiredError) as caught:
        bench.join(needs_member_id=True)
    third = caught.value.member_id
    answers = [bench.join(first), bench.join(bench.members[1])]

    assert not any(answer.is_given for answer in answers)
    bench.join(third)
    assert all(answer.is_given for answer in answers)


def test_the_barrier_goes_on_when_an_id_that_was_given_out_is_void(bench):
    first, second = bench.bring_to(State.STABLE)
    with pytest.raises(MemberIdRequiredError):
        bench.join(needs_member_id=True)
    answers = [bench.join(first), bench.join(second)]
    bench.advance(10)

    assert [given(answer).generation for answer in answers] == [3, 3]


# -- protocols ----------------------------------------------------------------------------------------


def test_the_protocol_that_most_members_prefer_is_chosen(bench):
    bench.join(protocols=[("a", b""), ("b", b"")])
    answers = [bench.join(protocols=[("b", b""), ("a", b"")]) for _ in range(2)]
    bench.join(bench.leader, protocols=[("a", b""), ("b", b"")])

    assert given(answers[0]).protocol == "b"


def test_a_protocol_that_not_all_know_is_not_chosen(bench):
    bench.join(protocols=[("a", b""), ("b", b"")])
    answer = bench.join(protocols=[("c", b""), ("b", b"")])
    bench.join(bench.leader, protocols=[("a", b""), ("b", b"")])

    assert given(answer).protocol == "b"


def test_a_member_that_names_a_protocol_twice_has_one_voice_for_it(bench):
    bench.join(protocols=[("a", b""), ("b", b"")])
    answer = bench.join(protocols=[("c", b""), ("c", b""), ("a", b"")])
    bench.join(bench.leader, protocols=[("a", b""), ("b", b"")])

    assert given(answer).protocol == "a"


@pytest.mark.parametrize("more", [{"protocols": [("other", b"")]}, {"protocol_type": "other"}])
@pytest.mark.parametrize("state", [State.PREPARING, State.COMPLETING, State.STABLE])
def test_a_client_without_a_common_protocol_is_refused(bench, state, more):
    bench.bring_to(state)

    with pytest.raises(InconsistentProtocolError):
        bench.join(**more)


@pytest.mark.parametrize("more", [{"protocols": []}, {"protocol_type": ""}])
def test_a_first_member_needs_a_protocol(bench, more):
    with pytest.raises(InconsistentProtocolError):
        bench.join(**more)


def test_a_member_cannot_change_to_a_protocol_that_the_others_lack(bench):
    first, _ = bench.bring_to(State.STABLE)

    with pytest.raises(InconsistentProtocolError):
        bench.join(first, protocols=[("other", b"")])


def test_an_empty_group_takes_members_of_any_type(bench):
    (first,) = bench.bring_to(State.STABLE, (None,))
    bench.group.leave([(first, None)], "left")

    assert given(bench.join(protocol_type="other")).protocol_type == "other"


def test_members_leave_before_those_who_were_given_an_id_join(bench):
    (first,) = bench.bring_to(State.STABLE, (None,))
    with pytest.raises(MemberIdRequiredError) as caught:
        bench.join(needs_member_id=True)
    bench.group.leave([(first, None)], "left")

    answer = bench.join(caught.value.member_id)
    bench.advance(0)
    assert given(answer).leader == caught.value.member_id


# -- the leader ---------------------------------------------------------------------------------------


def test_only_the_leader_hears_who_is_there(bench):
    first = given(bench.join()).member_id
    second = bench.join()
    joined = given(bench.join(first))

    assert [peer[:2] for peer in joined.peers] == [(first, None), (given(second).member_id, None)]
    assert [peer.metadata for peer in joined.peers] == [b"r", b"r"]
    assert given(second).peers == []
    assert given(second).leader == first


def test_another_one_leads_when_the_leader_leaves(bench):
    first, second = bench.bring_to(State.STABLE)
    bench.group.leave([(first, None)], "left")

    assert given(bench.join(second)).leader == second


def test_another_one_leads_when_the_leader_does_not_join_in_time(bench):
    first, second = bench.bring_to(State.STABLE)
    bench.join(protocols=PROTOCOLS)
    answer = bench.join(second)
    for _ in range(12):
        bench.advance(5)
        with_heartbeat(bench, first)

    assert given(answer).leader == second
    assert first not in bench.members


def with_heartbeat(bench, member_id):
    if member_id in bench.members:
        with pytest.raises(RebalancingError):
            bench.heartbeat(member_id)


# -- joining again ------------------------------------------------------------------------------------


def test_a_leader_that_joins_again_begins_a_rebalance(bench):
    first, _ = bench.bring_to(State.STABLE)
    answer = bench.join(first)

    assert not answer.is_given
    assert bench.group.state is State.PREPARING


def test_a_follower_that_joins_again_unchanged_hears_what_it_knew(bench):
    _, second = bench.bring_to(State.STABLE)
    joined = given(bench.join(second))

    assert (joined.generation, joined.peers) == (2, [])
    assert bench.group.state is State.STABLE


@pytest.mark.parametrize("state", [State.COMPLETING, State.STABLE])
def test_a_follower_that_has_changed_begins_a_rebalance(bench, state):
    _, second = bench.bring_to(state)
    bench.join(second, protocols=[("range", b"other")])

    assert bench.group.state is State.PREPARING


def test_a_leader_that_missed_its_answer_hears_it_again(bench):
    first, second = bench.bring_to(State.COMPLETING)
    joined = given(bench.join(first))

    assert [peer.member_id for peer in joined.peers] == [first, second]


def test_timeouts_are_those_of_the_last_join(bench):
    first, second = bench.bring_to(State.STABLE)
    bench.join(first, session_timeout_ms=20_000)
    bench.join(second, session_timeout_ms=20_000)
    bench.sync(second)
    bench.sync(first)
    bench.advance(15)

    assert bench.members == [first, second]


def test_a_member_that_joins_twice_is_answered_once(bench):
    first, _ = bench.bring_to(State.STABLE)
    before = bench.join(first)
    after = bench.join(first)

    assert isinstance(refused(before), RebalancingError)
    assert not after.is_given


# -- the barrier --------------------------------------------------------------------------------------


def test_everybody_has_the_longest_rebalance_timeout_to_join(bench):
    first = given(bench.join(rebalance_timeout_ms=30_000)).member_id
    second = bench.join(rebalance_timeout_ms=60_000, session_timeout_ms=300_000)
    bench.join(first, rebalance_timeout_ms=30_000, session_timeout_ms=300_000)
    third = bench.join(rebalance_timeout_ms=1_000, session_timeout_ms=300_000)
    bench.join(first, rebalance_timeout_ms=30_000, session_timeout_ms=300_000)

    bench.advance(59.9)
    assert not third.is_given
    bench.advance(0.2)
    assert given(third).generation == 3
    assert given(second).member_id not in bench.members


def test_nobody_joins_in_time_and_static_members_keep_their_place(bench):
    ids = bench.bring_to(State.STABLE, ("one", "two"))
    bench.join()
    newcomer = bench.members[-1]
    bench.group.leave([(newcomer, None)], "left")
    for _ in range(14):
        bench.advance(5)
        for member_id, instance_id in zip(ids, ("one", "two"), strict=True):
            with pytest.raises(RebalancingError):
                bench.heartbeat(member_id, instance_id)

    assert bench.members == ids
    assert bench.group.state is State.PREPARING
    answers = [bench.join(ids[0], "one"), bench.join(ids[1], "two")]
    assert [given(answer).generation for answer in answers] == [3, 3]


# -- the first rebalance ------------------------------------------------------------------------------


def test_an_empty_group_waits_for_more_members_when_told_to():
    bench = Bench("--group-initial-rebalance-delay-ms=3000")
    answers = [bench.join(), bench.join()]
    bench.advance(2.9)
    assert not answers[0].is_given
    bench.advance(3.2)

    assert [given(answer).generation for answer in answers] == [1, 1]


def test_the_first_rebalance_takes_no_longer_than_the_rebalance_timeout():
    bench = Bench("--group-initial-rebalance-delay-ms=3000")
    first = bench.join(rebalance_timeout_ms=7_000)
    for _ in range(14):
        bench.advance(0.5)
        bench.join(rebalance_timeout_ms=7_000)

    assert given(first).generation == 1


def test_the_first_rebalance_ends_early_for_nobody_who_has_joined_again():
    bench = Bench("--group-initial-rebalance-delay-ms=3000")
    first = bench.join()
    bench.advance(1)
    bench.join()

    assert not first.is_given


# -- too many -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.COMPLETING, State.STABLE])
def test_a_full_group_takes_nobody_new(state):
    bench = Bench("--group-max-size=2")
    bench.bring_to(state)

    with pytest.raises(GroupFullError):
        bench.join()


def test_a_full_group_takes_its_members():
    bench = Bench("--group-max-size=2")
    first, second = bench.bring_to(State.STABLE)
    bench.join(first)

    assert given(bench.join(second)).generation == 3


def test_at_a_full_barrier_the_last_to_come_is_turned_away():
    bench = Bench("--group-max-size=2")
    first, second = bench.bring_to(State.PREPARING)
    bench.join()

    with pytest.raises(GroupFullError):
        bench.join(second)
    assert first in bench.members
    assert second not in bench.members


def test_an_id_that_was_given_out_is_void_when_the_group_has_become_full():
    bench = Bench("--group-max-size=1")
    with pytest.raises(MemberIdRequiredError) as caught:
        bench.join(needs_member_id=True)
    bench.bring_to(State.STABLE, (None,))

    with pytest.raises(GroupFullError):
        bench.join(caught.value.member_id)
    assert not bench.group.roster.pending
