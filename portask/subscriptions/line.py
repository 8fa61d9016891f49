"""The line of a subscription's consumers that have credit, in the order of their turns.

The highest priority comes first, and among equals the one that has waited longest. A consumer is in
line exactly while its `is_ready` says so.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portask.subscriptions.consumer import Consumer


class Line:
    """Consumers that wait for their turn."""

    __slots__ = ("_classes", "_ranks")

    def __init__(self) -> None:
        self._classes: dict[int, deque[Consumer]] = {}
        """By the negative of their priority. No empty ones."""
        self._ranks: list[int] = []
        """The keys of `_classes`, ascending."""

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def width(self) -> int:
        """How many have the highest priority of those in line, which must not be empty."""
        return len(self._classes[self._ranks[0]])

    def first(self) -> Consumer:
        """The one whose turn it is. The line must not be empty."""
        return self._classes[self._ranks[0]][0]

    def credit(self) -> int:
        """How many messages those in line may get now, if they got them one by one."""
        return sum(consumer.credit for equals in self._classes.values() for consumer in equals)

    def enter(self, consumer: Consumer) -> None:
        """Put *consumer*, which is not in line, behind its equals."""
        consumer.is_ready = True
        rank = -consumer.priority
        equals = self._classes.get(rank)
        if equals is None:
            equals = self._classes[rank] = deque()
            insort(self._ranks, rank)
        equals.append(consumer)

    def leave(self, consumer: Consumer) -> None:
        """Take *consumer* out, wherever it is; nothing happens when it is not in line."""
        if not consumer.is_ready:
            return
        consumer.is_ready = False
        rank = -consumer.priority
        equals = self._classes[rank]
        if equals[0] is consumer:
            equals.popleft()
        else:
            equals.remove(consumer)
        if not equals:
            del self._classes[rank]
            self._ranks.remove(rank)

    def step_back(self, consumer: Consumer) -> None:
        """*consumer*, the first of its equals, has had its turn."""
        self._classes[-consumer.priority].rotate(-1)
