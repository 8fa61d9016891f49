"""A broker with the listener of Portask's own protocol, and peers that speak to it."""

import pytest

from handlers.native import NativeHandler
from portask.broker import Broker
from portask.client import Client
from portask.clock import Clock
from portask.config import load_settings
from portask.storage.memory import MemoryStorage
from tests.native.peer import CborPeer, TextPeer
from tests.server_process import free_port


class Served:
    """A broker that listens."""

    def __init__(self, storage, flags, clock):
        self.port = free_port()
        argv = ["--native-port", str(self.port), *flags]
        self.broker = Broker(load_settings(argv, {}, NativeHandler.options), storage, clock)
        self.broker.start()
        self.handler = NativeHandler(self.broker)
        try:
            self.handler.start()
        except OSError:
            self.broker.stop(5)
            raise
        self.address = f"127.0.0.1:{self.port}"
        self._peers = []

    def text(self):
        """A peer in text mode."""
        self._peers.append(TextPeer(self.port))
        return self._peers[-1]

    def cbor(self):
        """A peer in CBOR mode."""
        self._peers.append(CborPeer(self.port))
        return self._peers[-1]

    def restart_listener(self):
        """Close all connections and listen again on the same port."""
        self.handler.close(0)
        self.handler = NativeHandler(self.broker)
        self.handler.start()

    def stop(self):
        for peer in self._peers:
            peer.close()
        self.handler.stop_accepting()
        self.broker.stop(5)
        self.handler.close(1)


@pytest.fixture
def serve():
    """A function that starts a broker with these flags; all are stopped at the end."""
    started = []

    def start(*flags, storage=None, clock=None):
        started.append(Served(storage or MemoryStorage(), flags, clock or Clock()))
        return started[-1]

    yield start
    for served in started:
        served.stop()


@pytest.fixture
def served(serve):
    return serve()


@pytest.fixture
def text(served):
    return served.text()


@pytest.fixture
def cbor(served):
    return served.cbor()


@pytest.fixture
def client(served):
    """A client of the broker that is served."""
    with Client(served.address, timeout=10, retry=10) as client:
        yield client
