"""Groups of the classic protocol: finding their coordinator, joining, staying, leaving, listing."""

from handlers.kafka.tables.api import api

FIND_COORDINATOR = api(
    10,
    "FindCoordinator",
    versions="0-6",
    flexible="3+",
    request="""
    key               string    0-3
    key_type          int8      1+   # 0 group, 1 transaction, 2 share
    coordinator_keys  [string]  4+   # KIP-699
""",
    response="""
    throttle_time_ms   int32          1+
    error_code         int16          0-3
    error_message      string?        1-3  = ""
    node_id            int32          0-3
    host               string         0-3
    port               int32          0-3
    coordinators       [Coordinator]  4+
        key            string
        node_id        int32
        host           string
        port           int32
        error_code     int16
        error_message  string?             = ""
""",
)

JOIN_GROUP = api(
    11,
    "JoinGroup",
    versions="0-9",
    flexible="6+",
    request="""
    group_id              string
    session_timeout_ms    int32
    rebalance_timeout_ms  int32                       1+  = -1
    member_id             string
    group_instance_id     string?                     5+        # static membership, KIP-345
    protocol_type         string
    protocols             [JoinGroupRequestProtocol]
        name              string
        metadata          bytes
    reason                string?                     8+        # KIP-800
""",
    response="""
    throttle_time_ms       int32                      2+
    error_code             int16
    generation_id          int32                          = -1
    protocol_type          string?                    7+
    protocol_name          string?7+
    leader                 string
    skip_assignment        bool                       9+        # KIP-814
    member_id              string
    members                [JoinGroupResponseMember]            # empty for all but the leader
        member_id          string
        group_instance_id  string?                    5+
        metadata           bytes
""",
)

HEARTBEAT = api(
    12,
    "Heartbeat",
    versions="0-4",
    flexible="4+",
    request="""
    group_id           string
    generation_id      int32
    member_id          string
    group_instance_id  string?  3+  # static membership, KIP-345
""",
    response="""
    throttle_time_ms  int32  1+
    error_code        int16
""",
)

LEAVE_GROUP = api(
    13,
    "LeaveGroup",
    versions="0-5",
    flexible="4+",
    request="""
    group_id               string
    member_id              string            0-2
    members                [MemberIdentity]  3+   # KIP-345
        member_id          string
        group_instance_id  string?
        reason             string?           5+   # KIP-800
""",
    response="""
    throttle_time_ms       int32             1+
    error_code             int16
    members                [MemberResponse]  3+
        member_id          string
        group_instance_id  string?               = ""
        error_code         int16
""",
)

SYNC_GROUP = api(
    14,
    "SyncGroup",
    versions="0-5",
    flexible="4+",
    request="""
    group_id           string
    generation_id      int32
    member_id          string
    group_instance_id  string?                       3+  # static membership, KIP-345
    protocol_type      string?                       5+  # KIP-559
    protocol_name      string?                       5+
    assignments        [SyncGroupRequestAssignment]      # empty for all but the leader
        member_id      string
        assignment     bytes
""",
    response="""
    throttle_time_ms  int32    1+
    error_code        int16
    protocol_type     string?  5+
    protocol_name     string?  5+
    assignment        bytes
""",
)

DESCRIBE_GROUPS = api(
    15,
    "DescribeGroups",
    versions="0-6",
    flexible="5+",
    request="""
    groups                         [string]
    include_authorized_operations  bool      3+
""",
    response="""
    throttle_time_ms           int32                   1+
    groups                     [DescribedGroup]
        error_code             int16
        error_message          string?                 6+                 # KIP-1043
        group_id               string
        group_state            string
        protocol_type          string
        protocol_data          string
        members                [DescribedGroupMember]
            member_id          string
            group_instance_id  string?                 4+
            client_id          string
            client_host        string
            member_metadata    bytes
            member_assignment  bytes
        authorized_operations  int32                   3+  = -2147483648  # KIP-430
""",
)

LIST_GROUPS = api(
    16,
    "ListGroups",
    versions="0-5",
    flexible="3+",
    request="""
    states_filter  [string]  4+  # KIP-518
    types_filter   [string]  5+  # KIP-848
""",
    response="""
    throttle_time_ms   int32          1+
    error_code         int16
    groups             [ListedGroup]
        group_id       string
        protocol_type  string
        group_state    string         4+
        group_type     string         5+
""",
)

DELETE_GROUPS = api(
    42,
    "DeleteGroups",
    versions="0-3",
    flexible="2+",
    request="""
    groups_names  [string]
""",
    response="""
    throttle_time_ms   int32
    results            [DeletableGroupResult]
        group_id       string
        error_code     int16
        error_message  string?                 3+  # KIP-1331
""",
)
