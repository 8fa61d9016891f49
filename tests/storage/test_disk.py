"""The disk: reads and writes are complete."""

import os

from portask.storage.local.disk import Disk
from portask.storage.local.handles import Handles


def test_a_short_read_is_continued_to_the_end(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    disk = Disk()
    descriptor = disk.open(str(path))
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, position: read(descriptor, min(size, 7), position))

    assert disk.read(descriptor, 50, 10) == bytes(range(10, 60))
    assert disk.read(descriptor, 50, 80) == bytes(range(80, 100))
    assert disk.read(descriptor, 50, 100) == b""
    disk.close(descriptor)


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    disk = Disk()
    descriptor = disk.open(str(tmp_path / "file"), create=True)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, position: write(descriptor, data[:7], position))
    disk.write(descriptor, bytes(range(100)), 0)
    disk.close(descriptor)

    assert disk.read_file(str(tmp_path / "file")) == bytes(range(100))


def test_a_missing_directory_is_empty(tmp_path):
    assert Disk().list(str(tmp_path / "missing")) == []


def test_a_file_in_use_is_closed_when_its_user_is_done(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name)
    disk = Disk()
    handles = Handles(disk, 2)
    held = handles.hold(str(tmp_path / "a"))
    for name in "bc":
        handles.hold(str(tmp_path / name)).release()

    assert disk.read(held.descriptor, 9, 0) == b"a"
    held.release()
    handles.forget(str(tmp_path / "unknown"))
    handles.close()
