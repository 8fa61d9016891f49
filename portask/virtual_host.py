"""Virtual hosts: a name space of exchanges, bindings and queues, and the way of a message through it.

What is durable is written before it is visible, and gone from storage before it is gone from sight. A
message follows bindings from exchange to exchange, each exchange once, and comes to each queue once; where
no binding matches it goes on to the alternate exchange. The default exchange, whose name is empty, has
no bindings: it leads to every queue by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from portask.catalog import commit
from portask.claim import Claims
from portask.errors import AccessRefusedError, NotFoundError, PortaskError, PreconditionError
from portask.exchanges.binding import Binding, Kind
from portask.exchanges.bindings import Bindings
from portask.exchanges.delay import Delay
from portask.exchanges.exchange import Done, Exchange, Route
from portask.exchanges.exchange_type import check_equivalent, check_type, make_exchange
from portask.exchanges.gathering import Gathering
from portask.exchanges.removal import Removal
from portask.exchanges.route import find_route
from portask.exchanges.row import collect_exchange
from portask.message import Record
from portask.properties import FLAG_EXPIRATION, flags_of, unpack
from portask.queues.queues import Queues
from portask.resource_name import RESERVED_PREFIX, check_unreserved, clean_name, describe

if TYPE_CHECKING:
    from portask.broker import Broker
    from portask.bus import Item

PREDECLARED = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.rabbitmq.trace": "topic",
    "amq.topic": "topic",
}

MAX_DELAYS = 256
"""Delays that are kept to be used again, so that messages of one delay that come together stay together."""


class VirtualHost:
    """One virtual host. Made by VirtualHosts."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.name = name
        self.metadata: dict[str, Any] = {}
        """What is said about it: `description`, `tags`, `default_queue_type`, where somebody has."""
        self.exchanges: dict[str, Exchange] = {}
        self.generation = 0
        """Changes with every change of exchanges, bindings, queues and policies: whoever keeps a Route compares it."""
        self.bound = Bindings(self, broker.bus)
        self._broker = broker
        self._claims = Claims()
        self._delays: dict[tuple[str, tuple[str, ...], int], Delay] = {}
        for exchange_name, type_name in PREDECLARED.items():
            self.exchanges[exchange_name] = make_exchange(
                name,
                exchange_name,
                type_name,
                broker.clock,
                durable=True,
                auto_delete=False,
                internal=exchange_name == "amq.rabbitmq.trace",
                arguments={},
            )
        self.default_exchange = self.exchanges[""]
        self.queues = Queues(broker, self)

    def topology_changed(self) -> None:
        """Let nobody use a Route that was made before."""
        self.generation += 1

    def follow_policies(self) -> None:
        """Have exchanges and queues work by the policies as they are now. Blocks while there are many queues."""
        for exchange in self.exchanges.values():
            exchange.policy = self._broker.policies.exchange_definition(self.name, exchange.name)
        self.topology_changed()
        self.queues.follow_policies()
        # Whoever has looked at a queue meanwhile may have seen it as it was before.
        self.topology_changed()

    # -- exchanges --------------------------------------------------------------------------------

    def exchange(self, name: str) -> Exchange:
        """The exchange of that name. Raises NotFoundError."""
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise NotFoundError(f"no {describe('exchange', name, self.name)}")
        return exchange

    def declare_exchange(
        self,
        name: str,
        type_name: str,
        *,
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> Exchange:
        """The exchange of that name, made if it is not there; with *passive* only looked up. Blocks until durable.

        Raises NotFoundError (passive), AccessRefusedError for the default exchange and new names with the
        reserved prefix, PreconditionError for arguments that cannot be or differ from the exchange that exists.
        """
        arguments = arguments or {}
        name = clean_name(name)
        if not passive:
            check_type(type_name)
        _refuse_default(name)
        if passive:
            return self.exchange(name)
        with self._claims.claim(name):
            while (known := self.exchanges.get(name)) is not None and known.removed is not None:
                known.removed.wait()
            made = known or make_exchange(
                self.name,
                name,
                type_name,
                self._broker.clock,
                durable=durable,
                auto_delete=auto_delete,
                internal=internal,
                arguments=arguments,
            )
            if known is None:
                check_unreserved("exchange", name)
                if durable:
                    commit(self._broker.bus, lambda round_: collect_exchange(self.name, made, round_))
                made.policy = self._broker.policies.exchange_definition(self.name, name)
                self.exchanges[name] = made
                self.topology_changed()
        if known is not None:
            check_equivalent(
                self.name,
                known,
                type_name,
                durable=durable,
                auto_delete=auto_delete,
                internal=internal,
                arguments=arguments,
            )
        return made

    def delete_exchange(self, name: str, if_unused: bool = False) -> None:
        """Have no exchange of that name, nor bindings to or from it. Blocks until durable.

        Raises AccessRefusedError for predeclared ones; PreconditionError when it is in use and must not be.
        """
        name = clean_name(name)
        _refuse_default(name)
        if name.startswith(RESERVED_PREFIX):
            raise AccessRefusedError(f"deletion of system {describe('exchange', name, self.name)} not allowed")
        with self._claims.claim(name):
            # A removal that took it along may fail; then it is still there.
            while (exchange := self.exchanges.get(name)) is not None and exchange.removed is not None:
                exchange.removed.wait()
            if exchange is None:
                return
            if if_unused and exchange.is_in_use:
                raise PreconditionError(f"{describe('exchange', name, self.name)} in use")
            self.remove(Removal(self, [exchange], ()))

    # -- bindings ---------------------------------------------------------------------------------

    def bindings(self) -> list[Binding]:
        """All bindings but the default exchange's, which nobody made."""
        return self.bound.all()

    def bind(
        self, source: str, kind: Kind, destination: str, routing_key: str, arguments: Mapping[str, Any] | None = None
    ) -> None:
        """Have messages for *source* that match go to *destination* too. Blocks until durable if both ends are.

        Raises NotFoundError, AccessRefusedError for the default exchange, PreconditionError.
        """
        self.bound.bind(source, kind, destination, routing_key, arguments)

    def unbind(
        self, source: str, kind: Kind, destination: str, routing_key: str, arguments: Mapping[str, Any] | None = None
    ) -> None:
        """Have no such binding. Blocks until durable. Raises AccessRefusedError for the default exchange."""
        self.bound.unbind(source, kind, destination, routing_key, arguments)

    def unbind_queue(self, name: str) -> Removal:
        """Begin to remove all bindings of a queue that goes; its rows go in the round of the queue's own."""
        return self.bound.unbind_queue(name)

    # -- messages ---------------------------------------------------------------------------------

    def route(self, exchange: Exchange, keys: Sequence[str], header: bytes, *, is_due: bool = False) -> Route:
        """Where a message published to *exchange* with these *keys* and content header goes.

        *keys* are the routing key and those of the headers CC and BCC. One that *is_due* is not kept back again.
        """
        return find_route(self, exchange, keys, header, is_due=is_due)

    def delay(self, exchange: Exchange, keys: Sequence[str], delay_ms: int) -> Delay:
        """Where messages wait for *delay_ms* before *exchange* routes them."""
        identity = (exchange.name, tuple(keys), delay_ms)
        delay = self._delays.get(identity)
        if delay is None:
            if len(self._delays) >= MAX_DELAYS:
                self._delays.clear()
            delay = self._delays[identity] = Delay(self._broker, self.name, exchange, keys, delay_ms)
        return delay

    def publish(
        self,
        exchange: Exchange,
        keys: Sequence[str],
        record: Record,
        done: Done,
        *,
        into: list[Item] | None = None,
    ) -> bool:
        """Give *record* to all that it is routed to; False when that is nobody, and *done* is never called then.

        For what the broker itself publishes. Blocks while the bus is full; *done* may be called before this
        returns. With one destination it raises what that raises; of several, errors go to *done*.
        """
        properties: bytes | None = None if isinstance(record, bytes) or len(record) < 5 else record[4]
        destinations = find_route(self, exchange, keys, unpack(properties)[1]).destinations
        size_bytes = len(record) if isinstance(record, bytes) else sum(map(len, filter(None, (record[0], properties))))
        expiring = bool(flags_of(properties) & FLAG_EXPIRATION)
        if len(destinations) == 1:
            destinations[0].publish([record], size_bytes, done, expiring=expiring, into=into)
            return True
        gathering = Gathering(done)
        records = [record]
        for destination in destinations:
            part = gathering.part()
            try:
                destination.publish(records, size_bytes, part, expiring=expiring, into=into)
            except PortaskError as error:
                part(error)
        if destinations:
            gathering.close()
        return bool(destinations)

    # -- removals ---------------------------------------------------------------------------------

    def remove(self, removal: Removal) -> None:
        """Have *removal* written, and make it so. Blocks."""
        try:
            if removal.is_durable:
                commit(self._broker.bus, removal.collect)
        except BaseException:
            removal.cancel()
            raise
        removal.finish()

    def forget_exchange(self, exchange: Exchange) -> None:
        """It is durably gone. For Removal."""
        del self.exchanges[exchange.name]
        if exchange.removed is not None:
            exchange.removed.set()


def _refuse_default(name: str) -> None:
    if not name:
        raise AccessRefusedError("operation not permitted on the default exchange")
