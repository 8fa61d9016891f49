"""Topics: making and deleting them, adding partitions, deleting records."""

from handlers.kafka.tables.api import api

CREATE_TOPICS = api(
    19,
    "CreateTopics",
    versions="2-7",
    flexible="5+",
    request="""
    topics                   [CreatableTopic]
        name                 string
        num_partitions       int32                                  # -1 for the default, KIP-464
        replication_factor   int16
        assignments          [CreatableReplicaAssignment]           # empty: the broker places the replicas
            partition_index  int32
            broker_ids       [int32]
        configs              [CreatableTopicConfig]
            name             string
            value            string?                       = ""
    timeout_ms               int32                         = 60000
    validate_only            bool
""",
    response="""
    throttle_time_ms             int32
    topics                       [CreatableTopicResult]
        name                     string
        topic_id                 uuid                      7+
        error_code               int16
        error_message            string?                       = ""
        topic_config_error_code  int16                     5+  tag=0  # why configs is null
        num_partitions           int32                     5+  = -1   # KIP-525
        replication_factor       int16                     5+  = -1
        configs                  [CreatableTopicConfigs]?  5+  = []
            name                 string
            value                string?                       = ""
            read_only            bool
            config_source        int8                          = -1
            is_sensitive         bool
""",
)

DELETE_TOPICS = api(
    20,
    "DeleteTopics",
    versions="1-6",
    flexible="4+",
    request="""
    topics        [DeleteTopicState]  6+
        name      string?                  # null when topic_id names it, KIP-516
        topic_id  uuid
    topic_names   [string]            1-5
    timeout_ms    int32
""",
    response="""
    throttle_time_ms   int32
    responses          [DeletableTopicResult]
        name           string?6+
        topic_id       uuid                    6+
        error_code     int16
        error_message  string?                 5+
""",
)

DELETE_RECORDS = api(
    21,
    "DeleteRecords",
    versions="0-2",
    flexible="2+",
    request="""
    topics                   [DeleteRecordsTopic]
        name                 string
        partitions           [DeleteRecordsPartition]
            partition_index  int32
            offset           int64                     # -1 for the high watermark
    timeout_ms               int32
""",
    response="""
    throttle_time_ms         int32
    topics                   [DeleteRecordsTopicResult]
        name                 string
        partitions           [DeleteRecordsPartitionResult]
            partition_index  int32
            low_watermark    int64
            error_code       int16
""",
)

CREATE_PARTITIONS = api(
    37,
    "CreatePartitions",
    versions="0-3",
    flexible="2+",
    request="""
    topics              [CreatePartitionsTopic]
        name            string
        count           int32                                # new total
        assignments     [CreatePartitionsAssignment]?  = []
            broker_ids  [int32]
    timeout_ms          int32
    validate_only       bool
""",
    response="""
    throttle_time_ms   int32
    results            [CreatePartitionsTopicResult]
        name           string
        error_code     int16
        error_message  string?
""",
)
