"""What the coordinator asks of a group, whatever its kind.

Classic groups are the first kind. Groups of KIP-848 ("consumer") and share groups ("share") are to be
further subclasses beside it: the coordinator finds, lists, deletes and wakes groups, and checks commits,
through these methods only; what is particular to a kind (join and sync here, the heartbeat that
carries assignments there) is called on the subclass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from portask.errors import PortaskError


class Group(ABC):
    """One group. Nothing in here blocks."""

    kind: ClassVar[str]
    """The type by Kafka's name."""

    def __init__(self, group_id: str) -> None:
        self.id = group_id
        self.wake_at = float("inf")
        """When the coordinator will call `tick`, in monotonic time. Kept by the coordinator."""

    @property
    @abstractmethod
    def protocol_type(self) -> str:
        """What its members are; empty while nobody has joined."""

    @property
    @abstractmethod
    def state_name(self) -> str:
        """Where it stands, by Kafka's name."""

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether it has no members, and nobody is about to join."""

    @abstractmethod
    def check_commit(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """Raise unless this client may commit offsets now. A member's session begins anew.

        A transaction's commit (TxnOffsetCommit) asks less, as its producer is fenced by its own epoch:
        that check is to be a method beside this one.
        """

    @abstractmethod
    def check_offset_delete(self) -> None:
        """Raise unless offsets may be deleted from outside now."""

    @abstractmethod
    def is_subscribed(self, topic: str) -> bool:
        """Whether members read *topic*, or may do."""

    @abstractmethod
    def expiry_base_ms(self, committed_at_ms: int) -> int | None:
        """From when the retention of an offset counts that was committed then; None while it does not expire."""

    @abstractmethod
    def delete(self) -> None:
        """End it: whoever still holds it is told to look again. Raises GroupNotEmptyError while it has members."""

    @abstractmethod
    def revive(self) -> None:
        """Take `delete` back: storage did not."""

    @abstractmethod
    def tick(self, now: float) -> float:
        """Do what is due at monotonic time *now* and return when the next thing will be."""

    @abstractmethod
    def refuse_all(self, error: PortaskError) -> None:
        """Answer everybody who waits with *error*: the coordinator stops."""
