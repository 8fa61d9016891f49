"""A figure: what is measured, and the bars that it has to reach."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench.broker import Broker
from bench.load import Load


class Metric(NamedTuple):
    """One number of a figure. Without a limit it only stands beside those that have one."""

    name: str
    text: str
    unit: str
    limit: float | None = None
    at_least: bool = False
    of: tuple[str, ...] = ()
    """Metrics that it was computed from; they stand beside it in the table."""
    target: tuple[float, float] | None = None
    """From what to what the fastest known broker went, measured elsewhere: no bar, but what comes next."""

    def is_met(self, value: float) -> bool:
        """Whether *value* reaches the limit, which must be there."""
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def bar(self) -> str:
        """The limit as a person writes it."""
        if self.limit is None:
            return ""
        return f"{'>=' if self.at_least else '<='} {self.limit:,g} {self.unit}".rstrip()


class Sample(NamedTuple):
    """What one repetition brought."""

    metrics: dict[str, float | list[float]]
    raw: dict[str, Any]
    lacks: str = ""
    """Why something that has a bar is not among the metrics."""


class Figure(NamedTuple):
    """One thing to measure, by its name on the command line."""

    name: str
    text: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Bench], Sample]
    repetitions: int
    quick_repetitions: int
    group: str = ""
    """Figures of one group are measured in one run, on the same brokers."""


class Bench:
    """What a measurement gets: the load, whether to be quick, and brokers in a place of their own."""

    def __init__(self, load: Load, scratch: Path, quick: bool) -> None:
        self.load = load
        self.quick = quick
        self.scratch = scratch
        self._kept: dict[str, tuple[ExitStack, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._kept):
            self.drop(name)

    def keep(self, name: str, make: Callable[[], AbstractContextManager[Any]]) -> Any:
        """What *make* brought when *name* was first asked for; entered then, left when the run ends."""
        if name not in self._kept:
            with ExitStack() as stack:
                made = stack.enter_context(make())
                self._kept[name] = stack.pop_all(), made
        return self._kept[name][1]

    def kept(self, name: str) -> Any:
        """What is kept under *name*, or None."""
        return self._kept.get(name, (None, None))[1]

    def drop(self, name: str) -> None:
        """Leave what is kept under *name*."""
        self._kept.pop(name)[0].close()

    def choose(self, full: int, quick: int) -> int:
        """*full*, or *quick* where there is little time."""
        return quick if self.quick else full

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """A path for a data directory that does not exist yet and is removed afterwards."""
        path = Path(tempfile.mkdtemp(prefix="data-", dir=self.scratch))
        try:
            yield path / "data"
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def broker(self, *flags: str, prefix: tuple[str, ...] = ()) -> Iterator[Broker]:
        """A running broker on an empty directory."""
        with self.directory() as directory, Broker(directory, *flags, prefix=prefix) as broker:
            yield broker
