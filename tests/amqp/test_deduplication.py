"""A repetition is answered as the message that it repeats, and not before."""

import pytest

from portask.errors import StorageFullError
from portask.properties import Properties
from tests.amqp.peer import publish_frames
from tests.native.gated_storage import GatedStorage

ONE = Properties(headers={"x-deduplication-header": "one"}, delivery_mode=2)


@pytest.fixture
def storage():
    return GatedStorage()


@pytest.fixture
def served(serve, storage):
    return serve("--publish-timeout-ms", "100", "--bus-bytes", "65536", storage=storage)


@pytest.fixture(params=["exchange", "queue"])
def place(request, served):
    """Where to publish: an exchange that deduplicates, or a queue that does."""
    peer = served.peer()
    deduplicating = {"x-message-deduplication": True}
    by_queue = deduplicating if request.param == "queue" else {}
    peer.ask(1, "queue.declare", queue="q", durable=True, arguments=by_queue)
    peer.ask(1, "exchange.declare", exchange="x", type="direct", durable=True, arguments=deduplicating)
    peer.ask(1, "queue.bind", queue="q", exchange="x", routing_key="q")
    return {"exchange": "x"} if request.param == "exchange" else {}


@pytest.fixture
def peers(served):
    """Two publishers with confirms, each on a connection of its own."""
    peers = served.peer(), served.peer()
    for peer in peers:
        peer.ask(1, "confirm.select")
    return peers


@pytest.fixture
def tx(served):
    """A channel with transactions."""
    peer = served.peer()
    peer.ask(1, "tx.select")
    return peer


def publish(peer, place, count=1):
    peer.send_bytes(b"".join(publish_frames(1, b"body", properties=ONE, **place) for _ in range(count)))


def ready(served):
    return served.broker.virtual_hosts.get("/").queues.get("q").ready


def answer(peer):
    frame = peer.read()
    return frame.name, frame.value.delivery_tag


def is_on_its_way(served):
    return ready(served) == 1


def test_repetition_is_confirmed_when_the_original_is_stored(place, peers, served, storage, wait_until):
    first, second = peers
    storage.gate.clear()
    publish(first, place)
    wait_until(lambda: is_on_its_way(served))
    publish(second, place)
    # The answer to this method would come behind the confirm.
    second.ask(1, "basic.qos")
    storage.gate.set()

    assert answer(first) == answer(second) == ("basic.ack", 1)
    assert ready(served) == 1


def test_repetitions_of_one_read_are_confirmed_together(place, peers, served):
    publish(peers[0], place, 3)

    name, tag = answer(peers[0])
    while tag < 3:
        name, tag = answer(peers[0])
    assert (name, tag) == ("basic.ack", 3)
    assert ready(served) == 1


def test_repetition_of_what_is_stored_is_confirmed(place, peers, served):
    for peer in peers:
        publish(peer, place)
        assert answer(peer) == ("basic.ack", 1)

    assert ready(served) == 1


def test_repetition_is_refused_when_its_original_is(place, peers, served, storage):
    storage.failure = StorageFullError("no space")
    publish(peers[0], place, 2)

    name, tag = answer(peers[0])
    while tag < 2:
        assert name == "basic.nack"
        name, tag = answer(peers[0])
    storage.failure = None
    publish(peers[1], place)

    assert (name, tag) == ("basic.nack", 2)
    assert answer(peers[1]) == ("basic.ack", 1)
    assert ready(served) == 1


@pytest.mark.parametrize("end", ["tx.rollback", "channel.close"])
def test_message_that_is_not_committed_is_no_original(place, tx, peers, served, end):
    publish(tx, place)
    tx.ask(1, end)
    publish(peers[0], place)

    assert answer(peers[0]) == ("basic.ack", 1)
    assert ready(served) == 1


def test_repetition_of_what_is_rolled_back_is_refused(served, tx, peers):
    tx.ask(1, "queue.declare", queue="q", durable=True)
    tx.ask(1, "exchange.declare", exchange="x", type="direct", arguments={"x-message-deduplication": True})
    tx.ask(1, "queue.bind", queue="q", exchange="x", routing_key="q")
    publish(tx, {"exchange": "x"})
    tx.ask(1, "basic.qos")
    publish(peers[0], {"exchange": "x"})
    peers[0].ask(1, "basic.qos")
    tx.ask(1, "tx.rollback")

    assert answer(peers[0]) == ("basic.nack", 1)
    assert ready(served) == 0


def test_committed_message_and_its_repetition_are_one(place, tx, served):
    publish(tx, place, 2)
    tx.ask(1, "tx.commit")

    assert ready(served) == 1
