"""Configs of topics, brokers and other resources."""

from handlers.kafka.tables.api import api

DESCRIBE_CONFIGS = api(
    32,
    "DescribeConfigs",
    versions="1-4",
    flexible="4+",
    request="""
    resources               [DescribeConfigsResource]
        resource_type       int8
        resource_name       string
        configuration_keys  [string]?                      = []  # null for all
    include_synonyms        bool
    include_documentation   bool                       3+
""",
    response="""
    throttle_time_ms       int32
    results                [DescribeConfigsResult]
        error_code         int16
        error_message      string?                              = ""
        resource_type      int8
        resource_name      string
        configs            [DescribeConfigsResourceResult]
            name           string
            value          string?                              = ""
            read_only      bool
            config_source  int8                                 = -1
            is_sensitive   bool
            synonyms       [DescribeConfigsSynonym]
                name       string
                value      string?                              = ""
                source     int8
            config_type    int8                             3+
            documentation  string?                          3+  = ""
""",
)

ALTER_CONFIGS = api(
    33,
    "AlterConfigs",
    versions="0-2",
    flexible="2+",
    request="""
    resources          [AlterConfigsResource]
        resource_type  int8
        resource_name  string
        configs        [AlterableConfig]
            name       string
            value      string?                 = ""
    validate_only      bool
""",
    response="""
    throttle_time_ms   int32
    responses          [AlterConfigsResourceResponse]
        error_code     int16
        error_message  string?                         = ""
        resource_type  int8
        resource_name  string
""",
)

INCREMENTAL_ALTER_CONFIGS = api(
    44,
    "IncrementalAlterConfigs",
    versions="0-1",
    flexible="1+",
    request="""
    resources                 [AlterConfigsResource]
        resource_type         int8
        resource_name         string
        configs               [AlterableConfig]
            name              string
            config_operation  int8                          # 0 set, 1 delete, 2 append, 3 subtract, KIP-339
            value             string?                 = ""
    validate_only             bool
""",
    response="""
    throttle_time_ms   int32
    responses          [AlterConfigsResourceResponse]
        error_code     int16
        error_message  string?                         = ""
        resource_type  int8
        resource_name  string
""",
)

LIST_CONFIG_RESOURCES = api(
    74,
    "ListConfigResources",
    versions="0-1",
    flexible="0+",
    request="""
    resource_types  [int8]  1+  # KIP-1142
""",
    response="""
    throttle_time_ms   int32
    error_code         int16
    config_resources   [ConfigResource]
        resource_name  string
        resource_type  int8              1+  = 16  # 16: client metrics
""",
)
