"""Originals: the first of the messages that deduplication takes for the same, until it is known whether it is stored.

A repetition is answered when its original is, and as that is: its confirm promises that the message is there. Once
the original is stored, repetitions are answered without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

from portask.errors import PortaskError, StorageError

if TYPE_CHECKING:
    from portask.bus import Item
    from portask.exchanges.deduplication import Deduplication
    from portask.exchanges.exchange import Destination, Done
    from portask.message import Record


class Original:
    """One message, or what one call brought of them, that nothing like it was before."""

    __slots__ = ("_error", "_open", "_repetitions", "_values", "repeats")

    def __init__(self) -> None:
        self.repeats: list[Original] = []
        """Those that it is a repetition of, for others who deduplicate it, and that are not stored yet."""
        self._values: list[tuple[Deduplication, Any]] = []
        self._open = 0
        """Destinations that have not answered."""
        self._error: PortaskError | None = None
        self._repetitions: list[Done] = []

    def known(self, deduplication: Deduplication, value: Any) -> None:
        """It is known there by *value* from now on."""
        self._values.append((deduplication, value))

    def expect(self) -> None:
        """One more is going to answer."""
        self._open += 1

    def answer(self, error: PortaskError | None) -> None:
        """One of those that are expected has stored it, or has not. What was not stored everywhere is forgotten."""
        self._error = self._error or error
        self._open -= 1
        if not self._open:
            self._end(is_stored=self._error is None)
            repetitions, self._repetitions = self._repetitions, []
            for done in repetitions:
                done(self._error)

    def forget(self) -> None:
        """It goes to nobody."""
        self._end(is_stored=False)

    def _end(self, *, is_stored: bool) -> None:
        for deduplication, value in self._values:
            deduplication.ended(value, self, is_stored=is_stored)

    def wait(self, done: Done) -> None:
        """Have *done* called when this is stored or not; never before this has returned."""
        if self._open:
            self._repetitions.append(done)
        else:
            gevent.get_hub().loop.run_callback(done, self._error)


class Remembered:
    """A destination of an original, which has to hear of it whether it is stored."""

    __slots__ = ("_is_answered", "destination", "original")

    def __init__(self, destination: Destination, original: Original) -> None:
        original.expect()
        self.destination = destination
        self.original = original
        self._is_answered = False

    @property
    def takes_many(self) -> bool:
        """See Destination."""
        return self.destination.takes_many

    def publish(
        self,
        records: list[Record],
        size_bytes: int,
        done: Done | None,
        *,
        expiring: bool = False,
        into: list[Item] | None = None,
    ) -> None:
        """See Destination."""

        def answer(error: PortaskError | None) -> None:
            self.original.answer(error)
            if done is not None:
                done(error)

        self._is_answered = True
        try:
            self.destination.publish(records, size_bytes, answer, expiring=expiring, into=into)
        except PortaskError as error:
            self.original.answer(error)
            raise

    def withdraw(self) -> None:
        """It is not published after all, if it is not yet."""
        if not self._is_answered:
            self._is_answered = True
            self.original.answer(StorageError("the message that this one repeats was not stored; send it again"))


class Repetition:
    """In place of a destination: for a message that is there already, or on its way."""

    __slots__ = ("_original",)
    takes_many = False

    def __init__(self, original: Original) -> None:
        self._original = original

    def publish(
        self,
        records: list[Record],
        size_bytes: int,
        done: Done | None,
        *,
        expiring: bool = False,
        into: list[Item] | None = None,
    ) -> None:
        """See Destination."""
        if done is not None:
            self._original.wait(done)
