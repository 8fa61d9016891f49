"""streadway/amqp, the Go client of many older programs."""

import pytest

from tests.clients.program import Program, column


@pytest.fixture
def streadway(go_programs, address):
    return Program([go_programs / "streadway"], address)


def test_every_persistent_message_is_confirmed(streadway, queue):
    assert streadway("publish", queue=queue, count=500) == [{"acked": 500}]


def test_a_consumer_gets_what_was_published_in_order(streadway, queue):
    streadway("publish", queue=queue, count=20)
    rows = streadway("consume", queue=queue, count=20)
    assert column(rows, "body") == [f"message {number}" for number in range(20)]
    assert not any(column(rows, "redelivered"))


def test_what_was_acked_does_not_come_again(streadway, queue):
    streadway("publish", queue=queue, count=6)
    streadway("consume", queue=queue, count=4)
    assert column(streadway("consume", queue=queue, count=2), "body") == ["message 4", "message 5"]


def test_an_unroutable_mandatory_message_comes_back(streadway, name):
    key = name("nobody")
    assert streadway("return", key=key) == [{"code": 312, "text": "NO_ROUTE", "key": key, "body": "back"}]


def test_a_consumer_is_told_that_its_queue_was_deleted(streadway, queue):
    assert streadway("cancelled", queue=queue) == [{"cancelled": "counter"}]


def test_a_missing_queue_is_named_in_the_error(streadway, queue):
    reason = f"NOT_FOUND - no queue '{queue}' in vhost '/'"
    assert streadway("missing", queue=queue) == [{"code": 404, "reason": reason}]
