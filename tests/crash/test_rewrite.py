"""Loss of power and death of the process while logs are rewritten, on a simulated disk.

What is found must be what was written, each frame as it was or as the rewrite left it; and as the rewrite
left it wherever that had returned.
"""

from random import Random

import gevent
import pytest
from gevent.event import Event

from portask.errors import CorruptError
from portask.storage.base import Frame
from portask.storage.local.check import repair, verify
from tests.crash.simulated_disk import STYLES, SimulatedDisk
from tests.crash.workload import LOGS, OPTIONS, Workload, contents, open_storage, rounds_in

SEEDS = range(8)
CRASHES = 40
ROUNDS = 70
OPENED = 12
"""Operations after which the first opening is certainly through."""


def thin_frame(frame):
    """What a rewrite leaves of a frame: one in four goes, one in four loses its body."""
    kind = frame.base_offset % 4
    if kind == 0:
        return None
    return frame._replace(body=b"thin") if kind == 1 else frame


def thin(frames):
    return [left for frame in frames if (left := thin_frame(frame)) is not None]


def rewrite_often(random, storage, disk, stopped):
    """Rewrite one log after the other until *stopped*, and mark what has been done."""
    while not stopped.is_set():
        gevent.sleep(random.choice((0, 0.001, 0.005)))
        log = random.choice(LOGS)
        reach = storage.rewritable(log)
        end = random.choice((reach.next_offset, random.randint(0, reach.next_offset)))
        begun = rounds_in(storage)
        storage.rewrite(log, end, thin)
        disk.mark("thin", log, end, begun)


def run(seed, rounds=ROUNDS):
    disk = SimulatedDisk()
    workload = Workload(Random(seed))
    storage = open_storage(disk)
    stopped = Event()
    greenlet = gevent.spawn(rewrite_often, Random(500 + seed), storage, disk, stopped)
    workload.run(storage, disk, rounds)
    stopped.set()
    greenlet.get()
    return disk, workload, storage


def marks(operations, kind):
    return [rest[1:] for operation, *rest in operations if operation == "mark" and rest[0] == kind]


def check_thinned(expected, found, done, place):
    """*found* must be *expected*, perhaps thin, and certainly so up to the offsets in *done*."""
    assert found[0] == expected[0], place
    assert found[1].keys() == expected[1].keys(), place
    for log, (start, end, frames) in expected[1].items():
        assert found[1][log][:2] == (start, end), place
        left = {frame.base_offset: frame for frame in found[1][log][2]}
        assert list(left) == sorted(left), place
        for frame in frames:
            least = thin_frame(frame)
            is_done = frame.next_offset <= done.get(log, 0)
            got = left.pop(frame.base_offset, None)
            assert got == least or (got == frame and not is_done), (place, log, frame.base_offset, is_done)
        assert not left, place


def done_by(operations, workload, found):
    """Up to where each log must be thin: as far as it was rewritten since it was dropped."""
    done = {}
    for log in LOGS:
        drops = [number for number, round_ in enumerate(workload.rounds[:found], 1) if log in round_.drops]
        ends = [end for name, end, begun in marks(operations, "thin") if name == log and begun >= max(drops, default=0)]
        done[log] = max(ends, default=0)
    return done


def check(workload, disk, operations, place):
    """Open what is left after *operations*; return the storage and the number of rounds in it."""
    findings = verify(OPTIONS.directory, disk=SimulatedDisk(disk.files.copy())).findings
    # An index that a crash tore is built anew.
    assert all(finding.kind == "torn tail" or finding.file.endswith(".index") for finding in findings), place
    storage = open_storage(disk)
    found = rounds_in(storage)
    synced = max((number for (number,) in marks(operations, "synced")), default=0)
    begun = max((number for (number,) in marks(operations, "begun")), default=0)
    assert synced <= found <= begun, place
    check_thinned(workload.contents[found], contents(storage), done_by(operations, workload, found), place)
    return storage, found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_of_power_leaves_each_step_made_or_not(seed):
    disk, workload, storage = run(seed)
    random = Random(1000 + seed)
    operations = list(disk.operations)
    for _ in range(CRASHES):
        count = random.randint(OPENED, len(operations))
        style = random.choice(STYLES)
        place = f"seed {seed}, operation {count}, {style}"
        left = SimulatedDisk(disk.at(count).crash(random, style))
        check(workload, left, operations[:count], place)[0].close()
        assert not left.open_descriptors
    storage.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_death_of_the_process_leaves_each_step_made_or_not(seed):
    disk, workload, storage = run(seed)
    random = Random(2000 + seed)
    operations = list(disk.operations)
    for _ in range(CRASHES // 2):
        count = random.randint(OPENED, len(operations))
        left = SimulatedDisk(disk.at(count))
        check(workload, left, operations[:count], f"seed {seed}, operation {count}")[0].close()
    storage.close()


def steps_of_one_rewrite():
    """A disk on which one log was rewritten, the place where that began, and what is there before and after."""
    disk = SimulatedDisk()
    workload = Workload(Random(3))
    storage = open_storage(disk)
    workload.run(storage, disk, 40)
    for log in LOGS:
        storage.rewritable(log, gather=True)
    storage.sync()
    log = max(storage.logs(), key=lambda log: storage.bounds(log).size_bytes)
    began = len(disk.operations)
    before = contents(storage)
    storage.rewrite(log, storage.rewritable(log).next_offset, thin)
    ended = len(disk.operations)
    after = contents(storage)
    storage.close()
    return disk, range(began, ended + 1), before, after


def test_a_crash_at_every_call_of_a_rewrite_leaves_what_was_before_or_what_comes_after():
    disk, places, before, after = steps_of_one_rewrite()
    assert before != after
    random = Random(4)
    groups = set()
    for place in places:
        for style in STYLES:
            left = SimulatedDisk(disk.at(place).crash(random, style))
            storage = open_storage(left)
            found = contents(storage)
            check_thinned(before, found, {}, f"operation {place}, {style}")
            groups.add(repr(found))
            storage.close()
    assert {repr(before), repr(after)} <= groups


def test_what_a_crash_left_of_a_rewrite_is_removed_at_the_next_start(wait_until):
    disk, places, _, _ = steps_of_one_rewrite()
    for place in places:
        left = SimulatedDisk(disk.at(place))
        storage = open_storage(left)
        wait_until(lambda storage=storage: storage._mover._is_swept and not storage._mover.sealed)
        counted = {
            storage._layout.segment_file(log, segment.name)
            for log, kept in storage._state.logs.items()
            for segment in kept.segments
        }
        storage.close()
        assert {path for path in left.paths() if path.endswith(".segment")} == counted


def rewritten():
    """The disk of a storage whose logs were rewritten and that was closed."""
    disk, _, _, after = steps_of_one_rewrite()
    assert any("-1.segment" in path for path in disk.paths())
    return disk, after


def test_a_flipped_bit_in_a_rewritten_segment_costs_one_frame():
    disk, after = rewritten()
    random = Random(5)
    paths = [path for path in disk.paths() if path.endswith("-1.segment")]
    written = frames_of(after)
    for _ in range(30):
        path = random.choice(paths)
        left = SimulatedDisk(disk.files.copy())
        left.flip(path, random.randrange(8 * left.size(path)))
        assert not verify(OPTIONS.directory, disk=SimulatedDisk(left.files.copy())).is_sound
        repair(OPTIONS.directory, disk=left)
        assert verify(OPTIONS.directory, disk=left).findings == ()
        storage = open_storage(left)
        kept = frames_of(contents(storage))
        storage.close()
        assert kept <= written
        assert len(written - kept) <= 1


def frames_of(found):
    return {(log, frame) for log, (_, _, frames) in found[1].items() for frame in frames}


def test_a_rewritten_segment_that_is_missing_stops_the_start_and_is_repaired():
    disk, after = rewritten()
    path = next(path for path in disk.paths() if path.endswith("-1.segment"))
    disk.remove(path)
    with pytest.raises(CorruptError, match=r"-1\.segment: the file is missing"):
        open_storage(disk)

    repair(OPTIONS.directory, disk=disk)
    storage = open_storage(disk)
    assert frames_of(contents(storage)) < frames_of(after)
    storage.close()


def test_without_a_snapshot_rewritten_segments_are_found():
    disk, after = rewritten()
    disk.remove(f"{OPTIONS.directory}/snapshot")

    repair(OPTIONS.directory, disk=disk)
    storage = open_storage(disk)
    assert frames_of(contents(storage)) == frames_of(after)
    storage.close()


def test_without_a_snapshot_a_segment_and_what_was_to_replace_it_count_once():
    disk, places, before, after = steps_of_one_rewrite()
    for place in places:
        left = SimulatedDisk(disk.at(place))
        left.remove(f"{OPTIONS.directory}/snapshot")
        repair(OPTIONS.directory, disk=left)
        assert verify(OPTIONS.directory, disk=left).findings == ()
        storage = open_storage(left)
        for log, (_, _, frames) in contents(storage)[1].items():
            bases = [frame.base_offset for frame in frames]
            assert bases == sorted(set(bases))
            assert {Frame(*frame) for frame in frames} <= {frame for _, frame in frames_of(before) | frames_of(after)}
            assert {frame.base_offset for frame in after[1][log][2]} <= set(bases)
        storage.close()
