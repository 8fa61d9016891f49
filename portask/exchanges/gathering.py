"""Gathering: one answer from the answers of several."""

from __future__ import annotations

from portask.errors import PortaskError
from portask.exchanges.exchange import Done


class Gathering:
    """Calls *done* once, when it is closed and every part has answered; with the first error, if any had one."""

    __slots__ = ("_done", "_error", "_open")

    def __init__(self, done: Done) -> None:
        self._done = done
        self._error: PortaskError | None = None
        self._open = 1

    def part(self) -> Done:
        """What one more has to call, once."""
        self._open += 1
        return self._answer

    def close(self) -> None:
        """There are no more parts to come."""
        self._answer(None)

    def _answer(self, error: PortaskError | None) -> None:
        self._error = self._error or error
        self._open -= 1
        if not self._open:
            self._done(self._error)
