"""Requests whose answers come straight to the channel."""

import pytest

from handlers.amqp.codec import FRAME_HEADER, encode_frame
from handlers.amqp.reply_to import REPLY_TO
from portask.errors import StorageFullError
from portask.properties import Properties, edited, encode_header, encoded
from tests.amqp.peer import body_frame, frame_of
from tests.native.gated_storage import GatedStorage

HEADERS = b"\x00\x00\x00\x04\x01ab\x07"
"""One header, an integer of one byte."""


def test_request_keeps_the_types_of_its_headers(peer):
    peer.ask(1, "queue.declare", queue="q")
    peer.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True)
    header = edited(encode_header(Properties(reply_to=REPLY_TO), 3), headers=HEADERS)
    peer.send_bytes(
        frame_of(1, "basic.publish", routing_key="q") + encode_frame(FRAME_HEADER, 1, header) + body_frame(1, b"one")
    )
    peer.send(1, "basic.get", queue="q")
    peer.expect("basic.get-ok")

    assert encoded(peer.read().payload, "headers") == HEADERS


@pytest.fixture
def storage():
    return GatedStorage()


@pytest.fixture
def answering(serve, storage):
    """A peer that waits for answers, another with a transaction in which it has answered, and a durable queue."""
    served = serve(storage=storage)
    asking, peer = served.peer(), served.peer()
    asking.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True)
    (address,) = served.handler.reply_consumers
    peer.ask(1, "queue.declare", queue="q", durable=True)
    peer.ask(1, "tx.select")
    peer.publish(1, b"kept")
    peer.publish(1, b"answer", address)
    peer.ask(1, "basic.qos")
    return asking, peer


def test_answer_comes_with_the_commit(answering):
    asking, peer = answering
    peer.ask(1, "tx.commit")
    asking.expect("basic.deliver")

    assert asking.read_body() == b"answer"


def test_answer_of_a_commit_that_fails_does_not_come(answering, storage):
    asking, peer = answering
    storage.failure = StorageFullError("no space left")
    peer.send(1, "tx.commit")
    peer.closing()
    asking.send(1, "basic.qos")

    asking.expect("basic.qos-ok")
