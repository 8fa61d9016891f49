"""A local storage on a disk that can be made to fail."""

import pytest

from portask.storage.local import LocalOptions, LocalStorage
from tests.storage.failing_disk import FailingDisk


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
