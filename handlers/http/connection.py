"""One HTTP connection: pywsgi's request loop with bounds on what a peer may send and how long it may take.

pywsgi parses; this adds what it has no limits for: the size of the head, bodies that nobody will read,
and time. Each phase (waiting for a request, reading its head, answering) has a deadline of its own, so
that a byte a second holds a connection no longer than silence does.
"""

from __future__ import annotations

import json
import logging
import socket
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pywsgi import WSGIHandler

if TYPE_CHECKING:
    from portask.broker import Traffic

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers together."""
MAX_BODY_BYTES = 64 * 1024
"""No resource reads a body; a small one is skipped, so that a careless client keeps its connection."""
IDLE_TIMEOUT_S = 60.0
"""Longer than Prometheus' usual 15 or 30 seconds between two scrapes."""
HEAD_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0


class RefusedError(ValueError):
    """A request that is answered with *status* and after which the connection is closed."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class BoundedReader:
    """The socket's reading end, with a budget of bytes."""

    def __init__(self, sock: socket.socket, traffic: Traffic) -> None:
        self._file = sock.makefile("rb", -1)
        self._traffic = traffic
        self._budget = 0

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    def allow(self, size_bytes: int) -> None:
        """From now on at most *size_bytes* may be read."""
        self._budget = size_bytes

    def readline(self, limit: int = -1) -> bytes:
        """One line, or as much of it as *limit* allows. Blocks. Raises RefusedError when the budget is spent."""
        wanted = self._budget + 1
        return self._count(self._file.readline(wanted if limit < 0 else min(limit, wanted)))

    def read(self, size: int = -1) -> bytes:
        """*size* bytes, fewer only at the end. Blocks. Raises RefusedError when the budget is spent."""
        wanted = self._budget + 1
        return self._count(self._file.read(wanted if size < 0 else min(size, wanted)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _count(self, data: bytes) -> bytes:
        self._budget -= len(data)
        self._traffic.bytes_in += len(data)
        if self._budget < 0:
            raise RefusedError("431 Request Header Fields Too Large", f"the head is larger than {MAX_HEAD_BYTES} bytes")
        return data


# gevent ships no types, so its classes are Any.
class HttpConnection(WSGIHandler):  # type: ignore[misc]
    """One peer's connection."""

    def __init__(self, sock: socket.socket, peer: tuple[str, int], server: Any, traffic: Traffic) -> None:
        self._traffic = traffic
        self._reader = BoundedReader(sock, traffic)
        super().__init__(sock, peer, server, rfile=self._reader)

    def finish(self) -> None:
        """Read nothing more; a request that has come is still answered."""
        self.close_connection = True
        try:
            self.socket.shutdown(socket.SHUT_RD)
        except OSError:
            log.debug("already disconnected", extra={"peer": self.client_address[0]})

    def read_requestline(self) -> str:
        """The request line, or nothing when none came in time. Blocks."""
        self._reader.allow(MAX_HEAD_BYTES)
        with gevent.Timeout(IDLE_TIMEOUT_S, False):
            return str(super().read_requestline())
        return ""

    def read_request(self, raw_requestline: str) -> bool:
        """Parse the head. Blocks. Raises RefusedError for what is too large or too slow."""
        with gevent.Timeout(HEAD_TIMEOUT_S, RefusedError("408 Request Timeout", "the head took too long")):
            super().read_request(raw_requestline)
        if self.headers.get("transfer-encoding"):
            raise RefusedError("411 Length Required", "a body needs a Content-Length")
        if (self.content_length or 0) > MAX_BODY_BYTES:
            raise RefusedError("413 Content Too Large", f"a body of more than {MAX_BODY_BYTES} bytes is not read")
        self._reader.allow(MAX_BODY_BYTES)
        return True

    def handle_one_response(self) -> None:
        """Answer the request. Blocks, but not for ever."""
        with gevent.Timeout(ANSWER_TIMEOUT_S, False):
            super().handle_one_response()

    def handle_error(self, kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        """Deal with what went wrong while answering; pywsgi brings everything here, timeouts too."""
        if isinstance(error, gevent.Timeout | gevent.GreenletExit):
            self.close_connection = True
            return
        extra = {"protocol": "http", "peer": self.client_address[0]}
        log.error("request failed", exc_info=(kind, error, traceback), extra=extra)
        self._send_error_response_if_possible(500)

    def _handle_client_error(self, ex: BaseException) -> tuple[str, bytes]:
        # pywsgi's hook for requests that can't be parsed. Its own logs each one as an error, with what
        # the peer sent; a peer must not be able to fill the log.
        if isinstance(ex, RefusedError):
            status, text = ex.status, str(ex)
        elif isinstance(ex, HTTPException):
            status, text = "431 Request Header Fields Too Large", str(ex)
        else:
            status, text = "400 Bad Request", "this is not HTTP"
        log.debug("request refused", extra={"protocol": "http", "peer": self.client_address[0], "status": status})
        return status.partition(" ")[0], _closing(status, text)

    def _sendall(self, data: bytes) -> None:
        super()._sendall(data)
        self._traffic.bytes_out += len(data)


def _closing(status: str, text: str) -> bytes:
    """A whole answer after which the connection is closed."""
    body = json.dumps({"error": text}).encode()
    head = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
    return "\r\n".join((*head, "", "")).encode("latin-1") + body
