"""The state table of a classic group: what each event means in each state.

Each cell is a function of the group and of what the event brings. What they have in common is in
portask.coordinator.rebalance; whether somebody may bring an event at all was checked before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NoReturn

from portask.coordinator.answer import Answer
from portask.coordinator.member import Joined, JoinRequest, Member, Synced
from portask.coordinator.state import State
from portask.errors import CoordinatorUnavailableError, PortaskError, RebalancingError, UnknownMemberError

if TYPE_CHECKING:
    from portask.coordinator.classic_group import ClassicGroup


class Event(Enum):
    """What can happen to a group."""

    NEW = auto()
    """Somebody has become a member, and waits."""
    REPLACE = auto()
    """A static member joins without its id: it was restarted."""
    REJOIN = auto()
    """A member joins again."""
    SYNC = auto()
    """A member asks for its assignment; the leader brings them all."""
    HEARTBEAT = auto()
    COMMIT = auto()
    """A member commits offsets."""
    LOST = auto()
    """A member is no longer there."""
    WITHDRAWN = auto()
    """Somebody who was about to join is no longer there."""
    JOIN_DUE = auto()
    SYNC_DUE = auto()


# -- members come and go ------------------------------------------------------------------------------


def _begin(group: ClassicGroup, reason: str) -> None:
    group.rebalance.prepare(reason)


def _wait_for_more(group: ClassicGroup, reason: str) -> None:
    group.rebalance.member_came()
    group.rebalance.complete_if_all_joined()


def _go_on(group: ClassicGroup, reason: str = "") -> None:
    group.rebalance.complete_if_all_joined()


def _join_due(group: ClassicGroup) -> None:
    group.rebalance.join_due()


def _sync_due(group: ClassicGroup) -> None:
    group.rebalance.sync_due()


def _nothing(group: ClassicGroup, reason: str = "") -> None:
    pass


# -- members join again -------------------------------------------------------------------------------


def _join_at_barrier(group: ClassicGroup, member: Member, request: JoinRequest) -> Answer[Joined]:
    answer = _update(group, member, request)
    group.rebalance.complete_if_all_joined()
    return answer


def _join_changed(group: ClassicGroup, member: Member, request: JoinRequest) -> Answer[Joined]:
    """Begin a rebalance for a member that has changed; another one may only have missed the answer to its join."""
    if member.protocols == request.protocols:
        return _given(group.rebalance.joined(member))
    return _join_and_begin(group, member, request)


def _join_changed_or_leading(group: ClassicGroup, member: Member, request: JoinRequest) -> Answer[Joined]:
    """As `_join_changed`; the leader rebalances at will, because partitions may have changed where no member did."""
    if member.id == group.roster.leader:
        return _join_and_begin(group, member, request)
    return _join_changed(group, member, request)


def _join_and_begin(group: ClassicGroup, member: Member, request: JoinRequest) -> Answer[Joined]:
    answer = _update(group, member, request)
    group.rebalance.prepare(f"{member.id} joins again: {request.reason or 'no reason given'}")
    return answer


def _update(group: ClassicGroup, member: Member, request: JoinRequest) -> Answer[Joined]:
    member.rebalance_timeout_s = request.rebalance_timeout_ms / 1000
    member.session_timeout_s = request.session_timeout_ms / 1000
    group.roster.update(member, request.protocols)
    answer: Answer[Joined] = Answer()
    group.roster.hold_join(member, answer)
    return answer


# -- static members come back -------------------------------------------------------------------------


def _replace_at_barrier(group: ClassicGroup, member: Member, request: JoinRequest, member_id: str) -> Answer[Joined]:
    answer = _take_over(group, member, request, member_id)
    group.rebalance.complete_if_all_joined()
    return answer


def _replace_and_begin(group: ClassicGroup, member: Member, request: JoinRequest, member_id: str) -> Answer[Joined]:
    # The leader may be assigning to the old id at this moment.
    answer = _take_over(group, member, request, member_id)
    group.rebalance.prepare(f"{member_id} takes over from a static member")
    return answer


def _replace_quietly(group: ClassicGroup, member: Member, request: JoinRequest, member_id: str) -> Answer[Joined]:
    """Have the new client go on with the old one's assignment, unless the group's protocol changes with it."""
    rebalance, roster = group.rebalance, group.roster
    leader_before = roster.leader or ""
    answer = _take_over(group, member, request, member_id)
    if roster.choose() != rebalance.protocol:
        rebalance.prepare(f"{member_id} takes over from a static member with other protocols")
        return answer

    def stored(error: PortaskError | None) -> None:
        # In a rebalance that has begun meanwhile, the answer waits at its barrier; after another restart of the
        # member, nobody waits for this one.
        if rebalance.state is not State.STABLE or member.join is not answer:
            return
        roster.take_join(member)
        if error is not None:
            answer.refuse(CoordinatorUnavailableError(f"the group could not be stored: {error}"))
        elif request.can_skip_assignment:
            answer.give(rebalance.joined(member, skip_assignment=member_id == roster.leader))
        else:
            # Told of the leader that was, it doesn't take itself for the leader, and so assigns nothing.
            answer.give(
                Joined(member_id, rebalance.generation, rebalance.protocol_type, rebalance.protocol, leader_before)
            )

    rebalance.store({peer.id: peer.assignment for peer in roster}, stored)
    return answer


def _take_over(group: ClassicGroup, member: Member, request: JoinRequest, member_id: str) -> Answer[Joined]:
    group.roster.replace(member, member_id)
    member.client_id, member.client_host = request.client_id, request.client_host
    answer = _update(group, member, request)
    group.rebalance.extend(member)
    return answer


# -- members work -------------------------------------------------------------------------------------


def _wait_for_leader(group: ClassicGroup, member: Member, assignments: Mapping[str, bytes]) -> Answer[Synced]:
    answer: Answer[Synced] = Answer()
    if member.sync is not None:
        member.sync.refuse(RebalancingError("the member has asked again"))
    member.sync = answer
    group.rebalance.has_synced(member)
    if member.id == group.roster.leader:
        group.rebalance.assign(assignments)
    return answer


def _current_assignment(group: ClassicGroup, member: Member, assignments: Mapping[str, bytes]) -> Answer[Synced]:
    group.rebalance.has_synced(member)
    return _given(group.rebalance.synced(member))


def _extend(group: ClassicGroup, member: Member) -> None:
    group.rebalance.extend(member)


def _extend_and_call(group: ClassicGroup, member: Member) -> NoReturn:
    group.rebalance.extend(member)
    _call_to_join(group)


def _call_to_join(group: ClassicGroup, *_: Any) -> NoReturn:
    raise RebalancingError(f"group {group.id} rebalances; join again")


def _unknown(group: ClassicGroup, *_: Any) -> NoReturn:
    raise UnknownMemberError(f"group {group.id} has no members")


def _dead(group: ClassicGroup, *_: Any) -> NoReturn:
    raise CoordinatorUnavailableError(f"group {group.id} was deleted; look for it again")


def _given(value: Any) -> Answer[Any]:
    answer: Answer[Any] = Answer()
    answer.give(value)
    return answer


# -- the table ----------------------------------------------------------------------------------------

Cell = Callable[..., Any]
_STATES = (State.EMPTY, State.PREPARING, State.COMPLETING, State.STABLE, State.DEAD)

# fmt: off
_ROWS: dict[Event, tuple[Cell, Cell, Cell, Cell, Cell]] = {
    #                 Empty     PreparingRebalance   CompletingRebalance  Stable                    Dead
    Event.NEW:       (_begin,   _wait_for_more,      _begin,              _begin,                   _dead),
    Event.REPLACE:   (_unknown, _replace_at_barrier, _replace_and_begin,  _replace_quietly,         _dead),
    Event.REJOIN:    (_unknown, _join_at_barrier,    _join_changed,       _join_changed_or_leading, _dead),
    Event.SYNC:      (_unknown, _call_to_join,       _wait_for_leader,    _current_assignment,      _dead),
    Event.HEARTBEAT: (_unknown, _extend_and_call,    _extend,             _extend,                  _dead),
    Event.COMMIT:    (_unknown, _extend,             _call_to_join,       _extend,                  _dead),
    Event.LOST:      (_nothing, _go_on,              _begin,              _begin,                   _nothing),
    Event.WITHDRAWN: (_nothing, _go_on,              _nothing,            _nothing,                 _nothing),
    Event.JOIN_DUE:  (_nothing, _join_due,           _nothing,            _nothing,                 _nothing),
    Event.SYNC_DUE:  (_nothing, _nothing,            _sync_due,           _sync_due,                _nothing),
}
# fmt: on
TABLE: dict[Event, dict[State, Cell]] = {
    event: dict(zip(_STATES, cells, strict=True)) for event, cells in _ROWS.items()
}
