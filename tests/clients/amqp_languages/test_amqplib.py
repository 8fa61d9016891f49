"""amqplib, the client for Node.js."""

import os

import pytest

from tests.clients import toolchain
from tests.clients.program import Program, column


@pytest.fixture
def amqplib(node_modules, address):
    environ = {**os.environ, "NODE_PATH": str(node_modules)}
    return Program(["node", toolchain.NODE.sources / "amqp.js"], address, dashes="--", environ=environ)


def test_every_persistent_message_is_confirmed(amqplib, queue):
    assert amqplib("publish", queue=queue, count=500) == [{"confirmed": 500}]


def test_a_consumer_gets_what_was_published_in_order(amqplib, queue):
    amqplib("publish", queue=queue, count=20)
    rows = amqplib("consume", queue=queue, count=20, prefetch=3)
    assert rows == [
        {"body": f"message {number}", "redelivered": False, "key": queue, "headers": {"number": number}}
        for number in range(20)
    ]


def test_what_was_acked_does_not_come_again(amqplib, queue):
    amqplib("publish", queue=queue, count=6)
    amqplib("consume", queue=queue, count=4, prefetch=1)
    assert column(amqplib("consume", queue=queue, count=2), "body") == ["message 4", "message 5"]


def test_an_unroutable_mandatory_message_comes_back_before_its_confirm(amqplib, name):
    key = name("nobody")
    assert amqplib("return", key=key) == [
        {"event": "return", "code": 312, "text": "NO_ROUTE", "key": key},
        {"event": "ack"},
    ]


def test_a_consumer_is_told_that_its_queue_was_deleted(amqplib, queue):
    assert amqplib("cancelled", queue=queue) == [{"cancelled": True}]


def test_an_expired_message_goes_to_the_dead_letter_queue(amqplib, queue):
    assert amqplib("dead-letter", queue=queue) == [
        {"body": "message 0", "reason": "expired", "queue": queue, "count": 1}
    ]


def test_an_answer_comes_by_direct_reply_to(amqplib):
    assert amqplib("rpc") == [{"body": "re: message 0", "correlation": "one"}]


def test_another_durability_is_an_error_of_the_channel_alone(amqplib, queue):
    (told,) = amqplib("mismatch", queue=queue)
    assert told["code"] == 406
    assert f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue}'" in told["message"]
