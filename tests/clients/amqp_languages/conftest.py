"""A broker for the clients of other languages: Portask, or the one that AMQP_PEER (host:port) names."""

import itertools
import os
import secrets

import pytest

from tests.clients.amqp.broker import PEER, Peer, Portask

NUMBERS = itertools.count()
RUN = f"{os.getpid()}-{secrets.token_hex(3)}"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """The broker that the tests of a module share."""
    if PEER is not None:
        yield Peer()
        return
    broker = Portask(tmp_path_factory.mktemp("amqp") / "data")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def address(broker):
    """Where it listens, host:port."""
    return "{}:{}".format(*broker.address)


@pytest.fixture
def server(tmp_path):
    """A Portask that the test may kill and start again."""
    server = Portask(tmp_path / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def name():
    """A function that makes a name which no queue or exchange has."""
    return lambda word="orders": f"{word}-{RUN}-{next(NUMBERS)}"


@pytest.fixture
def queue(name):
    """A name that no queue has."""
    return name("queue")
