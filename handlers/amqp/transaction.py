"""A transaction of a channel: what was published and settled since the last commit, done as one round or not at all.

A tag that is settled is taken at once, so that it cannot be settled twice; a rollback puts it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import gevent
from gevent.event import AsyncResult

from portask.bus import Change
from portask.errors import PortaskError, UnknownTopicError

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from handlers.amqp.confirm import Group
    from handlers.amqp.unsettled import Settled
    from portask.bus import Item


class Transaction:
    """What waits for tx.commit."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._groups: list[Group] = []
        self._settled: list[tuple[list[Settled], str]] = []
        self._returns: list[Callable[[], None]] = []

    def publish(self, groups: Iterable[Group]) -> None:
        """Keep *groups*."""
        self._groups += groups

    def settle(self, settled: list[Settled], verb: str) -> None:
        """Keep an ack, a nack or a reject."""
        self._settled.append((settled, verb))

    def give_back(self, send: Callable[[], None]) -> None:
        """Keep the return of a message that goes nowhere."""
        self._returns.append(send)

    def rollback(self) -> None:
        """Forget everything: what was to be settled is as it was."""
        taken = [one for settled, _ in self._settled for one in settled]
        self.withdraw()
        self._groups, self._settled, self._returns = [], [], []
        self._channel.unsettled.put_back(taken)

    def withdraw(self) -> None:
        """What was published is not going to be stored."""
        for group in self._groups:
            group.withdraw()

    def commit(self) -> None:
        """Do everything. Blocks until it is durable. Raises what kept it from that."""
        groups, settled, returns = self._groups, self._settled, self._returns
        self._groups, self._settled, self._returns = [], [], []
        channel = self._channel
        items: list[Item] = []
        answers = _Answers()
        try:
            for group in groups:
                for destination in group.destinations:
                    answers.expect()
                    destination.publish(
                        group.records, group.size_bytes, answers.done, expiring=group.expiring, into=items
                    )
            if not all(destination.takes_many for group in groups for destination in group.destinations):
                # A queue that is full says so in the loop's next turn: nothing else may be on its way then.
                gevent.sleep(0)
                answers.check()
            for taken, verb in settled:
                if verb == "ack":
                    channel.settle(taken, verb, items)
            if items:
                answers.expect()
                items.append(Change(_nothing, lambda change: answers.done(change.error)))
                channel.connection.broker.bus.put_all(items)
        except PortaskError as error:
            # Those who count on their items learn that there will be no round; acked messages go back.
            for group in groups:
                group.withdraw()
            for item in items:
                item.error = error
                item.done(item)  # type: ignore[arg-type]  # each kind of item is answered with itself
            raise
        answers.wait()
        for taken, verb in settled:
            if verb != "ack":
                channel.settle(taken, verb)
        for send in returns:
            send()


class _Answers:
    """Waits for the answers of several queues."""

    def __init__(self) -> None:
        self._open = 1
        self._error: PortaskError | None = None
        self._all = AsyncResult()

    def expect(self) -> None:
        self._open += 1

    def done(self, error: PortaskError | None) -> None:
        # A message for a queue that is deleted meanwhile is done with.
        if not isinstance(error, UnknownTopicError):
            self._error = self._error or error
        self._open -= 1
        if not self._open:
            self._all.set(None)

    def check(self) -> None:
        """Raise the first error that there has been."""
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Blocks until all have answered. Raises the first error."""
        self.done(None)
        self._all.get()
        self.check()


def _nothing(_: object) -> None:
    """A change that changes nothing: it is durable when the rest of its round is."""
