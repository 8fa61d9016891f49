"""What every storage promises of rewriting: less in place of what is stored, at the offsets that it had."""

import pytest

from portask.errors import StorageError
from portask.storage.base import Bounds, Frame
from portask.storage.frame import HEADER_BYTES
from tests.contract.test_storage_contract import append, drop, trim

FRAMES = 60
END = 10 * FRAMES
BODY = b"x" * 100


@pytest.fixture
def filled(storage):
    """A storage with sixty frames of ten offsets each in log 7, all of them within reach."""
    for offset in range(0, END, 10):
        append(storage, 7, offset, 10, offset)
    append(storage, 8, 0)
    storage.sync()
    assert storage.rewritable(7, gather=True).next_offset == END
    return storage


def every_third(frames):
    return [frame for frame in frames if frame.base_offset % 30 == 0]


def bases(storage, log=7, offset=0, max_bytes=1 << 20):
    return [frame.base_offset for frame in storage.read(log, offset, max_bytes)]


def walk(storage, max_bytes):
    offset, found = 0, []
    while frames := storage.read(7, offset, max_bytes):
        found += [frame.base_offset for frame in frames]
        offset = frames[-1].next_offset
    return found


def test_a_log_that_was_never_written_has_nothing_to_rewrite(storage):
    storage.rewrite(1, 100, every_third)

    assert storage.rewritable(1) == storage.rewritable(1, gather=True) == Bounds(0, 0, 0)


def test_what_can_be_rewritten_is_told_with_its_size(filled):
    assert filled.rewritable(7) == Bounds(0, END, FRAMES * (HEADER_BYTES + len(BODY)))


def test_gathering_again_changes_nothing(filled):
    before = filled.rewritable(7)

    assert filled.rewritable(7, gather=True) == before


def test_only_what_transform_returns_is_left(filled):
    filled.rewrite(7, END, every_third)

    assert bases(filled) == list(range(0, END, 30))
    assert filled.bounds(7) == Bounds(0, END, FRAMES // 3 * (HEADER_BYTES + len(BODY)))
    assert filled.rewritable(7).size_bytes == filled.bounds(7).size_bytes


@pytest.mark.parametrize("max_bytes", [0, 150, 1000])
def test_reading_walks_over_the_gaps(filled, max_bytes):
    filled.rewrite(7, END, every_third)

    assert walk(filled, max_bytes) == list(range(0, END, 30))


@pytest.mark.parametrize("offset", range(0, END, 7))
def test_a_read_at_any_offset_gives_the_frame_there_or_the_next(filled, offset):
    filled.rewrite(7, END, every_third)
    found = bases(filled, 7, offset, 0)

    expected = [base for base in range(0, END, 30) if base + 10 > offset][:1]
    assert found == expected


def test_a_frame_may_be_put_in_place_of_another(filled):
    smaller = Frame(2, 3, 77, b"less")
    filled.rewrite(7, 10, lambda frames: [smaller])

    assert filled.read(7, 0, 0) == [smaller]
    assert filled.find_time(7, 70) == 2


def test_a_frame_may_become_several(filled):
    parts = [Frame(0, 1, 5, b"a"), Frame(4, 2, 6, b""), Frame(9, 1, 7, b"c")]
    filled.rewrite(7, 10, lambda frames: parts)

    assert filled.read(7, 0, 2) == parts


def test_frames_at_and_beyond_the_end_are_not_touched(filled):
    seen = []

    def remove(frames):
        seen.extend(frame.base_offset for frame in frames)
        return []

    filled.rewrite(7, 205, remove)

    assert seen == list(range(0, 200, 10))
    assert bases(filled) == list(range(200, END, 10))


def test_trimmed_frames_are_not_handed_to_transform(filled):
    trim(filled, 7, 205)
    seen = []
    filled.rewrite(7, END, lambda frames: seen.extend(frames) or frames)

    assert [frame.base_offset for frame in seen] == list(range(200, END, 10))
    assert bases(filled) == list(range(200, END, 10))


def test_a_log_can_lose_everything_and_goes_on_at_its_end(filled):
    filled.rewrite(7, END, lambda frames: [])

    assert filled.bounds(7) == Bounds(0, END, 0)
    assert bases(filled) == []
    append(filled, 7, END)
    assert bases(filled) == [END]


def test_a_transform_that_changes_nothing_changes_nothing(filled):
    before = filled.read(7, 0, 1 << 20)
    filled.rewrite(7, END, list)

    assert filled.read(7, 0, 1 << 20) == before
    assert filled.bounds(7).size_bytes == FRAMES * (HEADER_BYTES + len(BODY))


def test_a_log_can_be_rewritten_again_and_again(filled):
    for kept in (END, 400, 200, 100):
        filled.rewrite(7, END, lambda frames, kept=kept: [frame for frame in frames if frame.base_offset < kept])
        append(filled, 7, filled.bounds(7).next_offset)
        filled.rewritable(7, gather=True)

    assert bases(filled) == [*range(0, 100, 10), *range(END, END + 4)]


def test_other_logs_are_not_touched(filled):
    filled.rewrite(7, END, lambda frames: [])

    assert bases(filled, 8) == [0]


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(0, 0, 0, b"")],
        [Frame(0, 11, 0, b"")],
        [Frame(END, 1, 0, b"")],
        [Frame(5, 1, 0, b""), Frame(5, 1, 0, b"")],
        [Frame(5, 1, 0, b""), Frame(0, 1, 0, b"")],
    ],
    ids=["no offsets", "two frames in one", "new offsets", "twice", "backwards"],
)
def test_frames_that_do_not_fit_are_refused_and_nothing_changes(filled, frames):
    with pytest.raises(ValueError, match="is not part of one replaced"):
        filled.rewrite(7, END, lambda _: frames)

    assert bases(filled) == list(range(0, END, 10))


def test_a_body_beyond_the_limit_is_refused(filled, monkeypatch):
    monkeypatch.setattr("portask.storage.base.MAX_BODY_BYTES", 10)

    with pytest.raises(ValueError, match="larger than"):
        filled.rewrite(7, END, list)


def test_an_error_of_transform_goes_through_and_nothing_changes(filled):
    def fail(frames):
        raise KeyError

    with pytest.raises(KeyError):
        filled.rewrite(7, END, fail)
    assert bases(filled) == list(range(0, END, 10))
    filled.rewrite(7, END, every_third)


class Meanwhile:
    """A transform that does something else at its first call."""

    def __init__(self, do):
        self._do = do

    def __call__(self, frames):
        do, self._do = self._do, lambda: None
        do()
        return every_third(frames)


def test_what_is_appended_meanwhile_stays(filled):
    filled.rewrite(7, END, Meanwhile(lambda: append(filled, 7, END, 5)))

    assert bases(filled) == [*range(0, END, 30), END]
    assert filled.bounds(7).next_offset == END + 5


def test_what_is_moved_meanwhile_stays(filled):
    def append_and_move():
        for offset in range(END, END + 100):
            append(filled, 7, offset)
        filled.rewritable(7, gather=True)

    filled.rewrite(7, END, Meanwhile(append_and_move))

    assert bases(filled) == [*range(0, END, 30), *range(END, END + 100)]


@pytest.mark.parametrize("offset", [100, 305, END])
def test_what_is_trimmed_meanwhile_does_not_come_back(filled, offset):
    filled.rewrite(7, END, Meanwhile(lambda: trim(filled, 7, offset)))

    assert bases(filled) == [base for base in range(0, END, 30) if base + 10 > offset]
    assert filled.bounds(7)[:2] == (offset, END)


def test_a_log_that_is_dropped_meanwhile_stays_away(filled):
    filled.rewrite(7, END, Meanwhile(lambda: drop(filled, 7)))

    assert list(filled.logs()) == [8]
    assert bases(filled) == []


def test_a_log_that_is_made_again_meanwhile_is_not_touched(filled):
    def make_again():
        drop(filled, 7)
        for offset in range(50):
            append(filled, 7, offset, body=BODY)
        filled.rewritable(7, gather=True)

    filled.rewrite(7, END, Meanwhile(make_again))

    assert bases(filled) == list(range(50))


def test_a_closed_storage_rewrites_nothing(storage):
    storage.close()

    with pytest.raises(StorageError, match="not open"):
        storage.rewrite(7, 10, list)
    with pytest.raises(StorageError, match="not open"):
        storage.rewritable(7, gather=True)
