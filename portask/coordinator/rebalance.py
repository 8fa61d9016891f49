"""The rebalance of a classic group: from one generation to the next.

    Empty ----> PreparingRebalance ----> CompletingRebalance ----> Stable
      ^            |        ^ ^                  |                   |
      '------------'        | '------------------'                   |
        nobody joined       '-----------------------------------------'

Preparing is a barrier: it ends when every member has joined, or at the join deadline without the
dynamic members that have not. Then the leader alone learns who is there, and everybody waits for its
assignment. That is stored before anybody learns of it, so that a restart forgets no generation that a
client has seen. Members that never ask for their assignment are removed at the sync deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from portask.coordinator.answer import Answer
from portask.coordinator.group_row import GroupRow, encode_group
from portask.coordinator.member import Joined, Member, Peer, Synced
from portask.coordinator.roster import Roster
from portask.coordinator.state import BEFORE, State
from portask.coordinator.subscribed_topics import CONSUMER, subscribed_topics
from portask.errors import CoordinatorUnavailableError, PortaskError, RebalancingError

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.config import Settings

log = logging.getLogger(__name__)

MAX_GENERATION = (1 << 31) - 1
NEVER = float("inf")
Save = Callable[[bytes, Callable[[PortaskError | None], None]], None]
"""Stores a group's row and calls back when it is durable, or with the error that kept it from it."""


class Rebalance:
    """State, generation and deadlines of one group."""

    def __init__(
        self,
        group_id: str,
        roster: Roster,
        clock: Clock,
        settings: Settings,
        save: Save,
        wake: Callable[[float], None],
    ) -> None:
        """*wake* is told of every deadline that is set."""
        self.group_id = group_id
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_type = ""
        self.protocol = ""
        self.topics: frozenset[str] | None = None
        """What the members read, as far as that is known."""
        self.changed_at_ms = clock.now_ms()
        """When the state has changed."""
        self.join_deadline = NEVER
        self.sync_deadline = NEVER
        self._is_initial = False
        """Whether the rebalance began without members, and so waits for more of them for a while."""
        self._initial_left_s = 0.0
        self._came_meanwhile = False
        self._roster = roster
        self._clock = clock
        self._settings = settings
        self._save = save
        self._wake = wake

    def restore(self, row: GroupRow) -> None:
        """Go on where *row* was stored; the members are in the roster already."""
        self.state = State.STABLE if row.members else State.EMPTY
        self.generation = row.generation
        self.protocol_type = row.protocol_type
        self.protocol = row.protocol
        self.changed_at_ms = row.changed_at_ms
        self.topics = self._read_topics()

    def to_row(self) -> GroupRow:
        """The group as it stands, without its members."""
        return GroupRow(self.protocol_type, self.protocol, self.generation, self._roster.leader, self.changed_at_ms, [])

    def move(self, state: State) -> None:
        """Change the state."""
        assert self.state in BEFORE[state], f"{self.state} -> {state}"
        self.state = state
        self.changed_at_ms = self._clock.now_ms()

    # -- to the barrier ---------------------------------------------------------------------------

    def prepare(self, reason: str) -> None:
        """Have everybody join again."""
        if self.state is State.COMPLETING:
            self.refuse_syncs(RebalancingError("another rebalance has begun"))
        self.sync_deadline = NEVER
        self._is_initial = self.state is State.EMPTY
        self.move(State.PREPARING)
        log.info("group rebalances", extra={"group": self.group_id, "generation": self.generation, "reason": reason})
        if not self._is_initial:
            self._set_join_deadline(self._roster.rebalance_timeout_s)
            self.complete_if_all_joined()
            return
        delay_s = self._settings.group_initial_rebalance_delay_ms / 1000
        self._came_meanwhile = False
        self._initial_left_s = max(self._roster.rebalance_timeout_s - delay_s, 0.0)
        if delay_s:
            self._set_join_deadline(delay_s)
        else:
            self.join_due()

    def member_came(self) -> None:
        """A new member has joined at the barrier: an initial rebalance may wait a little longer."""
        self._came_meanwhile = True

    def complete_if_all_joined(self) -> None:
        """Go through the barrier if everybody is there. An initial rebalance waits until its time is up."""
        if self.state is State.PREPARING and not self._is_initial and self._roster.is_complete:
            self._complete()

    def join_due(self) -> None:
        """The join deadline has come."""
        if self._is_initial and self._came_meanwhile and self._initial_left_s:
            self._came_meanwhile = False
            delay_s = min(self._settings.group_initial_rebalance_delay_ms / 1000, self._initial_left_s)
            self._initial_left_s -= delay_s
            self._set_join_deadline(delay_s)
            return
        self._complete()

    def _complete(self) -> None:
        roster = self._roster
        absent = [member.id for member in roster.absent()]
        for member_id in absent:
            roster.remove(member_id)
        if absent:
            log.info("members did not join in time", extra={"group": self.group_id, "members": absent})
        if len(roster) and not roster.elect():
            # Static members only, and none has joined: their sessions end sooner or later.
            self._is_initial = False
            self._set_join_deadline(roster.rebalance_timeout_s)
            return
        self.join_deadline = NEVER
        self.generation = 1 if self.generation >= MAX_GENERATION else self.generation + 1
        if not len(roster):
            self.protocol = ""
            self.topics = self._read_topics()
            self.move(State.EMPTY)
            self.store({}, self._emptied)
            return
        self.protocol = roster.choose()
        self.topics = self._read_topics()
        self.move(State.COMPLETING)
        self.sync_deadline = self._clock.monotonic() + roster.rebalance_timeout_s
        self._wake(self.sync_deadline)
        for member in roster:
            roster.unsynced.add(member.id)
            member.is_new = False
            self.extend(member)
            if (answer := roster.take_join(member)) is not None:
                answer.give(self.joined(member))
        log.info(
            "group has a generation",
            extra={"group": self.group_id, "generation": self.generation, "members": len(roster)},
        )

    def _emptied(self, error: PortaskError | None) -> None:
        if error is not None:
            # After a restart the generation before this one would come back, and its members would time out.
            log.warning("empty group was not stored", extra={"group": self.group_id, "error": str(error)})

    def joined(self, member: Member, skip_assignment: bool = False) -> Joined:
        """What *member* is told about this generation."""
        leader = self._roster.leader or ""
        peers: list[Peer] = []
        if member.id == leader:
            peers = [peer.peer(self.protocol) for peer in self._roster]
        return Joined(member.id, self.generation, self.protocol_type, self.protocol, leader, peers, skip_assignment)

    # -- from the barrier on ----------------------------------------------------------------------

    def synced(self, member: Member) -> Synced:
        """What *member* is to do in this generation."""
        return Synced(self.protocol_type, self.protocol, member.assignment)

    def has_synced(self, member: Member) -> None:
        """*member* has asked for its assignment."""
        self._roster.unsynced.discard(member.id)
        if not self._roster.unsynced:
            self.sync_deadline = NEVER

    def assign(self, assignments: Mapping[str, bytes]) -> None:
        """The leader has spoken: store it, then tell everybody."""
        generation = self.generation

        def stored(error: PortaskError | None) -> None:
            # Another rebalance may have begun meanwhile; then nobody waits for this assignment any more.
            if self.state is not State.COMPLETING or self.generation != generation:
                return
            if error is not None:
                log.warning("assignment was not stored", extra={"group": self.group_id, "error": str(error)})
                self.refuse_syncs(CoordinatorUnavailableError(f"the assignment could not be stored: {error}"))
                self.prepare("the assignment could not be stored")
                return
            for member in self._roster:
                member.assignment = assignments.get(member.id, b"")
            self.move(State.STABLE)
            self._answer_syncs(lambda member, answer: answer.give(self.synced(member)))

        self.store(assignments, stored)

    def store(self, assignments: Mapping[str, bytes], done: Callable[[PortaskError | None], None]) -> None:
        """Have the group stored as it is now, with these assignments."""
        self._save(encode_group(self.to_row(), self._roster, assignments), done)

    def refuse_syncs(self, error: PortaskError) -> None:
        """Take back all assignments and tell those who wait for theirs."""
        for member in self._roster:
            member.assignment = b""
        self._answer_syncs(lambda _, answer: answer.refuse(error))

    def _answer_syncs(self, say: Callable[[Member, Answer[Synced]], None]) -> None:
        for member in self._roster:
            if (answer := member.sync) is not None:
                member.sync = None
                # It could send no heartbeats while it waited.
                self.extend(member)
                say(member, answer)

    def sync_due(self) -> None:
        """The sync deadline has come: who has not asked for an assignment is gone."""
        self.sync_deadline = NEVER
        late = sorted(self._roster.unsynced)
        for member_id in late:
            self._roster.remove(member_id)
        if late:
            self.prepare(f"{len(late)} members did not ask for their assignment")

    # -- inside -----------------------------------------------------------------------------------

    def extend(self, member: Member) -> None:
        """Have the session of *member* begin anew."""
        member.deadline = self._clock.monotonic() + member.session_timeout_s
        self._wake(member.deadline)

    def _set_join_deadline(self, delay_s: float) -> None:
        self.join_deadline = self._clock.monotonic() + delay_s
        self._wake(self.join_deadline)

    def _read_topics(self) -> frozenset[str] | None:
        if not len(self._roster):
            return frozenset()
        if self.protocol_type != CONSUMER:
            return None
        return subscribed_topics(self.protocol_type, [member.metadata(self.protocol) for member in self._roster])
