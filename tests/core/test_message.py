"""Messages and records."""

import resource
from contextlib import suppress

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.errors import ProtocolError
from portask.message import (
    MAX_HEADERS,
    Message,
    _byte_string_head,
    check_records,
    decode_cbor,
    encode_cbor,
    encode_records_cbor,
    to_message,
    to_record,
)

maybe_bytes = st.none() | st.binary(max_size=20)
messages = st.builds(
    Message,
    payload=maybe_bytes,
    key=maybe_bytes,
    headers=st.lists(st.tuples(st.text(max_size=5), maybe_bytes), max_size=3).map(tuple),
    timestamp=st.integers(-1, 2**63 - 1),
    properties=maybe_bytes,
)


@given(messages)
def test_a_message_survives_the_record_form(message):
    assert to_message(to_record(message)) == message


@given(messages)
def test_a_record_survives_cbor(message):
    assert to_message(decode_cbor(encode_cbor(to_record(message)))) == message


def test_a_plain_payload_is_its_own_record():
    assert to_record(Message(b"payload")) == b"payload"


def test_a_tombstone_is_not_a_plain_payload():
    assert to_record(Message(None)) == (None,)


def test_a_record_without_timestamp_has_that_of_its_batch():
    assert to_message(b"x", 17).timestamp == 17
    assert to_message([b"x", b"key"], 17).timestamp == 17


def test_sizes_of_all_fields_count():
    assert check_records([b"12", [b"3", b"4", ["56", b"7", "8", None], 9, b"0"]], 100) == 9


@pytest.mark.parametrize(
    "records",
    [
        b"not a list",
        ["text"],
        [5],
        [[]],
        [[b"", None, None, None, None, None]],
        [["text"]],
        [[b"", "text"]],
        [[b"", None, "text"]],
        [[b"", None, ["odd"]]],
        [[b"", None, [5, b""]]],
        [[b"", None, ["name", "text"]]],
        [[b"", None, ["n", b""] * (MAX_HEADERS + 1)]],
        [[b"", None, None, -1]],
        [[b"", None, None, 2**63]],
        [[b"", None, None, "now"]],
        [[b"", None, None, None, "text"]],
    ],
)
def test_what_is_no_list_of_records_is_refused(records):
    with pytest.raises(ProtocolError):
        check_records(records, 100)


def test_a_message_beyond_the_limit_is_refused():
    assert check_records([b"x" * 10], 10) == 10
    with pytest.raises(ProtocolError, match="11 bytes is larger than 10"):
        check_records([b"x" * 11], 10)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_protocol_error(data):
    with suppress(ProtocolError):
        decode_cbor(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x02",
        b"\x9f\x01\xff",
        b"\x81" * 100_000,
        b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff",
        b"\xbb\x00\x00\x00\xff\xff\xff\xff\xff",
        b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff",
        b"\x7b\x00\x00\x00\xff\xff\xff\xff\xff",
        b"\xd8\x1c\x81\xd8\x1d\x00",
        b"\xd8\x23\x61(",
        b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
    ids=[
        "nothing",
        "trailing bytes",
        "indefinite length",
        "nesting bomb",
        "array count bomb",
        "map count bomb",
        "bytes length bomb",
        "text length bomb",
        "reference to itself",
        "pattern",
        "huge decimal",
    ],
)
def test_abuse_is_refused_without_taking_memory(data):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(ProtocolError):
        decode_cbor(data)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_nesting_within_the_limit_is_read():
    assert decode_cbor(cbor2.dumps([[[[1]]]]), max_depth=4) == [[[[1]]]]
    with pytest.raises(ProtocolError):
        decode_cbor(cbor2.dumps([[[[1]]]]), max_depth=3)


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 65535, 65536])
@pytest.mark.parametrize("place", [0, 1, 4])
def test_single_record_is_encoded_as_any_other(size, place):
    record = [b"payload", b"key", None, None, b"properties"]
    record[place] = bytes(size)

    assert encode_records_cbor([tuple(record)]) == encode_cbor([record])


@pytest.mark.parametrize(
    "records",
    [
        [],
        [b"payload"],
        [(None, b"key", None, None, b"properties")],
        [(b"payload", b"key", ("name", b"value"), None, b"properties")],
        [(b"payload", b"key", None, 5, b"properties")],
        [(b"payload", None, None, None, b"properties")],
        [(b"payload", b"key", None, None, None)],
        [(b"payload", b"key")],
        [(b"one", b"key", None, None, b""), (b"two", b"key", None, None, b"")],
    ],
)
def test_other_records_are_encoded_as_they_are(records):
    assert encode_records_cbor(records) == encode_cbor(records)


def test_head_of_a_byte_string_may_have_eight_bytes():
    assert _byte_string_head(1 << 32) == bytes.fromhex("5b0000000100000000")
