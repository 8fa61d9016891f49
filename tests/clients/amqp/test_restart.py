"""What is there after the broker was killed, and what is not."""

import pika
import pytest

from tests.clients.amqp.session import (
    PERSISTENT,
    Consumer,
    channel_refused,
    drain,
    exchange_exists,
    exists,
    get,
    hang_up,
    parameters,
    poll,
    publish,
    ready,
)

pytestmark = pytest.mark.peer_differs("the test may not kill it")


@pytest.fixture
def again(server):
    """A function that kills the server, starts it again and returns a channel."""
    connections = []

    def again(*, kill=True):
        server.kill() if kill else server.stop()
        server.start()
        connections.append(pika.BlockingConnection(parameters(server.address)))
        return connections[-1].channel()

    yield again
    for connection in connections:
        hang_up(connection)


@pytest.fixture
def before(server):
    """A channel with confirms of the server before it is killed."""
    channel = pika.BlockingConnection(parameters(server.address)).channel()
    channel.confirm_delivery()
    yield channel
    hang_up(channel.connection)


def fill(channel, queue="orders", count=20, **arguments):
    """Declare a durable queue and publish persistent messages to it; returns their bodies."""
    channel.queue_declare(queue, durable=True, arguments=arguments)
    bodies = [b"%d" % number for number in range(count)]
    for body in bodies:
        channel.basic_publish("", queue, body, PERSISTENT)
    return bodies


@pytest.mark.parametrize("kill", [True, False])
def test_confirmed_messages_are_there_in_order(before, again, kill):
    bodies = fill(before)

    assert drain(again(kill=kill), "orders") == bodies


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_acked_messages_do_not_come_back(before, again, kind):
    bodies = fill(before, **{"x-queue-type": kind})
    Consumer(before, "orders").take(10)
    before.basic_ack(10, multiple=True)
    before.queue_declare("orders", passive=True)
    left = drain(again(), "orders")

    assert left[-10:] == bodies[10:]


def test_acks_that_a_clean_stop_saw_count(before, again):
    bodies = fill(before)
    Consumer(before, "orders").take(10)
    before.basic_ack(10, multiple=True)
    before.queue_declare("orders", passive=True)

    assert drain(again(kill=False), "orders") == bodies[10:]


def test_unacked_messages_come_back_redelivered(before, again):
    fill(before)
    Consumer(before, "orders").take(10)
    channel = again()

    assert ready(channel, "orders") == 20
    assert get(channel, "orders").method.redelivered


def test_properties_and_headers_are_there(before, again):
    before.queue_declare("orders", durable=True)
    properties = pika.BasicProperties(delivery_mode=2, message_id="m-1", headers={"a": [1, {"b": None}]}, priority=3)
    before.basic_publish("", "orders", b"hello", properties)

    assert get(again(), "orders").properties == properties


def test_durable_topology_routes(before, again):
    before.exchange_declare("shop", "topic", durable=True)
    before.exchange_declare("inner", "headers", durable=True)
    before.queue_declare("orders", durable=True)
    before.exchange_bind("inner", "shop", "orders.#")
    before.queue_bind("orders", "inner", "", {"x-match": "all", "a": 1})
    channel = again()
    channel.confirm_delivery()
    channel.basic_publish("shop", "orders.new", b"hello", pika.BasicProperties(headers={"a": 1}))

    assert drain(channel, "orders") == [b"hello"]


def test_exclusive_and_transient_queues_are_gone(before, again):
    before.queue_declare("mine", exclusive=True)
    before.queue_declare("transient")
    connection = again().connection

    assert (exists(connection, "mine"), exists(connection, "transient")) == (False, False)


def test_transient_exchange_is_gone(before, again):
    before.exchange_declare("fleeting", "fanout")

    assert not exchange_exists(again().connection, "fleeting")


def test_deleted_queue_stays_deleted(before, again):
    fill(before)
    before.queue_delete("orders")

    assert not exists(again().connection, "orders")


def test_purged_messages_stay_purged(before, again):
    fill(before)
    before.queue_purge("orders")

    assert drain(again(), "orders") == []


def test_arguments_are_kept(before, again):
    arguments = {"x-message-ttl": 600_000, "x-max-length": 5, "x-dead-letter-exchange": "amq.fanout"}
    before.queue_declare("orders", durable=True, arguments=arguments)
    channel = again()
    channel.queue_declare("orders", durable=True, arguments=arguments)

    with channel_refused(406, "inequivalent arg 'x-max-length'"):
        channel.queue_declare("orders", durable=True, arguments={**arguments, "x-max-length": 6})


def test_length_limit_counts_what_was_there(before, again):
    fill(before, count=3, **{"x-max-length": 3})
    channel = again()
    channel.confirm_delivery()
    publish(channel, "orders", b"new")

    assert drain(channel, "orders") == [b"1", b"2", b"new"]


def test_priorities_are_kept(before, again):
    before.queue_declare("orders", durable=True, arguments={"x-max-priority": 5})
    for priority in (1, 5, 3):
        publish(before, "orders", b"%d" % priority, priority=priority, delivery_mode=2)

    assert drain(again(), "orders") == [b"5", b"3", b"1"]


def test_stream_is_read_from_its_beginning(before, again):
    bodies = fill(before, **{"x-queue-type": "stream"})
    channel = again()
    channel.basic_qos(prefetch_count=100)

    consumer = Consumer(channel, "orders", arguments={"x-stream-offset": "first"})
    assert consumer.take_bodies(20) == bodies


def test_ttl_goes_on_from_the_arrival(before, again):
    before.queue_declare("orders", durable=True, arguments={"x-message-ttl": 1})
    publish(before, "orders", b"hello", delivery_mode=2)

    assert poll(again(), "orders") is None


def test_delivery_count_of_a_quorum_queue_is_kept(before, again):
    fill(before, count=1, **{"x-queue-type": "quorum", "x-delivery-limit": 3})
    for _ in range(2):
        before.basic_reject(get(before, "orders").tag, requeue=True)
    # Nothing is said of a reject when it is safe; but it comes before this message, which is confirmed.
    before.queue_declare("later", durable=True)
    publish(before, "later", b"confirmed", delivery_mode=2)

    assert get(again(), "orders").headers["x-delivery-count"] >= 2


def test_dead_letters_are_kept(before, again):
    before.queue_declare("dead", durable=True)
    fill(before, count=5, **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    Consumer(before, "orders").take(5)
    before.basic_nack(5, multiple=True, requeue=False)
    while ready(before, "dead") < 5:
        before.connection.process_data_events(time_limit=0.01)
    # They leave the queue when they are safe elsewhere, in a round before this message's.
    publish(before, "dead", b"confirmed", delivery_mode=2)
    channel = again()

    assert drain(channel, "dead")[:5] == [b"0", b"1", b"2", b"3", b"4"]
    assert drain(channel, "orders") == []


def test_committed_transaction_is_there_whole(before, server, again):
    channel = pika.BlockingConnection(parameters(server.address)).channel()
    for queue in ("one", "two"):
        channel.queue_declare(queue, durable=True)
    channel.tx_select()
    for queue in ("one", "two"):
        publish(channel, queue, b"hello", delivery_mode=2)
    channel.tx_commit()
    publish(channel, "one", b"lost", delivery_mode=2)
    after = again()
    hang_up(channel.connection)

    assert (drain(after, "one"), drain(after, "two")) == ([b"hello"], [b"hello"])
