"""amqp091-go, RabbitMQ's client for Go."""

import json
import subprocess

import pytest

from tests.clients.program import Program, column

BODIES = [f"message {number}" for number in range(20)]


@pytest.fixture
def amqp091(go_programs, address):
    return Program([go_programs / "amqp091"], address)


@pytest.fixture
def filled(amqp091, queue):
    """A durable queue with twenty persistent messages."""
    amqp091("publish", queue=queue, count=20)
    return queue


def test_every_persistent_message_is_confirmed_in_order(amqp091, queue):
    assert amqp091("publish", queue=queue, count=2000) == [{"acked": 2000, "nacked": 0}]


def test_a_consumer_gets_what_was_published_in_order(amqp091, filled):
    *rows, end = amqp091("consume", queue=filled, count=20, prefetch=3)
    assert column(rows, "body") == BODIES
    assert column(rows, "tag") == list(range(1, 21))
    assert {(row["key"], row["exchange"], row["redelivered"]) for row in rows} == {(filled, "", False)}
    assert end == {"left": 0, "consumers": 1}


def test_acks_of_several_messages_settle_all_of_them(amqp091, filled):
    amqp091("consume", queue=filled, count=12, prefetch=5, multiple="true")
    rows = amqp091("consume", queue=filled, count=8, prefetch=5, multiple="true")
    assert column(rows[:-1], "body") == BODIES[12:]


def test_a_body_of_many_frames_comes_back_whole(amqp091, queue):
    amqp091("publish", queue=queue, count=2, size=1_000_000)
    rows = amqp091("consume", queue=queue, count=2)
    assert column(rows[:-1], "size") == [1_000_000, 1_000_000]


def test_an_unroutable_mandatory_message_comes_back_before_its_confirm(amqp091, name):
    key = name("nobody")
    returned = {"code": 312, "text": "NO_ROUTE", "key": key, "id": "one", "body": "message 0", "acked": True}
    assert amqp091("return", key=key) == [returned]


def test_a_consumer_is_told_that_its_queue_was_deleted(amqp091, queue):
    told = {"cancelled": "counter", "deliveries open": False, "channel closed": False}
    assert amqp091("cancelled", queue=queue) == [told]


def test_a_message_given_back_is_the_next_and_marked_as_redelivered(amqp091, filled):
    assert amqp091("requeue", queue=filled) == [
        {"body": "message 0", "redelivered": False, "left": 19},
        {"body": "message 0", "redelivered": True, "left": 19},
    ]


def test_properties_and_headers_of_every_type_come_back_as_they_were(amqp091, queue):
    (told,) = amqp091("properties", queue=queue)
    assert told["equal"], told


@pytest.mark.parametrize(("end", "after"), [("commit", 22), ("rollback", 20)])
def test_a_transaction_takes_effect_at_its_commit_alone(amqp091, filled, end, after):
    assert amqp091("transaction", queue=filled, count=3, end=end) == [{"before": 19, "after": after}]


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout"])
def test_messages_go_from_exchange_to_exchange_until_they_are_unbound(amqp091, queue, name, kind):
    exchange = name("exchange")
    assert amqp091("route", queue=queue, exchange=exchange, kind=kind, key="new") == [
        {"moment": "bound", "found": True, "exchange": exchange},
        {"moment": "unbound", "found": False, "exchange": ""},
        {"moment": "inner", "found": True, "exchange": f"{exchange}-inner"},
        {"purged": 0},
    ]


def test_a_missing_queue_is_an_error_of_the_channel_alone(amqp091, queue):
    reason = f"NOT_FOUND - no queue '{queue}' in vhost '/'"
    assert amqp091("missing", queue=queue) == [{"code": 404, "reason": reason, "server": True}]


def test_another_durability_is_refused_with_both_values(amqp091, queue):
    (told,) = amqp091("mismatch", queue=queue)
    assert told["code"] == 406
    assert f"inequivalent arg 'durable' for queue '{queue}' in vhost '/'" in told["reason"]


def test_the_client_brings_its_topology_back_when_the_broker_was_killed(go_programs, server, name):
    words = ["-bootstrap={}:{}".format(*server.address), f"-queue={name()}", f"-exchange={name('exchange')}"]
    command = [go_programs / "amqp091", "recover", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        first = json.loads(program.stdout.readline())
        server.kill()
        server.start()
        out, _ = program.communicate("\n", timeout=60)
    assert [first, json.loads(out)] == [
        {"body": "first", "exchange": words[2].partition("=")[2]},
        {"body": "second", "exchange": words[2].partition("=")[2]},
    ]
    assert program.returncode == 0
