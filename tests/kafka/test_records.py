"""Records inside a batch: what clients write is read, what is written is read by clients, and nothing else passes."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.kafka.record_batch import HEADER_BYTES
from handlers.kafka.records import Survey, decode_records, encode_records, encode_values, survey_records
from portask.errors import ProtocolError
from tests.kafka.record_samples import BUILDERS, SAMPLES, DefaultRecordBatch, build, client_records

MAX_INT32 = (1 << 31) - 1


def fields(records):
    """What *records* of a client are inside a batch."""
    first = records[0][0]
    return [
        (
            offset,
            timestamp - first,
            key,
            value,
            [part.encode() if type(part) is str else part for header in headers for part in header] or None,
        )
        for offset, (timestamp, key, value, headers) in enumerate(records)
    ]


def survey_of(records):
    """What a survey of *records* has to find, found slowly."""
    newest = max(delta for _, delta, _, _, _ in records)
    return Survey(
        [index for index, record in enumerate(records) if record[2] is None],
        newest,
        next(offset for offset, delta, _, _, _ in records if delta == newest),
    )


DATA = build(SAMPLES)[HEADER_BYTES:]
COUNT = len(SAMPLES)


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS.keys())
def test_records_are_read_as_a_client_wrote_them(builder):
    data = build(SAMPLES, builder=builder)[HEADER_BYTES:]

    assert decode_records(data, COUNT, COUNT - 1) == fields(SAMPLES)


def test_records_are_written_as_a_client_writes_them():
    assert encode_records(fields(SAMPLES)) == DATA


@given(client_records)
def test_any_records_of_a_client_are_read_and_written_back(records):
    data = build(records)[HEADER_BYTES:]

    assert decode_records(data, len(records), len(records) - 1) == fields(records)
    assert encode_records(fields(records)) == data


@given(client_records)
def test_a_survey_finds_what_decoding_would(records):
    data = build(records)[HEADER_BYTES:]

    assert survey_records(data, len(records), len(records) - 1) == survey_of(fields(records))


def test_a_survey_names_the_first_record_of_the_newest_timestamp():
    survey = survey_records(DATA, COUNT, COUNT - 1)

    assert (survey.max_timestamp_delta, survey.max_timestamp_offset_delta) == (100, 3)


def test_a_survey_names_the_records_without_a_key():
    assert survey_records(DATA, COUNT, COUNT - 1).keyless == [1, 3, 8]


def test_a_survey_of_no_records_finds_nothing():
    assert survey_records(b"", 0, 9) == Survey([], -1, -1)


@pytest.mark.parametrize("size", [0, 1, 55, 60, 63, 64, 100, 8_180, 8_192, 9_000, 1 << 20])
def test_a_plain_value_of_any_size_is_written_as_any_record_is(size):
    value = bytes(size)

    assert encode_values([value]) == encode_records([(0, 0, None, value, None)])


def test_ten_thousand_plain_values_are_written_as_any_records_are():
    values = [b"%d" % number for number in range(10_000)]
    records = [(number, 0, None, value, None) for number, value in enumerate(values)]

    assert encode_values(values) == encode_records(records)
    assert decode_records(encode_values(values), 10_000, 9_999) == records


EXTREMES = [
    (0, -(1 << 63), None, None, None),
    (63, (1 << 63) - 1, b"", None, None),
    (64, -64, None, b"", None),
    (8_191, -65, None, None, [b"", None]),
    (8_192, -8_192, None, None, None),
    (1 << 20, -8_193, None, None, None),
    (MAX_INT32, 8_192, None, None, None),
]


def test_numbers_of_every_width_survive():
    assert decode_records(encode_records(EXTREMES), len(EXTREMES), MAX_INT32) == EXTREMES


def test_a_survey_reads_numbers_of_every_width():
    assert survey_records(encode_records(EXTREMES), len(EXTREMES), MAX_INT32) == survey_of(EXTREMES)


@pytest.mark.parametrize("sizes", [(1, 1), (64, 64), (8_192, 8_192)])
def test_keys_and_values_of_every_width_of_length_survive(sizes):
    records = [(0, 0, bytes(sizes[0]), bytes(sizes[1]), [bytes(sizes[0]), bytes(sizes[1])])]

    assert decode_records(encode_records(records), 1, 0) == records


def test_gaps_that_compaction_left_are_kept():
    records = [(3, 0, b"a", b"1", None), (7, 0, b"b", b"2", None)]

    assert decode_records(encode_records(records), 2, 9) == records


def test_a_client_reads_what_is_written():
    head = build(SAMPLES)[:HEADER_BYTES]

    read = list(DefaultRecordBatch(head + encode_records(fields(SAMPLES))))

    assert [(r.timestamp, r.key, r.value, r.headers) for r in read] == SAMPLES


READERS = pytest.mark.parametrize("read", [decode_records, survey_records])


@READERS
def test_records_cut_short_anywhere_are_refused(read):
    small = build(SAMPLES[:5])[HEADER_BYTES:]
    for length in range(len(small)):
        with pytest.raises(ProtocolError):
            read(small[:length], 5, 4)


@READERS
def test_bytes_behind_the_last_record_are_refused(read):
    with pytest.raises(ProtocolError, match="do not end where the batch does"):
        read(DATA + b"\0", COUNT, COUNT - 1)


@READERS
@pytest.mark.parametrize("count", [-1, MAX_INT32])
def test_a_count_that_the_bytes_cannot_hold_is_refused(read, count):
    with pytest.raises(ProtocolError, match="cannot be"):
        read(DATA, count, MAX_INT32)


@READERS
def test_a_count_of_more_records_than_offsets_is_refused(read):
    with pytest.raises(ProtocolError, match="no room"):
        read(DATA, COUNT, COUNT - 2)


@READERS
@pytest.mark.parametrize("offsets", [(0, 0), (1, 0), (-1, 0)])
def test_offsets_that_do_not_ascend_are_refused(read, offsets):
    data = encode_records([(offset, 0, None, None, None) for offset in offsets])
    with pytest.raises(ProtocolError, match="offset delta"):
        read(data, 2, 1)


@READERS
def test_an_offset_beyond_the_last_is_refused(read):
    data = encode_records([(0, 0, None, None, None), (2, 0, None, None, None)])
    with pytest.raises(ProtocolError, match="beyond the last"):
        read(data, 2, 1)


LONG_NUMBERS = pytest.mark.parametrize("number", [b"\xff\xff\xff\xff\x1f", b"\x80\x80\x80\x80\x80\x00"])


@READERS
@LONG_NUMBERS
def test_a_length_of_more_than_32_bits_is_refused(read, number):
    with pytest.raises(ProtocolError, match="more than 32 bits"):
        read(number + b"\0\0\0\1\1\0", 1, 0)


@READERS
@LONG_NUMBERS
def test_an_offset_delta_of_more_than_32_bits_is_refused(read, number):
    body = b"\0\0" + number + b"\1\1\0"
    with pytest.raises(ProtocolError, match="more than 32 bits"):
        read(bytes([len(body) * 2]) + body, 1, 0)


@LONG_NUMBERS
@pytest.mark.parametrize("before", [b"", b"\1", b"\1\1", b"\1\1\2", b"\1\1\2\0"])
def test_a_length_in_a_record_of_more_than_32_bits_is_refused(number, before):
    body = b"\0\0\0" + before + number + b"\0"
    with pytest.raises(ProtocolError, match="more than 32 bits"):
        decode_records(bytes([len(body) * 2]) + body, 1, 0)


@READERS
@pytest.mark.parametrize("number", [b"\xff" * 9 + b"\x03", b"\x80" * 10 + b"\x00"])
def test_a_timestamp_delta_of_more_than_64_bits_is_refused(read, number):
    body = b"\0" + number + b"\0\1\1\0"
    with pytest.raises(ProtocolError, match="more than 64 bits"):
        read(bytes([len(body) * 2]) + body, 1, 0)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\0\0\0\3\1\0", "a key has"),
        (b"\0\0\0\1\3\0", "a value has"),
        (b"\0\0\0\1\1\2\1\1", "a header has"),  # a name is not null
        (b"\0\0\0\1\1\2\3\1", "a header has"),
        (b"\0\0\0\1\1\2\0\3", "a header has"),
    ],
)
def test_a_length_below_zero_that_stands_for_nothing_is_refused(body, what):
    with pytest.raises(ProtocolError, match=what):
        decode_records(bytes([len(body) * 2]) + body, 1, 0)


@pytest.mark.parametrize("count", [b"\1", b"\4", b"\xfe\xff\xff\xff\x0f"])
def test_a_count_of_headers_that_the_bytes_cannot_hold_is_refused(count):
    body = b"\0\0\0\1\1" + count + b"\0\0"
    with pytest.raises(ProtocolError, match="headers"):
        decode_records(bytes([len(body) * 2]) + body, 1, 0)


@pytest.mark.parametrize("length", [b"\x0a", b"\x0e", b"\1"])
def test_a_record_that_ends_elsewhere_than_its_length_says_is_refused(length):
    with pytest.raises(ProtocolError, match="does not end"):
        decode_records(length + b"\0\0\0\1\1\0" + b"\0", 1, 0)


def test_a_survey_refuses_a_record_that_ends_before_its_key():
    with pytest.raises(ProtocolError, match="does not end"):
        survey_records(b"\2" + b"\0\0\0\1\1\0", 1, 0)


def test_a_key_length_below_zero_in_more_bytes_than_it_needs_counts_as_no_key():
    body = b"\0\0\0\x81\0\1\0"

    assert survey_records(bytes([len(body) * 2]) + body, 1, 0).keyless == [0]


@READERS
@given(st.binary(max_size=300), st.integers(0, 40))
def test_any_bytes_are_records_or_refused(read, data, count):
    with contextlib.suppress(ProtocolError):
        assert read(data, count, MAX_INT32) is not None


@READERS
@pytest.mark.parametrize("seed", range(4))
def test_damaged_records_are_records_or_refused(read, seed):
    rng = random.Random(seed)
    small = build(SAMPLES[:5])[HEADER_BYTES:]
    for _ in range(500):
        data = bytearray(small)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ProtocolError):
            read(bytes(data), 5, 4)
