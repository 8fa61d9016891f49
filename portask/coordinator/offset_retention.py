"""Retention of committed offsets: which of a group's have had their time (KIP-211).

An offset counts from the moment when the last member left; in a group with members only those of topics
that no member reads any more expire, from their commit on. A client of old that has said itself when
its offset expires is obeyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portask.coordinator.committed_offsets import CommittedOffsets
from portask.coordinator.group import Group
from portask.coordinator.offset_row import NO_EXPIRY, CommittedOffset, OffsetKey

if TYPE_CHECKING:
    from portask.catalog import Catalog


def expired_keys(
    group: Group, offsets: CommittedOffsets, catalog: Catalog, now_ms: int, retention_ms: int
) -> list[OffsetKey]:
    """Keys of the offsets of *group* that are to go. All topics that it has offsets of must be there."""
    expired: list[OffsetKey] = []
    for topic_id, partitions in offsets.of_group(group.id).items():
        if group.is_subscribed(catalog.topic_by_id(topic_id).name):
            continue
        expired += [
            OffsetKey(group.id, topic_id, partition)
            for partition, offset in partitions.items()
            if _is_over(group, offset, now_ms, retention_ms)
        ]
    return expired


def _is_over(group: Group, offset: CommittedOffset, now_ms: int, retention_ms: int) -> bool:
    base_ms = group.expiry_base_ms(offset.committed_at_ms)
    if base_ms is None:
        return False
    if offset.expires_at_ms != NO_EXPIRY:
        return now_ms >= offset.expires_at_ms
    return now_ms - base_ms >= retention_ms
