"""The rewriter: which files there are, and what it does when files are held, trimmed or dropped meanwhile."""

from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from portask.errors import CorruptError, StorageError
from portask.storage.base import Append, Round
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.local.layout import Layout
from tests.storage.failing.writing import append, fill, offsets

BODY = 400


@pytest.fixture
def options(tmp_path):
    return LocalOptions(tmp_path / "data", journal_bytes=20_000, segment_bytes=4000)


@pytest.fixture
def storage(options):
    storage = LocalStorage(options)
    storage.open()
    yield storage
    storage.close()


@pytest.fixture
def filled(storage):
    """Forty frames in four segments."""
    fill(storage, 40)
    storage.rewritable(1, gather=True)
    return storage


def files(storage, suffix=".segment"):
    layout, disk = storage._layout, storage._disk
    return [name for name in disk.list(layout.log_directory(1)) if name.endswith(suffix)]


def settle(storage, wait_until):
    """Wait until the files of replaced segments are gone."""
    storage.sync()
    wait_until(lambda: not storage._state.dead)


def keep(*kept):
    return lambda frames: [frame for frame in frames if frame.base_offset in kept]


def change(storage, trim=None, drop=False):
    round_ = Round()
    if trim is not None:
        round_.trims[1] = trim
    if drop:
        round_.drops.append(1)
    storage.write(round_)


def test_a_rewritten_segment_has_a_name_of_its_own_and_the_old_file_goes(filled, wait_until):
    assert len(files(filled)) == 4
    filled.rewrite(1, 9, lambda frames: frames[1:])
    settle(filled, wait_until)

    assert files(filled)[0] == f"{0:020d}-1.segment"
    assert files(filled, ".index") == [name.replace("segment", "index") for name in files(filled)]
    assert offsets(filled) == list(range(1, 40))


def test_small_neighbours_become_one_segment(filled, wait_until):
    filled.rewrite(1, 40, keep(3, 13, 23, 33))
    filled.rewrite(1, 40, list)
    settle(filled, wait_until)

    assert files(filled) == [f"{0:020d}-2.segment"]
    assert offsets(filled) == [3, 13, 23, 33]


def test_a_segment_that_loses_everything_leaves_no_file(filled, wait_until):
    filled.rewrite(1, 40, keep(25))
    settle(filled, wait_until)

    assert len(files(filled)) == 1


def test_nothing_is_written_for_a_segment_that_stays_as_it_is(filled, wait_until):
    before = files(filled)
    filled.rewrite(1, 40, list)
    settle(filled, wait_until)

    assert files(filled)[:4] == before[:4]


def test_the_mover_extends_a_rewritten_segment_afterwards(filled, wait_until):
    filled.rewrite(1, 40, keep(39))
    fill(filled, 3)
    filled.rewritable(1, gather=True)
    settle(filled, wait_until)

    assert len(files(filled)) == 1
    assert offsets(filled) == [39, 40, 41, 42]


def test_a_second_call_waits_for_the_first(filled):
    inside, go_on = Event(), Event()
    order = []

    def wait(frames):
        order.append("first")
        inside.set()
        go_on.wait()
        return frames

    first = gevent.spawn(filled.rewrite, 1, 5, wait)
    inside.wait()
    second = gevent.spawn(filled.rewrite, 1, 5, lambda frames: order.append("second") or frames)
    gevent.sleep(0)
    go_on.set()
    gevent.joinall([first, second], raise_error=True)

    assert order[-1] == "second"
    assert order.index("second") == order.count("first")


def test_a_reader_that_holds_the_old_file_reads_on(filled, wait_until):
    path = filled._layout.segment_file(1, (0, 0))
    handle = filled._reader.hold(path)
    filled.rewrite(1, 40, keep(0, 39))
    settle(filled, wait_until)

    assert path.rpartition("/")[2] not in files(filled)
    assert len(filled._disk.read(handle.descriptor, 500, 0)) == 500
    handle.release()


def test_readers_see_each_step_before_or_after(filled):
    seen = set()

    def read(frames):
        seen.add(tuple(offsets(filled)))
        return [frame for frame in frames if frame.base_offset % 2]

    filled.rewrite(1, 40, read)
    seen.add(tuple(offsets(filled)))
    expected = {tuple(offset for offset in range(40) if offset % 2 or offset >= done) for done in range(41)}

    assert len(seen) >= 4
    assert seen <= expected


@pytest.mark.parametrize("trim", [5, 15, 25, 40])
def test_trimmed_segments_stay_away_and_their_files_go(filled, wait_until, trim):
    def trim_and_wait(frames):
        change(filled, trim=trim)
        settle(filled, wait_until)
        return frames[:-1]

    filled.rewrite(1, 40, trim_and_wait)
    settle(filled, wait_until)

    assert all(offset >= trim for offset in offsets(filled))
    names = sorted(segment.name for segment in filled._state.logs[1].segments)
    assert filled._layout.segments(filled._disk, 1) == names


def test_a_segment_that_is_trimmed_and_gone_before_it_is_read_is_passed_over(storage, wait_until):
    for _ in range(3):
        fill(storage, 4)
        storage.rewritable(1, gather=True)
        storage._state.logs[1].growing_from = 100
    storage._state.logs[1].growing_from = 0
    assert len(files(storage)) == 3

    def trim_all(frames):
        change(storage, trim=8)
        settle(storage, wait_until)
        return frames

    storage.rewrite(1, 12, trim_all)
    assert offsets(storage) == [8, 9, 10, 11]


def test_a_log_that_is_dropped_and_made_again_keeps_no_file_of_the_old(filled, wait_until):
    def make_again(frames):
        if filled.bounds(1).next_offset == 40:
            change(filled, drop=True)
            settle(filled, wait_until)
            fill(filled, 30)
            filled.rewritable(1, gather=True)
        return frames[:1]

    filled.rewrite(1, 40, make_again)
    settle(filled, wait_until)

    assert offsets(filled) == list(range(30))
    names = sorted(segment.name for segment in filled._state.logs[1].segments)
    assert filled._layout.segments(filled._disk, 1) == names


def test_a_log_that_is_dropped_between_two_steps_is_left_alone(filled, wait_until):
    def drop_at_the_second(frames):
        if frames[0].base_offset:
            change(filled, drop=True)
            settle(filled, wait_until)
        return []

    filled.rewrite(1, 40, drop_at_the_second)

    assert list(filled.logs()) == []
    assert not filled._disk.exists(filled._layout.log_directory(1))


def while_the_snapshot_is_replaced(storage, do):
    replace = storage._mover.replace_snapshot

    def do_first(snapshot):
        do()
        replace(snapshot)

    storage._mover.replace_snapshot = do_first


def test_a_log_that_is_dropped_while_the_snapshot_is_replaced_leaves_no_files(filled, options, wait_until):
    while_the_snapshot_is_replaced(filled, lambda: change(filled, drop=True))
    filled.rewrite(1, 40, lambda frames: frames[1:])
    settle(filled, wait_until)
    assert not filled._disk.exists(filled._layout.log_directory(1))
    filled.close()

    filled.open()
    assert list(filled.logs()) == []


@pytest.mark.parametrize("trim", [5, 10, 40])
def test_what_is_trimmed_while_the_snapshot_is_replaced_leaves_no_files(filled, options, wait_until, trim):
    while_the_snapshot_is_replaced(filled, lambda: change(filled, trim=trim))
    filled.rewrite(1, 40, lambda frames: frames[1:])
    settle(filled, wait_until)
    left = offsets(filled)
    assert all(offset >= trim for offset in left)
    assert filled._layout.segments(filled._disk, 1) == [part.name for part in filled._state.logs[1].segments]
    filled.close()

    filled.open()
    assert offsets(filled) == left


def test_a_missing_file_is_damage(filled):
    filled._disk.remove(filled._layout.segment_file(1, filled._state.logs[1].segments[2].name))

    with pytest.raises(CorruptError, match="the file is missing"):
        filled.rewrite(1, 40, list)


def test_a_damaged_frame_ends_it_and_leaves_what_is_before(filled, wait_until):
    segment = filled._state.logs[1].segments[1]
    path = filled._layout.segment_file(1, segment.name)
    descriptor = filled._disk.open(path)
    filled._disk.write(descriptor, b"\xff", 500)
    filled._disk.close(descriptor)

    with pytest.raises(CorruptError, match="position"):
        filled.rewrite(1, 40, lambda frames: frames[-1:])
    settle(filled, wait_until)
    assert segment in filled._state.logs[1].segments
    assert len(files(filled)) == len(filled._state.logs[1].segments)


def test_a_close_ends_a_rewrite_at_its_next_piece(options):
    storage = LocalStorage(options)
    storage.open()
    fill(storage, 40)
    storage.rewritable(1, gather=True)
    inside = Event()
    calls = []

    def wait_for_close(frames):
        calls.append(frames)
        inside.set()
        while storage._is_open:
            gevent.sleep(0)
        return frames[1:]

    rewriting = gevent.spawn(storage.rewrite, 1, 40, wait_for_close)
    inside.wait()
    storage.close()

    with pytest.raises(StorageError, match="not open"):
        rewriting.get()
    assert len(calls) == 1
    storage.open()
    assert offsets(storage) == list(range(40))
    storage.close()


def test_gathering_ends_a_journal_file_only_when_it_holds_frames_of_the_log(filled):
    append(filled, log=2)
    number = filled._newest.number
    filled.rewritable(1, gather=True)
    assert filled._newest.number == number

    filled.rewritable(2, gather=True)
    assert filled._newest.number == number + 1


def test_names_of_segments_are_read_back_in_order(tmp_path, storage):
    append(storage)
    storage.rewritable(1, gather=True)
    layout = Layout(str(tmp_path / "data"))
    for name in ((0, 12), (0, 2), (5, 0)):
        Path(layout.segment_file(1, name)).touch()
    Path(layout.log_directory(1), "x.segment").touch()

    assert layout.segments(storage._disk, 1) == [(0, 0), (0, 2), (0, 12), (5, 0)]


def test_many_pieces_are_one_step(options):
    storage = LocalStorage(LocalOptions(options.directory, segment_bytes=1 << 20))
    storage.open()
    round_ = Round()
    round_.appends = [Append(1, offset, 1, 0, [b"x"]) for offset in range(1000)]
    storage.write(round_)
    storage.rewritable(1, gather=True)
    sizes = []
    storage.rewrite(1, 1000, lambda frames: sizes.append(len(frames)) or frames[::2])

    assert sum(sizes) == 1000
    assert len(sizes) > 1
    assert len(storage._state.logs[1].segments) == 1
    assert len(offsets(storage)) == 500
    storage.close()
