"""Frames as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.errors import CorruptError
from portask.storage.base import Frame
from portask.storage.frame import HEADER_BYTES, decode_frame, encode_frame, frame_size

FRAMES = st.tuples(
    st.integers(0, (1 << 63) - 1), st.integers(1, (1 << 32) - 1), st.integers(-1, 1 << 62), st.lists(st.binary())
)


@given(FRAMES)
def test_a_frame_comes_back_as_it_was(fields):
    data = b"".join(encode_frame(*fields))

    frame, end = decode_frame(data, 0, len(data))

    assert frame == Frame(*fields[:3], b"".join(fields[3]))
    assert end == len(data) == frame_size(data, 0)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_frame_or_damage(data):
    try:
        frame, end = decode_frame(data, 0, len(data))
    except CorruptError:
        return
    assert end - HEADER_BYTES == len(frame.body)


@given(FRAMES, st.data())
def test_a_flipped_bit_is_noticed(fields, data):
    frame = bytearray(b"".join(encode_frame(*fields)))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8

    with pytest.raises(CorruptError):
        decode_frame(frame, 0, len(frame))


def test_a_frame_cut_anywhere_is_damage():
    frame = b"".join(encode_frame(7, 1, 0, [b"body"]))
    for length in range(len(frame)):
        with pytest.raises(CorruptError):
            decode_frame(frame[:length], 0, length)


@pytest.mark.parametrize("length", [0, 23, 1 << 30, (1 << 32) - 1])
def test_an_impossible_length_is_damage(length):
    with pytest.raises(CorruptError, match="impossible frame length"):
        frame_size(length.to_bytes(4, "big"), 0)
