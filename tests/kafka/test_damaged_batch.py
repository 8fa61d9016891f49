"""A stored Kafka batch that is not what it should be is read or refused, and takes no memory that it does not need."""

import contextlib
import random
import tracemalloc

import pytest

from handlers.kafka.conversion import KafkaEncoding
from handlers.kafka.record_batch import (
    HEADER_BYTES,
)
from handlers.kafka.records import encode_records
from portask.errors import ProtocolError
from tests.kafka.record_samples import (
    APPENDED,
    BASE,
    SAMPLES,
    build,
    patched,
    stored,
    with_checksum,
)

KAFKA = KafkaEncoding()

every_codec = pytest.mark.parametrize("compression", range(5), ids=["none", "gzip", "snappy", "lz4", "zstd"])


def attempts(batch):
    """Everything that looks into a batch."""
    return [
        lambda: KAFKA.decode(batch),
        lambda: KAFKA.entries(batch),
        lambda: KAFKA.keep(batch, {BASE}, None),
        lambda: KAFKA.keep(batch, range(BASE, BASE + 100), APPENDED, retain_empty=True),
    ]


def refused(batch):
    """Whether everything that looks into *batch* refuses it."""
    for attempt in attempts(batch):
        with pytest.raises(ProtocolError):
            attempt()
    return True


@pytest.mark.parametrize("length", [0, 8, HEADER_BYTES - 1])
def test_a_batch_without_a_whole_header_is_refused(length):
    batch = stored(build(SAMPLES))

    assert refused(batch._replace(payload=batch.payload[:length]))


def test_a_batch_of_another_format_is_refused():
    assert refused(stored(patched(build(SAMPLES), magic=1)))


def test_a_batch_of_another_length_than_stored_is_refused():
    payload = build(SAMPLES)

    assert refused(stored(payload + b"\0"))
    assert refused(stored(payload[:-1]))


def test_a_batch_of_another_count_than_stored_is_refused():
    assert refused(stored(build(SAMPLES), count=len(SAMPLES) + 1))


def test_an_unknown_compression_is_refused():
    assert refused(stored(patched(build(SAMPLES), attributes=6)))


@pytest.mark.parametrize(("base", "delta"), [((1 << 63) - 1, 1), (-(1 << 63), -1)])
def test_a_timestamp_of_more_than_64_bits_is_refused(base, delta):
    payload = build(SAMPLES[:1])[:HEADER_BYTES] + encode_records([(0, delta, b"k", b"v", None)])

    assert refused(stored(patched(payload, base_timestamp=base)))


@every_codec
def test_a_batch_cut_short_anywhere_is_refused(compression):
    whole = build(SAMPLES[:3], compression)
    for length in range(HEADER_BYTES, len(whole)):
        assert refused(stored(with_checksum(whole[:length])))


@every_codec
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_batch_is_read_or_refused_and_takes_little_memory(compression, seed):
    rng = random.Random(seed)
    whole = build(SAMPLES, compression)
    for _ in range(150):
        payload = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            payload[rng.randrange(HEADER_BYTES - 4, len(payload))] = rng.randrange(256)
        for attempt in attempts(stored(with_checksum(bytes(payload)))):
            with contextlib.suppress(ProtocolError):
                attempt()


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_header_is_read_or_refused_and_takes_little_memory(seed):
    rng = random.Random(seed)
    whole = build(SAMPLES)
    tracemalloc.start()
    for _ in range(300):
        payload = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            payload[rng.randrange(12, HEADER_BYTES)] = rng.randrange(256)
        for attempt in attempts(stored(with_checksum(bytes(payload)))):
            with contextlib.suppress(ProtocolError):
                attempt()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 20
