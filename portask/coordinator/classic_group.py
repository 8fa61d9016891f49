"""A group of the classic protocol, as its members and the coordinator see it.

What an event means depends on the group's state: that is the table in portask.coordinator.transitions.
Methods answer at once, or with an Answer that is given later, by another member's event or by a
deadline: no member waits for ever. A client that disconnects while it waits stays a member until its
session ends, as in Kafka; nobody reads its answer then.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from portask.coordinator.answer import Answer
from portask.coordinator.group import Group
from portask.coordinator.group_row import CLASSIC, GroupRow
from portask.coordinator.member import NEW_MEMBER_TIMEOUT_S, Joined, JoinRequest, Member, Synced
from portask.coordinator.rebalance import NEVER, Rebalance, Save
from portask.coordinator.roster import Roster
from portask.coordinator.state import State
from portask.coordinator.subscribed_topics import CONSUMER
from portask.coordinator.transitions import TABLE, Event
from portask.errors import (
    CoordinatorUnavailableError,
    GroupError,
    GroupFullError,
    GroupNotEmptyError,
    InconsistentProtocolError,
    MemberIdRequiredError,
    PortaskError,
    StaleGenerationError,
    UnknownGroupError,
    UnknownMemberError,
)

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.config import Settings


class ClassicGroup(Group):
    """One group of the classic protocol."""

    kind = CLASSIC

    def __init__(
        self, group_id: str, clock: Clock, settings: Settings, save: Save, wake: Callable[[float], None]
    ) -> None:
        """*save* stores its row; *wake* is told of every deadline that is set."""
        super().__init__(group_id)
        self.roster = Roster()
        self.rebalance = Rebalance(group_id, self.roster, clock, settings, save, wake)
        self._clock = clock
        self._settings = settings
        self._wake = wake

    def restore(self, row: GroupRow) -> None:
        """Go on where *row* was stored; every session begins now."""
        for member in row.members:
            self.roster.add(member)
            self.rebalance.extend(member)
        if row.leader is not None and row.leader in self.roster:
            self.roster.leader = row.leader
        self.rebalance.restore(row)

    # -- what members do --------------------------------------------------------------------------

    def join(self, request: JoinRequest) -> Answer[Joined]:
        """Let a client in, or let a member go through the next barrier.

        Raises MemberIdRequiredError with the id to join with, UnknownMemberError, FencedMemberError,
        InconsistentProtocolError, GroupFullError or CoordinatorUnavailableError.
        """
        if not self._has_room(request.member_id):
            self._remove([request.member_id], "there are too many members")
            raise GroupFullError(f"group {self.id} has {len(self.roster)} members, and may not have more")
        self._check_protocols(request)
        if request.member_id:
            if request.member_id in self.roster.pending and request.instance_id is None:
                return self._enter(request, request.member_id)
            member = self.roster.check(request.member_id, request.instance_id)
            return self._do(Event.REJOIN, member, request)  # type: ignore[no-any-return]  # a cell of the table
        member_id = f"{request.instance_id or request.client_id}-{uuid.uuid4()}"
        if request.instance_id is not None and (holder := self.roster.holder(request.instance_id)) is not None:
            return self._do(Event.REPLACE, holder, request, member_id)  # type: ignore[no-any-return]  # as above
        if request.needs_member_id and request.instance_id is None:
            self.roster.pending[member_id] = deadline = self._clock.monotonic() + request.session_timeout_ms / 1000
            self._wake(deadline)
            raise MemberIdRequiredError(member_id)
        return self._enter(request, member_id)

    def sync(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
    ) -> Answer[Synced]:
        """The assignment of a member, as soon as the leader has brought it.

        Raises UnknownMemberError, FencedMemberError, StaleGenerationError, InconsistentProtocolError,
        RebalancingError or CoordinatorUnavailableError.
        """
        member = self._member_of(member_id, instance_id, generation)
        ours = self.rebalance
        if protocol_type not in {None, ours.protocol_type} or protocol not in {None, ours.protocol}:
            raise InconsistentProtocolError(f"group {self.id} follows protocol {ours.protocol} now")
        return self._do(Event.SYNC, member, assignments)  # type: ignore[no-any-return]  # a cell of the table

    def heartbeat(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """Have a member's session begin anew. Raises RebalancingError when it should join again, or as `sync`."""
        self._do(Event.HEARTBEAT, self._member_of(member_id, instance_id, generation))

    def leave(self, identities: Iterable[tuple[str, str | None]], reason: str) -> list[GroupError | None]:
        """Let members go, each by member id and instance id, or from outside by instance id alone.

        For each of them None, or why it is still there.
        """
        self._check_alive()
        leaving: list[str] = []
        outcomes: list[GroupError | None] = []
        for member_id, instance_id in identities:
            holder = None if member_id or instance_id is None else self.roster.holder(instance_id)
            leaver = member_id if holder is None else holder.id
            try:
                if leaver not in self.roster.pending and holder is None:
                    self.roster.check(leaver, instance_id)
                if leaver in leaving:
                    raise UnknownMemberError(f"the group has no member {leaver} any more")
            except GroupError as error:
                outcomes.append(error)
            else:
                leaving.append(leaver)
                outcomes.append(None)
        self._remove(leaving, reason)
        return outcomes

    # -- what the coordinator asks ----------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the group stands."""
        return self.rebalance.state

    @property
    def protocol_type(self) -> str:
        return self.rebalance.protocol_type

    @property
    def state_name(self) -> str:
        return self.rebalance.state.value

    @property
    def is_empty(self) -> bool:
        return self.state is State.EMPTY and not self.roster.pending

    def check_commit(self, member_id: str, instance_id: str | None, generation: int) -> None:
        if self.state is State.EMPTY and generation < 0:
            return
        self._check_alive()
        if generation < 0 and not member_id and instance_id is None:
            raise UnknownMemberError(f"group {self.id} has members, and only they may commit")
        self._do(Event.COMMIT, self._member_of(member_id, instance_id, generation))

    def check_offset_delete(self) -> None:
        if self.state is State.DEAD:
            raise UnknownGroupError(f"there is no group {self.id}")
        if self.state is not State.EMPTY and self.protocol_type != CONSUMER:
            raise GroupNotEmptyError(f"group {self.id} has {len(self.roster)} members; stop them first")

    def is_subscribed(self, topic: str) -> bool:
        topics = self.rebalance.topics
        return self.protocol_type == CONSUMER if topics is None else topic in topics

    def expiry_base_ms(self, committed_at_ms: int) -> int | None:
        if not self.protocol_type:
            # Nobody ever joined: its offsets belong to clients that do without groups.
            return committed_at_ms
        if self.state is State.EMPTY:
            return self.rebalance.changed_at_ms
        known = self.protocol_type == CONSUMER and self.rebalance.topics is not None
        return committed_at_ms if known and self.state is State.STABLE else None

    def delete(self) -> None:
        if self.state is State.DEAD:
            raise UnknownGroupError(f"there is no group {self.id}")
        if self.state is not State.EMPTY:
            raise GroupNotEmptyError(f"group {self.id} has {len(self.roster)} members; stop them first")
        self.rebalance.move(State.DEAD)

    def revive(self) -> None:
        self.rebalance.state = State.EMPTY

    def tick(self, now: float) -> float:
        gone = [member_id for member_id, deadline in self.roster.pending.items() if deadline <= now]
        gone += [member.id for member in self.roster if member.deadline <= now and not member.keeps_session]
        self._remove(gone, "a session has ended")
        if self.rebalance.join_deadline <= now:
            self._do(Event.JOIN_DUE)
        if self.rebalance.sync_deadline <= now:
            self._do(Event.SYNC_DUE)
        sessions = (member.deadline for member in self.roster if member.deadline > now)
        return min(
            self.rebalance.join_deadline,
            self.rebalance.sync_deadline,
            min(sessions, default=NEVER),
            min(self.roster.pending.values(), default=NEVER),
        )

    def refuse_all(self, error: PortaskError) -> None:
        self.roster.refuse_all(error)

    # -- inside -----------------------------------------------------------------------------------

    def _do(self, event: Event, *arguments: Any) -> Any:
        return TABLE[event][self.rebalance.state](self, *arguments)

    def _enter(self, request: JoinRequest, member_id: str) -> Answer[Joined]:
        member = Member(member_id, request)
        member.is_new = True
        answer: Answer[Joined] = Answer()
        if not len(self.roster):
            self.rebalance.protocol_type = request.protocol_type
        self.roster.add(member)
        self.roster.hold_join(member, answer)
        member.deadline = self._clock.monotonic() + NEW_MEMBER_TIMEOUT_S
        self._wake(member.deadline)
        self._do(Event.NEW, f"{member_id} joins: {request.reason or 'no reason given'}")
        return answer

    def _remove(self, member_ids: list[str], reason: str) -> None:
        lost = [self.roster.remove(member_id) for member_id in member_ids]
        if any(lost):
            self._do(Event.LOST, reason)
        elif lost:
            self._do(Event.WITHDRAWN)

    def _check_alive(self) -> None:
        if self.state is State.DEAD:
            raise CoordinatorUnavailableError(f"group {self.id} was deleted; look for it again")

    def _member_of(self, member_id: str, instance_id: str | None, generation: int) -> Member:
        self._check_alive()
        member = self.roster.check(member_id, instance_id)
        if generation != self.rebalance.generation:
            raise StaleGenerationError(f"group {self.id} is at generation {self.rebalance.generation}")
        return member

    def _has_room(self, member_id: str) -> bool:
        limit = self._settings.group_max_size
        member = self.roster.get(member_id)
        if self.state is State.PREPARING:
            # Those who wait are counted, not all members: should the limit have been lowered, the last ones to
            # join again are turned away.
            return (member is not None and member.join is not None) or self.roster.waiting < limit
        return member is not None or len(self.roster) < limit

    def _check_protocols(self, request: JoinRequest) -> None:
        self._check_alive()
        if self.state is State.EMPTY:
            fits = bool(request.protocol_type and request.protocols)
        else:
            fits = request.protocol_type == self.protocol_type and self.roster.can_join(request.protocols)
        if not fits:
            raise InconsistentProtocolError(f"group {self.id} needs members with a protocol in common")
