"""The seal at the end of a full journal file, which says that there is another."""

import pytest

from portask.errors import CorruptError
from portask.storage.base import Append, Round
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.local.check import repair, verify
from portask.storage.local.journal import UNFINISHED


@pytest.fixture
def options(tmp_path):
    return LocalOptions(tmp_path / "data", journal_bytes=2000, journal_files=100)


def run(options, count=0):
    """Open the storage, append so many messages without moving any, and return all that it holds."""
    storage = LocalStorage(options)
    storage.open()
    storage._mover.stop()
    for _ in range(count):
        round_ = Round()
        round_.appends.append(Append(1, storage.bounds(1).next_offset, 1, 0, [bytes(300)]))
        storage.write(round_)
    storage.sync()
    found = [frame.base_offset for frame in storage.read(1, 0, 1 << 20)]
    storage.close()
    return found


def test_the_loss_of_the_newest_file_is_damage(options):
    run(options, 18)
    newest = max((options.directory / "journal").iterdir())
    newest.unlink()

    with pytest.raises(CorruptError, match=f"{newest.name}: the file is missing"):
        run(options)
    (finding,) = verify(str(options.directory)).findings
    assert (finding.kind, finding.file) == ("missing", f"journal/{newest.name}")
    repair(str(options.directory))
    assert verify(str(options.directory)).is_sound
    assert run(options) == list(range(15))


def test_a_sealed_file_whose_successor_is_unfinished_is_written_on(options):
    run(options, 18)
    newest = max((options.directory / "journal").iterdir())
    newest.rename(newest.with_name(UNFINISHED))

    assert verify(str(options.directory)).findings == ()
    assert run(options, 9) == list(range(24))
    assert run(options) == list(range(24))
