"""Where things are in a data directory.

DIR/lock                               held by the owner, its pid inside
DIR/snapshot                           tables and logs at the end of the last moved journal file
DIR/journal/<number>.journal           rounds, newest in the highest number
DIR/logs/<log>/<base offset>.segment   frames of one log
DIR/logs/<log>/<base offset>-<generation>.segment   the same, once they were rewritten
DIR/logs/<log>/<base offset>....index  where to find them; can be rebuilt
DIR/aside/<count>-<name>               what recovery or repair took out; never removed, never read
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from portask.errors import CorruptError
from portask.storage.base import Buffer
from portask.storage.local import journal
from portask.storage.local.disk import Disk

SEGMENT_SUFFIX = ".segment"
INDEX_SUFFIX = ".index"


SegmentName = tuple[int, int]
"""Base offset and generation: how often what is in the segment was rewritten."""
_SEGMENT = re.compile(r"([0-9]+)(?:-([0-9]+))?" + re.escape(SEGMENT_SUFFIX))


class Layout:
    """The paths below one data directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory = os.path.abspath(directory)
        self.snapshot = f"{directory}/snapshot"
        self.journal = f"{directory}/journal"
        self.unfinished_journal = f"{directory}/journal/{journal.UNFINISHED}"
        self.logs = f"{directory}/logs"
        self.aside = f"{directory}/aside"

    def make(self, disk: Disk) -> None:
        """Make the directories that must be there. Raises OSError."""
        if not disk.exists(self.journal):
            # A process that was killed may have made the directory, or one above it, and not synced its name.
            path = self.directory
            while path != os.path.dirname(path):
                path = os.path.dirname(path)
                with suppress(OSError):
                    disk.sync_directory(path)
        disk.make_directory(self.journal)
        disk.make_directory(self.logs)

    def journal_file(self, number: int) -> str:
        return f"{self.journal}/{journal.file_name(number)}"

    def journal_numbers(self, disk: Disk) -> list[int]:
        """The numbers of the journal files that are there, in order."""
        return numbers(disk, self.journal, journal.SUFFIX)

    def log_directory(self, log: int) -> str:
        return f"{self.logs}/{log}"

    def segment_file(self, log: int, name: SegmentName) -> str:
        return f"{self.logs}/{log}/{_stem(name)}{SEGMENT_SUFFIX}"

    def index_file(self, log: int, name: SegmentName) -> str:
        return f"{self.logs}/{log}/{_stem(name)}{INDEX_SUFFIX}"

    def segments(self, disk: Disk, log: int) -> list[SegmentName]:
        """The segment files that are there, in order."""
        names = (_SEGMENT.fullmatch(name) for name in disk.list(self.log_directory(log)))
        return sorted((int(name[1]), int(name[2] or 0)) for name in names if name is not None)

    def log_numbers(self, disk: Disk) -> list[int]:
        """The logs that have a directory."""
        return numbers(disk, self.logs, "")

    def relative(self, path: str) -> str:
        """*path* as seen from the data directory."""
        return path.removeprefix(f"{self.directory}/")

    def damaged(self, path: str, detail: str) -> CorruptError:
        """The error for damage in a file, with the way out."""
        return CorruptError(f"{path}: {detail}; run `portask repair {self.directory}`")

    def set_aside(self, disk: Disk, name: str, data: Buffer) -> str:
        """Keep *data* in a new file of DIR/aside, durably, and return its path. Raises OSError. Blocks the thread."""
        disk.make_directory(self.aside)
        disk.sync_directory(self.directory)
        counts = [
            int(count) for count, _, _ in (old.partition("-") for old in disk.list(self.aside)) if count.isdigit()
        ]
        path = f"{self.aside}/{max(counts, default=0) + 1:06d}-{name}"
        descriptor = disk.open(path, create=True)
        try:
            disk.write(descriptor, data, 0)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        disk.sync_directory(self.aside)
        return path


def _stem(name: SegmentName) -> str:
    base_offset, generation = name
    return f"{base_offset:020d}-{generation}" if generation else f"{base_offset:020d}"


def numbers(disk: Disk, directory: str, suffix: str) -> list[int]:
    """The numbers that files with *suffix* are named by, in order."""
    stems = (name.removesuffix(suffix) for name in disk.list(directory) if name.endswith(suffix))
    return sorted(int(stem) for stem in stems if stem.isdecimal())
