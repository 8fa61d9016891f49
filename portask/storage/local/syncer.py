"""Syncs: on the loop's thread while they are short, else in a thread of their own.

Handing a sync to a thread and hearing back wakes two threads that sleep. On a disk that syncs in
0.12 ms that costs more than the sync: 250 us of CPU for a round of one message instead of 160, and at
1,000 messages/s 95 of 100 confirms came within 2.3 ms instead of 1.2. So the disk's recent pace
decides. One long sync is enough to have the next ones done by the thread, where they hold nobody up;
several short ones bring them back.
"""

from __future__ import annotations

import time

from portask.storage.local.disk import Disk
from portask.storage.local.workers import Worker

INLINE_S = 0.0005
"""Up to this expected time a sync is made in place."""
INLINE_BYTES = 256 * 1024
"""More unsynced bytes take longer than the recent pace says."""
_FIRST_S = 0.1
"""What the first sync is expected to take: a slow disk, until it has shown otherwise."""
_WEIGHT = 1 / 8


class Syncer:
    """Syncs journal files and keeps the figures. Belongs to the loop of the thread that made it."""

    def __init__(self, disk: Disk) -> None:
        self.count = 0
        self.seconds = 0.0
        """Time that the disk took, all together."""
        self.worker = Worker()
        """The thread, for what has to follow a sync there."""
        self._disk = disk
        self._expected_s = _FIRST_S
        """What the next sync will take, by the recent ones."""

    def sync(self, descriptor: int, size_bytes: int) -> None:
        """Make a file durable of which about *size_bytes* are not. Blocks. Raises OSError."""
        # The kernel tells of lost pages once per file. While the thread may just have been told, a sync in
        # place would succeed before its caller could know.
        if self._expected_s <= INLINE_S and size_bytes <= INLINE_BYTES and not self.worker.is_busy:
            elapsed_s = self._timed(descriptor)
        else:
            elapsed_s = self.worker.run(self._timed, descriptor)
        self.count += 1
        self.seconds += elapsed_s
        if elapsed_s > self._expected_s:
            self._expected_s = elapsed_s
        else:
            self._expected_s += (elapsed_s - self._expected_s) * _WEIGHT

    def _timed(self, descriptor: int) -> float:
        started = time.monotonic()
        self._disk.sync(descriptor)
        return time.monotonic() - started

    def close(self) -> None:
        """Wait for what runs and end the thread."""
        self.worker.close()
