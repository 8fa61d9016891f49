"""Removals: what goes together when an exchange, a queue or a binding goes.

An exchange takes its bindings along, those to it and those from it; so does a queue. An auto-delete exchange goes
with the last binding that leads away from it, and that may take another one along. All of this is
found at once, when the removal is made, and none of it can be bound to or declared again until it is
finished or cancelled; messages still pass meanwhile. The rows go in one round.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gevent.event import Event

from portask.exchanges.row import collect_exchange_deletion
from portask.storage.base import Round

if TYPE_CHECKING:
    from portask.exchanges.binding import Binding
    from portask.exchanges.exchange import Exchange
    from portask.virtual_host import VirtualHost


class Removal:
    """Exchanges and bindings on their way out.

    Whoever makes one has `collect` called when the round is made, then calls `finish` when that is durable, or
    `cancel` when it failed. One that is not `is_durable` needs no round.
    """

    def __init__(
        self,
        virtual_host: VirtualHost,
        exchanges: Iterable[Exchange],
        bindings: Iterable[Binding],
        queue: str | None = None,
    ) -> None:
        """*queue* is the name of the queue that goes, whose bindings these are."""
        self._virtual_host = virtual_host
        self._queue = queue
        self.exchanges: list[Exchange] = []
        self.bindings: dict[Binding, None] = {}
        for exchange in exchanges:
            self._take_exchange(exchange)
        for binding in bindings:
            self._take_binding(binding)
        # Both grow while they are walked: what goes takes more along.
        followed = 0
        while followed < len(self.exchanges):
            exchange = self.exchanges[followed]
            followed += 1
            for binding in (*exchange.bindings.values(), *exchange.incoming.values()):
                self._take_binding(binding)

    def _take_exchange(self, exchange: Exchange) -> None:
        if exchange.removed is None:
            exchange.removed = Event()
            self.exchanges.append(exchange)

    def _take_binding(self, binding: Binding) -> None:
        self.bindings[binding] = None
        binding.is_leaving = True
        if binding.source.auto_delete and not binding.source.is_in_use:
            self._take_exchange(binding.source)

    @property
    def is_durable(self) -> bool:
        """There are rows to take away."""
        return any(exchange.durable for exchange in self.exchanges) or any(
            binding.is_durable for binding in self.bindings
        )

    def collect(self, round_: Round) -> None:
        """Take the rows away with *round_*."""
        name = self._virtual_host.name
        for exchange in self.exchanges:
            if exchange.durable:
                collect_exchange_deletion(name, exchange, round_)
        for binding in self.bindings:
            if binding.is_durable:
                binding.collect_deletion(name, round_)

    def finish(self) -> None:
        """It is durable: messages no longer pass. A queue that goes must be out of its table by now."""
        for binding in self.bindings:
            self._virtual_host.bound.forget(binding)
        for exchange in self.exchanges:
            self._virtual_host.forget_exchange(exchange)
        self._end()

    def cancel(self) -> None:
        """It could not be made durable: everything stays."""
        for exchange in self.exchanges:
            removed, exchange.removed = exchange.removed, None
            if removed is not None:
                removed.set()
        for binding in self.bindings:
            binding.is_leaving = False
        self._end()

    def _end(self) -> None:
        if self._queue is not None:
            self._virtual_host.bound.leaving_queues.discard(self._queue)
        self._virtual_host.topology_changed()
