"""The lists that definitions are made of, by RabbitMQ's names."""

from __future__ import annotations

SECTIONS = (
    "users",
    "vhosts",
    "permissions",
    "exchanges",
    "topic_permissions",
    "global_parameters",
    "policies",
    "parameters",
    "queues",
    "bindings",
)
"""In the order in which they are imported: what others need comes first."""
VIRTUAL_HOST_SECTIONS = ("exchanges", "policies", "parameters", "queues", "bindings")
"""Those in the definitions of one virtual host."""
REMARKS = (
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
)
"""Words about the file, which change nothing."""
