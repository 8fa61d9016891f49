"""An answer that a member waits for: to its join, until all have joined; to its sync, until the leader has spoken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from gevent.event import Event

from portask.errors import CoordinatorUnavailableError, PortaskError

T = TypeVar("T")
Wait = Callable[[Event, float], bool]
"""Waits for an event for so many seconds; False when it was not set, or when nobody needs the answer any more."""

LONGEST_WAIT_S = 7 * 24 * 3600.0
"""Beyond every timeout that a member can ask for. The group answers all who wait, by its own deadlines."""


class Answer(Generic[T]):
    """A value or an error that comes once; whatever comes after it changes nothing."""

    __slots__ = ("_error", "_value", "event")

    def __init__(self) -> None:
        self.event = Event()
        self._value: T | None = None
        self._error: PortaskError | None = None

    @property
    def is_given(self) -> bool:
        """Whether the answer is there."""
        return bool(self.event.is_set())

    def give(self, value: T) -> None:
        """Answer with *value*."""
        if not self.event.is_set():
            self._value = value
            self.event.set()

    def refuse(self, error: PortaskError) -> None:
        """Answer with *error*."""
        if not self.event.is_set():
            self._error = error
            self.event.set()

    def get(self, wait: Wait) -> T:
        """The value. Blocks; raises the error.

        Raises CoordinatorUnavailableError when *wait* gave up: the connection ends, and nobody reads that.
        """
        if not self.event.is_set() and not wait(self.event, LONGEST_WAIT_S):
            raise CoordinatorUnavailableError("the connection has ended")
        if self._error is not None:
            raise self._error
        assert self._value is not None
        return self._value
