"""What the cluster is made of: nodes, topics, partitions, quorum and features."""

from handlers.kafka.tables.api import api

METADATA = api(
    3,
    "Metadata",
    versions="0-13",
    flexible="9+",
    request="""
    topics                                 [MetadataRequestTopic]?1+  # null for all; in version 0 all when empty
        topic_id                           uuid                       10+
        name                               string?10+
    allow_auto_topic_creation              bool                       4+    = true  # KIP-204
    include_cluster_authorized_operations  bool                       8-10
    include_topic_authorized_operations    bool                       8+
""",
    response="""
    throttle_time_ms                 int32                        3+
    brokers                          [MetadataResponseBroker]
        node_id                      int32
        host                         string
        port                         int32
        rack                         string?                      1+
    cluster_id                       string?                      2+
    controller_id                    int32                        1+    = -1
    topics                           [MetadataResponseTopic]
        error_code                   int16
        name                         string?12+
        topic_id                     uuid                         10+
        is_internal                  bool                         1+
        partitions                   [MetadataResponsePartition]
            error_code               int16
            partition_index          int32
            leader_id                int32
            leader_epoch             int32                        7+    = -1
            replica_nodes            [int32]
            isr_nodes                [int32]
            offline_replicas         [int32]                      5+
        topic_authorized_operations  int32                        8+    = -2147483648  # KIP-430
    cluster_authorized_operations    int32                        8-10  = -2147483648
    error_code                       int16                        13+
""",
)

DESCRIBE_CLUSTER = api(
    60,
    "DescribeCluster",
    versions="0-2",
    flexible="0+",
    request="""
    include_cluster_authorized_operations  bool
    endpoint_type                          int8  1+  = 1  # 1 brokers, 2 controllers, KIP-919
    include_fenced_brokers                 bool  2+       # KIP-1073
""",
    response="""
    throttle_time_ms               int32
    error_code                     int16
    error_message                  string?
    endpoint_type                  int8                     1+  = 1
    cluster_id                     string
    controller_id                  int32                        = -1
    brokers                        [DescribeClusterBroker]
        broker_id                  int32
        host                       string
        port                       int32
        rack                       string?
        is_fenced                  bool                     2+
    cluster_authorized_operations  int32                        = -2147483648
""",
)

DESCRIBE_TOPIC_PARTITIONS = api(
    75,
    "DescribeTopicPartitions",
    versions="0",
    flexible="0+",
    request="""
    topics                    [TopicRequest]
        name                  string
    response_partition_limit  int32           = 2000
    cursor                    Cursor?                 # where the last answer ended
        topic_name            string
        partition_index       int32
""",
    response="""
    throttle_time_ms                  int32
    topics                            [DescribeTopicPartitionsResponseTopic]
        error_code                    int16
        name                          string?                                     = ""
        topic_id                      uuid
        is_internal                   bool
        partitions                    [DescribeTopicPartitionsResponsePartition]
            error_code                int16
            partition_index           int32
            leader_id                 int32
            leader_epoch              int32                                       = -1
            replica_nodes             [int32]
            isr_nodes                 [int32]
            eligible_leader_replicas  [int32]?                                                   # KIP-966
            last_known_elr            [int32]?
            offline_replicas          [int32]
        topic_authorized_operations   int32                                       = -2147483648
    next_cursor                       Cursor?                                                    # null at the end
        topic_name                    string
        partition_index               int32
""",
)

DESCRIBE_QUORUM = api(
    55,
    "DescribeQuorum",
    versions="0-2",
    flexible="0+",
    request="""
    topics                   [TopicData]
        topic_name           string
        partitions           [PartitionData]
            partition_index  int32
""",
    response="""
    error_code                            int16
    error_message                         string?          2+  = ""
    topics                                [TopicData]
        topic_name                        string
        partitions                        [PartitionData]
            partition_index               int32
            error_code                    int16
            error_message                 string?          2+  = ""
            leader_id                     int32
            leader_epoch                  int32
            high_watermark                int64
            current_voters                [ReplicaState]
                replica_id                int32
                replica_directory_id      uuid             2+
                log_end_offset            int64
                last_fetch_timestamp      int64            1+  = -1  # KIP-836
                last_caught_up_timestamp  int64            1+  = -1
            observers                     [ReplicaState]
    nodes                                 [Node]           2+        # KIP-853
        node_id                           int32
        listeners                         [Listener]
            name                          string
            host                          string
            port                          uint16
""",
)

UPDATE_FEATURES = api(
    57,
    "UpdateFeatures",
    versions="0-2",
    flexible="0+",
    request="""
    timeout_ms             int32                   = 60000
    feature_updates        [FeatureUpdateKey]
        feature            string
        max_version_level  int16
        allow_downgrade    bool                0
        upgrade_type       int8                1+  = 1      # 1 upgrade, 2 safe downgrade, 3 unsafe downgrade
    validate_only          bool                1+
""",
    response="""
    throttle_time_ms   int32
    error_code         int16
    error_message      string?                        = ""
    results            [UpdatableFeatureResult]  0-1
        feature        string
        error_code     int16
        error_message  string?                        = ""
""",
)
