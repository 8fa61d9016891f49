"""Manual assignments of partitions to brokers: there is one broker, so they can only name that."""

from __future__ import annotations

from collections.abc import Sequence

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.refusal import RefusedError


def check_replicas(brokers: Sequence[int], node_id: int) -> None:
    """Raise RefusedError unless *brokers* is a list that this broker alone can be the replicas of."""
    reason = ""
    if not brokers:
        reason = "an empty replica list"
    for place, broker in enumerate(sorted(brokers)):
        if broker != node_id:
            reason = f"broker {broker}, but no such broker is registered"
            break
        if place:
            reason = f"the broker {broker} more than once"
            break
    if reason:
        raise RefusedError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"The manual partition assignment includes {reason}.")
