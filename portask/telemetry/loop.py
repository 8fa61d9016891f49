"""The loop monitor: how late the event loop runs, and whether systemd hears from us.

One greenlet sleeps and looks how much too late it wakes: that is how long any connection waited for
its turn. Because it only wakes when the loop turns, it is also the right place to feed the watchdog:
a broker whose loop hangs stops feeding it and is restarted.
"""

from __future__ import annotations

from collections.abc import Callable

import gevent

from portask.clock import Clock

# Half a second: twenty times a second cost 0.4 % of a core when idle, twice a second nothing measurable.
INTERVAL_S = 0.5


class LoopMonitor:
    """Measures loop lag while started. *feed* is called at every beat, or at the watchdog's pace if that is slower."""

    def __init__(self, clock: Clock, feed: Callable[[], None] | None = None, interval_s: float = INTERVAL_S) -> None:
        self.lag_s = 0.0
        """How late the last beat was."""
        self.longest_lag_s = 0.0
        """The latest beat since the start."""
        self.late_s = 0.0
        """All lags added up, so that a rate of it is the share of time in which the loop was late."""
        self.beats = 0
        self._clock = clock
        self._feed = feed
        self._interval_s = interval_s
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = "loop-monitor"

    def stop(self) -> None:
        """End the greenlet. Blocks for a moment."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None

    def _run(self) -> None:
        monotonic = self._clock.monotonic
        while True:
            due = monotonic() + self._interval_s
            gevent.sleep(self._interval_s)
            self.lag_s = max(0.0, monotonic() - due)
            self.longest_lag_s = max(self.longest_lag_s, self.lag_s)
            self.late_s += self.lag_s
            self.beats += 1
            if self._feed is not None:
                self._feed()
