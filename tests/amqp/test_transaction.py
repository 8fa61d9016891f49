"""Transactions that fail, and what they leave."""

import pytest

from portask.errors import StorageFullError
from tests.amqp.peer import frame_of, publish_frames
from tests.native.gated_storage import GatedStorage


@pytest.fixture
def storage():
    return GatedStorage()


@pytest.fixture
def served(serve, storage):
    return serve("--publish-timeout-ms", "100", "--bus-bytes", "65536", storage=storage)


@pytest.fixture
def other(served):
    return served.peer()


@pytest.fixture
def tx(other, served):
    """A channel with transactions; there are a durable queue `q` with three messages and a transient one."""
    other.ask(1, "queue.declare", queue="q", durable=True)
    other.ask(1, "queue.declare", queue="transient")
    for body in (b"one", b"two", b"three"):
        other.publish(1, body)
    other.ask(1, "basic.qos")
    peer = served.peer()
    peer.ask(1, "tx.select")
    return peer


def queue_of(served, name="q"):
    return served.broker.virtual_hosts.get("/").queues.get(name)


def get(peer):
    peer.send(1, "basic.get", queue="q")
    frame = peer.read()
    if frame.name == "basic.get-empty":
        return None
    return peer.read_body(), frame.value.redelivered


def test_wrong_tag_leaves_the_message_whose_ack_was_not_committed(tx, other):
    get(tx)
    tx.send_bytes(frame_of(1, "basic.ack", delivery_tag=1) + frame_of(1, "basic.ack", delivery_tag=9))
    assert tx.closing("channel.close")[:2] == (406, "PRECONDITION_FAILED - unknown delivery tag 9")

    assert get(other) == (b"one", True)


@pytest.mark.parametrize("second", ["basic.ack", "basic.nack", "basic.reject"])
def test_tag_is_settled_once_in_a_transaction(tx, second):
    get(tx)
    tx.send_bytes(frame_of(1, "basic.ack", delivery_tag=1) + frame_of(1, second, delivery_tag=1))

    assert tx.closing("channel.close")[:2] == (406, "PRECONDITION_FAILED - unknown delivery tag 1")


def test_rollback_puts_tags_back_in_their_order(tx, served):
    for _ in range(3):
        get(tx)
    for tag in (3, 2):
        tx.send(1, "basic.ack", delivery_tag=tag)
    tx.ask(1, "tx.rollback")
    tx.send(1, "basic.ack", delivery_tag=2, multiple=True)
    tx.ask(1, "tx.commit")

    assert queue_of(served).unacked == 1
    assert queue_of(served).ready == 0


def test_message_for_a_queue_that_was_deleted_before_the_commit_is_no_error(tx, other, served):
    tx.publish(1, b"lost", "transient")
    tx.publish(1, b"four")
    tx.ask(1, "basic.qos")
    other.ask(1, "queue.delete", queue="transient")
    tx.ask(1, "tx.commit")

    assert queue_of(served).ready == 4


def test_commit_that_finds_no_room_leaves_everything_as_it_was(tx, other, served, storage):
    get(tx)
    tx.send(1, "basic.ack", delivery_tag=1)
    tx.publish(1, b"four")
    storage.gate.clear()
    other.publish(1, b"x" * 65536)
    other.ask(1, "basic.qos")
    tx.send(1, "tx.commit")
    assert tx.closing()[0] == 506
    storage.gate.set()

    assert get(other) == (b"one", True)
    assert [get(other) for _ in range(4)] == [(b"two", False), (b"three", False), (b"x" * 65536, False), None]


def test_commit_that_storage_refuses_leaves_everything_as_it_was(tx, other, served, storage):
    get(tx)
    tx.send(1, "basic.ack", delivery_tag=1)
    tx.ask(1, "basic.qos")
    storage.failure = StorageFullError("no space left")
    tx.send(1, "tx.commit")
    tx.closing()
    storage.failure = None

    assert get(other) == (b"one", True)


def test_commit_that_a_full_queue_refuses_leaves_everything_as_it_was(tx, other, served):
    tx.ask(1, "queue.declare", queue="full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    other.publish(1, b"room for one", "full")
    other.ask(1, "basic.qos")
    get(tx)
    tx.send(1, "basic.ack", delivery_tag=1)
    tx.publish(1, b"four")
    tx.publish(1, b"too much", "full")
    tx.send(1, "tx.commit")
    assert tx.closing("channel.close")[0] == 406

    assert get(other) == (b"one", True)
    assert [get(other) for _ in range(3)] == [(b"two", False), (b"three", False), None]


def test_rejects_of_a_commit_that_fails_do_not_count(tx, other, served, storage):
    get(tx)
    tx.send(1, "basic.reject", delivery_tag=1)
    tx.publish(1, b"four")
    tx.ask(1, "basic.qos")
    storage.failure = StorageFullError("no space left")
    tx.send(1, "tx.commit")
    tx.closing()
    storage.failure = None

    assert get(other) == (b"one", True)


def test_commit_is_answered_when_its_acks_are_durable(tx, served, storage, wait_until):
    get(tx)
    tx.send(1, "basic.ack", delivery_tag=1)
    tx.ask(1, "basic.qos")
    storage.gate.clear()
    tx.send(1, "tx.commit")
    wait_until(lambda: queue_of(served).unacked == 0)
    tx.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        tx.sock.recv(1)
    tx.sock.settimeout(5)
    storage.gate.set()

    tx.expect("tx.commit-ok")


def test_returns_come_with_the_commit(tx):
    tx.send_bytes(publish_frames(1, b"lost", "nowhere", mandatory=True) + frame_of(1, "basic.qos"))
    tx.expect("basic.qos-ok")
    tx.send(1, "tx.commit")
    assert tx.expect("basic.return").value.routing_key == "nowhere"
    assert tx.read_body() == b"lost"

    tx.expect("tx.commit-ok")


def test_returns_of_a_rollback_do_not_come(tx):
    tx.publish(1, b"lost", "nowhere", mandatory=True)
    tx.ask(1, "tx.rollback")

    tx.ask(1, "tx.commit")
