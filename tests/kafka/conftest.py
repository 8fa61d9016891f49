"""A broker with the listener of Kafka's protocol, and peers that speak to it."""

import pytest

from handlers.kafka import KafkaHandler
from portask.broker import Broker
from portask.clock import Clock
from portask.config import load_settings
from portask.storage.memory import MemoryStorage
from tests.kafka.peer import KafkaPeer
from tests.server_process import free_port


class Served:
    """A broker that listens."""

    def __init__(self, storage, flags, clock):
        self.port = free_port()
        argv = ["--kafka-port", str(self.port), *flags]
        self.broker = Broker(load_settings(argv, {}, KafkaHandler.options), storage, clock)
        self.broker.start()
        self.handler = KafkaHandler(self.broker)
        try:
            self.handler.start()
        except OSError:
            self.broker.stop(5)
            raise
        self._peers = []

    def peer(self, **options):
        """A new connection."""
        self._peers.append(KafkaPeer(self.port, **options))
        return self._peers[-1]

    def topic(self, name="t", partitions=1, **config):
        """A new topic."""
        return self.broker.create_topic(name, partitions, config)

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


@pytest.fixture
def topic(served):
    """A topic of one partition that is named t."""
    return served.topic()
