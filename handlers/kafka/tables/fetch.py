"""Fetching: Fetch, and how a position is found: ListOffsets and OffsetForLeaderEpoch."""

from handlers.kafka.tables.api import api

FETCH = api(
    1,
    "Fetch",
    versions="4-18",
    flexible="12+",
    request="""
    cluster_id                    string?           12+   tag=0
    replica_id                    int32             4-14  = -1                         # -1 for consumers
    replica_state                 ReplicaState      15+   tag=1                        # null for consumers, KIP-903
        replica_id                int32                   = -1
        replica_epoch             int64                   = -1
    max_wait_ms                   int32
    min_bytes                     int32
    max_bytes                     int32                   = 0x7fffffff
    isolation_level               int8
    session_id                    int32             7+                                 # KIP-227
    session_epoch                 int32             7+    = -1
    topics                        [FetchTopic]
        topic                     string            4-12
        topic_id                  uuid              13+                                # KIP-516
        partitions                [FetchPartition]
            partition             int32
            current_leader_epoch  int32             9+    = -1                         # KIP-320
            fetch_offset          int64
            last_fetched_epoch    int32             12+   = -1                         # KIP-595
            log_start_offset      int64             5+    = -1
            partition_max_bytes   int32
            replica_directory_id  uuid              17+   tag=0                        # KIP-853
            high_watermark        int64             18+   tag=1 = 9223372036854775807  # KIP-1166
    forgotten_topics_data         [ForgottenTopic]  7+                                 # to be taken out of the session
        topic                     string            7-12
        topic_id                  uuid              13+
        partitions                [int32]
    rack_id                       string            11+                                # KIP-392
""",
    response="""
    throttle_time_ms                int32
    error_code                      int16                     7+
    session_id                      int32                     7+           # 0 when there is none
    responses                       [FetchableTopicResponse]
        topic                       string                    4-12
        topic_id                    uuid                      13+
        partitions                  [PartitionData]
            partition_index         int32
            error_code              int16
            high_watermark          int64
            last_stable_offset      int64                           = -1
            log_start_offset        int64                     5+    = -1
            diverging_epoch         EpochEndOffset            12+   tag=0  # KIP-595
                epoch               int32                           = -1
                end_offset          int64                           = -1
            current_leader          LeaderIdAndEpoch          12+   tag=1  # KIP-951
                leader_id           int32                           = -1
                leader_epoch        int32                           = -1
            snapshot_id             SnapshotId                12+   tag=2
                end_offset          int64                           = -1
                epoch               int32                           = -1
            aborted_transactions    [AbortedTransaction]?           = []   # null unless read_committed
                producer_id         int64
                first_offset        int64
            preferred_read_replica  int32                     11+   = -1   # KIP-392
            records                 records?
    node_endpoints                  [NodeEndpoint]            16+   tag=0  # of the current leaders
        node_id                     int32
        host                        string
        port                        int32
        rack                        string?
""",
)

LIST_OFFSETS = api(
    2,
    "ListOffsets",
    versions="1-11",
    flexible="6+",
    request="""
    replica_id                    int32                              # -1 for consumers
    isolation_level               int8                    2+         # 1 for read_committed
    topics                        [ListOffsetsTopic]
        name                      string
        partitions                [ListOffsetsPartition]
            partition_index       int32
            current_leader_epoch  int32                   4+   = -1
            timestamp             int64                              # -1 latest, -2 earliest
    timeout_ms                    int32                   10+        # KIP-1075
""",
    response="""
    throttle_time_ms         int32                           2+
    topics                   [ListOffsetsTopicResponse]
        name                 string
        partitions           [ListOffsetsPartitionResponse]
            partition_index  int32
            error_code       int16
            timestamp        int64                               = -1
            offset           int64                               = -1
            leader_epoch     int32                           4+  = -1
""",
)

OFFSET_FOR_LEADER_EPOCH = api(
    23,
    "OffsetForLeaderEpoch",
    versions="2-4",
    flexible="4+",
    request="""
    replica_id                    int32                       3+  = -2  # -1 would be for consumers
    topics                        [OffsetForLeaderTopic]
        topic                     string
        partitions                [OffsetForLeaderPartition]
            partition             int32
            current_leader_epoch  int32                           = -1
            leader_epoch          int32
""",
    response="""
    throttle_time_ms      int32
    topics                [OffsetForLeaderTopicResult]
        topic             string
        partitions        [EpochEndOffset]
            error_code    int16
            partition     int32
            leader_epoch  int32                         = -1
            end_offset    int64                         = -1
""",
)
