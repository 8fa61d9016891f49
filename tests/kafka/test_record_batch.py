"""The header of a record batch: what a producer may send, what is stored of it, and what comes back."""

import struct

import pytest
from crc32c import crc32c

from handlers.kafka.record_batch import (
    CONTROL,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    MAX_SEQUENCE,
    TRANSACTIONAL,
    ZSTD,
    CorruptBatchError,
    InvalidBatchError,
    InvalidBatchTimestampError,
    StoredBatch,
    UnsupportedCompressionError,
    check_batch,
    read_header,
    restore,
)
from portask.compression import compress, decompress
from portask.encoding import CODEC_NONE, CODEC_ZSTD
from portask.errors import MessageTooLargeError
from tests.kafka.batches import batch, changed, placed

LIMIT = 1 << 20


def check(data, max_bytes=LIMIT, allow_zstd=True):
    return check_batch(memoryview(data), max_bytes, allow_zstd)


def store(data):
    return StoredBatch(memoryview(data), read_header(data))


def test_a_batch_as_clients_make_it_is_taken():
    made = batch(b"one", b"two")
    header = check(made)

    assert (header.count, header.last_offset_delta, header.size) == (2, 1, len(made))


def test_null_records_are_no_batch():
    with pytest.raises(InvalidBatchError):
        check_batch(None, LIMIT, allow_zstd=True)


@pytest.mark.parametrize("size", range(HEADER_BYTES))
def test_a_batch_that_is_cut_in_its_header_is_none(size):
    with pytest.raises(InvalidBatchError):
        check(batch()[:size])


@pytest.mark.parametrize("size", [HEADER_BYTES, HEADER_BYTES + 5])
def test_a_batch_that_is_cut_in_its_records_is_none(size):
    with pytest.raises(InvalidBatchError):
        check(batch()[:size])


@pytest.mark.parametrize("length", [-(1 << 31), -1, 0, 13])
@pytest.mark.parametrize("size", [12, 30, 90])
def test_a_length_below_that_of_any_record_is_corrupt(length, size):
    with pytest.raises(CorruptBatchError):
        check(bytes(8) + struct.pack(">i", length) + bytes(size - 12))


@pytest.mark.parametrize("length", [HEADER_BYTES + 1000, (1 << 31) - 1])
def test_a_length_that_is_not_that_of_the_batch_is_refused(length):
    with pytest.raises(InvalidBatchError):
        check(changed(batch(), length=length))


@pytest.mark.parametrize("length", [14, HEADER_BYTES - 13])
def test_a_length_below_that_of_a_header_is_corrupt(length):
    with pytest.raises(CorruptBatchError):
        check(changed(batch(), length=length))


@pytest.mark.parametrize("magic", [0, 1])
def test_old_format_versions_are_not_taken(magic):
    with pytest.raises(InvalidBatchError, match="format version"):
        check(changed(batch(), magic=magic))


@pytest.mark.parametrize("magic", [3, 127, -128])
@pytest.mark.parametrize("size", [HEADER_BYTES - 1, None])
def test_a_format_version_that_is_none_is_corrupt(magic, size):
    with pytest.raises(CorruptBatchError, match="format version"):
        check(changed(batch(), magic=magic)[:size])


def test_a_short_batch_of_an_old_format_is_refused_for_its_format():
    old = bytes(8) + struct.pack(">iIbb", 14, 0, 1, 0)

    with pytest.raises(InvalidBatchError, match="format version 1"):
        check(old + bytes(8))


def test_a_changed_byte_of_the_records_is_found_by_the_checksum():
    made = bytearray(batch())
    made[-1] ^= 1

    with pytest.raises(CorruptBatchError):
        check(made)


def test_a_changed_byte_of_the_header_is_found_by_the_checksum():
    with pytest.raises(CorruptBatchError):
        check(changed(batch(), checksum=False, max_timestamp=1))


def test_two_batches_are_refused():
    with pytest.raises(InvalidBatchError, match="exactly one"):
        check(batch() + batch())


def test_bytes_behind_the_batch_that_are_none_are_corrupt():
    with pytest.raises(CorruptBatchError):
        check(batch() + bytes(12))


@pytest.mark.parametrize("rest", [b"", b"x", bytes(11), batch()[:-1], batch()[:12]])
def test_the_beginning_of_another_batch_is_passed_over(rest):
    made = batch()

    assert check(made + rest).size == len(made)


@pytest.mark.parametrize("base_offset", [1, -1, 1 << 62])
def test_the_base_offset_must_be_0(base_offset):
    with pytest.raises(InvalidBatchError, match="base offset"):
        check(changed(batch(), base_offset=base_offset))


@pytest.mark.parametrize("count", [-1, 0, 1, 3, (1 << 31) - 1])
def test_the_count_must_fit_the_last_offset_delta(count):
    with pytest.raises(InvalidBatchError, match="offset delta"):
        check(changed(batch(b"one", b"two"), count=count))


@pytest.mark.parametrize("delta", [-1, 0, 2])
def test_the_last_offset_delta_must_fit_the_count(delta):
    with pytest.raises(InvalidBatchError, match="offset delta"):
        check(changed(batch(b"one", b"two"), last_offset_delta=delta))


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(InvalidBatchError):
        check(changed(batch(), count=0, last_offset_delta=-1))


def test_a_control_batch_is_refused():
    with pytest.raises(InvalidBatchError, match="control"):
        check(changed(batch(), attributes=CONTROL | TRANSACTIONAL))


@pytest.mark.parametrize("sequence", [-1, -2, -(1 << 31)])
def test_a_producer_needs_a_sequence_number(sequence):
    with pytest.raises(InvalidBatchError, match="sequence"):
        check(batch(producer=(7, 0, sequence)))


def test_the_time_of_the_append_is_not_for_clients_to_give():
    with pytest.raises(InvalidBatchTimestampError):
        check(changed(batch(), attributes=LOG_APPEND_TIME))


@pytest.mark.parametrize("compression", range(4))
def test_old_codecs_are_always_taken(compression):
    assert check(batch(bytes(1000), compression=compression), allow_zstd=False).compression == compression


def test_zstd_is_only_taken_where_it_is_allowed():
    made = changed(batch(), attributes=ZSTD)

    assert check(made, allow_zstd=True).compression == ZSTD
    with pytest.raises(UnsupportedCompressionError):
        check(made, allow_zstd=False)


@pytest.mark.parametrize("compression", [5, 6, 7])
def test_an_unknown_codec_is_refused(compression):
    with pytest.raises(UnsupportedCompressionError):
        check(changed(batch(), attributes=compression))


def test_a_batch_may_be_as_large_as_the_limit_and_no_larger():
    made = batch(b"x" * 100)

    assert check(made, max_bytes=len(made))
    with pytest.raises(MessageTooLargeError):
        check(made, max_bytes=len(made) - 1)


def test_a_large_batch_is_refused_before_its_checksum_is_made():
    with pytest.raises(MessageTooLargeError):
        check(changed(batch(), crc=0), max_bytes=10)


@pytest.mark.parametrize(("base", "last"), [(0, 1), (MAX_SEQUENCE - 1, MAX_SEQUENCE), (MAX_SEQUENCE, 0)])
def test_sequence_numbers_go_on_from_0(base, last):
    assert read_header(batch(b"one", b"two", producer=(1, 0, base))).last_sequence == last


def test_a_batch_is_placed_without_a_new_checksum():
    made = batch(b"one", b"two")
    stored = b"".join(store(made).encode(77, 3))

    assert stored == changed(made, checksum=False, base_offset=77, leader_epoch=3)


def test_what_the_broker_compresses_comes_back_as_it_was_sent():
    made = batch(b"x" * 1000, b"y" * 1000)
    stored = store(made)
    stored.compressed(compress(stored.records, 1))
    data = b"".join(stored.encode(5, 0))

    assert (stored.codec, read_header(data).compression) == (CODEC_ZSTD, ZSTD)
    assert crc32c(data[21:]) == read_header(data).crc
    assert len(data) < stored.size == len(made)
    assert b"".join(restore(memoryview(data), decompress(data[HEADER_BYTES:], LIMIT))) == placed(made, 5)


def test_what_came_compressed_is_stored_as_it_came():
    made = batch(b"x" * 1000, compression=1)
    stored = store(made)

    assert stored.codec == CODEC_NONE
    assert b"".join(stored.encode(0, 0)) == placed(made, 0)


def test_a_stamp_changes_attributes_and_newest_timestamp_and_the_checksum_fits():
    made = batch(b"one", timestamp=1000)
    stored = store(made)
    stored.stamp(2000)
    data = b"".join(stored.encode(0, 0))
    header = read_header(data)

    assert (header.attributes, header.base_timestamp, header.max_timestamp) == (LOG_APPEND_TIME, 1000, 2000)
    assert header.crc == crc32c(data[21:])
    assert data[HEADER_BYTES:] == made[HEADER_BYTES:]


def test_a_stamp_is_kept_when_the_records_are_restored():
    stored = store(batch(b"x" * 1000))
    plain = bytes(stored.records)
    stored.compressed(compress(plain, 1))
    stored.stamp(2000)
    data = b"".join(restore(memoryview(b"".join(stored.encode(0, 0))), plain))
    header = read_header(data)

    assert (header.attributes, header.max_timestamp) == (LOG_APPEND_TIME, 2000)
    assert header.crc == crc32c(data[21:])
