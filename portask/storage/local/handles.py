"""Open files: a bounded number of them, none closed while somebody reads or syncs it."""

from __future__ import annotations

from portask.storage.local.disk import Disk


class Handle:
    """A descriptor that is closed when the last of its users lets it go."""

    __slots__ = ("_disk", "_users", "descriptor")

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk = disk
        self._users = 1
        self.descriptor = descriptor

    def hold(self) -> Handle:
        """One user more."""
        self._users += 1
        return self

    def release(self) -> None:
        """One user less."""
        self._users -= 1
        if not self._users:
            self._disk.close(self.descriptor)


class Handles:
    """The files that were read last, by path."""

    def __init__(self, disk: Disk, limit: int) -> None:
        self._disk = disk
        self._limit = limit
        self._open: dict[str, Handle] = {}

    def hold(self, path: str) -> Handle:
        """The file at *path*, to be released by the caller. Raises OSError, FileNotFoundError above all."""
        handle = self._open.pop(path, None)
        if handle is None:
            handle = Handle(self._disk, self._disk.open(path))
            while len(self._open) >= self._limit:
                self.forget(next(iter(self._open)))
        self._open[path] = handle
        return handle.hold()

    def forget(self, path: str) -> None:
        """Close the file at *path*, now or when its users are done; for files about to go, too."""
        handle = self._open.pop(path, None)
        if handle is not None:
            handle.release()

    def close(self) -> None:
        """Close all."""
        while self._open:
            self.forget(next(iter(self._open)))
