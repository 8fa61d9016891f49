"""Bits that flip and files that vanish: damage to what was synced is reported, and repaired without invention."""

from random import Random

import pytest

from portask.errors import CorruptError
from portask.storage.base import Append, Frame, Round
from portask.storage.local.check import repair, verify
from tests.crash.simulated_disk import SimulatedDisk
from tests.crash.workload import OPTIONS, Workload, contents, open_storage, readable

SEEDS = range(6)
FLIPS = 60
ROUNDS = 70


@pytest.fixture(scope="module", params=SEEDS)
def closed(request):
    """The disk of a storage that was closed, and what had been written."""
    disk = SimulatedDisk()
    workload = Workload(Random(request.param))
    storage = open_storage(disk)
    workload.run(storage, disk, ROUNDS)
    storage.close()
    return disk, workload, request.param


def copy_of(disk):
    return SimulatedDisk(disk.files.copy())


def flips(disk, seed):
    """Copies of the disk with one bit changed in each, and the file in which it is."""
    random = Random(seed)
    paths = [path for path in disk.paths() if not path.endswith("/lock")]
    for _ in range(FLIPS):
        path = random.choice(paths)
        used = len(disk.read_file(path).rstrip(b"\0"))
        bit = random.randrange(8 * (used + 8 if path.endswith(".journal") else used))
        left = copy_of(disk)
        left.flip(path, min(bit, 8 * left.size(path) - 1))
        yield left, f"seed {seed}, {path}, bit {bit}"


def appended_frames(workload):
    """For each round, the frames that it appended."""
    return [
        {(append.log, Frame(*append[1:4], b"".join(append.body))) for append in round_.appends}
        for round_ in workload.rounds
    ]


def frames_of(found):
    return {(log, frame) for log, (_, _, frames) in found[1].items() for frame in frames}


def test_a_flipped_bit_is_reported_or_harmless(closed):
    disk, workload, seed = closed
    for left, place in flips(disk, seed):
        try:
            storage = open_storage(left)
        except CorruptError:
            continue
        found = readable(storage)
        storage.close()
        assert found in (None, workload.contents[-1]), place


def test_verify_finds_what_reading_finds(closed):
    disk, _, seed = closed
    for left, place in flips(disk, seed):
        report = verify(OPTIONS.directory, disk=copy_of(left))
        try:
            storage = open_storage(left)
        except CorruptError:
            assert not report.is_sound, place
            continue
        found = readable(storage)
        storage.close()
        assert found is not None or not report.is_sound, place


def test_repair_keeps_all_that_is_whole_and_invents_nothing(closed):
    disk, workload, seed = closed
    rounds = appended_frames(workload)
    written = set().union(*rounds)
    expected = frames_of(workload.contents[-1])
    for left, place in flips(disk, seed):
        found = verify(OPTIONS.directory, disk=copy_of(left))
        assert repair(OPTIONS.directory, disk=left).findings == found.findings, place
        assert verify(OPTIONS.directory, disk=left).findings == (), place
        storage = open_storage(left)
        kept = frames_of(contents(storage))
        storage.close()
        assert kept <= written, place
        lost = expected - kept
        assert not lost or len(lost) == 1 or any(lost <= round_ for round_ in rounds), place


def test_repaired_storage_takes_new_rounds_and_opens_again(closed):
    disk, _, seed = closed
    for left, place in list(flips(disk, seed))[:10]:
        repair(OPTIONS.directory, disk=left)
        storage = open_storage(left)
        round_ = Round()
        round_.appends.append(Append(1, storage.bounds(1).next_offset, 1, 0, [b"new"]))
        storage.write(round_)
        before = contents(storage)
        storage.close()
        again = open_storage(left)
        assert contents(again) == before, place
        again.close()


def test_a_missing_file_is_reported_and_repaired(closed):
    disk, workload, _ = closed
    expected = frames_of(workload.contents[-1])
    for path in list(disk.paths()):
        left = copy_of(disk)
        left.remove(path)
        left.sync_directory(path.rpartition("/")[0])
        found = verify(OPTIONS.directory, disk=copy_of(left))
        try:
            storage = open_storage(left)
        except CorruptError:
            assert not found.is_sound, path
            repair(OPTIONS.directory, disk=left)
            assert verify(OPTIONS.directory, disk=left).findings == (), path
            storage = open_storage(left)
            kept = frames_of(contents(storage))
            assert path.endswith((".journal", ".segment")) or expected <= kept, path
        else:
            assert contents(storage) == workload.contents[-1], path
        storage.close()


def test_nothing_that_repair_takes_out_is_lost(closed):
    disk, _, seed = closed
    for left, place in flips(disk, seed):
        report = repair(OPTIONS.directory, disk=left)
        damaged = any(finding.kind != "missing" for finding in report.findings)
        assert bool(report.aside) == damaged, place
        assert all(left.exists(f"{OPTIONS.directory}/{path}") for path in report.aside)
