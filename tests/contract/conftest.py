"""Every storage, by name: the contract is run over each."""

import pytest

from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage


def make_memory(tmp_path):
    """Storage in memory."""
    return MemoryStorage()


def make_local(tmp_path):
    """Storage in files, all of it in one journal file."""
    return LocalStorage(LocalOptions(tmp_path / "data"))


def make_small_local(tmp_path):
    """Storage in files that are so small that most of it has been moved to segments."""
    return LocalStorage(LocalOptions(tmp_path / "data", journal_bytes=3000, segment_bytes=4000, open_files=2))


STORAGES = {"memory": make_memory, "local": make_local, "small local": make_small_local}


@pytest.fixture(params=STORAGES)
def storage(request, tmp_path):
    """An open storage."""
    storage = STORAGES[request.param](tmp_path)
    storage.open()
    yield storage
    storage.close()
