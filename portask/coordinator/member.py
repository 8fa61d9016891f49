"""A member of a classic group: one client inside a generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from portask.coordinator.answer import Answer

NEW_MEMBER_TIMEOUT_S = 300.0
"""How long the first join of a member may wait. It cannot send heartbeats yet, and a client that gave up and joined
again would otherwise leave a dead member behind each time. Kafka's number."""

Protocols = list[tuple[str, bytes]]
"""Protocols by preference, each with the member's metadata for it."""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a client says when it joins."""

    member_id: str
    """Empty when it has none yet."""
    instance_id: str | None
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: Protocols
    client_id: str = ""
    client_host: str = ""
    needs_member_id: bool = False
    """Whether a client without a member id is only given one, and has to join again with it (KIP-394)."""
    can_skip_assignment: bool = False
    """Whether the client knows that a leader may be told not to assign (KIP-814)."""
    reason: str | None = None


class Peer(NamedTuple):
    """A member as the leader sees it."""

    member_id: str
    instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """What a member is told when all have joined."""

    member_id: str
    generation: int
    protocol_type: str
    protocol: str
    leader: str
    peers: list[Peer] = field(default_factory=list)
    """All members, for the leader only."""
    skip_assignment: bool = False


@dataclass(frozen=True, slots=True)
class Synced:
    """What a member is told when the leader has assigned."""

    protocol_type: str
    protocol: str
    assignment: bytes


class Member:
    """One member, its timeouts and what it waits for. Kept by its group."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "deadline",
        "id",
        "instance_id",
        "is_new",
        "join",
        "protocols",
        "rebalance_timeout_s",
        "session_timeout_s",
        "sync",
    )

    def __init__(self, member_id: str, request: JoinRequest) -> None:
        self.id = member_id
        self.instance_id = request.instance_id
        self.client_id = request.client_id
        self.client_host = request.client_host
        self.session_timeout_s = request.session_timeout_ms / 1000
        self.rebalance_timeout_s = request.rebalance_timeout_ms / 1000
        self.protocols = request.protocols
        self.assignment = b""
        self.is_new = False
        """Whether its first join waits still, so that the client does not know its id."""
        self.join: Answer[Joined] | None = None
        """The join that waits for the others."""
        self.sync: Answer[Synced] | None = None
        """The sync that waits for the leader."""
        self.deadline = 0.0
        """Monotonic time at which its session ends."""

    @property
    def is_static(self) -> bool:
        """Whether it keeps its place by an instance id (KIP-345)."""
        return self.instance_id is not None

    @property
    def keeps_session(self) -> bool:
        """Whether its session goes on without heartbeats: it waits for others, and they have deadlines of their own."""
        return not self.is_new and (self.join is not None or self.sync is not None)

    def metadata(self, protocol: str) -> bytes:
        """What it said for *protocol*."""
        return next((metadata for name, metadata in self.protocols if name == protocol), b"")

    def vote(self, candidates: set[str]) -> str:
        """The candidate that it prefers. It must know at least one."""
        return next(name for name, _ in self.protocols if name in candidates)

    def peer(self, protocol: str) -> Peer:
        """It as the leader sees it."""
        return Peer(self.id, self.instance_id, self.metadata(protocol))
