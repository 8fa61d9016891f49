"""The reaper: ends what has waited too long, without a timer for each thing that waits.

Every group has at most one place in a heap, by the earliest of its deadlines. A heartbeat moves its
member's deadline and nothing else; when the group's turn comes, it says when the next one is.
"""

from __future__ import annotations

import logging
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from portask.coordinator.group import Group

if TYPE_CHECKING:
    from portask.clock import Clock

log = logging.getLogger(__name__)

NEVER = float("inf")


class Reaper:
    """Owns the greenlet that calls groups at their deadlines."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Group]] = []
        self._number = count()
        self._earlier = Event()
        self._stopped = False
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to work."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = "group reaper"

    def stop(self) -> None:
        """End the greenlet. Blocks."""
        self._stopped = True
        self._earlier.set()
        if self._greenlet is not None:
            self._greenlet.join()

    def wake(self, group: Group, deadline: float) -> None:
        """Have `group.tick` called at *deadline* at the latest."""
        if deadline < group.wake_at:
            group.wake_at = deadline
            heappush(self._heap, (deadline, next(self._number), group))
            if self._heap[0][2] is group:
                self._earlier.set()

    def tick(self) -> None:
        """Call every group whose deadline has come."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            deadline, _, group = heappop(self._heap)
            # A group that was to be called earlier has left this place behind.
            if deadline != group.wake_at:
                continue
            group.wake_at = NEVER
            self.wake(group, self._after(group, now))

    def _after(self, group: Group, now: float) -> float:
        try:
            return group.tick(now)
        except Exception:  # one group's mistake must not keep the deadlines of all others
            log.exception("group failed at its deadline", extra={"group": group.id})
            return now + 1

    def _run(self) -> None:
        while not self._stopped:
            left_s = self._heap[0][0] - self._clock.monotonic() if self._heap else None
            if left_s is None or left_s > 0:
                self._earlier.wait(left_s)
            self._earlier.clear()
            if not self._stopped:
                self.tick()
