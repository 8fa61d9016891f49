"""Configs of the broker: what Kafka's tools ask for, as far as there is something to say.

All of them are read-only here: Portask's own configuration sets them, and a reload takes changes over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from handlers.kafka.config_entries import ConfigEntry, ConfigSource, Synonym, broker_synonyms
from handlers.kafka.config_types import ConfigType, write
from handlers.kafka.topic_configs import TOPIC_CONFIGS, default_text
from portask.topic import TopicConfig

if TYPE_CHECKING:
    from handlers.kafka.session import Session

BOOLEAN, STRING, INT, LONG, DOUBLE, LIST = ConfigType

_OPTIONS = (
    ("auto.create.topics.enable", BOOLEAN, "auto_create_topics"),
    ("broker.id", INT, "node_id"),
    ("fetch.max.bytes", INT, "kafka_fetch_max_bytes"),
    ("group.initial.rebalance.delay.ms", INT, "group_initial_rebalance_delay_ms"),
    ("group.max.session.timeout.ms", INT, "group_max_session_timeout_ms"),
    ("group.max.size", INT, "group_max_size"),
    ("group.min.session.timeout.ms", INT, "group_min_session_timeout_ms"),
    ("log.cleaner.backoff.ms", LONG, "compaction_interval_ms"),
    ("log.cleaner.dedupe.buffer.size", LONG, "compaction_memory_bytes"),
    ("log.dir", STRING, "data_dir"),
    ("log.dirs", STRING, "data_dir"),
    ("log.retention.check.interval.ms", LONG, "retention_interval_ms"),
    ("max.connections", INT, "max_connections"),
    ("node.id", INT, "node_id"),
    ("num.partitions", INT, "default_partitions"),
    ("offset.metadata.max.bytes", INT, "offset_metadata_bytes"),
    ("offsets.retention.check.interval.ms", LONG, "offsets_check_interval_ms"),
    ("producer.id.expiration.ms", INT, "producer_expiry_ms"),
    ("socket.request.max.bytes", INT, "kafka_max_request_bytes"),
)
"""Kafka's name, type and the option that it stands for."""
_FACTS = (
    ("default.replication.factor", INT, "1", "There is one node, so there is one replica."),
    ("delete.topic.enable", BOOLEAN, "true", "Topics can be deleted."),
    ("log.cleaner.enable", BOOLEAN, "true", "Topics whose cleanup.policy says so are compacted."),
    ("offsets.topic.replication.factor", INT, "1", "Offsets are not kept in a topic; there is one node."),
    ("process.roles", LIST, "broker,controller", "There is one node, which is all of it."),
)


def broker_entries(session: Session) -> Iterable[ConfigEntry]:
    """Every config of this broker."""
    settings = session.settings
    for name, kind, option in _OPTIONS:
        text = write(getattr(settings, option))
        is_default = settings.source(option) == "default"
        source = ConfigSource.DEFAULT_CONFIG if is_default else ConfigSource.STATIC_BROKER_CONFIG
        yield ConfigEntry(name, text, kind, True, f"The option {option}.", [Synonym(name, text, source)])
    for name, kind, value, reason in _FACTS:
        yield ConfigEntry(name, value, kind, True, reason, [Synonym(name, value, ConfigSource.DEFAULT_CONFIG)])
    host, port = session.advertised
    address = f"PLAINTEXT://{host}:{port}"
    for name in ("advertised.listeners", "listeners"):
        words = "The address of the listener, as this client reaches it."
        synonym = Synonym(name, address, ConfigSource.STATIC_BROKER_CONFIG)
        yield ConfigEntry(name, address, LIST, True, words, [synonym])
    defaults = TopicConfig(settings, {})
    for key in TOPIC_CONFIGS.values():
        if key.broker_name is not None:
            value = default_text(key, defaults)
            synonyms = broker_synonyms(key, value, settings)
            yield ConfigEntry(key.broker_name, value, key.kind, True, f"The default of {key.name}.", synonyms)
