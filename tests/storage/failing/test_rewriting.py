"""A disk that fails while a log is rewritten: nothing is lost, and a later try succeeds."""

import errno

import gevent
import pytest

from portask.errors import StorageError, StorageFailedError, StorageFullError
from portask.storage.base import Round
from tests.storage.failing.writing import append, fill, offsets


@pytest.fixture
def filled(open_storage):
    """Forty frames in four segments."""
    storage = open_storage(segment_bytes=4000)
    fill(storage, 40)
    storage.rewritable(1, gather=True)
    return storage


def odd(frames):
    return [frame for frame in frames if frame.base_offset % 2]


def segment_files(storage):
    return storage._layout.segments(storage._disk, 1)


@pytest.mark.parametrize(
    ("method", "part"),
    [
        ("create", "-1.segment"),
        ("write", "-1.segment"),
        ("sync", "-1.segment"),
        ("create", "-1.index"),
        ("write", "-1.index"),
        ("sync", "-1.index"),
        ("create", "snapshot.tmp"),
        ("write", "snapshot.tmp"),
        ("sync", "snapshot.tmp"),
        ("rename", "snapshot"),
        ("read", "snapshot"),
    ],
)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ENOENT])
def test_an_error_before_the_new_snapshot_leaves_everything_as_it_was(filled, disk, method, part, number):
    before = segment_files(filled)
    disk.fail(method, number, part)

    with pytest.raises(StorageFullError if number == errno.ENOSPC else StorageError, match="cannot rewrite"):
        filled.rewrite(1, 40, odd)
    assert disk.hits
    assert segment_files(filled) == before
    assert offsets(filled) == list(range(40))

    disk.failures.clear()
    filled.rewrite(1, 40, odd)
    assert offsets(filled) == list(range(1, 40, 2))
    append(filled)


@pytest.mark.parametrize("part", ["data", "logs/1", "logs"])
def test_names_that_cannot_be_synced_stop_the_storage(filled, disk, open_storage, part):
    disk.fail("sync_directory", errno.EIO, part)

    with pytest.raises(StorageFailedError):
        filled.rewrite(1, 40, odd)
    with pytest.raises(StorageFailedError):
        append(filled)
    assert set(offsets(filled)) >= set(range(1, 40, 2))
    disk.failures.clear()
    filled.close()
    again = open_storage()
    assert set(offsets(again)) >= set(range(1, 40, 2))


def test_a_snapshot_that_may_be_the_new_one_keeps_the_files_of_both(filled, disk):
    before = segment_files(filled)
    replace = filled._mover.replace_snapshot

    def fail_behind(snapshot):
        disk.fail("sync_directory")
        replace(snapshot)

    filled._mover.replace_snapshot = fail_behind
    with pytest.raises(StorageFailedError):
        filled.rewrite(1, 40, odd)

    assert set(segment_files(filled)) == {*before, (0, 1)}


def test_an_old_file_that_cannot_be_removed_is_removed_later(filled, disk, wait_until):
    disk.fail("remove")
    filled.rewrite(1, 40, odd)
    filled.sync()
    wait_until(lambda: disk.hits)
    assert offsets(filled) == list(range(1, 40, 2))
    disk.failures.clear()
    filled._mover.wake()

    wait_until(lambda: not filled._state.dead)
    assert all(generation for _, generation in segment_files(filled))


def test_a_new_file_that_cannot_be_removed_is_written_over_by_the_next_try(filled, disk):
    disk.fail("remove")
    disk.fail("sync", errno.EIO, "-1.segment")
    with pytest.raises(StorageError):
        filled.rewrite(1, 40, odd)
    assert (0, 1) in segment_files(filled)
    disk.failures.clear()
    filled.rewrite(1, 40, odd)

    assert offsets(filled) == list(range(1, 40, 2))


def test_nothing_is_rewritten_before_what_crashes_left_was_swept_out(open_storage, disk, wait_until):
    storage = open_storage(segment_bytes=4000)
    fill(storage, 40)
    storage.rewritable(1, gather=True)
    storage.close()
    stray = storage._layout.segment_file(1, (0, 1))
    disk.close(disk.open(stray, create=True))
    disk.fail("remove")
    again = open_storage(segment_bytes=4000)
    wait_until(lambda: again._mover.error)

    with pytest.raises(StorageError, match="cannot rewrite"):
        again.rewrite(1, 40, odd)
    disk.failures.clear()
    again.rewrite(1, 40, odd)
    assert offsets(again) == list(range(1, 40, 2))


def test_a_log_whose_directory_goes_between_two_steps_is_left_alone(filled, wait_until):
    def drop(frames):
        round_ = Round()
        round_.drops.append(1)
        filled.write(round_)
        filled.sync()
        wait_until(lambda: not filled._state.dead)
        return frames

    filled.rewrite(1, 40, drop)

    assert list(filled.logs()) == []


def test_gathering_says_when_the_journal_cannot_be_moved(open_storage, disk, wait_until):
    storage = open_storage()
    append(storage)
    disk.fail("rename", errno.EIO, "snapshot")

    gathering = gevent.spawn(storage.rewritable, 1, gather=True)
    with pytest.raises(StorageError, match="the journal cannot be moved"):
        gathering.get()
    with pytest.raises(StorageError, match="the journal cannot be moved"):
        storage.rewritable(1, gather=True)
    disk.failures.clear()
    storage._mover.wake()
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    assert storage.rewritable(1, gather=True).next_offset == 1
