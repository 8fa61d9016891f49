"""What a check of a data directory finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["torn tail", "damage", "missing"]
Progress = Callable[[int, int], None]
"""Called with the bytes checked so far and the bytes to check in all."""


@dataclass(frozen=True)
class Lost:
    """Offsets of a log that are stored no more."""

    log: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    file: str
    """The path inside the data directory."""
    position: int
    kind: Kind
    detail: str
    lost: tuple[Lost, ...] = ()
    """What is known to be lost; damage may have cost more than can be told."""


@dataclass(frozen=True)
class Report:
    """The result of `verify` or `repair`."""

    directory: str
    files: int
    bytes: int
    frames: int
    rounds: int
    findings: tuple[Finding, ...]
    aside: tuple[str, ...] = ()
    """Where a repair has put what it took out, as paths inside the data directory."""

    @property
    def is_sound(self) -> bool:
        """Whether the directory opens and has lost nothing: a torn tail was never acknowledged."""
        return all(finding.kind == "torn tail" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The report in types that JSON knows."""
        return {**asdict(self), "is_sound": self.is_sound}


@dataclass
class Tally:
    """A report in the making."""

    total: int
    report_progress: Progress
    bytes: int = 0
    files: int = 0
    frames: int = 0
    rounds: int = 0
    findings: list[Finding] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)

    def add_file(self, size: int) -> None:
        """Count a file that was read."""
        self.files += 1
        self.bytes += size
        self.report_progress(min(self.bytes, self.total), self.total)

    def find(self, file: str, position: int, kind: Kind, detail: str, lost: tuple[Lost, ...] = ()) -> None:
        """Note a finding."""
        self.findings.append(Finding(file, position, kind, detail, lost))
