"""What links do for every protocol, when its side of the connection fails."""

import socket

import gevent
import pytest

from handlers.base import StreamHandler
from handlers.link import PIECE_BYTES, Connection, Link
from portask.broker import Broker, Traffic
from portask.clock import Clock
from portask.config import load_settings
from portask.options import Option
from portask.storage.memory import MemoryStorage
from tests.server_process import Lines, free_port


class EchoConnection(Connection):
    """Sends back what it gets, and fails when it gets the wrong thing."""

    def __init__(self, link):
        self.link = link

    def received(self, data):
        text = bytes(data)
        if b"fail" in text:
            raise ValueError("told to fail")
        if b"bad" in text:
            self.link.send(["no bytes"], 8)
        else:
            self.link.send([text], len(text))
        return True

    def congested(self, full):
        """Nothing is sent without being asked for."""

    def ended(self):
        """Nothing is held."""

    def interrupt(self):
        """Nothing is waited for."""

    def stuck(self, now):
        """Nothing is expected."""


class SlowConnection(EchoConnection):
    """Takes a second, by the clock given, for each piece that it gets."""

    def __init__(self, clock, order):
        super().__init__(None)
        self.clock = clock
        self.order = order

    def received(self, data):
        self.clock.advance(1)
        self.order.append(len(data))
        return True


class EchoHandler(StreamHandler):
    """A protocol of its own."""

    name = "echo"
    port_option = "echo_port"
    options = (Option("echo_port", "int", 0, "echo", "Port."),)

    def connect(self, link):
        return EchoConnection(link)

    def refusal(self, error):
        return str(error).encode()


@pytest.fixture
def start():
    handlers = []

    def start(*flags):
        argv = ["--echo-port", str(free_port()), *flags]
        handlers.append(EchoHandler(Broker(load_settings(argv, {}, EchoHandler.options), MemoryStorage(), Clock())))
        handlers[-1].start()
        return handlers[-1]

    yield start
    for handler in handlers:
        handler.close(0)


@pytest.fixture
def handler(start):
    return start()


@pytest.fixture
def connect(handler):
    peers = []

    def connect():
        peers.append(Lines(handler.address[1]))
        return peers[-1]

    yield connect
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("line", [b"fail\n", b"bad\n"])
def test_a_connection_that_fails_is_logged_and_closed_and_others_go_on(handler, connect, line, caplog, wait_until):
    broken, other = connect(), connect()
    assert other.ask(b"one\n") == "one"
    broken.send(line)
    assert broken.file.read() == b""
    assert other.ask(b"two\n") == "two"
    wait_until(lambda: len(handler.links) == 1)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_peer_that_always_has_more_to_say_takes_turns_with_others(clock):
    order = []
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        sock, _ = server.accept()
        peer.sendall(b"\n" * 3 * PIECE_BYTES)
        peer.shutdown(socket.SHUT_WR)
        others = [gevent.spawn(order.append, "other") for _ in range(2)]
        link = Link(sock, "peer", "echo", Traffic(), clock)
        link.serve(SlowConnection(clock, order))
        link.close()
        gevent.joinall(others)

    assert sum(size for size in order if size != "other") == 3 * PIECE_BYTES
    assert max(size for size in order if size != "other") <= PIECE_BYTES
    assert order[-1] != "other"


def test_a_second_stop_does_nothing(handler):
    handler.stop_accepting()
    handler.stop_accepting()
    handler.close(0)
    handler.close(0)
    assert handler.address is None
