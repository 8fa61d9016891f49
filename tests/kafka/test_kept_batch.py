"""What compaction learns of a Kafka batch, and what it leaves of it."""

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from handlers.kafka.conversion import KafkaEncoding
from handlers.kafka.record_batch import (
    CONTROL,
    DELETE_HORIZON,
    GZIP,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    ZSTD,
    read_header,
    restore,
)
from handlers.kafka.record_compression import decompress
from portask.encoding import CODEC_ZSTD, Entry
from tests.kafka.record_samples import (
    APPENDED,
    BASE,
    NOW,
    SAMPLES,
    build,
    client_records,
    patched,
    read_by_aiokafka,
    read_by_kafka_python,
    shown,
    stored,
)

KAFKA = KafkaEncoding()

every_codec = pytest.mark.parametrize("compression", range(5), ids=["none", "gzip", "snappy", "lz4", "zstd"])
both_clients = pytest.mark.parametrize("read", [read_by_kafka_python, read_by_aiokafka])


def test_entries_say_what_compaction_must_know():
    assert KAFKA.entries(stored(build(SAMPLES[:3]))) == [
        Entry(BASE, b"key", False, NOW),
        Entry(BASE + 1, None, False, NOW + 5),
        Entry(BASE + 2, b"tombstone", True, NOW - 70_000),
    ]


def test_entries_of_a_control_batch_have_no_key():
    payload = patched(build([(NOW, b"\0\0\0\1", b"\0\0\0\0\0\0", [])]), attributes=CONTROL)

    assert KAFKA.entries(stored(payload)) == [Entry(BASE, None, False, NOW)]


@both_clients
@every_codec
def test_clients_read_the_records_that_are_kept(read, compression):
    batch = stored(build(SAMPLES, compression))
    kept = [2, 3, 6]

    payload = KAFKA.keep(batch, {BASE + index for index in kept}, None)

    assert read(payload) == [(BASE + index, *SAMPLES[index]) for index in kept]


@every_codec
def test_a_kept_batch_is_compressed_as_it_was(compression):
    payload = KAFKA.keep(stored(build(SAMPLES, compression)), {BASE + 7}, None)

    assert read_header(payload).compression == compression


def test_a_kept_batch_stands_for_the_same_offsets_and_sequences():
    before = stored(build(SAMPLES, GZIP, producer=(77, 3, 500)))
    header = read_header(KAFKA.keep(before, {BASE + 2}, None))

    old = read_header(before.payload)
    assert (header.base_offset, header.last_offset_delta, header.base_sequence, header.producer_id) == (
        BASE,
        old.last_offset_delta,
        500,
        77,
    )
    assert header.producer_epoch == 3


def test_a_kept_batch_has_the_timestamps_of_what_is_left():
    header = read_header(KAFKA.keep(stored(build(SAMPLES)), {BASE + 1, BASE + 2}, None))

    assert (header.base_timestamp, header.max_timestamp, header.count) == (NOW + 5, NOW + 5, 2)


def test_the_time_of_its_append_stays_with_a_kept_batch():
    payload = patched(build(SAMPLES), attributes=LOG_APPEND_TIME, max_timestamp=APPENDED)

    kept = stored(KAFKA.keep(stored(payload), {BASE + 1}, None))

    assert shown(kept) == [(APPENDED, None, b"no key", [])]
    assert read_header(kept.payload).attributes & LOG_APPEND_TIME


def test_a_batch_that_loses_nothing_stays_as_it_is():
    batch = stored(build(SAMPLES, GZIP))

    assert KAFKA.keep(batch, range(BASE, BASE + 100), None) == batch.payload


def test_nothing_is_left_of_a_batch_that_loses_all():
    assert KAFKA.keep(stored(build(SAMPLES)), (), None) is None


@every_codec
def test_an_empty_batch_remembers_its_producer(compression):
    payload = KAFKA.keep(stored(build(SAMPLES, compression, producer=(7, 1, 40))), (), None, retain_empty=True)

    header = read_header(payload)
    assert header == (BASE, 49, 0, 2, crc32c(payload[21:]), 0, 8, -1, NOW + 100, 7, 1, 40, 0)
    assert len(payload) == HEADER_BYTES
    assert KAFKA.decode(stored(payload)) == ([], [])
    assert KAFKA.entries(stored(payload)) == []


def test_an_empty_batch_that_the_broker_compressed_can_be_restored():
    batch = stored(build(SAMPLES, ZSTD), CODEC_ZSTD)

    payload = memoryview(KAFKA.keep(batch, (), None, retain_empty=True))

    restored = b"".join(restore(payload, decompress(ZSTD, payload[HEADER_BYTES:], 0)))
    assert (read_header(restored).count, read_header(restored).compression) == (0, 0)


@both_clients
def test_a_delete_horizon_leaves_the_timestamps_as_they_are(read):
    payload = KAFKA.keep(stored(build(SAMPLES)), {BASE + 2, BASE + 3}, APPENDED)

    header = read_header(payload)
    assert header.attributes & DELETE_HORIZON
    assert (header.base_timestamp, header.max_timestamp) == (APPENDED, NOW + 100)
    assert read(payload) == [(BASE + index, *SAMPLES[index]) for index in (2, 3)]


def test_a_delete_horizon_is_written_even_if_no_record_goes():
    payload = KAFKA.keep(stored(build(SAMPLES)), range(BASE, BASE + 100), APPENDED)

    assert read_header(payload).base_timestamp == APPENDED
    assert shown(stored(payload)) == SAMPLES


def test_a_delete_horizon_that_is_there_stays():
    first = stored(KAFKA.keep(stored(build(SAMPLES)), range(BASE, BASE + 100), APPENDED))

    second = KAFKA.keep(first, {BASE + 2}, APPENDED + 1)

    assert read_header(second).base_timestamp == APPENDED
    assert shown(stored(second)) == [SAMPLES[2]]


def test_a_batch_with_a_delete_horizon_that_loses_nothing_stays_as_it_is():
    first = stored(KAFKA.keep(stored(build(SAMPLES)), {BASE + 2}, APPENDED))

    assert KAFKA.keep(first, {BASE + 2}, APPENDED + 1) == first.payload


def test_a_control_batch_is_kept():
    batch = stored(patched(build([(NOW, b"\0\0\0\1", b"\0\0\0\0\0\0", [])]), attributes=CONTROL))

    assert KAFKA.keep(batch, (), None) == batch.payload


@given(client_records, st.integers(0, 4), st.sets(st.integers(0, 19)), st.none() | st.integers(0, NOW * 2))
def test_any_selection_is_kept_as_it_was(records, compression, indices, horizon):
    kept = sorted(index for index in indices if index < len(records))

    payload = KAFKA.keep(stored(build(records, compression)), {BASE + i for i in kept}, horizon, retain_empty=True)

    assert read_by_kafka_python(payload) == [(BASE + index, *records[index]) for index in kept]
    decoded = KAFKA.decode(stored(payload))
    assert decoded.offsets == (None if len(kept) == len(records) else [BASE + index for index in kept])
