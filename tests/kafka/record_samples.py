"""What records may look like, and batches of them as client libraries make them."""

import struct
import warnings
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder as AiokafkaBuilder
from aiokafka.record.memory_records import MemoryRecords as AiokafkaRecords
from crc32c import crc32c
from hypothesis import strategies as st

from handlers.kafka.conversion import KafkaEncoding
from handlers.kafka.record_batch import ENCODING_KAFKA, HEADER, HEADER_BYTES, read_header
from portask.batch import Batch, Envelope
from portask.encoding import CODEC_NONE
from portask.message import to_message

with warnings.catch_warnings():
    # kafka-python reads its schemas in a way that Python 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import codec as kafka_codec  # noqa: F401  # imported from here, for the sake of the warning
    from kafka.record.default_records import DefaultRecordBatch
    from kafka.record.default_records import DefaultRecordBatchBuilder as KafkaPythonBuilder

BUILDERS = {"kafka-python": KafkaPythonBuilder, "aiokafka": AiokafkaBuilder}

ClientRecord = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""Timestamp, key, value, headers."""

NOW = 1_700_000_000_000
APPENDED = NOW + 3_600_000
BASE = 1_000

SAMPLES: list[ClientRecord] = [
    (NOW, b"key", b"value", []),
    (NOW + 5, None, b"no key", []),
    (NOW - 70_000, b"tombstone", None, []),
    (NOW + 100, None, None, [("name", b"one"), ("name", b"two"), ("null", None), ("", b""), ("ünïcode", b"\xff\x00")]),
    (NOW, b"", b"", []),
    (NOW, b"k" * 63, b"v" * 64, []),
    (NOW, b"k" * 64, b"v" * 63, [("h" * 64, b"w" * 9000)]),
    (NOW, b"k" * 9000, b"v" * 9000, []),
    (NOW + 100, None, b"as new as another", []),
]


def build(
    records: Sequence[ClientRecord],
    compression: int = 0,
    builder=KafkaPythonBuilder,
    producer: tuple[int, int, int] = (-1, -1, -1),
) -> bytes:
    """The batch that a client library makes of *records*; *producer* is id, epoch and base sequence."""
    batch = builder(2, compression, 0, *producer, 1 << 30)
    for offset, (timestamp, key, value, headers) in enumerate(records):
        batch.append(offset, timestamp, key, value, headers)
    return bytes(batch.build())


def with_checksum(batch: bytes) -> bytes:
    """*batch*, changed behind its checksum, with a checksum that fits, and with a length that does."""
    batch = batch[:8] + struct.pack(">i", len(batch) - 12) + batch[12:]
    return batch[:17] + struct.pack(">I", crc32c(batch[21:])) + batch[21:]


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(names, values), max_size=4)
timestamps = st.integers(NOW - 100_000, NOW + 100_000) | st.integers(0, 1 << 62)
client_records = st.lists(st.tuples(timestamps, values, values, headers), min_size=1, max_size=20)


def stored(payload: bytes, codec: int = CODEC_NONE, count: int | None = None, timestamp: int = APPENDED) -> Batch:
    """*payload* as the broker stores it at BASE."""
    payload = BASE.to_bytes(8, "big") + payload[8:]
    header = read_header(payload)
    envelope = Envelope(ENCODING_KAFKA, codec, 0, 0, timestamp, len(payload))
    count = header.last_offset_delta + 1 if count is None else count
    return Batch(BASE, count, header.max_timestamp, envelope, memoryview(payload))


def patched(payload: bytes, **fields: int) -> bytes:
    """*payload* with other values in its header."""
    return with_checksum(HEADER.pack(*read_header(payload)._replace(**fields)) + payload[HEADER_BYTES:])


def shown(batch: Batch) -> list[ClientRecord]:
    """What a consumer of another protocol sees of *batch*, as a client wrote it."""
    messages = [to_message(record, batch.envelope.timestamp) for record in KafkaEncoding().decode(batch).records]
    return [(m.timestamp, m.key, m.payload, list(m.headers)) for m in messages]


def read_by_kafka_python(payload: bytes) -> list[tuple]:
    """Offset and record, as that library reads them."""
    batch = DefaultRecordBatch(payload)
    assert batch.validate_crc()
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in batch]


def read_by_aiokafka(payload: bytes) -> list[tuple]:
    """Offset and record, as that library reads them."""
    batch = AiokafkaRecords(payload).next_batch()
    assert batch.validate_crc()
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in batch]
