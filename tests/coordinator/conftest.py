"""A broker on storage in memory, its coordinator, and clients of groups that call it."""

import pytest

from portask.broker import Broker
from portask.config import load_settings
from portask.storage.memory import MemoryStorage
from tests.coordinator.group_client import GroupClient


@pytest.fixture
def make_broker(clock):
    """A function that starts a broker with these flags on this storage; all are stopped at the end."""
    brokers = []

    def make(*argv, storage=None):
        broker = Broker(load_settings(argv, {}), storage or MemoryStorage(), clock)
        brokers.append(broker)
        broker.start()
        return broker

    yield make
    for broker in brokers:
        broker.stop(5)


@pytest.fixture
def broker(make_broker):
    return make_broker()


@pytest.fixture
def coordinator(broker):
    return broker.coordinator


@pytest.fixture
def client(coordinator):
    """A function that makes a client of group "g"."""

    def make(**more):
        return GroupClient(coordinator, **more)

    return make
