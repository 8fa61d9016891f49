"""What every storage promises, whatever it keeps things in."""

import pytest

from portask.errors import StorageError
from portask.storage.base import MAX_KEY_BYTES, MAX_OFFSET, Append, Bounds, Frame, Round
from portask.storage.frame import HEADER_BYTES

FRAMES = 60
BODY = b"x" * 100
FRAME_BYTES = HEADER_BYTES + len(BODY)


def append(storage, log, offset, count=1, timestamp=0, body=BODY):
    round_ = Round()
    round_.appends.append(Append(log, offset, count, timestamp, [body]))
    storage.write(round_)


def trim(storage, log, offset):
    round_ = Round()
    round_.trims[log] = offset
    storage.write(round_)


def drop(storage, log):
    round_ = Round()
    round_.drops.append(log)
    storage.write(round_)


def put(storage, table, key, value):
    round_ = Round()
    round_.puts[table, key] = value
    storage.write(round_)


@pytest.fixture
def filled(storage):
    """A storage with sixty frames of ten offsets each in log 7, their timestamps their base offsets."""
    for offset in range(0, 10 * FRAMES, 10):
        append(storage, 7, offset, 10, offset)
        storage.sync()
    return storage


def test_a_log_that_was_never_written_is_empty(storage):
    assert storage.bounds(1) == Bounds(0, 0, 0)
    assert storage.read(1, 0, 1000) == []
    assert storage.find_time(1, 0) is None
    assert storage.find_size(1, 0) == 0
    assert list(storage.logs()) == []


def test_a_frame_is_read_as_it_was_written(storage):
    round_ = Round()
    round_.appends.append(Append(1, 5, 3, 99, [b"one", bytearray(b"two"), memoryview(b"three")]))
    storage.write(round_)

    assert storage.read(1, 5, 1000) == [Frame(5, 3, 99, b"onetwothree")]


def test_a_log_begins_at_its_first_append(storage):
    append(storage, 1, 5)

    assert storage.bounds(1) == Bounds(5, 6, FRAME_BYTES)


def test_reading_from_inside_a_frame_gives_the_whole_frame(filled):
    assert filled.read(7, 15, 1)[0].base_offset == 10


def test_reading_goes_on_to_the_end(filled):
    assert [frame.base_offset for frame in filled.read(7, 0, 1 << 20)] == list(range(0, 10 * FRAMES, 10))


@pytest.mark.parametrize("frames", [1, 2, 7, FRAMES])
def test_reading_stops_at_the_bytes_asked_for(filled, frames):
    assert len(filled.read(7, 0, frames * len(BODY))) == frames
    assert len(filled.read(7, 0, frames * len(BODY) + 99)) == frames


def test_reading_always_gives_one_frame(filled):
    assert len(filled.read(7, 0, 0)) == 1


def test_every_read_size_walks_through_all_frames(filled):
    for max_bytes in (0, 250, 1000, 3333):
        offset = 0
        bases = []
        while frames := filled.read(7, offset, max_bytes):
            bases += [frame.base_offset for frame in frames]
            offset = frames[-1].next_offset
        assert bases == list(range(0, 10 * FRAMES, 10))


def test_reading_at_the_end_gives_nothing(filled):
    assert filled.read(7, 10 * FRAMES, 1000) == []


def test_reading_in_a_gap_gives_the_frame_after_it(storage):
    append(storage, 1, 0)
    append(storage, 1, 10)

    assert storage.read(1, 5, 1000)[0].base_offset == 10


def test_logs_do_not_mix(storage):
    for offset in range(20):
        append(storage, 1, offset, body=b"one")
        append(storage, 2, offset, body=b"two")

    assert {frame.body for frame in storage.read(1, 0, 1000)} == {b"one"}
    assert sorted(storage.logs()) == [1, 2]


def test_bounds_count_the_bytes_of_frames(filled):
    assert filled.bounds(7) == Bounds(0, 10 * FRAMES, FRAMES * FRAME_BYTES)


def test_trimmed_frames_are_never_read(filled):
    trim(filled, 7, 200)

    assert filled.read(7, 0, 1)[0].base_offset == 200
    assert filled.bounds(7)[:2] == (200, 10 * FRAMES)


def test_a_frame_that_straddles_the_start_is_read_whole(filled):
    trim(filled, 7, 205)

    assert filled.read(7, 0, 1)[0].base_offset == 200
    assert filled.bounds(7).start_offset == 205


def test_a_trim_below_the_start_changes_nothing(filled):
    trim(filled, 7, 200)
    trim(filled, 7, 100)

    assert filled.bounds(7).start_offset == 200


def test_a_trim_goes_at_most_to_the_end(filled):
    trim(filled, 7, 10 * FRAMES + 1000)

    assert filled.bounds(7) == Bounds(10 * FRAMES, 10 * FRAMES, 0)
    assert filled.read(7, 0, 1000) == []
    append(filled, 7, 10 * FRAMES)
    assert filled.read(7, 0, 1000)[0].base_offset == 10 * FRAMES


def test_a_trim_of_a_log_that_does_not_exist_does_nothing(storage):
    trim(storage, 1, 100)

    assert list(storage.logs()) == []


def test_a_dropped_log_is_gone_and_can_be_made_again(filled):
    drop(filled, 7)
    assert filled.bounds(7) == Bounds(0, 0, 0)
    assert list(filled.logs()) == []

    for offset in range(FRAMES):
        append(filled, 7, offset, body=BODY)
    assert [frame.base_offset for frame in filled.read(7, 0, 1 << 20)] == list(range(FRAMES))


def test_a_drop_of_a_log_that_does_not_exist_does_nothing(storage):
    drop(storage, 1)

    assert list(storage.logs()) == []


def test_a_table_gives_what_was_put(storage):
    put(storage, "topics", b"a", b"1")
    put(storage, "topics", b"b", b"2")
    put(storage, "groups", b"a", b"3")

    assert storage.load("topics") == {b"a": b"1", b"b": b"2"}
    assert storage.load("groups") == {b"a": b"3"}
    assert storage.load("users") == {}


def test_none_deletes_a_row(storage):
    put(storage, "topics", b"a", b"1")
    put(storage, "topics", b"a", None)
    put(storage, "users", b"a", None)

    assert storage.load("topics") == {}
    assert storage.load("users") == {}


def test_a_loaded_table_is_a_copy(storage):
    put(storage, "topics", b"a", b"1")
    storage.load("topics").clear()

    assert storage.load("topics") == {b"a": b"1"}


def test_a_round_applies_drops_then_appends_then_trims(filled):
    round_ = Round()
    round_.drops.append(7)
    round_.appends += [Append(8, 0, 5, 0, [b"a"]), Append(8, 5, 5, 0, [b"b"])]
    round_.trims[8] = 5
    round_.puts["topics", b"a"] = b"1"
    filled.write(round_)

    assert list(filled.logs()) == [8]
    assert [frame.body for frame in filled.read(8, 0, 100)] == [b"b"]
    assert filled.load("topics") == {b"a": b"1"}


def test_an_empty_round_changes_nothing(storage):
    storage.write(Round())
    storage.sync()

    assert not Round()
    assert list(storage.logs()) == []


REFUSED = {
    "below the end": [Append(7, 10 * FRAMES - 1, 1, 0, [b""])],
    "no offsets": [Append(7, 10 * FRAMES, 0, 0, [b""])],
    "too many offsets": [Append(7, 10 * FRAMES, 1 << 32, 0, [b""])],
    "beyond the last offset": [Append(7, MAX_OFFSET, 1, 0, [b""])],
    "overlap": [Append(7, 10 * FRAMES, 2, 0, [b""]), Append(7, 10 * FRAMES + 1, 1, 0, [b""])],
    "negative log": [Append(-1, 0, 1, 0, [b""])],
    "impossible timestamp": [Append(7, 10 * FRAMES, 1, 1 << 63, [b""])],
}


@pytest.mark.parametrize("appends", REFUSED.values(), ids=REFUSED.keys())
def test_an_append_that_does_not_fit_is_refused_and_nothing_written(filled, appends):
    round_ = Round()
    round_.appends += appends
    round_.puts["topics", b"a"] = b"1"

    with pytest.raises(ValueError):
        filled.write(round_)
    assert filled.bounds(7).next_offset == 10 * FRAMES
    assert filled.load("topics") == {}


def test_a_body_beyond_the_limit_is_refused(storage):
    big = memoryview(bytes(1 << 20))
    round_ = Round()
    round_.appends.append(Append(1, 0, 1, 0, [big] * 1024))

    with pytest.raises(ValueError, match="larger than"):
        storage.write(round_)


def test_an_append_to_a_log_dropped_in_the_same_round_is_refused(filled):
    round_ = Round()
    round_.drops.append(7)
    round_.appends.append(Append(7, 0, 1, 0, [b""]))

    with pytest.raises(ValueError, match="dropped by the same round"):
        filled.write(round_)


@pytest.mark.parametrize(("log", "offset"), [(-1, 0), (1 << 63, 0), (7, -1), (7, 1 << 63)])
def test_an_impossible_trim_is_refused(filled, log, offset):
    with pytest.raises(ValueError):
        trim(filled, log, offset)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [("t" * 256, b"k", b"v"), ("t", b"k" * (MAX_KEY_BYTES + 1), b"v"), ("t", b"k", bytes((1 << 28) + 1))],
)
def test_a_row_beyond_the_limits_is_refused(storage, table, key, value):
    with pytest.raises(ValueError):
        put(storage, table, key, value)


def test_the_longest_names_and_keys_are_kept(storage):
    put(storage, "t" * 255, b"k" * MAX_KEY_BYTES, b"")

    assert storage.load("t" * 255) == {b"k" * MAX_KEY_BYTES: b""}


@pytest.mark.parametrize("timestamp", [0, 1, 95, 300, 10 * FRAMES - 10])
def test_find_time_gives_the_first_frame_that_is_not_older(filled, timestamp):
    assert filled.find_time(7, timestamp) == -(-timestamp // 10) * 10


def test_find_time_gives_none_when_all_are_older(filled):
    assert filled.find_time(7, 10 * FRAMES) is None


def test_find_time_never_goes_below_the_start(filled):
    trim(filled, 7, 205)

    assert filled.find_time(7, 0) == 205
    assert filled.find_time(7, 201) == 210


def test_find_time_takes_timestamps_in_any_order(storage):
    for offset, timestamp in enumerate((5, 9, 1, 7, 20, 3)):
        append(storage, 1, offset, timestamp=timestamp)

    assert [storage.find_time(1, timestamp) for timestamp in (1, 6, 10, 21)] == [0, 1, 4, None]


@pytest.mark.parametrize("frames", [0, 1, 7, FRAMES, 2 * FRAMES])
def test_find_size_keeps_what_was_asked(filled, frames):
    offset = filled.find_size(7, frames * FRAME_BYTES)
    trim(filled, 7, offset)

    assert filled.bounds(7).size_bytes >= min(frames, FRAMES) * FRAME_BYTES
    assert 0 <= offset <= 10 * (FRAMES - min(frames, FRAMES))


def test_find_size_of_nothing_is_the_end(filled):
    assert filled.find_size(7, 0) == 10 * FRAMES


def test_find_size_starts_at_the_start(filled):
    trim(filled, 7, 300)

    assert filled.find_size(7, 1 << 30) == 300


def test_stats_are_numbers(filled):
    assert all(isinstance(value, int | float) for value in filled.stats().values())
    assert filled.stats()["rounds"] == FRAMES


def test_a_second_close_does_nothing(storage):
    storage.close()
    storage.close()


def test_a_closed_storage_takes_nothing(storage):
    storage.close()

    with pytest.raises(StorageError, match="not open"):
        put(storage, "t", b"k", b"v")
    with pytest.raises(StorageError, match="not open"):
        storage.sync()
