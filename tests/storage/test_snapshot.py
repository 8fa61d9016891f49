"""Snapshots as bytes."""

from struct import pack

import cbor2
import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from portask.errors import CorruptError
from portask.storage.local.log import Segment
from portask.storage.local.snapshot import SavedLog, Snapshot, decode_copy, decode_snapshot, encode_snapshot

SNAPSHOT = Snapshot(
    3,
    77,
    {"topics": {b"a": b"1", b"": b""}, "empty": {}},
    [SavedLog(1, 5, 9, [Segment(0, 9, 1000, -1)]), SavedLog((1 << 63) - 1, 0, 0, [])],
)


def with_body(value):
    body = cbor2.dumps(value)
    return (pack(">8sIQI", b"PTSKSNAP", 1, len(body), crc32c(body)) + body) * 2


def test_a_snapshot_comes_back_as_it_was():
    assert decode_snapshot(encode_snapshot(SNAPSHOT)) == SNAPSHOT


@pytest.mark.parametrize("bit", range(0, 8 * len(encode_snapshot(SNAPSHOT)), 7))
def test_a_flipped_bit_is_noticed_and_leaves_one_copy_whole(bit):
    data = bytearray(encode_snapshot(SNAPSHOT))
    data[bit // 8] ^= 1 << bit % 8

    with pytest.raises(CorruptError, match="the two copies differ"):
        decode_snapshot(bytes(data))
    assert decode_copy(bytes(data), len(data) // 2 if bit < 4 * len(data) else 0) == SNAPSHOT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 48,
        encode_snapshot(SNAPSHOT)[:20] * 2,
        encode_snapshot(SNAPSHOT)[:60] * 2,
        with_body([1, 2]),
        with_body(7),
        with_body([1, 2, {}, [[1, 2]]]),
        with_body([1, 2, {}, [[1, 2, 3, [[1]]]]]),
    ],
)
def test_what_is_no_snapshot_is_damage(data):
    with pytest.raises(CorruptError):
        decode_snapshot(data)


@given(st.binary(max_size=100))
def test_any_bytes_are_damage(data):
    with pytest.raises(CorruptError):
        decode_snapshot(data)
