"""Producing: Produce, and InitProducerId for idempotence and transactions."""

from handlers.kafka.tables.api import api

PRODUCE = api(
    0,
    "Produce",
    versions="3-13",
    flexible="9+",
    request="""
    transactional_id    string?
    acks                int16
    timeout_ms          int32
    topic_data          [TopicProduceData]
        name            string                  3-12
        topic_id        uuid                    13+   # KIP-516
        partition_data  [PartitionProduceData]
            index       int32
            records     records?                      # one batch of version 2
""",
    response="""
    responses                              [TopicProduceResponse]
        name                               string                       3-12
        topic_id                           uuid                         13+
        partition_responses                [PartitionProduceResponse]
            index                          int32
            error_code                     int16
            base_offset                    int64
            log_append_time_ms             int64                              = -1  # -1 for CreateTime
            log_start_offset               int64                        5+    = -1
            record_errors                  [BatchIndexAndErrorMessage]  8+           # KIP-467
                batch_index                int32
                batch_index_error_message  string?
            error_message                  string?                      8+
            current_leader                 LeaderIdAndEpoch             10+   tag=0  # KIP-951
                leader_id                  int32                              = -1
                leader_epoch               int32                              = -1
    throttle_time_ms                       int32
    node_endpoints                         [NodeEndpoint]               10+   tag=0  # of the current leaders
        node_id                            int32
        host                               string
        port                               int32
        rack                               string?
""",
)

INIT_PRODUCER_ID = api(
    22,
    "InitProducerId",
    versions="0-6",
    flexible="2+",
    request="""
    transactional_id        string?      = ""
    transaction_timeout_ms  int32
    producer_id             int64    3+  = -1  # to be kept with a higher epoch, KIP-360
    producer_epoch          int16    3+  = -1
    enable2_pc              bool     6+        # two-phase commit, KIP-939
    keep_prepared_txn       bool     6+
""",
    response="""
    throttle_time_ms            int32
    error_code                  int16
    producer_id                 int64      = -1
    producer_epoch              int16
    ongoing_txn_producer_id     int64  6+  = -1
    ongoing_txn_producer_epoch  int16  6+  = -1
""",
)
