"""The mover, when the log that it moves is trimmed, dropped and made again meanwhile."""

import pytest
from gevent.monkey import get_original

from portask.storage.base import Append, Round
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.local.disk import Disk


class HeldDisk(Disk):
    """Holds up the exchange of snapshots until told to go on, ten seconds at most."""

    def __init__(self):
        self.is_held = True
        self.is_reached = False

    def rename(self, old, new):
        if new.endswith("snapshot"):
            self.is_reached = True
            for _ in range(10_000):
                if not self.is_held:
                    break
                get_original("time", "sleep")(0.001)
        super().rename(old, new)


@pytest.fixture
def disk():
    return HeldDisk()


@pytest.fixture
def storage(tmp_path, disk):
    storage = LocalStorage(LocalOptions(tmp_path / "data", journal_bytes=4000, segment_bytes=1), disk)
    storage.open()
    yield storage
    disk.is_held = False
    storage.close()


def append(storage):
    round_ = Round()
    round_.appends.append(Append(1, storage.bounds(1).next_offset, 1, 0, [bytes(400)]))
    storage.write(round_)


def fill_file(storage):
    """Append until another journal file is begun."""
    number = storage._newest.number
    for _ in range(20):
        if storage._newest.number == number:
            append(storage)


def offsets(storage):
    return [frame.base_offset for frame in storage.read(1, 0, 1 << 20)]


def change(storage, trim=None, is_drop=False):
    round_ = Round()
    if trim is not None:
        round_.trims[1] = trim
    if is_drop:
        round_.drops.append(1)
    storage.write(round_)


def test_segments_of_a_log_made_again_during_a_move_are_not_removed_with_the_old(storage, disk, wait_until):
    fill_file(storage)
    wait_until(lambda: disk.is_reached)
    change(storage, trim=3)
    change(storage, is_drop=True)
    fill_file(storage)
    disk.is_held = False
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    expected = offsets(storage)
    storage.sync()
    wait_until(lambda: not storage._state.dead)

    assert expected[0] == 0
    assert offsets(storage) == expected


def test_segments_trimmed_during_a_move_are_removed_after_the_next_sync(storage, disk, wait_until, tmp_path):
    fill_file(storage)
    wait_until(lambda: disk.is_reached)
    change(storage, trim=3)
    disk.is_held = False
    wait_until(lambda: storage.stats()["journal_files"] == 1)
    assert (tmp_path / "data" / "logs" / "1" / f"{0:020d}.segment").exists()
    storage.sync()
    wait_until(lambda: not storage._state.dead)

    assert not (tmp_path / "data" / "logs" / "1" / f"{0:020d}.segment").exists()
    assert offsets(storage)[0] == 3
