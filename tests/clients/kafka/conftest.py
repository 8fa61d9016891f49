"""A broker for the tests with Kafka's clients.

It is Portask unless KAFKA_BOOTSTRAP in the environment names another one: a test that Apache Kafka fails
asks for the wrong thing.
"""

import itertools
import os

import pytest

from tests.server_process import ServerProcess, free_port

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Portask with a Kafka listener at `server.kafka_port`."""
    server = KafkaServerProcess(tmp_path_factory.mktemp("server") / "data")
    server.start()
    yield server
    server.kill()


class KafkaServerProcess(ServerProcess):
    """`portask serve` with a Kafka listener."""

    def __init__(self, directory, *flags):
        self.kafka_port = free_port()
        super().__init__(directory, "--kafka-port", str(self.kafka_port), *flags)


@pytest.fixture(scope="module")
def bootstrap(request):
    """Where the clients begin, host:port."""
    return os.environ.get("KAFKA_BOOTSTRAP") or f"127.0.0.1:{request.getfixturevalue('server').kafka_port}"


@pytest.fixture
def topic():
    """A name that no topic has."""
    return f"orders-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture
def group():
    """A name that no group has."""
    return f"billing-{os.getpid()}-{next(NUMBERS)}"
