"""Volatile partitions: what is in memory, what is spilled, and that both are freed."""

import errno
import os
from pathlib import Path

import pytest

from portask import spill as spill_module
from portask.config import load_settings
from portask.errors import StorageError, StorageFullError, UnknownTopicError
from portask.topic import Topic, TopicConfig
from portask.volatile import VolatileMemory, VolatilePartition

LIMIT = 1024 * 1024


@pytest.fixture
def settings(tmp_path):
    return load_settings(["--data-dir", str(tmp_path), "--volatile-memory-bytes", str(LIMIT)], {}, ())


@pytest.fixture
def memory(settings):
    return VolatileMemory(settings)


@pytest.fixture
def make_partition(settings, memory):
    made = []

    def make(number=0):
        topic = Topic("replies", "0" * 32, TopicConfig(settings, {}), 0)
        made.append(VolatilePartition(topic, number, memory))
        return made[-1]

    yield make
    for partition in made:
        partition.close()


@pytest.fixture
def partition(make_partition):
    return make_partition()


def open_files(directory):
    """The spill files that are open: without a name, in *directory*."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return [link for link in links if link.startswith(str(directory)) and link.endswith("(deleted)")]


def fill(partition, appends, first=0, size=10_000):
    for number in range(first, first + appends):
        partition.append([b"%08d" % number + bytes(size)], size + 8, 1000 + number)


def read_all(partition, offset=0):
    numbers = []
    while runs := partition.read_runs(offset, 100_000):
        for base_offset, timestamp, records in runs:
            assert base_offset == offset
            numbers += [int(record[:8]) for record in records]
            assert timestamp == 1000 + numbers[-len(records)]
            offset += len(records)
    assert offset == partition.written_offset
    return numbers


class TestMemory:
    """As long as it suffices."""

    def test_what_is_appended_is_there_at_once(self, partition):
        assert partition.append([b"a", (b"b", b"key")], 5, 7) == 0
        assert partition.append([b"c"], 1, 8) == 2

        assert partition.read_runs(0, 1000) == [(0, 7, [b"a", (b"b", b"key")]), (2, 8, [b"c"])]
        assert partition.written_offset == partition.high_watermark == 3

    def test_reading_begins_in_the_middle_of_an_append(self, partition):
        partition.append([b"a", b"b", b"c"], 3, 7)

        assert partition.read_runs(2, 1000) == [(2, 7, [b"c"])]

    def test_a_read_is_bounded_in_bytes_but_brings_one_append(self, partition):
        fill(partition, 5)

        assert len(partition.read_runs(0, 25_000)) == 2
        assert len(partition.read_runs(3, 1)) == 1

    def test_nothing_is_read_at_the_end(self, partition):
        partition.append([b"a"], 1, 7)

        assert partition.read_runs(1, 1000) == []

    def test_trimming_frees_the_appends_that_lie_before(self, partition, memory):
        partition.append([b"a", b"b"], 2, 7)
        partition.append([b"c"], 1, 8)
        used = memory.used_bytes

        partition.trimmed(1)
        assert (partition.log_start_offset, memory.used_bytes) == (1, used)
        assert partition.read_runs(0, 1000)[0] == (1, 7, [b"b"])

        partition.trimmed(3)
        assert memory.used_bytes == 0

    def test_trimming_back_changes_nothing(self, partition):
        fill(partition, 3)
        partition.trimmed(2)
        partition.trimmed(1)

        assert partition.log_start_offset == 2

    def test_many_trims_leave_what_follows_readable(self, partition):
        fill(partition, 1000, size=10)
        for offset in range(1, 900):
            partition.trimmed(offset)
            assert partition.read_runs(offset, 1)[0].base_offset == offset

        assert read_all(partition, 899) == list(range(899, 1000))

    def test_a_time_is_found_among_what_is_in_memory(self, partition):
        fill(partition, 3)

        assert [partition.find_time(time) for time in (0, 1001, 1003)] == [0, 1, 3]

    def test_a_watcher_learns_of_appends_trims_and_the_end(self, partition):
        calls = []
        call = lambda: calls.append(1)  # noqa: E731  # the same one is to be taken back
        partition.watch(call)
        fill(partition, 2)
        partition.trimmed(1)
        partition.close()
        partition.unwatch(call)

        assert len(calls) == 4

    def test_closing_frees_everything_and_refuses_appends(self, partition, memory):
        fill(partition, 3)
        partition.close()
        partition.close()

        assert memory.used_bytes == 0
        assert partition.read_runs(0, 1000) == []
        with pytest.raises(UnknownTopicError):
            partition.append([b"x"], 1, 7)


class TestSpill:
    """What memory has no room for."""

    def test_memory_stays_within_its_bound_and_order_is_kept(self, partition, memory):
        fill(partition, 500)

        assert memory.used_bytes <= LIMIT
        assert partition.spilled_bytes > 3_000_000
        assert read_all(partition) == list(range(500))

    def test_records_of_all_shapes_come_back_equal(self, partition):
        records = [b"plain", [b"body", b"key", None, None, b"properties"], [None, b"key", ["name", b"v"], 5]]
        partition.append(records, 40, 7)
        partition.append([b"same moment"], 11, 7)
        fill(partition, 200)

        assert partition.read_runs(0, 1)[0] == (0, 7, [*records, b"same moment"])
        assert partition.read_runs(2, 1)[0] == (2, 7, [records[2], b"same moment"])

    def test_a_read_goes_from_disk_on_to_memory(self, partition):
        fill(partition, 300)
        partition.trimmed(120)

        assert read_all(partition, 120) == list(range(120, 300))

    def test_spill_files_have_no_name_and_lie_in_the_data_directory(self, partition, tmp_path):
        fill(partition, 300)

        assert len(open_files(tmp_path)) == 1
        assert list(tmp_path.iterdir()) == []

    def test_trimming_gives_the_space_on_disk_back(self, partition, tmp_path, monkeypatch):
        monkeypatch.setattr(spill_module, "FILE_BYTES", 256 * 1024)
        fill(partition, 500)
        files = len(open_files(tmp_path))
        assert files >= 8

        partition.trimmed(250)
        assert files * 0.3 < len(open_files(tmp_path)) < files * 0.7

        partition.trimmed(500)
        assert open_files(tmp_path) == []
        assert partition.spilled_bytes == 0

    def test_closing_gives_the_space_on_disk_back(self, partition, tmp_path):
        fill(partition, 300)
        partition.close()

        assert open_files(tmp_path) == []

    def test_the_partition_that_holds_most_spills(self, make_partition):
        idle, busy = make_partition(0), make_partition(1)
        fill(idle, 101)
        for number in range(200):
            fill(busy, 1, number)
            busy.trimmed(number)

        assert idle.spilled_bytes > 0
        assert busy.spilled_bytes == 0

    def test_many_small_partitions_share_a_file(self, make_partition, memory, tmp_path):
        partitions = [make_partition(number) for number in range(300)]
        for partition in partitions:
            fill(partition, 3, size=2000)

        assert memory.used_bytes <= LIMIT
        assert len(open_files(tmp_path)) == 1
        assert all(read_all(partition) == [0, 1, 2] for partition in partitions)
        for partition in partitions:
            partition.close()
        assert open_files(tmp_path) == []

    def test_an_append_larger_than_all_memory_is_taken(self, partition):
        fill(partition, 1, size=2 * LIMIT)
        fill(partition, 1, 1)

        assert read_all(partition) == [0, 1]

    def test_more_memory_after_a_reload_is_used(self, partition, settings, memory):
        memory.limit_bytes = 10 * LIMIT
        fill(partition, 300)

        assert partition.spilled_bytes == 0

    def test_a_block_that_is_freed_while_it_is_read_is_still_read(self, partition, monkeypatch):
        fill(partition, 300)
        read = spill_module.offload

        def trim_first(function, *args):
            partition.close()
            return read(function, *args)

        monkeypatch.setattr(spill_module, "offload", trim_first)

        assert [int(run.records[0][:8]) for run in partition.read_runs(0, 200_000)][:3] == [0, 1, 2]

    def test_files_go_where_temporary_files_are_when_nothing_is_stored(self, tmp_path):
        memory = VolatileMemory(load_settings(["--storage", "memory", "--data-dir", str(tmp_path)], {}, ()))

        assert memory.directory is None


class TestFullDisk:
    """The disk takes no more."""

    def test_an_append_that_needs_room_is_refused_and_changes_nothing(self, partition, memory, monkeypatch):
        fill(partition, 90)
        before = partition.written_offset, memory.used_bytes

        def refuse(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(spill_module.os, "pwrite", refuse)
            with pytest.raises(StorageFullError, match="No space left"):
                fill(partition, 50, 90)
        appended = partition.written_offset
        assert appended - before[0] < 50
        assert memory.used_bytes <= LIMIT

        fill(partition, 100, appended)
        assert read_all(partition) == list(range(appended + 100))

    def test_a_file_that_lost_its_bytes_is_an_error_of_storage(self, partition):
        fill(partition, 300)
        os.ftruncate(partition._blocks[0].file._file.fileno(), 10)

        with pytest.raises(StorageError, match="offset 0"):
            partition.read_runs(0, 1000)
