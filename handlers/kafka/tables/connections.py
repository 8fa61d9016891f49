"""What a connection begins with: versions and SASL; and the headers of all requests and responses."""

from handlers.kafka.tables.api import api, message

API_VERSIONS = api(
    18,
    "ApiVersions",
    versions="0-5",
    flexible="3+",
    request="""
    client_software_name     string   3+        # KIP-511
    client_software_version  string   3+
    cluster_id               string?  5+        # KIP-1242
    node_id                  int32    5+  = -1
""",
    response="""
    error_code                int16
    api_keys                  [ApiVersion]
        api_key               int16
        min_version           int16
        max_version           int16
    throttle_time_ms          int32                  1+
    supported_features        [SupportedFeatureKey]  3+  tag=0  # KIP-584; up to version 3 without those that begin at 0
        name                  string
        min_version           int16
        max_version           int16
    finalized_features_epoch  int64                  3+  tag=1 = -1
    finalized_features        [FinalizedFeatureKey]  3+  tag=2
        name                  string
        max_version_level     int16
        min_version_level     int16
    zk_migration_ready        bool                   3+  tag=3
""",
)

SASL_HANDSHAKE = api(
    17,
    "SaslHandshake",
    versions="0-1",
    request="""
    mechanism  string
""",
    response="""
    error_code  int16
    mechanisms  [string]
""",
)

SASL_AUTHENTICATE = api(
    36,
    "SaslAuthenticate",
    versions="0-2",
    flexible="2+",
    request="""
    auth_bytes  bytes
""",
    response="""
    error_code           int16
    error_message        string?      = ""
    auth_bytes           bytes
    session_lifetime_ms  int64    1+        # KIP-368
""",
)

REQUEST_HEADER = message(
    "RequestHeader",
    versions="0-2",
    flexible="2+",
    text="""
    request_api_key      int16
    request_api_version  int16
    correlation_id       int32
    client_id            string?  1+  flexible=none = ""    # never compact: any broker must be able to read it
""",
)

RESPONSE_HEADER = message(
    "ResponseHeader",
    versions="0-1",
    flexible="1+",
    text="""
    correlation_id  int32
""",
)
