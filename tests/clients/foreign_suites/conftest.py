"""A broker for suites that came with a library: Portask as a process, or the one that AMQP_PEER (host:port) names."""

import pytest

from tests.clients.amqp.broker import PEER, Peer, Portask
from tests.clients.redis_server import RedisServer


@pytest.fixture
def address(tmp_path):
    """Host and port of the broker."""
    if PEER is not None:
        yield Peer().address
        return
    broker = Portask(tmp_path / "data")
    broker.start()
    yield broker.address
    broker.kill()


@pytest.fixture
def redis(tmp_path):
    """Where a Redis of its own listens, host:port."""
    with RedisServer(tmp_path) as server:
        yield server.address
