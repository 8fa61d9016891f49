"""The roster of a classic group: its members, who leads, and what protocols they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from portask.coordinator.answer import Answer
from portask.coordinator.member import Joined, Member, Protocols
from portask.errors import FencedMemberError, PortaskError, RebalancingError, UnknownMemberError


class Roster:
    """Members by id, in the order in which they came."""

    def __init__(self) -> None:
        self.leader: str | None = None
        self.pending: dict[str, float] = {}
        """Ids that were given out and have not joined yet, with the monotonic time at which they are void."""
        self.unsynced: set[str] = set()
        """Who has not sent a sync in this generation."""
        self.waiting = 0
        """How many wait for their join to be answered."""
        self._members: dict[str, Member] = {}
        self._static: dict[str, str] = {}
        self._support: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __contains__(self, member_id: str) -> bool:
        return member_id in self._members

    # -- members ----------------------------------------------------------------------------------

    def get(self, member_id: str) -> Member | None:
        """The member of that id, if there is one."""
        return self._members.get(member_id)

    def check(self, member_id: str, instance_id: str | None) -> Member:
        """The member of that id. Raises UnknownMemberError, or FencedMemberError when its instance has another now."""
        if instance_id is not None:
            holder = self._static.get(instance_id)
            if holder is None:
                raise UnknownMemberError(f"the group has no member with instance id {instance_id}")
            if holder != member_id:
                raise FencedMemberError(f"instance id {instance_id} belongs to another member now")
        member = self._members.get(member_id)
        if member is None:
            raise UnknownMemberError(f"the group has no member {member_id}")
        return member

    def holder(self, instance_id: str) -> Member | None:
        """The static member of that instance id, if there is one."""
        member_id = self._static.get(instance_id)
        return None if member_id is None else self._members[member_id]

    def add(self, member: Member) -> None:
        """Take in *member*; the first one leads."""
        self._members[member.id] = member
        self._support.update({name for name, _ in member.protocols})
        if member.instance_id is not None:
            self._static[member.instance_id] = member.id
        if self.leader is None:
            self.leader = member.id
        self.pending.pop(member.id, None)

    def remove(self, member_id: str) -> Member | None:
        """Let the member go, or the pending id; the next one leads if it did."""
        member = self._members.pop(member_id, None)
        if member is not None:
            # Nobody waits for ever; one that lives joins anew.
            self._refuse(member, UnknownMemberError("the group has removed the member"))
            self._support.subtract({name for name, _ in member.protocols})
            if member.instance_id is not None:
                del self._static[member.instance_id]
        if self.leader == member_id:
            self.leader = next(iter(self._members), None)
        self.pending.pop(member_id, None)
        self.unsynced.discard(member_id)
        return member

    def replace(self, member: Member, member_id: str) -> None:
        """Give a static member a new id. Whoever has the old one is fenced from here on, also if it waits."""
        assert member.instance_id is not None
        error = FencedMemberError(f"instance id {member.instance_id} belongs to another member now")
        self._refuse(member, error)
        del self._members[member.id]
        self._members[member_id] = member
        self._static[member.instance_id] = member_id
        if self.leader == member.id:
            self.leader = member_id
        self.unsynced.discard(member.id)
        member.id = member_id

    def update(self, member: Member, protocols: Protocols) -> None:
        """Give *member* other protocols."""
        self._support.subtract({name for name, _ in member.protocols})
        member.protocols = protocols
        self._support.update({name for name, _ in protocols})

    def hold_join(self, member: Member, answer: Answer[Joined]) -> None:
        """Have *answer* wait until all have joined. One that waits already is refused: nobody reads it any more."""
        before = self.take_join(member)
        if before is not None:
            before.refuse(RebalancingError("the member has joined again"))
        member.join = answer
        self.waiting += 1

    def refuse_all(self, error: PortaskError) -> None:
        """Answer all who wait with *error*."""
        for member in self:
            self._refuse(member, error)

    def take_join(self, member: Member) -> Answer[Joined] | None:
        """The join of *member* that waits, if one does; it waits no longer. The caller has to answer it."""
        answer, member.join = member.join, None
        self.waiting -= answer is not None
        return answer

    # -- the whole --------------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Whether everybody has joined, those who were only given an id too."""
        return not self.pending and self.waiting == len(self._members)

    @property
    def rebalance_timeout_s(self) -> float:
        """The longest that any member allows."""
        return max((member.rebalance_timeout_s for member in self._members.values()), default=0.0)

    def absent(self) -> list[Member]:
        """Dynamic members that have not joined again. Static ones keep their place until their session ends."""
        return [member for member in self._members.values() if member.join is None and not member.is_static]

    def elect(self) -> bool:
        """Have somebody lead who has joined; False when nobody has."""
        leader = self._members.get(self.leader or "")
        if leader is None or leader.join is None:
            joined = next((member for member in self._members.values() if member.join is not None), None)
            if joined is None:
                return False
            self.leader = joined.id
        return True

    # -- protocols --------------------------------------------------------------------------------

    def candidates(self) -> set[str]:
        """Protocols that every member knows."""
        return {name for name, count in self._support.items() if count == len(self._members)}

    def can_join(self, protocols: Protocols) -> bool:
        """Whether somebody with *protocols* shares one with all members."""
        candidates = self.candidates()
        return not self._members or any(name in candidates for name, _ in protocols)

    def choose(self) -> str:
        """The common protocol with the most votes. There must be members."""
        candidates = self.candidates()
        return Counter(member.vote(candidates) for member in self._members.values()).most_common(1)[0][0]

    def _refuse(self, member: Member, error: PortaskError) -> None:
        if (join := self.take_join(member)) is not None:
            join.refuse(error)
        if member.sync is not None:
            member.sync.refuse(error)
            member.sync = None
