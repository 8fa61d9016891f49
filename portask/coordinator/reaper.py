"""The reaper: ends what has waited too long, without a timer for each thing that waits.

Whoever waits has at most one place in a heap, by the earliest of its deadlines. A heartbeat moves its
member's deadline and nothing else; when the group's turn comes, it says when the next one is.
"""

from __future__ import annotations

import logging
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import Event

if TYPE_CHECKING:
    from portask.clock import Clock

log = logging.getLogger(__name__)

NEVER = float("inf")


class Mortal(Protocol):
    """What has deadlines: a group, or a queue."""

    id: str
    """How the log names it."""
    wake_at: float
    """When it is to be called; NEVER to begin with. Kept by the reaper."""

    def tick(self, now: float) -> float:
        """Do what is due at *now*, on the monotonic clock, and return when the next thing is. Must not block."""


class Reaper:
    """Owns the greenlet that calls them at their deadlines."""

    def __init__(self, clock: Clock, what: str = "group") -> None:
        """*what* they are, for the log."""
        self._what = what
        self._clock = clock
        self._heap: list[tuple[float, int, Mortal]] = []
        self._forgotten = 0
        """Places in it, at most, of those that are gone."""
        self._number = count()
        self._earlier = Event()
        self._stopped = False
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to work."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = f"{self._what} reaper"

    def stop(self) -> None:
        """End the greenlet. Blocks."""
        self._stopped = True
        self._earlier.set()
        if self._greenlet is not None:
            self._greenlet.join()

    def wake(self, mortal: Mortal, deadline: float) -> None:
        """Have `mortal.tick` called at *deadline* at the latest."""
        if deadline < mortal.wake_at:
            mortal.wake_at = deadline
            heappush(self._heap, (deadline, next(self._number), mortal))
            if self._heap[0][2] is mortal:
                self._earlier.set()

    def forget(self, mortal: Mortal) -> None:
        """Call *mortal*, which is gone, no more. Its place goes with those of others, when they are half of all."""
        if mortal.wake_at == NEVER:
            return
        mortal.wake_at = NEVER
        self._forgotten += 1
        if self._forgotten * 2 > len(self._heap):
            self._heap = [place for place in self._heap if place[0] == place[2].wake_at]
            heapify(self._heap)
            self._forgotten = 0

    def tick(self) -> None:
        """Call all whose deadline has come."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            deadline, _, mortal = heappop(self._heap)
            # One that was to be called earlier has left this place behind.
            if deadline != mortal.wake_at:
                continue
            mortal.wake_at = NEVER
            self.wake(mortal, self._after(mortal, now))

    def _after(self, mortal: Mortal, now: float) -> float:
        try:
            return mortal.tick(now)
        except Exception:  # the mistake of one must not keep the deadlines of all others
            log.exception("%s failed at its deadline", self._what, extra={self._what: mortal.id})
            return now + 1

    def _run(self) -> None:
        while not self._stopped:
            left_s = self._heap[0][0] - self._clock.monotonic() if self._heap else None
            if left_s is None or left_s > 0:
                self._earlier.wait(left_s)
            self._earlier.clear()
            if not self._stopped:
                self.tick()
