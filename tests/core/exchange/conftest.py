"""A virtual host, and what a message's header is."""

import pytest
from gevent.event import Event

from portask.broker import Broker
from portask.config import load_settings
from portask.errors import StorageFullError
from portask.exchanges.original import Repetition
from portask.properties import Properties, encode_header, pack
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage


@pytest.fixture
def make_broker(clock):
    """A function that starts a broker on this storage; all are stopped at the end."""
    brokers = []

    def make(storage=None):
        broker = Broker(load_settings((), {}, ()), storage or MemoryStorage(), clock)
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
def host(broker):
    """The virtual host `/` of a broker in memory."""
    return broker.virtual_hosts.get("/")


@pytest.fixture
def reopen(make_broker, tmp_path):
    """A function that stops the broker, if there is one, and returns the virtual host of one on the same directory."""
    running = []

    def start():
        if running:
            running.pop().stop(5)
        running.append(make_broker(LocalStorage(LocalOptions(directory=str(tmp_path / "data")))))
        return running[0].virtual_hosts.get("/")

    return start


@pytest.fixture
def queue(host):
    """A function that declares a transient queue of that name."""
    return host.queues.declare


@pytest.fixture
def destinations(host):
    """A function: the names of the queues that a message to an exchange with these keys and headers is routed to."""

    def find(exchange, *keys, headers=None, **properties):
        header = encode_header(Properties(headers=headers, **properties), 0)
        route = host.route(host.exchange(exchange), keys or ("",), header)
        # A queue behind a deduplicating exchange comes wrapped, and a repetition goes to none.
        found = [one for one in route.destinations if not isinstance(one, Repetition)]
        return sorted(getattr(one, "destination", one).name for one in found)

    return find


@pytest.fixture
def record():
    """A function that makes a record as one comes by AMQP."""

    def make(body, key="", exchange="", headers=None, **properties):
        header = encode_header(Properties(headers=headers, **properties), len(body))
        return (body, key.encode(), None, None, pack(exchange, header))

    return make


class GatedStorage(MemoryStorage):
    """Memory that holds every write while its gate is closed, and refuses them while told to."""

    def __init__(self):
        super().__init__()
        self.gate = Event()
        self.gate.set()
        self.waiting = 0
        self.refuses = False

    def write(self, round_):
        self.waiting += 1
        self.gate.wait()
        self.waiting -= 1
        if self.refuses:
            raise StorageFullError("no space left")
        super().write(round_)


@pytest.fixture
def storage():
    return GatedStorage()


@pytest.fixture
def gated_host(make_broker, storage):
    """The virtual host `/` of a broker on `storage`."""
    yield make_broker(storage).virtual_hosts.get("/")
    storage.refuses = False
    storage.gate.set()
