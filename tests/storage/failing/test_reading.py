"""Reads while files vanish, move, or are damaged."""

import os

import pytest

from portask.errors import CorruptError, StorageError
from portask.storage.base import Append, Round
from portask.storage.frame import HEADER_BYTES
from portask.storage.local.check import verify
from portask.storage.local.log import POSITION_MASK
from tests.storage.failing.writing import BODY, append, fill, fill_file, offsets


def test_an_unreadable_file_is_an_error_of_storage(disk, open_storage):
    storage = open_storage()
    append(storage)
    disk.fail("read", part=".journal")

    with pytest.raises(StorageError, match="cannot read"):
        storage.read(1, 0, 1000)


def test_an_unreadable_segment_is_an_error_of_storage(disk, open_storage, wait_until):
    storage = open_storage()
    fill(storage, 12)
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    disk.fail("read", part=".segment")

    with pytest.raises(StorageError, match="cannot read"):
        storage.find_time(1, 0)


def test_a_closed_storage_cannot_be_read(open_storage):
    storage = open_storage()
    storage.close()

    with pytest.raises(StorageError, match="not open"):
        storage.read(1, 0, 1000)


def test_a_read_ends_where_the_first_frame_of_the_next_segment_does_not_fit(open_storage, wait_until):
    storage = open_storage(segment_bytes=1)
    fill(storage, 12)
    wait_until(lambda: storage.stats()["journal_files"] == 1)

    assert len(storage.read(1, 0, 600)) == 1
    assert len(storage.read(1, 0, 800)) == 2


def test_more_segments_than_indexes_are_kept_can_be_read(open_storage, wait_until):
    storage = open_storage(segment_bytes=1, open_files=3)
    fill(storage, 80)
    wait_until(lambda: storage.stats()["journal_files"] == 1)

    assert offsets(storage) == list(range(80))
    assert offsets(storage) == list(range(80))


def test_a_time_is_looked_for_behind_the_trimmed_part_of_a_segment(open_storage, wait_until):
    storage = open_storage()
    for offset, timestamp in enumerate((9, 1)):
        round_ = Round()
        round_.appends.append(Append(1, offset, 1, timestamp, [BODY]))
        storage.write(round_)
    fill_file(storage)
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    round_ = Round()
    round_.trims[1] = 1
    storage.write(round_)

    assert storage.find_time(1, 5) is None
    assert storage.find_time(1, 1) == 1


def test_a_segment_that_vanishes_is_damage(open_storage, options, wait_until):
    storage = open_storage()
    fill(storage, 12)
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    for path in (options.directory / "logs" / "1").iterdir():
        path.unlink()

    with pytest.raises(CorruptError, match="the file is missing"):
        storage.read(1, 0, 1000)
    with pytest.raises(CorruptError, match="the file is missing"):
        storage.find_time(1, 0)


def test_a_log_dropped_between_two_attempts_to_read_is_empty(disk, open_storage, wait_until):
    storage = open_storage()
    fill(storage, 12)
    wait_until(lambda: storage.stats()["journal_files"] == 1)

    def hold(path):
        storage._state.logs.clear()
        raise FileNotFoundError(path)

    storage._reader._handles.hold = hold
    logs = dict(storage._state.logs)
    assert storage.read(1, 0, 1000) == []
    storage._state.logs.update(logs)
    assert storage.find_time(1, 0) is None


@pytest.mark.parametrize("moved", [False, True], ids=["journal", "segments"])
def test_what_stands_before_a_damaged_frame_can_be_read(open_storage, tmp_path, wait_until, moved):
    storage = open_storage(journal_bytes=4000 if moved else 1_000_000)
    for offset in range(20):
        round_ = Round()
        round_.appends.append(Append(1, offset, 1, offset, [b"%d" % offset + os.urandom(300)]))
        storage.write(round_)
    storage.sync()
    if moved:
        wait_until(lambda: storage.stats()["segment_files"] == 1 and storage.stats()["journal_files"] == 1)
    frames = storage.read(1, 0, 1_000_000)
    part = "*.segment" if moved else "*.journal"
    (path,) = (tmp_path / "data").rglob(part)
    data = bytearray(path.read_bytes())
    data[data.index(frames[7].body)] ^= 1
    path.write_bytes(data)

    assert storage.read(1, 0, 1_000_000) == frames[:7]
    assert storage.read(1, 5, 1_000_000) == frames[5:7]
    with pytest.raises(CorruptError):
        storage.read(1, 7, 1_000_000)


def test_what_moved_to_segments_can_be_read_up_to_damage_in_the_journal(open_storage, tmp_path, wait_until):
    storage = open_storage()
    fill(storage, 12)
    wait_until(lambda: storage.stats()["journal_files"] == 1 and storage.stats()["segment_files"])
    append(storage, b"in the journal")
    storage.sync()
    frames = storage.read(1, 0, 1_000_000)
    (path,) = (tmp_path / "data").rglob("*.journal")
    data = bytearray(path.read_bytes())
    first_there = storage._state.logs[1].bases[0]
    data[(storage._state.logs[1].places[0] & POSITION_MASK) + HEADER_BYTES] ^= 1
    path.write_bytes(data)

    assert 0 < first_there < len(frames)
    assert storage.read(1, 0, 1_000_000) == frames[:first_there]


def test_a_damaged_header_of_a_segment_is_found(open_storage, options, tmp_path, wait_until):
    storage = open_storage()
    fill(storage, 12)
    wait_until(lambda: storage.stats()["journal_files"] == 1 and storage.stats()["segment_files"])
    storage.close()
    (path,) = (tmp_path / "data").rglob("*.segment")
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)

    (finding,) = verify(options.directory).findings
    assert "header" in finding.detail
