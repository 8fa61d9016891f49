"""Alarms: when they are on, and who hears of it."""

import pytest

from portask.alarms import DISK, MEMORY, memory_bytes, used_bytes
from portask.storage.local import LocalOptions, LocalStorage

EVERYTHING = "1000000TiB"


@pytest.fixture
def make_alarms(make_broker, tmp_path):
    """A function that starts a broker on disk with these flags, and with a file that a reload reads again."""

    def make(*lines):
        file = tmp_path / "portask.toml"
        file.write_text("\n".join(["[alarms]", *lines]))
        storage = LocalStorage(LocalOptions(directory=str(tmp_path / "data")))
        broker = make_broker(
            "--config", str(file), "--data-dir", str(tmp_path / "data"), "--alarm-interval-ms", "1", storage=storage
        )

        def change(*lines):
            file.write_text("\n".join(["[alarms]", *lines]))
            broker.reload()

        return broker.alarms, change

    return make


def test_no_alarm_is_on_where_there_is_enough(make_alarms):
    alarms, _ = make_alarms("disk_free_limit_bytes = 1")

    assert alarms.active == frozenset()
    assert alarms.used_bytes > 0
    assert alarms.free_bytes > 0


def test_too_much_memory_used_turns_an_alarm_on(make_alarms):
    alarms, _ = make_alarms("memory_high_watermark_bytes = 1", "disk_free_limit_bytes = 0")

    assert alarms.active == {MEMORY}


def test_alarms_that_are_on_are_in_what_the_broker_says_of_itself(make_broker):
    assert make_broker("--storage", "memory", "--memory-high-watermark-bytes", "1").info()["alarms"] == [MEMORY]


def test_too_little_space_turns_an_alarm_on(make_alarms):
    alarms, _ = make_alarms(f'disk_free_limit_bytes = "{EVERYTHING}"')

    assert alarms.active == {DISK}


def test_watchers_hear_of_every_change(make_alarms, wait_until):
    alarms, change = make_alarms("disk_free_limit_bytes = 0")
    heard = []
    alarms.watch(heard.append)
    change(f'disk_free_limit_bytes = "{EVERYTHING}"')
    wait_until(lambda: alarms.active == {DISK})
    change(f'disk_free_limit_bytes = "{EVERYTHING}"', "memory_high_watermark_bytes = 1")
    wait_until(lambda: alarms.active == {DISK, MEMORY})
    change("disk_free_limit_bytes = 0")
    wait_until(lambda: not alarms.active)

    assert heard == [{DISK}, {DISK, MEMORY}, frozenset()]


def test_a_directory_that_cannot_be_looked_at_does_not_end_the_looking(make_alarms, wait_until, caplog):
    alarms, change = make_alarms("disk_free_limit_bytes = 0")
    directory = alarms._settings.data_dir
    alarms._settings.data_dir = "x" * 300
    wait_until(lambda: any(record.message == "alarms cannot be looked at" for record in caplog.records))
    alarms._settings.data_dir = directory
    change(f'disk_free_limit_bytes = "{EVERYTHING}"')

    wait_until(lambda: alarms.active == {DISK})


def test_who_watches_no_more_hears_nothing(make_alarms):
    alarms, change = make_alarms("disk_free_limit_bytes = 0")
    heard = []
    alarms.watch(heard.append)
    alarms.unwatch(heard.append)
    alarms.unwatch(heard.append)
    change("memory_high_watermark_bytes = 1")
    alarms.look()

    assert alarms.active == {MEMORY}
    assert heard == []


def test_storage_in_memory_needs_no_space_on_disk(make_broker):
    alarms = make_broker("--storage", "memory", "--disk-free-limit-bytes", EVERYTHING).alarms

    assert alarms.active == frozenset()


def test_the_limit_of_memory_follows_from_the_machine(make_broker):
    alarms = make_broker("--storage", "memory").alarms

    assert used_bytes() < alarms.memory_limit_bytes < memory_bytes()
