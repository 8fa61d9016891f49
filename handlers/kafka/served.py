"""What is served: every API with its versions and the function that answers it.

What is not here is not advertised. All functions take the session, the decoded request and its version,
may block, and return the response; Produce alone answers later (handlers.kafka.connection).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from handlers.kafka import (
    fetch,
    group_admin,
    group_offsets,
    groups,
    list_offsets,
    metadata,
    producer_ids,
    tables,
    versions,
)

if TYPE_CHECKING:
    from handlers.kafka.session import Session
    from handlers.kafka.tables.api import Api

Answer = Callable[["Session", Any, int], Any]


class Served(NamedTuple):
    """One API."""

    api: Api
    first: int
    last: int
    answer: Answer | None
    """None for Produce."""


PRODUCE_KEY = tables.PRODUCE.key
API_VERSIONS_KEY = tables.API_VERSIONS.key
ADVERTISED_FIRST = {PRODUCE_KEY: 0}
"""Versions that are said to be served and are not, as Kafka does: librdkafka before 2.11.1 takes the absence
of Produce 0 for a broker that cannot compress, and sends what it should compress as it is."""


def _api_versions(session: Session, request: Any, version: int) -> Any:
    return versions.api_versions(session, request, version, ranges())


SERVED: dict[int, Served] = {
    served.api.key: served
    for served in (
        Served(tables.PRODUCE, 3, 13, None),
        Served(tables.FETCH, 4, 18, fetch.fetch),
        Served(tables.LIST_OFFSETS, 1, 11, list_offsets.list_offsets),
        Served(tables.METADATA, 0, 13, metadata.metadata),
        Served(tables.OFFSET_COMMIT, 2, 10, group_offsets.offset_commit),
        Served(tables.OFFSET_FETCH, 1, 10, group_offsets.offset_fetch),
        Served(tables.FIND_COORDINATOR, 0, 6, groups.find_coordinator),
        Served(tables.JOIN_GROUP, 0, 9, groups.join_group),
        Served(tables.HEARTBEAT, 0, 4, groups.heartbeat),
        Served(tables.LEAVE_GROUP, 0, 5, groups.leave_group),
        Served(tables.SYNC_GROUP, 0, 5, groups.sync_group),
        Served(tables.DESCRIBE_GROUPS, 0, 6, group_admin.describe_groups),
        Served(tables.LIST_GROUPS, 0, 5, group_admin.list_groups),
        Served(tables.API_VERSIONS, 0, 5, _api_versions),
        Served(tables.INIT_PRODUCER_ID, 0, 5, producer_ids.init_producer_id),
        Served(tables.OFFSET_FOR_LEADER_EPOCH, 2, 4, list_offsets.offset_for_leader_epoch),
        Served(tables.DELETE_GROUPS, 0, 2, group_admin.delete_groups),
        Served(tables.OFFSET_DELETE, 0, 0, group_offsets.offset_delete),
        Served(tables.DESCRIBE_PRODUCERS, 0, 0, producer_ids.describe_producers),
    )
}


def ranges() -> Iterable[versions.Range]:
    """Key, first and last version of all that is advertised, by key."""
    return [(key, ADVERTISED_FIRST.get(key, SERVED[key].first), SERVED[key].last) for key in sorted(SERVED)]
