"""A broker without listeners, on storage in memory."""

import pytest

from portask.broker import Broker
from portask.config import load_settings
from portask.storage.memory import MemoryStorage


@pytest.fixture
def make_broker(clock):
    """A function that starts a broker with these flags on this storage; all are stopped at the end."""
    brokers = []

    def make(*argv, storage=None, handler_options=()):
        broker = Broker(load_settings(argv, {}, handler_options), storage or MemoryStorage(), clock)
        brokers.append(broker)
        broker.start()
        return broker

    yield make
    for broker in brokers:
        broker.stop(5)


@pytest.fixture
def broker(make_broker):
    return make_broker()
