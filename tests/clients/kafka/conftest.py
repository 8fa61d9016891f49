"""A broker for the tests with Kafka's clients.

It is Portask unless KAFKA_BOOTSTRAP in the environment names another one: a test that Apache Kafka fails
asks for the wrong thing.
"""

import itertools
import os

import pytest

from tests.server_process import KafkaServerProcess

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Portask with a Kafka listener."""
    server = KafkaServerProcess(tmp_path_factory.mktemp("server") / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def bootstrap(request):
    """Where the clients begin, host:port."""
    return os.environ.get("KAFKA_BOOTSTRAP") or request.getfixturevalue("server").bootstrap


@pytest.fixture
def topic():
    """A name that no topic has."""
    return f"orders-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture
def group():
    """A name that no group has."""
    return f"billing-{os.getpid()}-{next(NUMBERS)}"
