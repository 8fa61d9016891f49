"""Loss of power and death of the process at every moment, on a simulated disk.

After each, the storage must hold a prefix of the rounds, with every one that a sync covered, byte for
byte. Seeds are in the names of the tests.
"""

from random import Random

import pytest

from tests.crash.simulated_disk import STYLES, SimulatedDisk
from tests.crash.workload import OPTIONS, Workload, contents, open_storage, promised, rounds_in

SEEDS = range(12)
CRASHES = 60
ROUNDS = 70


def run_first(seed):
    disk = SimulatedDisk()
    workload = Workload(Random(seed))
    storage = open_storage(disk)
    workload.run(storage, disk, ROUNDS)
    if seed % 2:
        storage.close()
    return disk, workload, storage


def check(workload, disk, synced, begun, place):
    """Open what is left, and return the storage and the number of rounds in it."""
    storage = open_storage(disk)
    found = rounds_in(storage)
    assert synced <= found <= begun, f"{place}: {found} rounds, {synced} synced, {begun} begun"
    assert contents(storage) == workload.contents[found], place
    return storage, found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_of_power_leaves_a_prefix_with_every_synced_round(seed):
    disk, workload, storage = run_first(seed)
    random = Random(1000 + seed)
    for _ in range(CRASHES):
        count = random.randint(0, len(disk.operations))
        style = random.choice(STYLES)
        place = f"seed {seed}, operation {count}, {style}"
        left = SimulatedDisk(disk.at(count).crash(random, style))
        found, _ = check(workload, left, *promised(disk.operations[:count]), place)
        found.close()
        assert not left.open_descriptors
    storage.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_second_loss_of_power_soon_after_the_first_loses_nothing_either(seed):
    disk, workload, storage = run_first(seed)
    random = Random(2000 + seed)
    for _ in range(CRASHES // 4):
        count = random.randint(0, len(disk.operations))
        style = random.choice(STYLES)
        killed = disk.at(count)
        left = SimulatedDisk(killed if random.random() < 0.3 else killed.crash(random, style))
        second = Workload(random)
        second.rounds, second.contents = list(workload.rounds), list(workload.contents)
        found, number = check(workload, left, *promised(disk.operations[:count]), "first")
        second.cut(number)
        second.run(found, left, random.randint(1, 12))
        begun = len(second.rounds)
        for _ in range(6):
            stop = random.randint(0, len(left.operations))
            style = random.choice(STYLES)
            place = f"seed {seed}, operation {count}, then {stop}, {style}"
            synced, begun = promised(left.operations[:stop])
            again = SimulatedDisk(left.at(stop).crash(random, style))
            check(second, again, max(synced, number if left_open(left, stop) else 0), max(begun, number), place)[
                0
            ].close()
        found.close()
    storage.close()


def left_open(disk, stop):
    """Whether the first round of the second life had begun, so that the first recovery was complete."""
    return any(kind == "mark" for kind, *_ in disk.operations[:stop])


@pytest.mark.parametrize("seed", SEEDS)
def test_death_of_the_process_loses_no_round_that_was_written(seed):
    disk, workload, storage = run_first(seed)
    random = Random(3000 + seed)
    for _ in range(CRASHES // 2):
        count = random.randint(0, len(disk.operations))
        _, begun = promised(disk.operations[:count])
        left = SimulatedDisk(disk.at(count))
        check(workload, left, begun - 1, begun, f"seed {seed}, operation {count}")[0].close()
    storage.close()


def test_a_last_write_torn_at_any_byte_is_cut_off_or_whole():
    disk, workload, storage = run_first(4)
    last = max(place for place, operation in enumerate(disk.operations) if operation[:2] == ("mark", "begun"))
    write = next(place for place in range(last, len(disk.operations)) if disk.operations[place][0] == "write")
    kind, inode, position, data = disk.operations[write]
    for length in range(len(data) + 1):
        files = disk.at(write)
        files.apply((kind, inode, position, data[:length]))
        left = SimulatedDisk(files)
        _, begun = promised(disk.operations[:write])
        found, number = check(workload, left, begun - 1, begun, f"{length} bytes")
        assert number == (begun if length == len(data) else begun - 1)
        found.close()
    storage.close()


def test_what_is_cut_off_is_kept_aside():
    disk, _, storage = run_first(6)
    storage.close()
    newest = max(path for path in disk.paths() if path.endswith(".journal"))
    data = disk.read_file(newest)
    end = len(data.rstrip(b"\0"))
    left = SimulatedDisk(disk.files.copy())
    descriptor = left.open(newest)
    left.write(descriptor, b"torn", end + 10)
    left.close(descriptor)

    open_storage(left).close()

    (aside,) = [path for path in left.paths() if path.startswith(f"{OPTIONS.directory}/aside/")]
    assert left.read_file(aside).endswith(b"\0" * 10 + b"torn")
