"""The lock of a data directory: one process owns it, and says who it is."""

from __future__ import annotations

import os

from portask.errors import LockedError, StorageError
from portask.storage.local.disk import Disk

NAME = "lock"
_MAX_PID_BYTES = 20


class Lock:
    """DIR/lock, held by a file lock that ends with the process, however it ends."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory
        self._descriptor = -1

    def take(self) -> None:
        """Make the directory if need be and own it. Raises LockedError, or StorageError when it cannot be written."""
        disk, directory = self._disk, self._directory
        try:
            disk.make_directory(directory)
            descriptor = disk.open_lock(f"{directory}/{NAME}")
        except OSError as error:
            raise StorageError(
                f"cannot use {directory} as data directory: {error.strerror}; "
                "make it writable for this user, or name another with --data-dir"
            ) from error
        try:
            if not disk.lock(descriptor):
                holder = disk.read(descriptor, _MAX_PID_BYTES, 0).decode("ascii", "replace").strip() or "unknown"
                raise LockedError(
                    f"{directory} is in use by process {holder}; stop it first, or name another with --data-dir"
                )
            disk.truncate(descriptor, 0)
            disk.write(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            disk.close(descriptor)
            raise StorageError(f"cannot lock {directory}: {error.strerror}") from error
        except LockedError:
            disk.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the directory up; the file stays, since removing it would race with the next owner."""
        self._disk.close(self._descriptor)
