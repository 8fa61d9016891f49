"""What members of a classic group tell each other: metadata and assignment inside JoinGroup and SyncGroup.

The broker passes both on as they are and looks into them only to describe a group. Each begins with its
version as an int16, which is not part of the table. A version newer than ours is read as our newest.
"""

from handlers.kafka.tables.api import message

CONSUMER_PROTOCOL_SUBSCRIPTION = message(
    "ConsumerProtocolSubscription",
    versions="0-3",
    text="""
    topics            [string]
    user_data         bytes?
    owned_partitions  [TopicPartition]  1+
        topic         string
        partitions    [int32]
    generation_id     int32             2+  = -1
    rack_id           string?           3+          # KIP-881
""",
)

CONSUMER_PROTOCOL_ASSIGNMENT = message(
    "ConsumerProtocolAssignment",
    versions="0-3",
    text="""
    assigned_partitions  [TopicPartition]
        topic            string
        partitions       [int32]
    user_data            bytes?
""",
)
