"""Fixtures for sessions with the clients of AMQP: connections that end with the test, and names that nothing has."""

import itertools
import os
import secrets

import pika
import pytest

from tests.clients.amqp.broker import PEER, Peer, Portask
from tests.clients.amqp.session import parameters

NUMBERS = itertools.count()
RUN = f"{os.getpid()}-{secrets.token_hex(3)}"


def pytest_configure(config):
    config.addinivalue_line("markers", "peer_differs(reason): not for AMQP_PEER, which does something else here")


def pytest_collection_modifyitems(config, items):
    if PEER is None:
        return
    left_out = [item for item in items if item.get_closest_marker("peer_differs")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """The broker that all tests share."""
    if PEER is not None:
        yield Peer()
        return
    broker = Portask(tmp_path_factory.mktemp("amqp") / "data")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def server(tmp_path):
    """A Portask that the test may kill and start again."""
    server = Portask(tmp_path / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def connect(broker, name):
    """A function that opens a connection with pika, which ends with the test, before what has a name is deleted."""
    opened = []

    def connect(**settings):
        connection = pika.BlockingConnection(parameters(broker.address, **settings))
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        if connection.is_open:
            connection.close()


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def other(connect):
    """A channel of another connection."""
    return connect().channel()


@pytest.fixture
def publisher(connect):
    """A channel on which a publish returns when the broker has confirmed it."""
    channel = connect().channel()
    channel.confirm_delivery()
    return channel


@pytest.fixture
def name(broker):
    """A function that makes a name which no queue or exchange has; what gets the name is deleted after the test."""
    names = []

    def name(word="orders"):
        names.append(f"{word}-{RUN}-{next(NUMBERS)}")
        return names[-1]

    yield name
    if PEER is not None:
        with pika.BlockingConnection(parameters(broker.address)) as connection:
            channel = connection.channel()
            for made in names:
                channel.queue_delete(made)
                channel.exchange_delete(made)


@pytest.fixture
def declare(channel, name):
    """A function that declares a durable queue with a new name and these x-arguments, and returns the name."""

    def declare(**arguments):
        queue = name("queue")
        channel.queue_declare(queue, durable=True, arguments=x_arguments(arguments))
        return queue

    return declare


def x_arguments(given):
    """Keyword arguments as AMQP spells them: message_ttl becomes x-message-ttl."""
    return {f"x-{word.replace('_', '-')}": value for word, value in given.items()}


@pytest.fixture
def queue(declare):
    """A durable queue."""
    return declare()
