"""RabbitMQ's Java client."""

import pytest

from tests.clients.kafka.java_client import JavaClient, JavaError
from tests.clients.toolchain import java_command


@pytest.fixture(scope="module")
def java(java_amqp_directory, address):
    client = JavaClient(java_command(java_amqp_directory, "Client", address))
    yield client
    client.close()


@pytest.fixture
def filled(java, queue):
    """A durable queue with ten persistent messages."""
    java("publish", queue, 10)
    return queue


def test_every_persistent_message_is_confirmed(java, queue):
    assert java("publish", queue, 500) is True


def test_a_consumer_gets_what_was_published_in_order(java, filled):
    assert java("consume", filled, 10) == [[f"message {number}", False] for number in range(10)]


def test_what_was_acked_does_not_come_again(java, filled):
    java("consume", filled, 4)
    rest = java("consume", filled, 6)
    assert [body for body, _ in rest] == [f"message {number}" for number in range(4, 10)]


def test_an_unroutable_mandatory_message_comes_back_before_its_confirm(java, name):
    key = name("nobody")
    assert java("return", key) == [["return", 312, "NO_ROUTE", key, "back"], ["ack", 1]]


def test_a_consumer_is_told_that_its_queue_was_deleted(java, queue):
    assert java("cancelled", queue) == "counter"


def test_a_rejected_message_is_the_next_and_marked_as_redelivered(java, filled):
    assert java("requeue", filled) == [["message 0", False, 9], ["message 0", True, 9]]


def test_a_passive_declare_tells_what_waits_and_who_listens(java, filled):
    assert java("passive", filled) == [10, 0]


def test_a_missing_queue_is_an_error_of_the_channel_alone(java, queue):
    with pytest.raises(JavaError, match=f"404, reply-text=NOT_FOUND - no queue '{queue}' in vhost '/'"):
        java("passive", queue)
    assert java("publish", queue, 1) is True


def test_a_bad_argument_is_refused_by_its_name(java, queue):
    with pytest.raises(JavaError, match=f"invalid arg 'x-message-ttl' for queue '{queue}' in vhost '/'"):
        java("declare", queue, "x-message-ttl", -1)


def test_an_answer_comes_by_direct_reply_to(java, queue):
    assert java("rpc", queue) == "re: one"


def test_the_client_brings_its_topology_back_when_the_broker_was_killed(java_amqp_directory, server, name):
    client = JavaClient(java_command(java_amqp_directory, "Client", "{}:{}".format(*server.address)))
    try:
        client("recovery-begin", name("exchange"))
        assert client("recovery-check") == ["here"]
        server.kill()
        server.start()
        assert client("recovery-wait") is True
        assert client("recovery-check") == ["here"]
        client("recovery-end")
    finally:
        client.close()
