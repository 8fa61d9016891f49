"""A broker with the listener of AMQP 0-9-1, and peers that speak to it."""

import pytest

from handlers.amqp import AmqpHandler
from portask.broker import Broker
from portask.clock import Clock
from portask.config import load_settings
from portask.storage.memory import MemoryStorage
from tests.amqp.peer import AmqpPeer
from tests.server_process import free_port


class Served:
    """A broker that listens."""

    def __init__(self, storage, flags, clock):
        self.port = free_port()
        argv = ["--amqp-port", str(self.port), *flags]
        self.broker = Broker(load_settings(argv, {}, AmqpHandler.options), storage, clock)
        self.broker.start()
        self.handler = AmqpHandler(self.broker)
        try:
            self.handler.start()
        except OSError:
            self.broker.stop(5)
            raise
        self._peers = []

    def connect(self):
        """A new connection that has said nothing."""
        self._peers.append(AmqpPeer(self.port))
        return self._peers[-1]

    def peer(self, **options):
        """A new connection with channel 1 open."""
        return self.connect().login(**options).open(1)

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
def peer(served):
    return served.peer()
