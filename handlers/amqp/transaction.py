"""A transaction of a channel: what was published and settled since the last commit, done as one round or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gevent.event import AsyncResult

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from handlers.amqp.confirm import Group
    from portask.bus import Item
    from portask.errors import PortaskError

COMMIT_IDS = (90, 20)


class Transaction:
    """What waits for tx.commit."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._groups: list[Group] = []
        self._settled: list[tuple[int, bool, str]] = []
        self._returns: list[Callable[[], None]] = []

    def publish(self, groups: Iterable[Group]) -> None:
        """Keep *groups*."""
        self._groups += groups

    def settle(self, tag: int, multiple: bool, verb: str) -> None:
        """Keep an ack, a nack or a reject."""
        self._settled.append((tag, multiple, verb))

    def give_back(self, send: Callable[[], None]) -> None:
        """Keep the return of a message that goes nowhere."""
        self._returns.append(send)

    def rollback(self) -> None:
        """Forget everything: what was to be settled is as it was."""
        self._groups, self._settled, self._returns = [], [], []

    def commit(self) -> None:
        """Do everything. Blocks until it is durable. Raises what kept it from that."""
        groups, settled, returns = self._groups, self._settled, self._returns
        self.rollback()
        channel = self._channel
        items: list[Item] = []
        waiting = _Answers()
        for group in groups:
            for destination in group.destinations:
                waiting.expect()
                destination.publish(group.records, group.size_bytes, waiting.done, expiring=group.expiring, into=items)
        for tag, multiple, verb in settled:
            channel.settle(channel.take(tag, multiple, COMMIT_IDS), verb, items if verb == "ack" else None)
        if items:
            channel.connection.broker.bus.put_all(items)
        waiting.wait()
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
        self._error = self._error or error
        self._open -= 1
        if not self._open:
            self._all.set(None)

    def wait(self) -> None:
        """Blocks until all have answered. Raises the first error."""
        self.done(None)
        self._all.get()
        if self._error is not None:
            raise self._error
