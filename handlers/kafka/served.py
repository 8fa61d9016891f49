"""What is served: every API with its versions and the function that answers it.

What is not here is not advertised. All functions take the session, the decoded request and its version,
may block, and return the response; Produce alone answers later (handlers.kafka.connection).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from handlers.kafka import (
    cluster,
    configs,
    delete_records,
    describe_topics,
    fetch,
    group_admin,
    group_offsets,
    groups,
    list_offsets,
    log_dirs,
    metadata,
    producer_ids,
    tables,
    topics,
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
        Served(tables.CREATE_TOPICS, 2, 7, topics.create_topics),
        Served(tables.DELETE_TOPICS, 1, 6, topics.delete_topics),
        Served(tables.DELETE_RECORDS, 0, 2, delete_records.delete_records),
        Served(tables.INIT_PRODUCER_ID, 0, 5, producer_ids.init_producer_id),
        Served(tables.OFFSET_FOR_LEADER_EPOCH, 2, 4, list_offsets.offset_for_leader_epoch),
        Served(tables.DESCRIBE_CONFIGS, 1, 4, configs.describe_configs),
        Served(tables.ALTER_CONFIGS, 0, 2, configs.alter_configs),
        Served(tables.DESCRIBE_LOG_DIRS, 1, 5, log_dirs.describe_log_dirs),
        Served(tables.CREATE_PARTITIONS, 0, 3, topics.create_partitions),
        Served(tables.DELETE_GROUPS, 0, 2, group_admin.delete_groups),
        Served(tables.ELECT_LEADERS, 0, 2, cluster.elect_leaders),
        Served(tables.INCREMENTAL_ALTER_CONFIGS, 0, 1, configs.incremental_alter_configs),
        Served(tables.ALTER_PARTITION_REASSIGNMENTS, 0, 1, cluster.alter_partition_reassignments),
        Served(tables.LIST_PARTITION_REASSIGNMENTS, 0, 0, cluster.list_partition_reassignments),
        Served(tables.OFFSET_DELETE, 0, 0, group_offsets.offset_delete),
        Served(tables.DESCRIBE_QUORUM, 0, 2, cluster.describe_quorum),
        Served(tables.UPDATE_FEATURES, 0, 2, cluster.update_features),
        Served(tables.DESCRIBE_CLUSTER, 0, 2, cluster.describe_cluster),
        Served(tables.DESCRIBE_PRODUCERS, 0, 0, producer_ids.describe_producers),
        Served(tables.LIST_CONFIG_RESOURCES, 0, 1, configs.list_config_resources),
        Served(tables.DESCRIBE_TOPIC_PARTITIONS, 0, 0, describe_topics.describe_topic_partitions),
    )
}


def ranges() -> Iterable[versions.Range]:
    """Key, first and last version of all that is advertised, by key."""
    return [(key, ADVERTISED_FIRST.get(key, SERVED[key].first), SERVED[key].last) for key in sorted(SERVED)]


def markdown_table() -> str:
    """The APIs for the documentation."""
    lines = ["| key | API | versions |", "|---:|---|---|"]
    for key, first, last in ranges():
        said = f", advertised from {first}" if first != SERVED[key].first else ""
        lines.append(f"| {key} | {SERVED[key].api.name} | {SERVED[key].first}-{last}{said} |")
    return "\n".join(lines) + "\n"
