"""Confirms: which publishes of a channel are safe, told in order and in as few frames as order allows.

Messages are numbered from 1 on, from confirm.select. Those that one read of the socket brought are one
`Publication`, made of `Group`s that go to the same queues; publications are confirmed from the oldest on, so
that an ack may always say "and all before". A message that was refused is told of by a nack, and no ack ever
reaches across it or across one that is still open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import gevent

from portask.errors import PortaskError, UnknownTopicError
from portask.exchanges.original import Remembered

if TYPE_CHECKING:
    from portask.exchanges.exchange import Destination
    from portask.message import Record


class Confirm(NamedTuple):
    """One answer to a publisher: up to which number, whether all before it too, whether it is an ack."""

    number: int
    is_multiple: bool
    is_ack: bool


class Group:
    """Messages that go to the same queues, in order."""

    __slots__ = ("destinations", "expiring", "failed", "open", "publication", "records", "size_bytes")

    def __init__(self, destinations: tuple[Destination, ...]) -> None:
        self.destinations = destinations
        self.records: list[Record] = []
        self.size_bytes = 0
        self.expiring = False
        """Whether any has an expiration of its own."""
        self.open = 0
        """Queues that have not answered yet."""
        self.failed = False
        self.publication: Publication | None = None

    def done(self, error: PortaskError | None) -> None:
        """One queue has answered. Never blocks."""
        self.open -= 1
        # A message for a queue that is deleted meanwhile is confirmed: there was nothing more to be done with it.
        if error is not None and not isinstance(error, UnknownTopicError):
            self.failed = True
        if not self.open and self.publication is not None:
            self.publication.group_done()

    def withdraw(self) -> None:
        """What of it has not been published yet is not going to be."""
        for destination in self.destinations:
            if isinstance(destination, Remembered):
                destination.withdraw()


class Publication:
    """What one read of the socket brought, in runs of messages of one group."""

    __slots__ = ("_confirms", "last", "open", "runs")

    def __init__(self, confirms: Confirms, last: int, runs: Sequence[tuple[Group, int]]) -> None:
        self._confirms = confirms
        self.last = last
        """The number of the last message."""
        self.runs = runs
        groups = {id(group): group for group, _ in runs}.values()
        for group in groups:
            group.publication = self
        self.open = sum(1 for group in groups if group.open)
        """Groups that are not answered for yet."""

    def group_done(self) -> None:
        """One group is answered for by all its queues."""
        self.open -= 1
        if not self.open:
            self._confirms.settled()


class Confirms:
    """The confirms of one channel."""

    def __init__(self, tell: Callable[[list[Confirm]], None]) -> None:
        """*tell* sends what is to be said, and must not block."""
        self._tell = tell
        self._waiting: deque[Publication] = deque()
        self._published = 0
        self._told = 0
        self._is_scheduled = False

    def add(self, runs: Sequence[tuple[Group, int]]) -> None:
        """Number the messages of *runs*, before any of their groups can be answered for."""
        self._published += sum(count for _, count in runs)
        publication = Publication(self, self._published, runs)
        self._waiting.append(publication)
        if not publication.open:
            self.settled()

    def settled(self) -> None:
        """Some publication is complete: tell what can be told when everyone whose round is safe has said so."""
        if not self._is_scheduled and self._waiting and not self._waiting[0].open:
            self._is_scheduled = True
            # The answers of one round come one after the other: they are told together.
            gevent.get_hub().loop.run_callback(self._tell_all)

    def _tell_all(self) -> None:
        self._is_scheduled = False
        confirms: list[Confirm] = []
        acked = told = self._told
        while self._waiting and not self._waiting[0].open:
            publication = self._waiting.popleft()
            if not any(group.failed for group, _ in publication.runs):
                acked = publication.last
                continue
            for group, count in publication.runs:
                if group.failed:
                    if acked > told:
                        confirms.append(Confirm(acked, acked - told > 1, is_ack=True))
                    acked += count
                    confirms.append(Confirm(acked, count > 1, is_ack=False))
                    told = acked
                else:
                    acked += count
        if acked > told:
            confirms.append(Confirm(acked, acked - told > 1, is_ack=True))
        self._told = acked
        if confirms:
            self._tell(confirms)
