"""Consumers that are slow or gone, and publishers that must wait: memory stays bounded, nobody else is disturbed."""

import pika
import psutil
import pytest
from pamqp.commands import Basic

from tests.clients.amqp.broker import Portask
from tests.clients.amqp.session import PERSISTENT, Consumer, drain, eventually, hang_up, parameters, publish, ready
from tests.clients.amqp.wire import Wire

pytestmark = pytest.mark.peer_differs("the test looks at its process")
MIB = 1 << 20
BODY = bytes(range(256)) * 800
COUNT = 200 * MIB // len(BODY)
STALLED = 5
BOUND = 100 * MIB
"""For all of them: what is read ahead and what waits to be sent is a few MiB each, the rest is the allocator's."""


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A server with a queue that has 200 MiB ready."""
    server = Portask(tmp_path_factory.mktemp("busy") / "data")
    server.start()
    with pika.BlockingConnection(parameters(server.address)) as connection:
        channel = connection.channel()
        for queue in ("large", "small"):
            channel.queue_declare(queue, durable=True)
        publish(channel, "large", *[BODY] * COUNT, delivery_mode=2)
        eventually(lambda: ready(channel, "large") == COUNT)
    yield server
    server.kill()


def stall(server, *, no_ack):
    """A consumer of everything, whose client reads nothing after the first frame."""
    wire = Wire(server.address)
    wire.open()
    wire.ask(Basic.Consume(queue="large", no_ack=no_ack), Basic.ConsumeOk)
    return wire


def test_consumers_that_read_nothing_cost_little_memory(busy):
    process = psutil.Process(busy.process.pid)
    before = process.memory_info().rss
    stalled = [stall(busy, no_ack=False) for _ in range(STALLED)]
    with pika.BlockingConnection(parameters(busy.address)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        # They have got what they will get when others have been served many times.
        for _ in range(200):
            publish(channel, "small", b"hello", delivery_mode=2)
        used = process.memory_info().rss - before
        assert len(drain(channel, "small")) == 200
        assert used < BOUND
        for wire in stalled:
            wire.sock.close()
        eventually(lambda: ready(channel, "large") == COUNT)


def test_consumer_beside_one_that_reads_nothing_gets_the_rest(busy):
    wire = stall(busy, no_ack=False)
    with pika.BlockingConnection(parameters(busy.address)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=10)
        consumer = Consumer(channel, "large")
        for _ in range(20):
            assert consumer.take()[0].body == BODY
            channel.basic_nack(0, multiple=True)
    wire.sock.close()


def test_what_a_vanished_client_had_comes_back_in_order(server):
    with pika.BlockingConnection(parameters(server.address)) as connection:
        channel = connection.channel()
        channel.queue_declare("orders", durable=True)
        bodies = [b"%d" % number for number in range(1500)]
        publish(channel, "orders", *bodies, delivery_mode=2)
        with Wire(server.address) as wire:
            wire.open()
            wire.ask(Basic.Qos(0, 1000), Basic.QosOk)
            wire.ask(Basic.Consume(queue="orders"), Basic.ConsumeOk)
            eventually(lambda: ready(channel, "orders") == 500)
        eventually(lambda: ready(channel, "orders") == 1500)
        found = Consumer(channel, "orders", auto_ack=True).take(1500)

        assert [delivery.body for delivery in found] == bodies
        assert [delivery.method.redelivered for delivery in found] == [True] * 1000 + [False] * 500


def test_publishers_that_wait_for_memory_do_not_hold_consumers_up(tmp_path):
    server = Portask(tmp_path / "data", "--alarm-interval-ms", "20")
    server.start()
    try:
        with pika.BlockingConnection(parameters(server.address)) as connection:
            channel = connection.channel()
            channel.queue_declare("orders", durable=True)
            publish(channel, "orders", *[b"%d" % number for number in range(500)], delivery_mode=2)
            eventually(lambda: ready(channel, "orders") == 500)
        server.stop()
        server.flags = (*server.flags, "--memory-high-watermark-bytes", "1000")
        server.start()
        blocked = []
        publisher = pika.BlockingConnection(parameters(server.address, blocked_connection_timeout=None))
        publisher.add_on_connection_blocked_callback(lambda _, frame: blocked.append(frame.method.reason))
        publisher.channel().basic_publish("", "orders", b"too much", PERSISTENT)

        def told():
            publisher.process_data_events(time_limit=0.01)
            return blocked

        assert eventually(told) == ["low on memory"]
        with pika.BlockingConnection(parameters(server.address)) as connection:
            channel = connection.channel()
            consumer = Consumer(channel, "orders")
            assert [int(body) for body in consumer.take_bodies(500)] == list(range(500))
            channel.basic_ack(0, multiple=True)
            assert ready(channel, "orders") == 0
    finally:
        server.kill()
        hang_up(publisher)
