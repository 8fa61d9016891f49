"""The HTTP listener: few connections, short requests, nothing on the hot path.

It accepts at once when the broker starts, but what answers (falcon, 60 ms to import, and the metrics,
another 30 ms) is loaded by the first request, in the thread pool, so that neither the start nor any
other connection waits for it. Connections are counted apart from `max_connections`: when that is
reached, the one who wants to know why must still get through.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
from gevent.lock import Semaphore
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from handlers.base import Handler
from handlers.http.connection import HttpConnection
from portask.options import Option

if TYPE_CHECKING:
    from portask.broker import Broker

log = logging.getLogger(__name__)

BACKLOG = 64
MAX_CONNECTIONS = 64
"""Open at once; more wait in the backlog until one ends, which takes no longer than its timeouts."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class HttpHandler(Handler):
    """Serves /metrics, /healthz and /readyz."""

    name: ClassVar[str] = "http"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "http_port",
            "int",
            15672,
            "http",
            "Port for metrics and health over HTTP; 0 for none.",
            minimum=0,
            maximum=65535,
        ),
    )

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.traffic = broker.stats.protocol(self.name)
        self.connections: set[HttpConnection] = set()
        self._server: _Server | None = None
        self._pool = Pool(MAX_CONNECTIONS)
        self._application: Application | None = None
        self._loading = Semaphore()

    def start(self) -> None:
        """Bind the configured port and accept. Raises OSError, its text naming the option."""
        port = self.broker.settings.http_port
        if port == 0:
            return
        host = self.broker.settings.host.strip("[]")
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise OSError(f"{host}:{port} can't be bound ({error}); set another --http-port, or 0 for none") from error
        self._server = _Server(listener, self, self._pool)
        self._server.start()
        self.address = (host, port)

    def stop_accepting(self) -> None:
        """Close the listening socket."""
        if self._server is not None:
            self._server.close()

    def close(self, timeout_s: float) -> None:
        """Answer what was asked, for *timeout_s* at most, and close all connections. Blocks."""
        self.stop_accepting()
        for connection in list(self.connections):
            connection.finish()
        if not self._pool.join(timeout_s):
            self._pool.kill()
        self.address = None

    def serve(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        """Serve one connection until it ends; the whole life of its greenlet."""
        gevent.getcurrent().name = f"http {peer[0]}:{peer[1]}"
        traffic = self.traffic
        traffic.connections += 1
        traffic.connections_total += 1
        connection = HttpConnection(sock, peer, self._server, traffic)
        self.connections.add(connection)
        try:
            connection.handle()
        except Exception:
            log.exception("connection failed", extra={"protocol": "http", "peer": peer[0]})
        finally:
            self.connections.discard(connection)
            traffic.connections -= 1
            sock.close()

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application. Blocks while it is loaded for the first time."""
        if self._application is None:
            with self._loading:
                if self._application is None:
                    pool = gevent.get_hub().threadpool
                    module = pool.apply(import_module, ("handlers.http.application",))
                    self._application = module.make_application(self.broker)
        application = self._application
        assert application is not None
        return application(environ, start_response)


# gevent ships no types, so its classes are Any.
class _Server(WSGIServer):  # type: ignore[misc]
    """The accept loop; what it accepts goes to the handler."""

    def __init__(self, listener: socket.socket, handler: HttpHandler, pool: Pool) -> None:
        # The names are given so that pywsgi doesn't ask the resolver for them.
        host, port = listener.getsockname()[:2]
        environ = {"SERVER_NAME": host, "SERVER_PORT": str(port)}
        super().__init__(listener, handler.answer, spawn=pool, log=None, error_log=log, environ=environ)
        self._handler = handler

    def handle(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        self._handler.serve(sock, peer)
