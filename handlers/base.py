"""What every handler is, and what those on plain TCP share.

A `Handler` is one protocol's listener. A `StreamHandler` accepts TCP connections, each served by a
greenlet of its own, and keeps one reaper greenlet that closes what is idle or stuck. The socket side of
a connection is `handlers.link.Link`; the protocol side is the handler's `Connection`, which gets bytes
and gives bytes and never sees a socket.
"""

from __future__ import annotations

import logging
import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from handlers.link import Link
from portask.errors import UnavailableError

if TYPE_CHECKING:
    from handlers.link import Connection
    from portask.broker import Broker
    from portask.options import Option

log = logging.getLogger(__name__)

BACKLOG = 1024
REAP_INTERVAL_S = 1.0
REFUSAL_LINGER_S = 1.0
MAX_REFUSALS = 64
"""Peers that are told why they are refused, at one time; more are just closed."""


class TooManyConnectionsError(UnavailableError):
    """`max_connections` are open already."""


class Handler(ABC):
    """One protocol's listener, made by the server with the broker that it serves."""

    name: ClassVar[str]
    """The protocol, in logs and metrics."""
    options: ClassVar[tuple[Option, ...]] = ()
    """The protocol's own options."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.address: tuple[str, int] | None = None
        """Where it listens; None while it does not."""

    @abstractmethod
    def start(self) -> None:
        """Bind and accept; nothing when the port is 0. Raises OSError when the address can't be bound."""

    @abstractmethod
    def stop_accepting(self) -> None:
        """Take no new connection; those that are open go on."""

    @abstractmethod
    def close(self, timeout_s: float) -> None:
        """Let connections answer what they have received, for *timeout_s* at most, and close them. Blocks."""


class StreamHandler(Handler):
    """A handler whose connections are byte streams over TCP."""

    port_option: ClassVar[str]
    """Name of the option that holds the port."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.traffic = broker.stats.protocol(self.name)
        self.links: set[Link] = set()
        self._server: StreamServer | None = None
        self._pool = Pool()
        self._reaper: gevent.Greenlet | None = None
        self._refusals = 0

    @abstractmethod
    def connect(self, link: Link) -> Connection:
        """The protocol side of a new connection."""

    @abstractmethod
    def refusal(self, error: UnavailableError) -> bytes:
        """What a peer is sent that gets no connection because of *error*."""

    def start(self) -> None:
        """Bind the configured port and accept. Raises OSError, its text naming the option."""
        port = getattr(self.broker.settings, self.port_option)
        if port == 0:
            return
        host = self.broker.settings.host.strip("[]")
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            flag = "--" + self.port_option.replace("_", "-")
            raise OSError(f"{host}:{port} can't be bound ({error}); set another {flag}, or 0 for none") from error
        self._server = StreamServer(listener, self._accepted, spawn=self._pool)
        self._server.start()
        self.address = (host, port)
        self._reaper = gevent.spawn(self._reap_often)
        self._reaper.name = f"{self.name} reaper"

    def stop_accepting(self) -> None:
        """Close the listening socket."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self, timeout_s: float) -> None:
        """End all connections: first asked, after *timeout_s* forced. Blocks."""
        self.stop_accepting()
        for link in list(self.links):
            link.finish()
        if not self._pool.join(timeout_s):
            for link in list(self.links):
                link.abort()
            self._pool.kill(timeout=REFUSAL_LINGER_S)
        if self._reaper is not None:
            self._reaper.kill()
            self._reaper = None
        self.address = None

    # -- connections ------------------------------------------------------------------------------

    def _accepted(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        """Serve one connection until it ends; the whole life of its greenlet."""
        name = f"{peer[0]}:{peer[1]}"
        gevent.getcurrent().name = f"{self.name} {name}"
        connections = self.broker.connections
        if len(connections) >= self.broker.settings.max_connections:
            self._refuse(sock, name)
            return
        link = Link(sock, name, self.name, self.traffic, self.broker.clock)
        connections[link.id] = link
        self.links.add(link)
        self.traffic.connections += 1
        self.traffic.connections_total += 1
        try:
            link.serve(self.connect(link))
        except Exception:
            log.exception("connection failed", extra={"protocol": self.name, "connection": link.id, "peer": name})
        finally:
            self.traffic.connections -= 1
            self.links.discard(link)
            del connections[link.id]
            link.close()

    def _refuse(self, sock: socket.socket, name: str) -> None:
        limit = self.broker.settings.max_connections
        log.warning("connection refused", extra={"protocol": self.name, "peer": name, "max_connections": limit})
        error = TooManyConnectionsError(f"{limit} connections are open, as max_connections allows; retry later")
        self._refusals += 1
        try:
            if self._refusals <= MAX_REFUSALS:
                # Closing with unread bytes sends a reset, which may overtake the refusal: read until the
                # peer closes.
                with gevent.Timeout(REFUSAL_LINGER_S, False):
                    sock.sendall(self.refusal(error))
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass
        except OSError:
            log.debug("refused peer is gone", extra={"protocol": self.name, "peer": name})
        finally:
            self._refusals -= 1
            sock.close()

    def reap(self) -> None:
        """Close the connections that are idle for too long or stuck in a command."""
        now = self.broker.clock.monotonic()
        idle_s = self.broker.settings.idle_timeout_ms / 1000
        for link in list(self.links):
            reason = link.overdue(now, idle_s)
            if reason is not None:
                log.info(
                    "connection closed",
                    extra={
                        "protocol": self.name,
                        "connection": link.id,
                        "peer": link.peer,
                        "client": link.name,
                        "reason": reason,
                    },
                )
                link.finish()

    def _reap_often(self) -> None:
        while True:
            gevent.sleep(REAP_INTERVAL_S)
            self.reap()
