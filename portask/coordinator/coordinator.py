"""The coordinator: consumer groups and the offsets that they commit.

It knows no wire format: metadata and assignments are bytes. Groups are kept by portask.coordinator.group,
whatever their kind; offsets belong to a group id, and outlive its members.

What survives a restart: offsets; and every group as it was when its members last learned their
assignment, with a new session for each of them. So a restart that is shorter than the session timeout
goes unnoticed: heartbeats and commits of that generation go on. A rebalance that was under way is
forgotten; whoever sends its new generation gets StaleGenerationError or UnknownMemberError, and joins anew.

What is to come has its place: groups of KIP-848 and share groups are further kinds of `Group`, and
`group` finds any kind; a transaction's offsets go to a table of their own until it ends (see
portask.coordinator.offset_row), and make `is_unstable` true for their partitions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from portask.bus import Bus, Change
from portask.coordinator.answer import Wait
from portask.coordinator.classic_group import ClassicGroup
from portask.coordinator.committed_offsets import CommittedOffsets, Place
from portask.coordinator.group import Group
from portask.coordinator.group_row import TABLE, GroupRow, delete_row
from portask.coordinator.member import Joined, JoinRequest, Synced
from portask.coordinator.offset_retention import OffsetRetention
from portask.coordinator.offset_row import CommittedOffset, OffsetKey
from portask.coordinator.reaper import Reaper
from portask.errors import (
    CoordinatorUnavailableError,
    GroupError,
    InconsistentProtocolError,
    InvalidGroupError,
    InvalidSessionTimeoutError,
    OffsetMetadataTooLargeError,
    PortaskError,
    UnknownGroupError,
    UnknownMemberError,
    UsageError,
)
from portask.storage.base import MAX_VALUE_BYTES, Round, Storage

if TYPE_CHECKING:
    from portask.catalog import Catalog
    from portask.clock import Clock
    from portask.config import Settings

log = logging.getLogger(__name__)

MAX_GROUP_ID_BYTES = 32_767
"""As long as a string of Kafka's protocol can be."""


class Coordinator:
    """All groups of this node."""

    def __init__(self, bus: Bus, storage: Storage, catalog: Catalog, settings: Settings, clock: Clock) -> None:
        self.offsets = CommittedOffsets(bus, storage)
        self._bus = bus
        self._storage = storage
        self._catalog = catalog
        self._settings = settings
        self._clock = clock
        self._groups: dict[str, Group] = {}
        self._reaper = Reaper(clock)
        self._running = False
        self.retention = OffsetRetention(self.offsets, self._groups, catalog, settings, clock)
        catalog.on_delete.append(self.offsets.collect_topic)

    # -- life -------------------------------------------------------------------------------------

    def load(self) -> None:
        """Restore groups and offsets; the topics must be there. Raises CorruptError."""
        self.offsets.load({topic.id for topic in self._catalog.topics()})
        for key, value in self._storage.load(TABLE).items():
            group_id, row = GroupRow.decode(key, value)
            self._create(group_id).restore(row)
        for group_id in self.offsets.groups():
            if group_id not in self._groups:
                self._create(group_id)

    def start(self) -> None:
        """Begin to serve."""
        self._running = True
        self._reaper.start()
        self.retention.start()

    def stop(self) -> None:
        """Answer everybody who waits, and take nothing new. Blocks until a look at the offsets is through."""
        self._running = False
        self._reaper.stop()
        error = CoordinatorUnavailableError("the broker is shutting down")
        for group in self._groups.values():
            group.refuse_all(error)
        self.retention.stop()

    def check_running(self, group_id: str | None = None) -> None:
        """Raise CoordinatorUnavailableError unless it serves, and InvalidGroupError for the empty *group_id*."""
        if not self._running:
            raise CoordinatorUnavailableError("the coordinator is not running")
        if group_id == "":
            raise InvalidGroupError("a group with members needs an id")

    def tick(self) -> None:
        """Do what is due by the clock now; the reaper does so by itself in real time."""
        self._reaper.tick()

    # -- what members do --------------------------------------------------------------------------

    def join(self, group_id: str, request: JoinRequest, wait: Wait) -> Joined:
        """Join or join again. Blocks until the group has a new generation.

        Raises InvalidGroupError, InvalidSessionTimeoutError, and as `ClassicGroup.join`.
        """
        self.check_running(group_id)
        shortest, longest = self._settings.group_min_session_timeout_ms, self._settings.group_max_session_timeout_ms
        if not shortest <= request.session_timeout_ms <= longest:
            raise InvalidSessionTimeoutError(f"a session may time out after {shortest} to {longest} ms")
        group = self._groups.get(group_id)
        if group is not None:
            return _classic(group).join(request).get(wait)
        if request.member_id:
            raise UnknownMemberError(f"group {group_id} has no members")
        made = self._create(group_id)
        try:
            answer = made.join(request)
        except InconsistentProtocolError:
            # Nobody has ever been in it.
            del self._groups[group_id]
            raise
        return answer.get(wait)

    def sync(
        self,
        group_id: str,
        member_id: str,
        instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
        wait: Wait,
    ) -> Synced:
        """Learn the assignment; the leader brings everybody's. Blocks until it has, and until that is durable.

        Raises InvalidGroupError, and as `ClassicGroup.sync`.
        """
        group = self._group_of_member(group_id)
        answer = group.sync(member_id, instance_id, generation, protocol_type, protocol, assignments)
        return answer.get(wait)

    def heartbeat(self, group_id: str, member_id: str, instance_id: str | None, generation: int) -> None:
        """Keep a session. Raises InvalidGroupError, and as `ClassicGroup.heartbeat`."""
        self._group_of_member(group_id).heartbeat(member_id, instance_id, generation)

    def leave(
        self, group_id: str, identities: Iterable[tuple[str, str | None]], reason: str = "left"
    ) -> list[GroupError | None]:
        """Let members go. Raises InvalidGroupError or UnknownMemberError; else as `ClassicGroup.leave`."""
        return self._group_of_member(group_id).leave(identities, reason)

    # -- offsets ----------------------------------------------------------------------------------

    def commit(
        self,
        group_id: str,
        member_id: str,
        instance_id: str | None,
        generation: int,
        offsets: Mapping[Place, CommittedOffset],
    ) -> None:
        """Set offsets of a group. Blocks until they are durable.

        With a negative generation the group need not exist: that is how clients keep offsets that do
        without members. Raises UnknownGroupError, CoordinatorUnavailableError, or as `Group.check_commit`.
        """
        self.check_running()
        group = self._groups.get(group_id)
        if group is None:
            if generation >= 0:
                raise UnknownGroupError(f"there is no group {group_id}")
            group = self._create(group_id)
        group.check_commit(member_id, instance_id, generation)
        if offsets:
            self.offsets.commit(group_id, offsets)

    def check_metadata(self, metadata: str) -> None:
        """Raise OffsetMetadataTooLargeError unless *metadata* may go with an offset."""
        if len(metadata) > (limit := self._settings.offset_metadata_bytes):
            raise OffsetMetadataTooLargeError(f"metadata of an offset may have {limit} characters, not {len(metadata)}")

    def is_unstable(self, key: OffsetKey) -> bool:
        """Whether a transaction that is still open has committed another offset there. No transaction does yet."""
        return False

    def delete_offsets(self, group_id: str, keys: Iterable[OffsetKey]) -> None:
        """Forget offsets of a group. Blocks until durable.

        Raises InvalidGroupError, UnknownGroupError, or GroupNotEmptyError when it can't be told what members read.
        """
        self.check_running(group_id)
        self.group(group_id).check_offset_delete()
        chosen = list(keys)
        self.offsets.delete(lambda: chosen)

    # -- groups from outside ----------------------------------------------------------------------

    def groups(self) -> list[Group]:
        """All groups by id."""
        self.check_running()
        return [self._groups[group_id] for group_id in sorted(self._groups)]

    def group(self, group_id: str) -> Group:
        """The group of that id. Raises UnknownGroupError."""
        self.check_running()
        group = self._groups.get(group_id)
        if group is None:
            raise UnknownGroupError(f"Group {group_id} not found.")
        return group

    def delete(self, group_id: str) -> None:
        """Delete a group with its offsets. Blocks until durable. Raises UnknownGroupError or GroupNotEmptyError."""
        group = self.group(group_id)
        group.delete()
        try:
            # From here on nobody can commit; what is on its way is waited for, to be deleted too.
            self.offsets.settle()
            self.offsets.delete(lambda: self.offsets.keys(group_id), lambda round_: delete_row(group_id, round_))
        except PortaskError:
            group.revive()
            raise
        del self._groups[group_id]
        log.info("group deleted", extra={"group": group_id})

    # -- inside -----------------------------------------------------------------------------------

    def _group_of_member(self, group_id: str) -> ClassicGroup:
        self.check_running(group_id)
        group = self._groups.get(group_id)
        if group is None:
            raise UnknownMemberError(f"group {group_id} has no members")
        return _classic(group)

    def _create(self, group_id: str) -> ClassicGroup:
        # Every row has the id in its key, and one key that is too long would have storage refuse a whole round.
        if len(group_id.encode()) > MAX_GROUP_ID_BYTES:
            raise InvalidGroupError(f"the id of a group may have {MAX_GROUP_ID_BYTES} bytes")

        def wake(deadline: float) -> None:
            self._reaper.wake(group, deadline)

        def save(row: bytes, done: Callable[[PortaskError | None], None]) -> None:
            self._save(group_id, row, done)

        group = ClassicGroup(group_id, self._clock, self._settings, save, wake)
        self._groups[group_id] = group
        return group

    def _save(self, group_id: str, row: bytes, done: Callable[[PortaskError | None], None]) -> None:
        def collect(round_: Round) -> None:
            round_.puts[TABLE, group_id.encode()] = row

        try:
            if len(row) > MAX_VALUE_BYTES:
                raise UsageError(f"the members of group {group_id} have too much metadata: {len(row)} bytes")
            self._bus.put(Change(collect, lambda change: done(change.error)))
        except PortaskError as error:
            done(error)


def _classic(group: Group) -> ClassicGroup:
    # Here groups of another kind will refuse members of this one, or take them over if they are empty.
    assert isinstance(group, ClassicGroup)
    return group
