"""A broker on storage in memory with an HTTP listener, in this process."""

import socket

import pytest

from handlers.http import HttpHandler
from portask.broker import Broker
from portask.clock import Clock
from portask.config import load_settings
from portask.storage.memory import MemoryStorage


class Http:
    """A listener and ways to talk to it."""

    def __init__(self, *argv):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        flags = [f"--http-port={port}", *argv]
        self.broker = Broker(load_settings(flags, {}, HttpHandler.options), MemoryStorage(), Clock())
        self.handler = HttpHandler(self.broker)
        self.handler.start()
        self.port = port

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def send(self, data):
        """The whole answer to *data*, after which the listener has closed the connection."""
        with self.connect() as sock:
            sock.sendall(data)
            return read_all(sock)

    def ask(self, sock, *headers, body=b""):
        """The status of one more request on an open connection."""
        head = "\r\n".join(("GET /healthz HTTP/1.1", "Host: test", *headers, "", ""))
        sock.sendall(head.encode() + body)
        received = b""
        while not received.endswith(b"}"):
            received += sock.recv(65536)
        return parse(received)[0]

    def get(self, path, method="GET"):
        """Status, headers and body of one request."""
        answer = self.send(f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        return parse(answer)


def read_all(sock):
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def parse(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, body


@pytest.fixture
def starting():
    """A listener whose broker has not been started."""
    http = Http()
    yield http
    http.handler.close(1)


@pytest.fixture
def http(starting):
    """A listener whose broker is ready."""
    starting.broker.start()
    yield starting
    starting.broker.stop(5)


@pytest.fixture
def parse_answer():
    return parse
