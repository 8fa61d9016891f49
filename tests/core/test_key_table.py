"""The table of keys against a dictionary."""

import random
import tracemalloc

import pytest

from portask.key_table import PLACE_BYTES, KeyTable


@pytest.mark.parametrize("keys", [1, 40, 3000])
def test_the_table_says_what_a_dictionary_says(keys):
    rng = random.Random(keys)
    table = KeyTable(keys, 1 << 20)
    expected = {}
    for offset in range(5 * keys):
        key = b"%d" % rng.randrange(keys)
        assert table.put(key, offset)
        expected[key] = offset

    assert table.count == len(expected)
    for number in range(2 * keys):
        assert table.newest(b"%d" % number) == expected.get(b"%d" % number, -1)


def test_a_full_table_takes_no_new_key_and_still_updates_old_ones():
    table = KeyTable(10_000, 100 * PLACE_BYTES)
    taken = 0
    while table.put(b"%d" % taken, taken):
        taken += 1

    assert 60 <= taken <= 75
    assert table.newest(b"%d" % taken) == -1
    assert table.put(b"0", 1000)
    assert table.newest(b"0") == 1000


def test_offset_zero_is_an_offset():
    table = KeyTable(1, 0)
    table.put(b"", 0)

    assert table.newest(b"") == 0


@pytest.mark.parametrize(("keys", "memory"), [(10, 1 << 20), (1 << 40, 1 << 20), (1000, 1 << 30)])
def test_the_table_is_no_larger_than_allowed_nor_than_needed(keys, memory):
    table = KeyTable(keys, memory)

    assert table.size_bytes <= max(memory, 64 * PLACE_BYTES) + PLACE_BYTES
    assert table.size_bytes <= PLACE_BYTES * max(70, 1.5 * keys)


def test_keys_take_no_memory_beyond_the_table():
    tracemalloc.start()
    table = KeyTable(1 << 40, 1 << 20)
    offset = 0
    while table.put(b"%0200d" % offset, offset):
        offset += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert table.count > 30_000
    assert peak < table.size_bytes + 10_000
