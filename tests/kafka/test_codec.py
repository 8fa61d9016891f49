"""Frames of Kafka's protocol, whole, byte by byte and joined."""

import struct

import pytest

from handlers.kafka.codec import (
    AHEAD_BYTES,
    AHEAD_RATIO,
    MAX_AHEAD_BYTES,
    MIN_REQUEST_BYTES,
    Framer,
    FrameTooLargeError,
    encode_response,
    read_header,
    read_start,
)
from handlers.kafka.tables import RESPONSE_HEADER
from portask.errors import ProtocolError

LIMIT = 1000
REQUESTS = [bytes([number]) * size for number, size in enumerate((10, 11, 500, 10, LIMIT, 37))]


def framed(*requests):
    return b"".join(struct.pack(">i", len(request)) + request for request in requests)


def feed(framer, data, step):
    found = []
    for start in range(0, len(data), step):
        found += framer.feed(memoryview(data)[start : start + step])
    return found


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 13, 14, 15, 64, 1000, 1 << 20])
def test_requests_come_out_however_the_bytes_are_cut(step):
    framer = Framer(LIMIT)

    assert feed(framer, framed(*REQUESTS), step) == REQUESTS
    assert not framer.is_unfinished


@pytest.mark.parametrize("first", range(31))
def test_requests_come_out_wherever_two_reads_meet(first):
    framer = Framer(LIMIT)
    data = memoryview(framed(b"a" * 10, b"b" * 13))

    assert framer.feed(data[:first]) + framer.feed(data[first:]) == [b"a" * 10, b"b" * 13]


@pytest.mark.parametrize("size", range(1, 14))
def test_a_request_that_has_begun_is_unfinished(size):
    framer = Framer(LIMIT)
    framer.feed(memoryview(framed(b"x" * 10))[:size])

    assert framer.is_unfinished


def test_a_request_keeps_its_bytes_when_the_buffer_is_used_again():
    framer = Framer(LIMIT)
    buffer = bytearray(framed(b"x" * 20))
    whole = framer.feed(memoryview(buffer))
    framer.feed(memoryview(buffer)[:10])
    rest = framer.feed(memoryview(buffer)[10:])
    buffer[:] = bytes(len(buffer))

    assert whole + rest == [b"x" * 20, b"x" * 20]


@pytest.mark.parametrize("size", [-(1 << 31), -1, 0, 1, MIN_REQUEST_BYTES - 1, LIMIT + 1, (1 << 31) - 1, 0x16030102])
@pytest.mark.parametrize("step", [1, 4, 100])
def test_a_size_out_of_bounds_is_refused_as_soon_as_it_is_known(size, step):
    framer = Framer(LIMIT)

    with pytest.raises(FrameTooLargeError):
        feed(framer, struct.pack(">i", size), step)


def test_a_bad_size_behind_a_good_request_is_refused():
    with pytest.raises(FrameTooLargeError):
        Framer(LIMIT).feed(memoryview(framed(b"x" * 10) + struct.pack(">i", -1)))


@pytest.mark.parametrize("step", [1000, AHEAD_BYTES, MAX_AHEAD_BYTES])
def test_the_rest_of_a_long_request_is_received_in_place(step):
    framer = Framer(MAX_AHEAD_BYTES)
    request = bytes(range(256)) * (AHEAD_BYTES // 128)
    data = framed(b"x" * 20, request)
    position = len(data) // AHEAD_RATIO
    found = framer.feed(memoryview(data)[:position])
    while (room := framer.room) is not None:
        size = min(step, len(room))
        room[:size] = data[position : position + size]
        position += size
        found += framer.fill(size)

    assert found == [b"x" * 20, request]
    assert position == len(data)
    assert not framer.is_unfinished
    assert framer.feed(memoryview(framed(b"y" * 20))) == [b"y" * 20]


def test_what_has_room_may_be_fed_all_the_same():
    framer = Framer(MAX_AHEAD_BYTES)
    request = bytes(range(256)) * (AHEAD_BYTES // 128)
    data = framed(request, b"y" * 20)

    assert feed(framer, data, 5000) == [request, b"y" * 20]


@pytest.mark.parametrize("size", [AHEAD_BYTES, MAX_AHEAD_BYTES + 100])
def test_a_short_request_and_a_huge_one_have_no_room(size):
    framer = Framer(2 * MAX_AHEAD_BYTES)
    framer.feed(memoryview(framed(b"x" * size))[:50])

    assert framer.room is None
    assert framer.missing_bytes == size - 46


@pytest.mark.parametrize("size", [2 * AHEAD_BYTES, MAX_AHEAD_BYTES])
def test_room_is_made_when_a_part_of_what_was_promised_has_arrived(size):
    framer = Framer(2 * MAX_AHEAD_BYTES)
    data = memoryview(framed(b"x" * size))
    early, late = len(data) // (AHEAD_RATIO + 2), len(data) // AHEAD_RATIO
    framer.feed(data[:early])
    before = framer.room
    framer.feed(data[early:late])

    assert before is None
    assert len(framer.room) == len(data) - late


def test_a_promised_size_takes_no_memory():
    framer = Framer(1 << 30)
    framer.feed(memoryview(struct.pack(">i", 1 << 30) + b"begun"))

    assert len(framer._buffer) == 9


def test_the_start_of_a_request_says_which_it_is():
    start = read_start(memoryview(struct.pack(">hhih", 18, 3, -7, -1)))

    assert (start.api_key, start.version, start.correlation_id) == (18, 3, -7)


@pytest.mark.parametrize(
    ("rest", "client_id"), [(b"\x00\x03abc", "abc"), (b"\xff\xff", ""), (b"\x00\x00", ""), (b"\x00\x02\xc3\xbc", "ü")]
)
def test_a_header_says_who_the_client_is(rest, client_id):
    data = memoryview(struct.pack(">hhi", 3, 1, 1) + rest + b"body")

    assert read_header(data, is_flexible=False) == (client_id, len(data) - 4)


def test_a_flexible_header_has_tagged_fields_behind_a_plain_client_id():
    head = struct.pack(">hhi", 3, 9, 1) + b"\x00\x03abc" + b"\x01\x05\x02xy"
    data = memoryview(head + b"body")

    assert read_header(data, is_flexible=True) == ("abc", len(head))


@pytest.mark.parametrize("rest", [b"\x00\x04abc", b"\x7f\xffabc", b"\xff\xfeabc", b"\x00\x03\xff\xff\xff", b"\x00"])
def test_a_client_id_that_is_none_is_refused(rest):
    with pytest.raises(ProtocolError):
        read_header(memoryview(struct.pack(">hhi", 3, 1, 1) + rest), is_flexible=False)


@pytest.mark.parametrize("is_flexible", [False, True])
def test_a_response_has_its_size_and_its_header_before_it(is_flexible):
    pieces, size = encode_response(-5, is_flexible, [b"bo", memoryview(b"dy")])
    data = b"".join(pieces)
    header, position = RESPONSE_HEADER.decode(int(is_flexible))(data, 4, len(data))

    assert (len(data), struct.unpack_from(">i", data)[0]) == (size, size - 4)
    assert (header.correlation_id, data[position:]) == (-5, b"body")
