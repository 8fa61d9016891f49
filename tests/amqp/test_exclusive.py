"""Exclusive queues: other connections, and a storage that takes nothing when their own ends."""

import pytest

from portask.errors import StorageFailedError, StorageFullError
from tests.native.gated_storage import GatedStorage


@pytest.fixture
def storage():
    return GatedStorage()


@pytest.fixture
def served(serve, storage):
    return serve(storage=storage)


@pytest.fixture
def owner(served):
    """A connection with two exclusive queues; a durable exchange goes with the first."""
    peer = served.peer()
    peer.ask(1, "exchange.declare", exchange="x", type="fanout", durable=True, auto_delete=True)
    peer.ask(1, "queue.declare", queue="first", exclusive=True)
    peer.ask(1, "queue.declare", queue="second", exclusive=True)
    peer.ask(1, "queue.bind", queue="first", exchange="x")
    return peer


def queues(served):
    return served.broker.virtual_hosts.get("/").queues


def test_queue_that_storage_does_not_let_go_goes_later(served, storage, owner, wait_until):
    storage.failure = StorageFullError("no space left")
    owner.ask(0, "connection.close")
    assert queues(served).find("second") is None
    storage.failure = None

    wait_until(lambda: queues(served).find("first") is None)


def test_connection_ends_in_good_order_with_a_storage_that_has_failed(served, storage, owner):
    storage.failure = StorageFailedError("broken")
    owner.ask(0, "connection.close")
    storage.failure = None

    assert queues(served).find("second") is None


def test_queue_of_another_connection_is_not_unbound(served, owner):
    peer = served.peer()
    peer.send(1, "queue.unbind", queue="first", exchange="x")

    assert peer.closing("channel.close")[0] == 405
