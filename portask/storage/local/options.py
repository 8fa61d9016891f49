"""How a local storage is to behave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SyncPolicy = Literal["always", "interval", "never"]


@dataclass(frozen=True)
class LocalOptions:
    """The settings of one data directory; none of them is written into it."""

    directory: str | Path
    sync: SyncPolicy = "always"
    """always: `sync` waits for the disk; interval: the disk is synced every so often; never: when it likes."""
    sync_interval_ms: int = 100
    journal_bytes: int = 32 * 1024 * 1024
    """Bytes of rounds in one journal file, all of them reserved when it is made."""
    journal_files: int = 4
    """Full journal files that may wait to be moved before appends wait too."""
    segment_bytes: int = 64 * 1024 * 1024
    """A segment that has reached this many bytes gets no more."""
    open_files: int = 64
    """Files kept open for reading."""
