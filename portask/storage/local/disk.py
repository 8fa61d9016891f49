"""The disk: every call to the operating system that storage makes, in one place.

Reads and writes are by position and complete: a short one is continued. The crash suite puts a
simulated disk in place of this one, so storage may rest only on what is said here: what was written
to a file before `sync` began is durable when it returns; names made, renamed or removed in a
directory are durable when `sync_directory` returns; a rename is atomic; all else may or may not have
happened after a crash, page by page.
"""

from __future__ import annotations

import errno
import fcntl
import os

from portask.storage.base import Buffer

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""Errors that leave a file as it was, and pass when there is room again."""


class Disk:
    """Files by path and descriptor. Every method raises OSError when the system refuses."""

    def open(self, path: str, create: bool = False) -> int:
        """A descriptor for reading and writing; *create* makes the file or empties it."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if create else 0)
        return os.open(path, flags, 0o600)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def read(self, descriptor: int, size: int, position: int) -> bytes:
        """Up to *size* bytes; fewer only where the file ends."""
        data = os.pread(descriptor, size, position)
        if len(data) == size or not data:
            return data
        pieces = [data]
        size -= len(data)
        while size and (data := os.pread(descriptor, size, position + sum(map(len, pieces)))):
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)

    def read_file(self, path: str) -> bytes:
        """All of a file."""
        descriptor = self.open(path)
        try:
            return self.read(descriptor, self.size(path), 0)
        finally:
            self.close(descriptor)

    def replace_file(self, path: str, data: bytes) -> None:
        """Put a file that holds *data* in place of whatever is at *path*, durably and at once."""
        unfinished = f"{path}.tmp"
        descriptor = self.open(unfinished, create=True)
        try:
            self.write(descriptor, data, 0)
            self.sync(descriptor)
        finally:
            self.close(descriptor)
        self.rename(unfinished, path)
        self.sync_directory(os.path.dirname(path))

    def write(self, descriptor: int, data: Buffer, position: int) -> None:
        """All of *data*, or an error; what stands at *position* and beyond is then unknown."""
        written = self.write_some(descriptor, data, position)
        while written < len(data):
            written += self.write_some(descriptor, memoryview(data)[written:], position + written)

    def write_some(self, descriptor: int, data: Buffer, position: int) -> int:
        """Write a first part of *data*, usually all, and return its length."""
        return os.pwrite(descriptor, data, position)

    def sync(self, descriptor: int) -> None:
        """Make the file's bytes and its length durable."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def reserve(self, descriptor: int, size: int) -> None:
        """Extend the file with zeros to *size* bytes, their space allocated."""
        os.posix_fallocate(descriptor, 0, size)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted; none when it does not exist."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def make_directory(self, path: str) -> None:
        """Make a directory that only its owner can enter, and its parents, durably; it may exist already."""
        if not self.exists(path):
            parent = os.path.dirname(path)
            self.make_directory(parent)
            self.make_one_directory(path)
            self.sync_directory(parent)

    def make_one_directory(self, path: str) -> None:
        """Make a directory in one that exists."""
        os.mkdir(path, 0o700)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Give a file a new name in place of whatever had it."""
        os.rename(old, new)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def remove_directory(self, path: str) -> None:
        os.rmdir(path)

    def free_bytes(self, path: str) -> int:
        """Space left for this process on the file system that holds *path*."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def open_lock(self, path: str) -> int:
        """A descriptor of a file that is made when missing and never emptied."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def lock(self, descriptor: int) -> bool:
        """Take the file for this process until it is closed; false when another has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
