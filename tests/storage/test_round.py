"""Rounds as bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.errors import CorruptError
from portask.storage.base import Append, Round
from portask.storage.frame import decode_frame
from portask.storage.local.round import (
    APPEND,
    DELETE,
    ENTRY,
    MARK_BYTES,
    PUT,
    ROUND_BYTES,
    TRIM,
    Encoded,
    check_round,
    decode_entries,
    encode_round,
)

MARK = b"mark"


class Changes:
    """Collects what a round holds."""

    def __init__(self, data):
        self.round = Round()
        self._data = data

    def append(self, number, base_offset, count, timestamp, place, size):
        frame, end = decode_frame(self._data, place, place + size)
        assert end == place + size
        assert frame[:3] == (base_offset, count, timestamp)
        self.round.appends.append(Append(number, base_offset, count, timestamp, [frame.body]))

    def put(self, table, key, value):
        self.round.puts[table, key] = value

    def trim(self, number, offset):
        self.round.trims[number] = offset

    def drop(self, number):
        self.round.drops.append(number)


LOGS = st.integers(0, (1 << 63) - 1)


@st.composite
def rounds(draw):
    round_ = Round()
    append = st.builds(Append, LOGS, LOGS, st.integers(1, 9), st.integers(-1, 9), st.lists(st.binary(), max_size=2))
    round_.appends = draw(st.lists(append, max_size=3))
    keys = st.tuples(st.text(max_size=20), st.binary(max_size=20))
    round_.puts = draw(st.dictionaries(keys, st.none() | st.binary(max_size=20), max_size=3))
    round_.trims = draw(st.dictionaries(LOGS, LOGS, max_size=3))
    round_.drops = draw(st.lists(LOGS, max_size=3))
    return round_


def encode(round_, sequence=5, synced=3):
    return Encoded(round_).finish(MARK, sequence, synced)


def decode(data):
    changes = Changes(data)
    decode_entries(data, ROUND_BYTES, len(data), 0, changes)
    return changes.round


def fields(round_):
    appends = [(*append[:4], b"".join(append.body)) for append in round_.appends]
    return appends, round_.puts, round_.trims, round_.drops


@given(rounds())
def test_a_round_comes_back_as_it_was(round_):
    encoded = Encoded(round_)
    data = encoded.finish(MARK, 5, 3)

    assert check_round(data, 0, len(data), MARK) == (5, 3, len(data))
    assert encoded.size == len(data)
    assert fields(decode(data)) == fields(round_)


@given(rounds(), st.data())
def test_a_flipped_bit_is_noticed(round_, data):
    encoded = bytearray(encode(round_))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8

    assert check_round(encoded, 0, len(encoded), MARK) is None


@given(rounds())
def test_a_round_cut_anywhere_is_none(round_):
    data = encode(round_)

    assert not any(check_round(data[:length], 0, length, MARK) for length in range(len(data)))


@given(st.binary(max_size=200))
def test_any_entries_are_read_or_damage(entries):
    data = bytes(ROUND_BYTES) + entries
    changes = Changes(data)
    changes.append = lambda *fields: None
    with suppress(CorruptError):
        decode_entries(data, ROUND_BYTES, len(data), 0, changes)


IMPOSSIBLE = {
    "unknown kind": b"\x09",
    "append without frame": ENTRY.pack(APPEND, 1),
    "frame beyond the round": ENTRY.pack(APPEND, 1) + (100).to_bytes(4, "big") + bytes(24),
    "frame too short": ENTRY.pack(APPEND, 1) + bytes(40),
    "trim without offset": ENTRY.pack(TRIM, 1),
    "put without value": bytes((PUT, 1)) + b"t" + b"\0\1k" + b"\0\0\0\5val",
    "delete without key": bytes((DELETE, 1)) + b"t" + b"\0\5k",
    "table that is no text": bytes((DELETE, 1)) + b"\xff\0\0",
    "nothing but a kind": bytes((PUT,)),
}


@pytest.mark.parametrize("entries", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_impossible_entries_are_damage(entries):
    data = encode_round(MARK, 1, 0, entries)

    assert check_round(data, 0, len(data), MARK)
    with pytest.raises(CorruptError):
        decode(data)


def test_a_round_beyond_the_limit_is_refused():
    round_ = Round()
    body = memoryview(bytes(1 << 20))
    round_.appends = [Append(log, 0, 1, 0, [body] * 1000) for log in range(3)]

    with pytest.raises(ValueError, match="a round of"):
        Encoded(round_)


def test_the_mark_of_another_file_is_not_taken():
    data = encode(Round())

    assert check_round(data, 0, len(data), bytes(MARK_BYTES)) is None
