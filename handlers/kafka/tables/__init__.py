"""The tables of all APIs: one line per field, all versions at once, as `handlers.wire.declaration` reads them."""

from handlers.kafka.tables.api import Api
from handlers.kafka.tables.cluster import (
    DESCRIBE_CLUSTER,
    DESCRIBE_QUORUM,
    DESCRIBE_TOPIC_PARTITIONS,
    METADATA,
    UPDATE_FEATURES,
)
from handlers.kafka.tables.configs import (
    ALTER_CONFIGS,
    DESCRIBE_CONFIGS,
    INCREMENTAL_ALTER_CONFIGS,
    LIST_CONFIG_RESOURCES,
)
from handlers.kafka.tables.connections import (
    API_VERSIONS,
    REQUEST_HEADER,
    RESPONSE_HEADER,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
)
from handlers.kafka.tables.fetch import (
    FETCH,
    LIST_OFFSETS,
    OFFSET_FOR_LEADER_EPOCH,
)
from handlers.kafka.tables.group_offsets import (
    OFFSET_COMMIT,
    OFFSET_DELETE,
    OFFSET_FETCH,
)
from handlers.kafka.tables.groups import (
    DELETE_GROUPS,
    DESCRIBE_GROUPS,
    FIND_COORDINATOR,
    HEARTBEAT,
    JOIN_GROUP,
    LEAVE_GROUP,
    LIST_GROUPS,
    SYNC_GROUP,
)
from handlers.kafka.tables.members import (
    CONSUMER_PROTOCOL_ASSIGNMENT,
    CONSUMER_PROTOCOL_SUBSCRIPTION,
)
from handlers.kafka.tables.produce import (
    INIT_PRODUCER_ID,
    PRODUCE,
)
from handlers.kafka.tables.replicas import (
    ALTER_PARTITION_REASSIGNMENTS,
    DESCRIBE_LOG_DIRS,
    DESCRIBE_PRODUCERS,
    ELECT_LEADERS,
    LIST_PARTITION_REASSIGNMENTS,
)
from handlers.kafka.tables.topics import (
    CREATE_PARTITIONS,
    CREATE_TOPICS,
    DELETE_RECORDS,
    DELETE_TOPICS,
)

__all__ = [
    "ALTER_CONFIGS",
    "ALTER_PARTITION_REASSIGNMENTS",
    "APIS",
    "API_VERSIONS",
    "CONSUMER_PROTOCOL_ASSIGNMENT",
    "CONSUMER_PROTOCOL_SUBSCRIPTION",
    "CREATE_PARTITIONS",
    "CREATE_TOPICS",
    "DELETE_GROUPS",
    "DELETE_RECORDS",
    "DELETE_TOPICS",
    "DESCRIBE_CLUSTER",
    "DESCRIBE_CONFIGS",
    "DESCRIBE_GROUPS",
    "DESCRIBE_LOG_DIRS",
    "DESCRIBE_PRODUCERS",
    "DESCRIBE_QUORUM",
    "DESCRIBE_TOPIC_PARTITIONS",
    "ELECT_LEADERS",
    "FETCH",
    "FIND_COORDINATOR",
    "HEARTBEAT",
    "INCREMENTAL_ALTER_CONFIGS",
    "INIT_PRODUCER_ID",
    "JOIN_GROUP",
    "LEAVE_GROUP",
    "LIST_CONFIG_RESOURCES",
    "LIST_GROUPS",
    "LIST_OFFSETS",
    "LIST_PARTITION_REASSIGNMENTS",
    "METADATA",
    "OFFSET_COMMIT",
    "OFFSET_DELETE",
    "OFFSET_FETCH",
    "OFFSET_FOR_LEADER_EPOCH",
    "PRODUCE",
    "REQUEST_HEADER",
    "RESPONSE_HEADER",
    "SASL_AUTHENTICATE",
    "SASL_HANDSHAKE",
    "SYNC_GROUP",
    "UPDATE_FEATURES",
    "Api",
]

APIS: dict[int, Api] = {
    table.key: table
    for table in (
        DESCRIBE_CLUSTER,
        DESCRIBE_QUORUM,
        DESCRIBE_TOPIC_PARTITIONS,
        METADATA,
        UPDATE_FEATURES,
        ALTER_CONFIGS,
        DESCRIBE_CONFIGS,
        INCREMENTAL_ALTER_CONFIGS,
        LIST_CONFIG_RESOURCES,
        API_VERSIONS,
        SASL_AUTHENTICATE,
        SASL_HANDSHAKE,
        FETCH,
        LIST_OFFSETS,
        OFFSET_FOR_LEADER_EPOCH,
        OFFSET_COMMIT,
        OFFSET_DELETE,
        OFFSET_FETCH,
        DELETE_GROUPS,
        DESCRIBE_GROUPS,
        FIND_COORDINATOR,
        HEARTBEAT,
        JOIN_GROUP,
        LEAVE_GROUP,
        LIST_GROUPS,
        SYNC_GROUP,
        INIT_PRODUCER_ID,
        PRODUCE,
        ALTER_PARTITION_REASSIGNMENTS,
        DESCRIBE_LOG_DIRS,
        DESCRIBE_PRODUCERS,
        ELECT_LEADERS,
        LIST_PARTITION_REASSIGNMENTS,
        CREATE_PARTITIONS,
        CREATE_TOPICS,
        DELETE_RECORDS,
        DELETE_TOPICS,
    )
}
"""By key."""
