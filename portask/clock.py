"""Time, as something that can be handed in.

Whatever asks for the time takes a `Clock`, so that a test can move it instead of waiting. Wall time
stamps records and may jump; monotonic time measures and never does.
"""

from __future__ import annotations

import time


class Clock:
    """The machine's clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds from some fixed moment on; never goes back."""
        return time.monotonic()


class ManualClock(Clock):
    """A clock that stands still until it is moved."""

    __slots__ = ("_monotonic", "_now_ms")

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic = 0.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on both clocks."""
        self._now_ms += round(seconds * 1000)
        self._monotonic += seconds
