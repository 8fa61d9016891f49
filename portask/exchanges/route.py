"""Routes: from an exchange along the bindings to everything that gets the message.

Each exchange is passed once, so that circles end; each destination is found once. Where nothing matches, the message
goes on to the alternate exchange, as if it had been published there. A duplicate ends where it is
recognized: it is not routed, and no alternate exchange gets it either. Who has sent it is answered when the message
that it repeats is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from portask.exchanges.delay import delay_of
from portask.exchanges.exchange import Destination, Exchange, Route
from portask.exchanges.original import Original, Remembered, Repetition
from portask.exchanges.published import Published

if TYPE_CHECKING:
    from portask.virtual_host import VirtualHost


def find_route(
    virtual_host: VirtualHost, exchange: Exchange, keys: Sequence[str], header: bytes, *, is_due: bool = False
) -> Route:
    """Where a message that is published to *exchange* with these *keys* and content header goes.

    One that *is_due* has been kept back by *exchange* and is not again; what has been known there since is the message
    itself.
    """
    message = Published(keys, header)
    first = exchange
    found: dict[Destination, None] = {}
    seen = {exchange}
    to_visit = [exchange]
    is_constant = True
    original: Original | None = None
    while to_visit:
        exchange = to_visit.pop()
        if exchange.name == "":
            queues = map(virtual_host.queues.find, keys)
            found |= dict.fromkeys(queue for queue in queues if queue is not None)
            continue
        if exchange.is_filtering:
            if exchange.deduplication is not None and not (is_due and exchange is first):
                is_constant = False
                original = original or Original()
                if not exchange.deduplication.admit(message.headers, original):
                    continue
            if exchange.is_delaying and not is_due:
                is_constant = False
                if delay_ms := delay_of(message.headers):
                    found[virtual_host.delay(exchange, keys, delay_ms)] = None
                    continue
        is_constant = is_constant and exchange.is_constant
        is_matched = False
        for binding in exchange.match(message):
            is_matched = True
            target = binding.destination
            if not isinstance(target, Exchange):
                found[target] = None
            elif target not in seen:
                seen.add(target)
                to_visit.append(target)
        if not is_matched and (name := exchange.alternate) is not None:
            alternate = virtual_host.exchanges.get(name)
            if alternate is not None and alternate not in seen:
                seen.add(alternate)
                to_visit.append(alternate)
    destinations: tuple[Destination, ...] = tuple(found)
    if original is not None:
        destinations = tuple(Remembered(destination, original) for destination in found)
        destinations += tuple(map(Repetition, original.repeats))
        if not found:
            original.forget()
    return Route(destinations, is_constant, bool(found))
