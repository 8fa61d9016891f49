"""The client's end of one connection in CBOR mode: frames out, frames in, on a plain blocking socket."""

from __future__ import annotations

import socket
import time
from struct import Struct
from typing import Any
from urllib.parse import quote

from portask.errors import PortaskError, ProtocolError
from portask.message import decode_cbor, encode_cbor

DEFAULT_PORT = 7672
RETRIED_CODES = frozenset({"CONNECTION_LOST", "BUSY", "FULL", "SHUTTING_DOWN", "TOO_MANY_CONNECTIONS"})
"""Errors after which the same request may succeed."""
FIRST_BACKOFF_S = 0.05
LAST_BACKOFF_S = 2.0
_HEADER = Struct(">I")
_RECEIVE_BYTES = 256 * 1024
_MAX_LINE = 64 * 1024
_SHORTEST = 2
"""Elements of the shortest answer: OK and its correlation."""


class ClientError(PortaskError):
    """The server refused a request; `code` is the protocol's code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ConnectionLostError(ClientError):
    """The server can't be reached, or the connection to it broke before it answered."""

    def __init__(self, text: str) -> None:
        super().__init__("CONNECTION_LOST", text)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port", "host", "[v6]:port" or ":port". Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or host.endswith(":") or port.endswith("]"):
        host, port = address, str(DEFAULT_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is no address; say HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


class Wire:
    """One connection that has said HELLO."""

    def __init__(self, address: str, timeout_s: float, name: str) -> None:
        """Connect. Blocks. Raises ConnectionLostError, or ClientError when the server refuses."""
        self.address = address
        self._timeout_s = timeout_s
        self._buffer = bytearray()
        self._position = 0
        self._next_correlation = 0
        try:
            self._sock = socket.create_connection(parse_address(address), timeout_s)
        except OSError as error:
            raise ConnectionLostError(f"can't connect to {address}: {error}") from error
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.server_text = self._hello(name)
        except BaseException:
            self._sock.close()
            raise

    def request(self, verb: str, *arguments: Any) -> int:
        """Send a request and return its correlation. Blocks while the socket's buffers are full."""
        correlation = self._next_correlation
        self._next_correlation += 1
        data = encode_cbor([verb, correlation, *arguments])
        self._send(_HEADER.pack(len(data)) + data)
        return correlation

    def receive(self, timeout_s: float | None) -> list[Any] | None:
        """The next answer or push; None when none is complete after *timeout_s* (None waits for ever). Blocks."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            frame = self._take_frame()
            if frame is not None:
                return self._decode(frame)
            if not self._fill(deadline):
                return None

    def answer(self, correlation: int, timeout_s: float) -> list[Any]:
        """What the answer to the oldest unanswered request says after "OK" and its *correlation*. Blocks.

        For connections without subscriptions. Raises ClientError when the request was refused,
        ConnectionLostError when no answer came.
        """
        answer = self.receive(timeout_s)
        if answer is None:
            raise ConnectionLostError(f"{self.address} gave no answer within {timeout_s:g} s")
        kind, number, *rest = answer
        if kind == "ERR" and number in {correlation, None}:
            raise ClientError(*rest)
        if kind != "OK" or number != correlation:
            raise ConnectionLostError(f"{self.address} gave an answer to something else: {answer!r:.80}")
        return rest

    def close(self) -> None:
        """Close the socket. A second call does nothing."""
        self._sock.close()

    def _hello(self, name: str) -> str:
        self._send(f"HELLO cbor name={quote(name, safe='')}\n".encode())
        deadline = time.monotonic() + self._timeout_s
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_LINE or not self._fill(deadline):
                raise ConnectionLostError(f"{self.address} doesn't answer as a Portask server does")
        line = self._buffer[:end].decode(errors="replace")
        self._position = end + 1
        kind, _, rest = line.partition(" ")
        if kind == "ERR":
            code, _, text = rest.partition(" ")
            raise ClientError(code, text)
        if kind != "OK":
            raise ConnectionLostError(f"{self.address} doesn't answer as a Portask server does")
        return rest

    def _send(self, data: bytes) -> None:
        try:
            self._sock.settimeout(self._timeout_s)
            self._sock.sendall(data)
        except OSError as error:
            raise ConnectionLostError(f"the connection to {self.address} broke: {error}") from error

    def _decode(self, frame: bytes) -> list[Any]:
        try:
            value = decode_cbor(frame)
        except ProtocolError as error:
            raise ConnectionLostError(f"{self.address} sent something that is no frame: {error}") from error
        if type(value) is not list or len(value) < _SHORTEST:
            raise ConnectionLostError(f"{self.address} sent something that is no answer")
        return value

    def _take_frame(self) -> bytes | None:
        buffer, position = self._buffer, self._position
        start = position + _HEADER.size
        if start <= len(buffer):
            end = start + int(_HEADER.unpack_from(buffer, position)[0])
            if end <= len(buffer):
                self._position = end
                return bytes(buffer[start:end])
        del buffer[:position]
        self._position = 0
        return None

    def _fill(self, deadline: float | None) -> bool:
        """Receive more; False when nothing came before *deadline*."""
        left = None if deadline is None else max(deadline - time.monotonic(), 0.000_001)
        try:
            self._sock.settimeout(left)
            data = self._sock.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return False
        except OSError as error:
            raise ConnectionLostError(f"the connection to {self.address} broke: {error}") from error
        if not data:
            raise ConnectionLostError(f"{self.address} closed the connection")
        self._buffer += data
        return True


class Patience:
    """How long to go on trying, and how long to wait between two tries."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.reset()

    def reset(self) -> None:
        """It worked: start counting anew."""
        self._since: float | None = None
        self._pause_s = FIRST_BACKOFF_S

    def wait(self, error: ClientError) -> None:
        """Wait a while; raises *error* when it is none that goes away or the time is over. Blocks."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if error.code not in RETRIED_CODES or now - self._since + self._pause_s > self._limit_s:
            raise error
        time.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, LAST_BACKOFF_S)
