"""Where replicas are and who leads; and what the producers of a partition are known by."""

from handlers.kafka.tables.api import api

DESCRIBE_LOG_DIRS = api(
    35,
    "DescribeLogDirs",
    versions="1-5",
    flexible="2+",
    request="""
    topics          [DescribableLogDirTopic]?  = []  # null for all
        topic       string
        partitions  [int32]
""",
    response="""
    throttle_time_ms             int32
    error_code                   int16                       3+
    results                      [DescribeLogDirsResult]
        error_code               int16
        log_dir                  string
        topics                   [DescribeLogDirsTopic]
            name                 string
            partitions           [DescribeLogDirsPartition]
                partition_index  int32
                partition_size   int64
                offset_lag       int64
                is_future_key    bool
        total_bytes              int64                       4+  = -1  # KIP-827
        usable_bytes             int64                       4+  = -1
        is_cordoned              bool                        5+
""",
)

ELECT_LEADERS = api(
    43,
    "ElectLeaders",
    versions="0-2",
    flexible="2+",
    request="""
    election_type     int8                1+           # 0 preferred, 1 unclean, KIP-460
    topic_partitions  [TopicPartitions]?      = []     # null for all
        topic         string
        partitions    [int32]
    timeout_ms        int32                   = 60000
""",
    response="""
    throttle_time_ms          int32
    error_code                int16                    1+
    replica_election_results  [ReplicaElectionResult]
        topic                 string
        partition_result      [PartitionResult]
            partition_id      int32
            error_code        int16
            error_message     string?                      = ""
""",
)

ALTER_PARTITION_REASSIGNMENTS = api(
    45,
    "AlterPartitionReassignments",
    versions="0-1",
    flexible="0+",
    request="""
    timeout_ms                       int32                        = 60000
    allow_replication_factor_change  bool                     1+  = true
    topics                           [ReassignableTopic]
        name                         string
        partitions                   [ReassignablePartition]
            partition_index          int32
            replicas                 [int32]?                              # null to cancel
""",
    response="""
    throttle_time_ms                 int32
    allow_replication_factor_change  bool                             1+  = true
    error_code                       int16
    error_message                    string?                              = ""
    responses                        [ReassignableTopicResponse]
        name                         string
        partitions                   [ReassignablePartitionResponse]
            partition_index          int32
            error_code               int16
            error_message            string?                              = ""
""",
)

LIST_PARTITION_REASSIGNMENTS = api(
    46,
    "ListPartitionReassignments",
    versions="0",
    flexible="0+",
    request="""
    timeout_ms             int32                                = 60000
    topics                 [ListPartitionReassignmentsTopics]?           # null for all
        name               string
        partition_indexes  [int32]
""",
    response="""
    throttle_time_ms           int32
    error_code                 int16
    error_message              string?                         = ""
    topics                     [OngoingTopicReassignment]
        name                   string
        partitions             [OngoingPartitionReassignment]
            partition_index    int32
            replicas           [int32]
            adding_replicas    [int32]
            removing_replicas  [int32]
""",
)

DESCRIBE_PRODUCERS = api(
    61,
    "DescribeProducers",
    versions="0",
    flexible="0+",
    request="""
    topics                 [TopicRequest]
        name               string
        partition_indexes  [int32]
""",
    response="""
    throttle_time_ms                      int32
    topics                                [TopicResponse]
        name                              string
        partitions                        [PartitionResponse]
            partition_index               int32
            error_code                    int16
            error_message                 string?
            active_producers              [ProducerState]
                producer_id               int64
                producer_epoch            int32
                last_sequence             int32                = -1
                last_timestamp            int64                = -1
                coordinator_epoch         int32
                current_txn_start_offset  int64                = -1
""",
)
