"""The index of what is due next: in the order of the times, however much of it is on disk."""

import os
import random

import pytest

from portask.errors import StorageError, StorageFullError
from portask.schedule import index as schedule_index
from portask.schedule.index import NEVER, OFFSET_BITS, ScheduleIndex
from portask.spill import Spill, SpillFile


@pytest.fixture
def spill(tmp_path):
    return Spill(str(tmp_path))


@pytest.fixture
def index(spill, monkeypatch):
    monkeypatch.setattr(schedule_index, "CHUNK_BYTES", 5000)
    index = ScheduleIndex(spill)
    yield index
    index.clear()


def entry(due_ms, offset):
    return due_ms << OFFSET_BITS | offset


def fill(index, dues, first=0):
    for offset, due_ms in enumerate(dues, first):
        index.put(entry(due_ms, offset), b"target", (b"%d" % due_ms, None, ["name", b"value"], None, b"p"))


def take_all(index):
    taken = []
    while index.head != NEVER:
        taken.append(index.take())
    return taken


def test_messages_come_in_the_order_of_their_times(index):
    fill(index, [5, 3, 9, 1])

    assert [taken[0] >> OFFSET_BITS for taken in take_all(index)] == [1, 3, 5, 9]


def test_messages_of_one_time_come_in_the_order_of_their_offsets(index):
    fill(index, [7, 7, 7])

    assert [taken[0] - entry(7, 0) for taken in take_all(index)] == [0, 1, 2]


def test_runs_and_memory_are_one_order(index):
    rng = random.Random(1)
    dues = [rng.randrange(1000) for _ in range(600)]
    for start in range(0, 600, 150):
        fill(index, dues[start : start + 150], start)
        if start < 450:
            index.write_run()
    taken = take_all(index)

    assert [number for number, _, _ in taken] == sorted(entry(due, offset) for offset, due in enumerate(dues))
    assert [int(record[0]) for _, _, record in taken] == sorted(dues)


def test_a_message_is_the_same_when_it_comes_back_from_disk(index):
    records = [b"plain", (None, b"key", None, None, None), (b"", None, ["a", None, "b", b"c"], 5, b"p")]
    for offset, record in enumerate(records):
        index.put(entry(1, offset), b"t%d" % offset, record)
    fill(index, range(100), 10)
    index.write_run()
    taken = {number: (target, record) for number, target, record in take_all(index)}

    for offset, record in enumerate(records):
        target, found = taken[entry(1, offset)]
        assert target == b"t%d" % offset
        assert (found if isinstance(found, bytes) else tuple(found)) == record


def test_memory_is_counted_until_it_is_on_disk(index, monkeypatch):
    monkeypatch.setattr(schedule_index, "MEMORY_BYTES", 10_000)
    fill(index, range(100))
    assert index.is_full

    index.write_run()
    assert (index.is_full, index.memory_bytes) == (False, 0)


def test_what_was_taken_from_memory_is_not_counted(index):
    fill(index, range(10))
    take_all(index)

    assert index.memory_bytes == 0


def test_disk_is_given_back_with_the_last_message(index, spill):
    fill(index, range(200))
    index.write_run()
    assert spill.live_bytes

    take_all(index)
    assert spill.live_bytes == 0


def test_disk_is_given_back_when_all_is_forgotten(index, spill):
    fill(index, range(200))
    index.write_run()
    fill(index, range(5), 300)
    index.clear()

    assert (spill.live_bytes, index.head, index.memory_bytes) == (0, NEVER, 0)


def test_a_full_disk_changes_nothing(index, spill, monkeypatch):
    fill(index, range(200))
    write = SpillFile.write
    writes = []

    def fail(file, data):
        writes.append(data)
        if len(writes) == 3:
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(SpillFile, "write", fail)
    with pytest.raises(StorageFullError, match="No space left"):
        index.write_run()

    assert spill.live_bytes == 0
    assert len(take_all(index)) == 200


def truncated(file):
    os.ftruncate(file._file.fileno(), 10)


def overwritten(file):
    os.pwrite(file._file.fileno(), bytes(100_000), 0)


@pytest.mark.parametrize("hurt", [truncated, overwritten])
def test_a_run_that_is_lost_is_an_error_of_storage(index, spill, hurt):
    fill(index, range(200))
    index.write_run()
    hurt(spill._current)

    with pytest.raises(StorageError, match="the order of scheduled messages is lost"):
        take_all(index)
