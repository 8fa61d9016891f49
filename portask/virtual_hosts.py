"""All virtual hosts, and what is stored of them.

    table "virtual hosts"   name (bytes) -> CBOR map of what is said about it: description, tags, default_queue_type

The virtual host `/` is always there. Exchanges are restored first, then queues, then what binds them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portask.catalog import commit
from portask.claim import Claims
from portask.errors import CorruptError, NotAllowedError, ProtocolError
from portask.exchanges.binding import BINDINGS, decode_binding
from portask.exchanges.removal import Removal
from portask.exchanges.row import EXCHANGES, decode_exchange
from portask.message import decode_cbor, encode_cbor
from portask.resource_name import decode_name, encode_name
from portask.storage.base import Round
from portask.virtual_host import VirtualHost

if TYPE_CHECKING:
    from portask.broker import Broker

log = logging.getLogger(__name__)

VIRTUAL_HOSTS = "virtual hosts"
DEFAULT = "/"


class VirtualHosts:
    """Virtual hosts by name."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._claims = Claims()
        self._hosts = {DEFAULT: VirtualHost(broker, DEFAULT)}

    # -- life -------------------------------------------------------------------------------------

    def load(self) -> None:
        """Restore everything; topics and subscriptions must be there. Blocks. Raises CorruptError."""
        storage = self._broker.storage
        for key, value in storage.load(VIRTUAL_HOSTS).items():
            name = decode_name(key)
            self._hosts.setdefault(name, VirtualHost(self._broker, name)).metadata = _decode_metadata(value)
        for key, value in storage.load(EXCHANGES).items():
            host_name, exchange = decode_exchange(key, value, self._broker.clock)
            host = self._hosts.get(host_name)
            if host is not None:
                host.exchanges[exchange.name] = exchange
        for host in self._hosts.values():
            host.queues.load()
            host.follow_policies()
        for value in storage.load(BINDINGS).values():
            host_name, identity, arguments = decode_binding(value)
            host = self._hosts.get(host_name)
            if host is None or not host.bound.restore(identity, arguments):
                # Only a damaged store that was repaired has lost what the binding stands on.
                log.warning("binding left out", extra={"exchange": identity.source, "to": identity.destination})
        self._broker.policies.watch(self._follow_policies)

    def _follow_policies(self, name: str) -> None:
        host = self._hosts.get(name)
        if host is not None:
            host.follow_policies()

    def stop(self) -> None:
        """Take nothing new. Blocks until what was begun is on the bus."""
        for host in self._hosts.values():
            host.queues.stop()

    # -- virtual hosts ----------------------------------------------------------------------------

    def names(self) -> list[str]:
        """All names in order."""
        return sorted(self._hosts)

    def find(self, name: str) -> VirtualHost | None:
        """The virtual host of that name, if there is one."""
        return self._hosts.get(name)

    def get(self, name: str) -> VirtualHost:
        """The virtual host of that name. Raises NotAllowedError."""
        host = self._hosts.get(name)
        if host is None:
            raise NotAllowedError(f"vhost {name} not found")
        return host

    def create(self, name: str, metadata: Mapping[str, Any] | None = None) -> VirtualHost:
        """The virtual host of that name, made if it is not there. Blocks until durable.

        *metadata* is what is said about it; None leaves that as it is.
        """
        with self._claims.claim(name):
            host = self._hosts.get(name)
            is_new = host is None
            if host is None:
                host = VirtualHost(self._broker, name)
            if is_new or (metadata is not None and metadata != host.metadata):
                row = encode_cbor(dict(metadata or {}))

                def collect(round_: Round) -> None:
                    round_.puts[VIRTUAL_HOSTS, encode_name(name)] = row

                commit(self._broker.bus, collect)
                host.metadata = dict(metadata or {})
                host.follow_policies()
                self._hosts[name] = host
            if is_new:
                log.info("virtual host created", extra={"virtual_host": name})
        return host

    def delete(self, name: str) -> None:
        """Delete a virtual host with all that is in it. Blocks until durable.

        Its queues go first, one by one; it is a virtual host until it is empty. Whoever has connections to it
        closes them before. Raises NotAllowedError for `/` and where there is none.
        """
        if name == DEFAULT:
            raise NotAllowedError(f"vhost {DEFAULT} cannot be deleted")
        with self._claims.claim(name):
            host = self.get(name)
            for queue in host.queues:
                host.queues.delete(queue, owner=queue.exclusive)
            removal = Removal(host, host.exchanges.values(), ())

            parts = (self._broker.users, self._broker.parameters, self._broker.policies)

            def collect(round_: Round) -> None:
                round_.puts[VIRTUAL_HOSTS, encode_name(name)] = None
                removal.collect(round_)
                for part in parts:
                    part.collect_virtual_host_deletion(name, round_)

            try:
                commit(self._broker.bus, collect)
            except BaseException:
                removal.cancel()
                raise
            removal.finish()
            for part in parts:
                part.forget_virtual_host(name)
            del self._hosts[name]
            log.info("virtual host deleted", extra={"virtual_host": name})


def _decode_metadata(row: bytes) -> dict[str, Any]:
    try:
        return dict(decode_cbor(row))
    except (ProtocolError, ValueError, TypeError) as error:
        raise CorruptError(f"a row of table {VIRTUAL_HOSTS} is broken: {error}") from error
