"""The Kafka protocol."""

from handlers.kafka.conversion import KafkaEncoding
from handlers.kafka.handler import KafkaHandler
from handlers.kafka.record_batch import ENCODING_KAFKA
from portask.batch import register_encoding

__all__ = ["KafkaHandler"]

# Other protocols, and compaction, read what came by this one.
register_encoding(ENCODING_KAFKA, KafkaEncoding())
