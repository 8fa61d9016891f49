"""Spill: bytes that memory has no room for, in files without a name.

Files are written once, from front to back, and never synced; the system forgets them when the process ends, however
it ends. What is freed gives its space back with the whole file, so one file is kept to a small part of what
is spilled altogether: space is given back in step, and a large backlog still takes few descriptors.
"""

from __future__ import annotations

import os
from tempfile import TemporaryFile

from portask.offload import offload

FILE_BYTES = 4 * 1024 * 1024
"""A file is as large as this at least before the next one is begun."""
FILE_PARTS = 16
"""A file holds no more than one part of so many of what is spilled, beyond FILE_BYTES."""


class SpillFile:
    """One file, its bytes freed in pieces. Made by Spill."""

    __slots__ = ("_file", "_readers", "_spill", "live_bytes", "size_bytes")

    def __init__(self, spill: Spill, directory: str | None) -> None:
        """Raises OSError."""
        self._spill = spill
        self._file = TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115  # it lives as long as what it holds
        self._readers = 0
        self.live_bytes = 0
        """Bytes that were not freed."""
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Append *data* and return its position. Raises OSError; then the file is what it was."""
        position = self.size_bytes
        written = 0
        view = memoryview(data)
        while written < len(data):
            written += os.pwrite(self._file.fileno(), view[written:], position + written)
        self.size_bytes += len(data)
        self.live_bytes += len(data)
        return position

    def read(self, position: int, size_bytes: int) -> bytes:
        """The bytes at *position*, to be called between `hold` and `release`. Blocks.

        Raises OSError when they are not all there.
        """
        data = offload(os.pread, self._file.fileno(), size_bytes, position)
        if len(data) < size_bytes:
            raise OSError(f"{len(data)} of {size_bytes} bytes at {position} of a spill file")
        return data

    def hold(self) -> None:
        """Keep everything that is there now readable until `release`, freed or not."""
        self._readers += 1

    def release(self) -> None:
        """The end of a `hold`."""
        self._readers -= 1
        self._close_unused()

    def free(self, size_bytes: int) -> None:
        """Forget *size_bytes* of it; with the last of them the space is given back."""
        self.live_bytes -= size_bytes
        self._spill.freed(self, size_bytes)
        self._close_unused()

    def _close_unused(self) -> None:
        if not self.live_bytes and not self._readers:
            self._file.close()


class Spill:
    """A sequence of files, one of them written to."""

    __slots__ = ("_current", "_directory", "live_bytes")

    def __init__(self, directory: str | None) -> None:
        """Files are made in *directory*, None: where temporary files are."""
        self._directory = directory
        self._current: SpillFile | None = None
        self.live_bytes = 0
        """Bytes written and not freed."""

    def write(self, data: bytes) -> tuple[SpillFile, int]:
        """Keep *data*, at least one byte; the file and the position where it is. Raises OSError."""
        file = self._current
        if file is None:
            file = self._current = SpillFile(self, self._directory)
        position = file.write(data)
        self.live_bytes += len(data)
        if file.size_bytes >= max(FILE_BYTES, self.live_bytes // FILE_PARTS):
            self._current = None
        return file, position

    def freed(self, file: SpillFile, size_bytes: int) -> None:
        """*size_bytes* of *file* are not needed any more."""
        self.live_bytes -= size_bytes
        if file is self._current and not file.live_bytes:
            self._current = None
