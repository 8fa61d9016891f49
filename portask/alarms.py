"""Alarms: memory or disk space runs short, so publishers are to pause while consumers go on.

One greenlet looks every `alarm_interval_ms`. An alarm is on from the first look that finds too
little until the first that finds enough. What that means to a peer is its handler's business.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from portask.config import Settings

log = logging.getLogger(__name__)

MEMORY = "memory"
DISK = "disk"
_MEMORY_SHARE = 0.6
"""Of the memory that there is, where the configuration names no number."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")
_CONTROL_GROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

Watcher = Callable[[frozenset[str]], None]


class Alarms:
    """Which alarms are on. Watchers are called with all that are on whenever that changes, and must not block."""

    def __init__(self, settings: Settings) -> None:
        self.active: frozenset[str] = frozenset()
        """Some of MEMORY and DISK."""
        self.used_bytes = 0
        """Memory of this process at the last look, without what it shares with files."""
        self.free_bytes = 0
        """Space left for data at the last look."""
        self._settings = settings
        self._memory_bytes = memory_bytes()
        self._watchers: list[Watcher] = []
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Look, and go on looking every `alarm_interval_ms`."""
        self.look()
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = "alarms"

    def stop(self) -> None:
        """End the greenlet. Blocks for a moment."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None

    def watch(self, call: Watcher) -> None:
        """Have *call* called at every change from now on."""
        self._watchers.append(call)

    def unwatch(self, call: Watcher) -> None:
        """Call *call* no more; nothing happens when it is not known."""
        if call in self._watchers:
            self._watchers.remove(call)

    @property
    def memory_limit_bytes(self) -> int:
        """Memory beyond which the alarm is on."""
        return int(self._settings.memory_high_watermark_bytes or self._memory_bytes * _MEMORY_SHARE)

    def look(self) -> None:
        """Find out what is short now, and tell the watchers if that has changed."""
        self.used_bytes = used_bytes()
        active = {MEMORY} if self.used_bytes > self.memory_limit_bytes else set()
        directory = self._settings.data_dir
        # Another storage than the local one writes elsewhere, and need not have made the directory.
        if self._settings.storage == "local" and Path(directory).is_dir():
            self.free_bytes = _free_bytes(directory)
            active |= {DISK} if self.free_bytes < self._settings.disk_free_limit_bytes else set()
        if active == self.active:
            return
        fields = {"used_bytes": self.used_bytes, "free_bytes": self.free_bytes}
        for name in sorted(active ^ self.active):
            if name in active:
                log.warning("alarm on, publishers pause", extra={"alarm": name, **fields})
            else:
                log.info("alarm off", extra={"alarm": name, **fields})
        self.active = frozenset(active)
        for call in list(self._watchers):
            call(self.active)

    def _run(self) -> None:
        while True:
            gevent.sleep(self._settings.alarm_interval_ms / 1000)
            try:
                self.look()
            except Exception:  # a disk that cannot be asked now may be asked later; without this greenlet no alarm ends
                log.exception("alarms cannot be looked at")


def used_bytes() -> int:
    """Memory that this process has for itself."""
    _, resident, shared, *_ = map(int, _STATM.read_bytes().split())
    return (resident - shared) * _PAGE_BYTES


def memory_bytes() -> int:
    """Memory that this process may have: the machine's, or its control group's when that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    for path in _CONTROL_GROUP_LIMITS:
        limit = path.read_text().strip() if path.exists() else "max"
        if limit != "max":
            total = min(total, int(limit))
    return total


def _free_bytes(directory: str) -> int:
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize
