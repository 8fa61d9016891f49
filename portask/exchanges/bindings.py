"""The bindings of one virtual host: made, found, removed and restored.

A binding is registered before its row is written, so that whatever removes one of its ends finds it and
takes it along; messages go along it when it is durable. Between two ends that are not both durable
that is at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portask.catalog import commit
from portask.claim import Claims
from portask.errors import AccessRefusedError, NotFoundError
from portask.exchanges.binding import Binding, Identity, Kind, Target, identify
from portask.exchanges.exchange import Exchange
from portask.exchanges.removal import Removal
from portask.resource_name import clean_name, describe

if TYPE_CHECKING:
    from portask.bus import Bus
    from portask.virtual_host import VirtualHost


class Bindings:
    """All bindings but those of the default exchange, which nobody makes."""

    def __init__(self, virtual_host: VirtualHost, bus: Bus) -> None:
        self.leaving_queues: set[str] = set()
        """Names of queues whose removal is not durable yet: nothing can be bound to them."""
        self._virtual_host = virtual_host
        self._bus = bus
        self._claims = Claims()
        self._to_queues: dict[str, dict[Identity, Binding]] = {}

    def all(self) -> list[Binding]:
        """Those that messages go along, by source."""
        exchanges = self._virtual_host.exchanges.values()
        return [binding for exchange in exchanges for binding in exchange.bindings.values() if binding.is_active]

    def to_queue(self, name: str) -> list[Binding]:
        """Those that lead to the queue of that name."""
        return list(self._to_queues.get(name, {}).values())

    # -- making -----------------------------------------------------------------------------------

    def bind(
        self, source: str, kind: Kind, destination: str, routing_key: str, arguments: Mapping[str, Any] | None
    ) -> None:
        """As VirtualHost.bind."""
        identity, arguments = _identify(source, kind, destination, routing_key, arguments)
        with self._claims.claim(identity):
            exchange, target = self._ends(identity)
            exchange.check_binding(routing_key, arguments)
            if identity in exchange.bindings:
                return
            binding = self._register(Binding(identity, exchange, target, arguments))
            try:
                if binding.is_durable:
                    commit(self._bus, lambda round_: binding.collect(self._virtual_host.name, round_))
                if binding.is_leaving:
                    # One of the ends was deleted meanwhile; usually it can be said which.
                    self._ends(identity)
                    raise NotFoundError(f"no {describe(kind, identity.destination, self._virtual_host.name)}")
            except BaseException:
                self.forget(binding)
                raise
            self._activate(binding)

    def restore(self, identity: Identity, arguments: Mapping[str, Any]) -> bool:
        """Make a stored binding again; False when one of its ends is not there."""
        exchange = self._virtual_host.exchanges.get(identity.source)
        target = self._find(identity)
        if exchange is None or target is None:
            return False
        self._activate(self._register(Binding(identity, exchange, target, arguments)))
        return True

    def _register(self, binding: Binding) -> Binding:
        binding.source.bindings[binding.identity] = binding
        self._incoming(binding)[binding.identity] = binding
        return binding

    def _activate(self, binding: Binding) -> None:
        binding.source.add(binding)
        binding.is_active = True
        self._virtual_host.topology_changed()

    # -- removing ---------------------------------------------------------------------------------

    def unbind(
        self, source: str, kind: Kind, destination: str, routing_key: str, arguments: Mapping[str, Any] | None
    ) -> None:
        """As VirtualHost.unbind."""
        identity, _ = _identify(source, kind, destination, routing_key, arguments)
        with self._claims.claim(identity):
            exchange = self._virtual_host.exchanges.get(identity.source)
            binding = exchange.bindings.get(identity) if exchange is not None else None
            if binding is not None:
                self._virtual_host.remove(Removal(self._virtual_host, (), [binding]))

    def unbind_queue(self, name: str) -> Removal:
        """As VirtualHost.unbind_queue."""
        self.leaving_queues.add(name)
        return Removal(self._virtual_host, (), self.to_queue(name), queue=name)

    def forget(self, binding: Binding) -> None:
        """It is durably gone, or never came."""
        identity = binding.identity
        incoming = self._incoming(binding)
        if binding.source.bindings.get(identity) is binding:
            del binding.source.bindings[identity], incoming[identity]
        if not incoming and identity.kind == "queue":
            self._to_queues.pop(identity.destination, None)
        if binding.is_active:
            binding.is_active = False
            binding.source.remove(binding)

    # -- ends -------------------------------------------------------------------------------------

    def _incoming(self, binding: Binding) -> dict[Identity, Binding]:
        """All bindings that lead where *binding* leads."""
        if isinstance(binding.destination, Exchange):
            return binding.destination.incoming
        return self._to_queues.setdefault(binding.identity.destination, {})

    def _find(self, identity: Identity) -> Target | None:
        host = self._virtual_host
        name = identity.destination
        return host.exchanges.get(name) if identity.kind == "exchange" else host.queues.find(name)

    def _ends(self, identity: Identity) -> tuple[Exchange, Target]:
        """Both ends of a binding. Raises NotFoundError unless they are there to stay."""
        host = self._virtual_host
        exchange = host.exchanges.get(identity.source)
        if exchange is None or exchange.removed is not None:
            raise NotFoundError(f"no {describe('exchange', identity.source, host.name)}")
        target = self._find(identity)
        is_leaving = (
            target.removed is not None if isinstance(target, Exchange) else identity.destination in self.leaving_queues
        )
        if target is None or is_leaving:
            raise NotFoundError(f"no {describe(identity.kind, identity.destination, host.name)}")
        return exchange, target


def _identify(
    source: str, kind: Kind, destination: str, routing_key: str, arguments: Mapping[str, Any] | None
) -> tuple[Identity, Mapping[str, Any]]:
    source, destination, arguments = clean_name(source), clean_name(destination), arguments or {}
    if not source or (kind == "exchange" and not destination):
        raise AccessRefusedError("operation not permitted on the default exchange")
    return identify(source, kind, destination, routing_key, arguments), arguments
