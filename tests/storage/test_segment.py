"""Segments and their indexes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.errors import CorruptError
from portask.storage.frame import encode_frame
from portask.storage.local.disk import Disk
from portask.storage.local.index import MAGIC, Index, decode_index
from portask.storage.local.segment import (
    HEADER_BYTES,
    build_index,
    encode_header,
    find_time,
    load_index,
    read_frames,
    scan,
)

DISK = Disk()
BODY = 20_000
FRAMES = 40


@pytest.fixture
def segment(tmp_path):
    """Descriptor, path and size of a segment of forty frames of 20 kB; timestamps grow to the middle, then fall."""
    path = str(tmp_path / "segment")
    content = encode_header(1, 0)
    for number in range(FRAMES):
        content += b"".join(encode_frame(10 * number, 10, min(number, FRAMES - number), [bytes(BODY)]))
    descriptor = DISK.open(path, create=True)
    DISK.write(descriptor, content, 0)
    yield descriptor, path, len(content)
    DISK.close(descriptor)


def test_scanning_gives_every_frame_whatever_the_chunk(segment):
    descriptor, _, size = segment
    for chunk in (1, 50, 30_000, 1 << 20):
        found = [frame.base_offset for _, frame in scan(DISK, descriptor, HEADER_BYTES, size, chunk)]
        assert found == list(range(0, 10 * FRAMES, 10))


def test_a_segment_that_ends_too_early_is_damage(segment):
    descriptor, _, size = segment
    DISK.truncate(descriptor, size - 100)

    with pytest.raises(CorruptError, match="a frame is cut short"):
        list(scan(DISK, descriptor, HEADER_BYTES, size))
    with pytest.raises(CorruptError, match="a frame is cut short"):
        list(scan(DISK, descriptor, HEADER_BYTES, size - 100))


def test_an_index_has_an_entry_every_so_often_and_finds_every_offset(segment):
    descriptor, _, size = segment
    index = build_index(DISK, descriptor, size)

    assert 5 < len(index.bases) < FRAMES / 2
    for offset in range(10 * FRAMES):
        (frame,) = read_frames(DISK, descriptor, index, size, offset, 1, True)
        assert frame.base_offset == offset // 10 * 10


def test_an_index_comes_back_as_it_was(segment, tmp_path):
    descriptor, _, size = segment
    index = build_index(DISK, descriptor, size)
    again = decode_index(index.encode())

    assert (again.bases, again.positions, again.times) == (index.bases, index.positions, index.times)


def test_a_loaded_index_leaves_out_what_does_not_count(segment, tmp_path):
    descriptor, _, size = segment
    path = tmp_path / "index"
    path.write_bytes(build_index(DISK, descriptor, size).encode())
    index, reason = load_index(DISK, str(path), descriptor, HEADER_BYTES + 100_000)

    assert reason is None
    assert max(index.positions) < HEADER_BYTES + 100_000


def test_an_index_that_is_missing_or_damaged_is_built_anew(segment, tmp_path):
    descriptor, _, size = segment
    path = tmp_path / "index"
    built = build_index(DISK, descriptor, size)
    for content in (None, b"", built.encode()[:-1], b"x" + built.encode()[1:], MAGIC + bytes(12)):
        if content is not None:
            path.write_bytes(content)
        index, reason = load_index(DISK, str(path), descriptor, size)
        assert reason is not None
        assert index.positions == built.positions


@given(st.binary(max_size=100))
def test_any_bytes_are_an_index_or_damage(data):
    with suppress(CorruptError):
        decode_index(data)


@given(st.data())
def test_a_flipped_bit_in_an_index_is_noticed(data):
    index = Index()
    for number in range(3):
        index.add(number, number << 20, number)
    encoded = bytearray(index.encode())
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8

    with pytest.raises(CorruptError):
        decode_index(bytes(encoded))


@pytest.mark.parametrize(("offset", "timestamp", "found"), [(0, 0, 0), (0, 20, 200), (205, 20, 200), (210, 20, None)])
def test_a_time_is_found_behind_the_offset(segment, offset, timestamp, found):
    descriptor, _, size = segment
    index = build_index(DISK, descriptor, size)

    assert find_time(DISK, descriptor, index, size, offset, timestamp) == found


def test_reading_without_a_sure_frame_stops_at_the_bytes_asked_for(segment):
    descriptor, _, size = segment
    index = build_index(DISK, descriptor, size)

    assert read_frames(DISK, descriptor, index, size, 0, BODY - 1, False) == []
    assert len(read_frames(DISK, descriptor, index, size, 0, 3 * BODY, False)) == 3
