"""All virtual hosts, and what is stored of them.

    table "virtual hosts"   name (bytes) -> CBOR map of what is known of it, for now empty

The virtual host `/` is always there. Exchanges are restored first, then queues, then what binds them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from portask.binding import BINDINGS, decode_binding
from portask.catalog import commit
from portask.claim import Claims
from portask.errors import NotAllowedError
from portask.exchange_row import EXCHANGES, decode_exchange
from portask.message import encode_cbor
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
        for key in storage.load(VIRTUAL_HOSTS):
            name = decode_name(key)
            self._hosts.setdefault(name, VirtualHost(self._broker, name))
        for key, value in storage.load(EXCHANGES).items():
            host_name, exchange = decode_exchange(key, value, self._broker.clock)
            host = self._hosts.get(host_name)
            if host is not None:
                host.exchanges[exchange.name] = exchange
        for host in self._hosts.values():
            host.queues.load()
        for value in storage.load(BINDINGS).values():
            host_name, identity, arguments = decode_binding(value)
            host = self._hosts.get(host_name)
            if host is None or not host.restore_binding(identity, arguments):
                # Only a damaged store that was repaired has lost what the binding stands on.
                log.warning("binding left out", extra={"exchange": identity.source, "to": identity.destination})

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

    def create(self, name: str) -> VirtualHost:
        """The virtual host of that name, made if it is not there. Blocks until durable."""
        with self._claims.claim(name):
            host = self._hosts.get(name)
            if host is None:
                host = VirtualHost(self._broker, name)
                row = encode_cbor({})

                def collect(round_: Round) -> None:
                    round_.puts[VIRTUAL_HOSTS, encode_name(name)] = row

                commit(self._broker.bus, collect)
                self._hosts[name] = host
                log.info("virtual host created", extra={"virtual_host": name})
        return host
