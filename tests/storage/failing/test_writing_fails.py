"""Rounds, syncs and moves on a disk that is full or broken."""

import errno
from contextlib import suppress

import gevent
import pytest

from portask.errors import CorruptError, StorageError, StorageFailedError, StorageFullError
from portask.storage.local.check import verify
from tests.storage.failing.writing import HeldThread, append, fill, fill_file, offsets, put


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_refuses_the_round_and_takes_it_when_there_is_room(disk, open_storage, number):
    storage = open_storage()
    append(storage)
    disk.fail("write half", number, ".journal")

    with pytest.raises(StorageFullError, match="no space left"):
        append(storage)
    assert offsets(storage) == [0]
    disk.failures.clear()
    append(storage)
    storage.sync()
    storage.close()

    assert offsets(open_storage()) == [0, 1]


def test_a_full_disk_at_rotation_refuses_appends_but_takes_rows(disk, open_storage):
    storage = open_storage()
    disk.fail("reserve", errno.ENOSPC)
    disk.fail("remove", errno.EIO, "next.tmp")

    with pytest.raises(StorageFullError):
        fill(storage)
    put(storage)
    written = offsets(storage)
    disk.failures.clear()
    append(storage)

    assert offsets(storage) == [*written, len(written)]
    assert storage.load("rows") == {b"k": b"v"}


def test_a_failed_write_stops_the_storage_but_not_its_readers(disk, open_storage):
    storage = open_storage()
    append(storage)
    disk.fail("write", part=".journal")
    with pytest.raises(StorageFailedError, match="check the disk"):
        append(storage)
    disk.failures.clear()

    with pytest.raises(StorageFailedError):
        append(storage)
    with pytest.raises(StorageFailedError):
        storage.sync()
    assert offsets(storage) == [0]
    assert storage.stats()["failed"]


def test_a_failed_sync_is_final_even_if_the_next_would_succeed(disk, open_storage):
    storage = open_storage()
    append(storage)
    disk.fail("sync", part=".journal")
    disk.fail("sync", part="journal/")
    with pytest.raises(StorageFailedError):
        storage.sync()
    disk.failures.clear()

    with pytest.raises(StorageFailedError):
        storage.sync()
    with pytest.raises(StorageFailedError):
        put(storage)


def test_a_sync_that_runs_while_another_fails_does_not_count(disk, open_storage):
    storage = open_storage()
    append(storage)
    disk.fail("sync", part="journal/")
    first = gevent.spawn(pytest.raises, StorageFailedError, storage.sync)
    gevent.sleep(0)
    append(storage)
    second = gevent.spawn(pytest.raises, StorageFailedError, storage._sync_now)
    gevent.joinall([first, second], timeout=10, raise_error=True)

    assert storage.stats()["failed"]


def test_a_sync_does_not_begin_in_place_while_one_in_the_thread_fails(disk, open_storage):
    storage = open_storage()
    storage._syncer._expected_s = 0.0
    append(storage)
    thread = HeldThread()

    def fail(descriptor):
        # The kernel tells of a failed write once: this call hears of it, no other does.
        thread.hold()
        disk.sync = lambda descriptor: None
        raise OSError(errno.EIO, "EIO")

    disk.sync = fail
    storage._synced_bytes = -(1 << 30)
    first = gevent.spawn(pytest.raises, StorageFailedError, storage.sync)
    thread.wait_until_held()
    storage._synced_bytes = storage._written_bytes
    disk.sync = lambda descriptor: thread.release()
    second = gevent.spawn(pytest.raises, StorageFailedError, storage.sync)
    gevent.sleep(0)
    thread.release()
    gevent.joinall([first, second], timeout=10, raise_error=True)
    del disk.sync


def test_closing_waits_for_the_write_that_runs(disk, open_storage, wait_until):
    storage = open_storage()
    append(storage)
    thread = HeldThread()
    reserve = disk.reserve

    def slow_reserve(descriptor, size):
        thread.hold()
        reserve(descriptor, size)

    disk.reserve = slow_reserve
    writer = gevent.spawn(pytest.raises, StorageError, fill, storage)
    thread.wait_until_held()
    closing = gevent.spawn(storage.close)
    wait_until(storage._closing.is_set)
    thread.release()
    del disk.reserve
    gevent.joinall([writer, closing], timeout=5, raise_error=True)

    assert writer.ready()
    assert disk.open_files == []


def test_a_sync_after_the_thread_has_ended_is_refused(disk, open_storage):
    storage = open_storage()
    storage.close()

    with pytest.raises(StorageError, match="not open"):
        storage._syncer.worker.run(disk.exists, "/")


def test_a_sync_that_succeeds_after_a_failure_proves_nothing(disk, open_storage):
    storage = open_storage()
    append(storage)
    disk.sync = lambda descriptor: storage._fail(OSError(errno.EIO, "EIO"))

    with pytest.raises(StorageFailedError):
        storage.sync()
    del disk.sync


def test_a_failed_new_journal_file_stops_the_storage(disk, open_storage):
    storage = open_storage()
    disk.fail("create", part="next.tmp")

    with pytest.raises(StorageFailedError):
        fill(storage)


def test_a_failed_exchange_of_journal_files_stops_the_storage_and_loses_nothing(disk, open_storage):
    storage = open_storage()
    disk.fail("rename", part=".journal")
    with pytest.raises(StorageFailedError):
        fill(storage)
    written = offsets(storage)
    disk.failures.clear()
    storage.close()

    assert offsets(open_storage()) == written


@pytest.mark.parametrize("method", ["create", "write", "sync"])
def test_a_move_that_fails_is_made_again(disk, open_storage, wait_until, method):
    storage = open_storage()
    disk.fail(method, errno.ENOSPC, ".segment")
    fill(storage, 12)
    wait_until(lambda: storage._mover.error)
    disk.failures.clear()
    wait_until(lambda: storage.stats()["journal_files"] == 1)

    assert offsets(storage) == list(range(12))
    storage.close()
    assert verify(str(storage._options.directory)).findings == ()


def test_appends_are_refused_when_moving_fails_for_long_but_rows_are_not(disk, open_storage, wait_until):
    storage = open_storage()
    disk.fail("sync", errno.ENOSPC, "snapshot.tmp")
    for _ in range(2):
        fill_file(storage)
        wait_until(lambda: storage._mover.error)
    with pytest.raises(StorageFullError, match="wait to be moved"):
        fill_file(storage)
    put(storage)
    disk.failures.clear()
    storage._mover.wake()
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    append(storage)

    assert offsets(storage) == list(range(len(offsets(storage))))


def test_appends_wait_for_a_mover_that_is_behind(open_storage):
    storage = open_storage(journal_files=1)
    fill(storage, 200)

    assert offsets(storage) == list(range(200))


@pytest.mark.parametrize("part", ["logs/1", "data"])
def test_a_directory_that_cannot_be_synced_stops_the_storage(disk, open_storage, wait_until, part):
    storage = open_storage()
    append(storage)
    real = disk._check
    disk._check = lambda method, path: real(method, path) if path.endswith(part) else None
    disk.fail("sync_directory", part=part)
    with suppress(StorageFailedError):
        fill(storage, 20)
    wait_until(lambda: storage.stats()["failed"])

    with pytest.raises(StorageFailedError):
        append(storage)


def test_a_writer_that_waits_learns_that_the_storage_has_failed(disk, open_storage):
    storage = open_storage(journal_files=1)
    disk.fail("sync_directory", part="logs/1")

    with pytest.raises(StorageFailedError):
        fill(storage, 100)


def test_damage_to_the_journal_is_noticed_by_the_move(disk, open_storage, options, wait_until):
    storage = open_storage()
    append(storage)
    path = options.directory / "journal" / f"{1:016d}.journal"
    with path.open("r+b") as file:
        file.seek(120)
        file.write(b"y")
    for _ in range(15):
        append(storage, log=2)
    wait_until(lambda: storage._mover.error)

    assert isinstance(storage._mover.error, CorruptError)
    with pytest.raises(CorruptError, match=r"journal: position 73.*portask repair"):
        storage.read(1, 0, 1000)


def test_damage_to_a_segment_without_index_is_noticed_by_the_move(open_storage, options, wait_until):
    storage = open_storage()
    fill(storage, 12)
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    for path in (options.directory / "logs" / "1").iterdir():
        if path.suffix == ".index":
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[100] ^= 1
            path.write_bytes(data)
    fill(storage, 12)
    wait_until(lambda: storage._mover.error)

    assert "portask repair" in str(storage._mover.error)
    with pytest.raises(CorruptError):
        storage.read(1, 0, 1000)
    with pytest.raises(CorruptError):
        storage.find_time(1, 0)
