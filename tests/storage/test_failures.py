"""Local storage on a disk that fails: full, broken, read-only, in use."""

import errno
import json
import os
import subprocess
import sys
from contextlib import suppress

import gevent
import pytest
from gevent.monkey import get_original

from portask.errors import CorruptError, LockedError, StorageError, StorageFailedError, StorageFullError
from portask.storage.base import Append, Round
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.local.check import repair, verify
from tests.storage.failing_disk import FailingDisk

BODY = b"x" * 400


@pytest.fixture
def disk():
    return FailingDisk()


@pytest.fixture
def options(tmp_path):
    return LocalOptions(tmp_path / "data", journal_bytes=4000, segment_bytes=20_000, journal_files=2)


@pytest.fixture
def open_storage(disk, options):
    """A function that opens a storage on the failing disk."""
    opened = []

    def open_(**changes):
        storage = LocalStorage(LocalOptions(**{**vars(options), **changes}), disk)
        storage.open()
        opened.append(storage)
        return storage

    yield open_
    disk.failures.clear()
    for storage in opened:
        storage.close()
    assert disk.open_files == []


class HeldThread:
    """Keeps a thread in a call until the test lets it go on."""

    def __init__(self):
        self._gate = get_original("_thread", "allocate_lock")()
        self._gate.acquire()
        self._held = False

    def hold(self):
        self._held = True
        self._gate.acquire()

    def wait_until_held(self):
        with gevent.Timeout(10):
            while not self._held:
                gevent.sleep(0.001)

    def release(self):
        if self._gate.locked():
            self._gate.release()


def append(storage, body=BODY, log=1):
    round_ = Round()
    round_.appends.append(Append(log, storage.bounds(log).next_offset, 1, 0, [body]))
    storage.write(round_)


def put(storage, key=b"k", value=b"v"):
    round_ = Round()
    round_.puts["rows", key] = value
    storage.write(round_)


def fill(storage, count=30):
    for _ in range(count):
        append(storage)


def fill_file(storage):
    """Append until another journal file is begun."""
    number = storage._newest.number
    for _ in range(20):
        if storage._newest.number == number:
            append(storage)


def offsets(storage, log=1):
    return [frame.base_offset for frame in storage.read(log, 0, 1 << 20)]


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


def test_a_disk_that_does_not_tell_its_free_space_leaves_the_other_figures(disk, open_storage, monkeypatch):
    storage = open_storage()

    def refuse(path):
        raise OSError(errno.EIO, "EIO", path)

    monkeypatch.setattr(disk, "free_bytes", refuse)

    assert "free_bytes" not in storage.stats()
    assert storage.stats()["journal_files"] == 1
