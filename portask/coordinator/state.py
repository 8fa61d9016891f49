"""The states of a classic group, by Kafka's names."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a classic group stands."""

    EMPTY = "Empty"
    """No members; maybe offsets."""
    PREPARING = "PreparingRebalance"
    """Everybody is to join again."""
    COMPLETING = "CompletingRebalance"
    """All have joined, and wait for the leader's assignment."""
    STABLE = "Stable"
    """Everybody knows what is theirs."""
    DEAD = "Dead"
    """Deleted; whoever still holds it looks for the group again."""


BEFORE: dict[State, frozenset[State]] = {
    State.EMPTY: frozenset({State.PREPARING}),
    State.PREPARING: frozenset({State.EMPTY, State.COMPLETING, State.STABLE}),
    State.COMPLETING: frozenset({State.PREPARING}),
    State.STABLE: frozenset({State.COMPLETING}),
    State.DEAD: frozenset({State.EMPTY}),
}
"""Which states may come before each."""
