"""Start, stop and idle hours of a local storage."""

import errno
import json
import os
import subprocess
import sys

import pytest

from portask.errors import LockedError, StorageError, StorageFailedError
from portask.storage.local import store
from portask.storage.local.check import repair, verify
from tests.storage.failing.writing import append, fill, offsets


def test_a_torn_tail_that_cannot_be_set_aside_stops_the_start(disk, open_storage, options):
    storage = open_storage()
    append(storage)
    storage.close()
    path = options.directory / "journal" / f"{1:016d}.journal"
    with path.open("r+b") as file:
        file.seek(3000)
        file.write(b"torn")
    disk.fail("create", errno.ENOSPC, "aside")

    with pytest.raises(StorageError, match="cannot open"):
        open_storage()
    assert disk.open_files == []
    disk.failures.clear()
    assert offsets(open_storage()) == [0]


def test_the_start_does_not_need_room_for_the_reserve(disk, open_storage):
    open_storage().close()
    disk.fail("reserve", errno.ENOSPC)

    append(open_storage())


def test_the_start_fails_when_the_reserve_fails_otherwise(disk, open_storage):
    open_storage().close()
    disk.fail("reserve", errno.EIO)

    with pytest.raises(StorageError, match="cannot open"):
        open_storage()


def test_a_read_only_directory_is_refused_with_the_way_out(disk, open_storage):
    disk.fail("open_lock", errno.EROFS)

    with pytest.raises(StorageError, match="make it writable for this user, or name another with --data-dir"):
        open_storage()


def test_a_file_in_place_of_the_directory_is_refused(open_storage, tmp_path):
    (tmp_path / "data").write_text("")

    with pytest.raises(StorageError, match="make it writable"):
        open_storage()


def test_a_directory_without_locks_is_refused(disk, open_storage):
    disk.fail("lock", errno.ENOLCK)

    with pytest.raises(StorageError, match="cannot lock"):
        open_storage()


def test_only_its_owner_can_enter_the_directory(open_storage, options):
    open_storage()

    assert options.directory.stat().st_mode & 0o777 == 0o700


HOLD = """
import sys, time
from portask.storage.local import LocalOptions, LocalStorage
LocalStorage(LocalOptions(sys.argv[1])).open()
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_with_the_pid_of_the_first(options, open_storage):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(options.directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert first.stdout.readline() == b"open\n"
        for refused in (open_storage, lambda: verify(str(options.directory)), lambda: repair(str(options.directory))):
            with pytest.raises(LockedError, match=f"in use by process {first.pid};"):
                refused()
    finally:
        first.kill()
        first.communicate()
    open_storage()

    assert (options.directory / "lock").read_text() == f"{os.getpid()}\n"


def test_interval_syncs_in_the_background(open_storage, wait_until):
    storage = open_storage(sync="interval", sync_interval_ms=1)
    append(storage)
    storage.sync()
    wait_until(lambda: storage.stats()["syncs"])


def test_interval_fails_the_next_sync_after_one_has_failed(disk, open_storage, wait_until):
    storage = open_storage(sync="interval", sync_interval_ms=1)
    disk.fail("sync", part="journal/")
    append(storage)
    wait_until(lambda: storage.stats()["failed"])

    with pytest.raises(StorageFailedError):
        storage.sync()


def test_never_syncs_only_at_the_end(open_storage):
    storage = open_storage(sync="never")
    append(storage)
    storage.sync()
    assert storage.stats()["syncs"] == 0
    storage.close()

    assert storage.stats()["syncs"] > 0


def test_an_idle_storage_vouches_for_its_last_round(open_storage, options, wait_until):
    storage = open_storage()
    append(storage)
    storage.sync()
    wait_until(lambda: storage.stats()["rounds"] == 2)
    path = options.directory / "journal" / f"{1:016d}.journal"
    with path.open("r+b") as file:
        file.seek(120)
        file.write(b"y")

    (finding,) = verify_copy(options).findings
    assert finding.kind == "damage"


def verify_copy(options):
    """A report on the directory while it is open."""
    copy = options.directory.with_name("copy")
    subprocess.run(["cp", "-r", options.directory, copy], check=True)
    return verify(str(copy))


def test_an_idle_storage_that_cannot_vouch_goes_on(disk, open_storage, wait_until):
    storage = open_storage()
    append(storage)
    storage.sync()
    disk.fail("write", errno.ENOSPC, ".journal")
    wait_until(lambda: disk.hits)
    disk.failures.clear()

    append(storage)


def test_a_large_round_has_a_file_of_its_own_size(open_storage):
    storage = open_storage()
    append(storage, bytes(3 << 20))
    append(storage)
    storage.close()
    again = open_storage()

    assert [len(frame.body) for frame in again.read(1, 0, 4 << 20)] == [3 << 20, 400]


def test_a_report_is_json(open_storage, options):
    storage = open_storage()
    fill(storage)
    storage.close()
    seen = []
    report = verify(str(options.directory), lambda done, total: seen.append((done, total)))

    assert json.loads(json.dumps(report.to_dict()))["is_sound"]
    assert seen[-1][0] == seen[-1][1]


def test_a_directory_without_journal_cannot_be_checked(tmp_path):
    with pytest.raises(StorageError, match="no data directory"):
        verify(str(tmp_path))


def test_an_unreadable_directory_cannot_be_checked(disk, open_storage, options):
    open_storage().close()
    disk.fail("read", part=".journal")

    with pytest.raises(StorageError, match="cannot check"):
        verify(str(options.directory), disk=disk)


def test_a_disk_that_does_not_tell_its_free_space_leaves_the_other_figures(disk, open_storage, monkeypatch):
    storage = open_storage()

    def refuse(path):
        raise OSError(errno.EIO, "EIO", path)

    monkeypatch.setattr(disk, "free_bytes", refuse)

    assert "free_bytes" not in storage.stats()
    assert storage.stats()["journal_files"] == 1


def test_an_idle_storage_does_not_vouch_while_a_write_runs(open_storage, monkeypatch, wait_until):
    monkeypatch.setattr(store, "_IDLE_SECONDS", 0.001)
    storage = open_storage()
    append(storage)
    looks = []
    with storage._writing:
        storage._sync_now()
        rounds = storage.stats()["rounds"]
        monkeypatch.setattr(storage, "_check", lambda: looks.append("look"))
        wait_until(lambda: len(looks) >= 3)
        assert storage.stats()["rounds"] == rounds

    wait_until(lambda: storage.stats()["rounds"] == rounds + 1)
