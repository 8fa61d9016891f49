"""Metrics that compare Portask with a peer, and what the operating system says about either."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import psutil

from bench.figure import Metric

MB = 1_000_000


class Side(Protocol):
    """A broker that is measured."""

    pid: int


class Comparison(NamedTuple):
    """Portask and one peer; *peer* is its word in the names of metrics, *title* its name for people."""

    peer: str
    title: str

    def metrics(
        self,
        name: str,
        text: str,
        unit: str,
        limit: float | None = None,
        *,
        at_least: bool = False,
        own_limit: float | None = None,
        target: tuple[float, float] | None = None,
    ) -> tuple[Metric, Metric, Metric]:
        """The ratio, which may have a bar, and the two measurements that it is made of.

        *own_limit* and *target* are of Portask's own measurement; see Metric.
        """
        ours, theirs = f"{name}_portask", f"{name}_{self.peer}"
        return (
            Metric(f"{name}_ratio", f"{text}, Portask's to {self.title}'s", "times", limit, at_least, (ours, theirs)),
            Metric(ours, f"{text}, Portask", unit, own_limit, at_least, target=target),
            Metric(theirs, f"{text}, {self.title}", unit),
        )

    def compare(self, name: str, found: dict[str, float], ours: str = "portask") -> dict[str, float]:
        """The values of `metrics`, from those found by side."""
        values = {f"{name}_{'portask' if side == ours else side}": value for side, value in found.items()}
        if found.get(self.peer):
            values[f"{name}_ratio"] = found[ours] / found[self.peer]
        return values


def process_tree(pid: int) -> list[psutil.Process]:
    """The process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_s(side: Side) -> float:
    """Seconds of CPU that all its processes have used."""
    times = [process.cpu_times() for process in process_tree(side.pid)]
    return sum(one.user + one.system for one in times)


def rss_mb(side: Side) -> float:
    """Resident memory of all its processes."""
    return sum(process.memory_info().rss for process in process_tree(side.pid)) / MB
