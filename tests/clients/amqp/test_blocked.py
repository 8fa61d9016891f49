"""Alarms: publishers are told and pause, consumers go on."""

import os
import shutil

import pika
import pytest
from pamqp.commands import Basic, Channel, Confirm, Connection
from pamqp.heartbeat import Heartbeat

from tests.clients.amqp.broker import Portask
from tests.clients.amqp.session import eventually, hang_up, parameters
from tests.clients.amqp.wire import CAPABILITIES, Wire

pytestmark = pytest.mark.peer_differs("the test has no hold on its alarms")
MARGIN_BYTES = 1 << 30


@pytest.fixture
def full(tmp_path):
    """A server whose disk has too little room from the start."""
    limit = shutil.disk_usage(tmp_path).free + MARGIN_BYTES
    server = Portask(tmp_path / "data", "--disk-free-limit-bytes", str(limit))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def wire(full):
    with Wire(full.address) as wire:
        yield wire


def test_publisher_is_told_why(wire):
    wire.open()
    wire.publish(routing_key="orders")

    assert wire.expect(Connection.Blocked).reason == "low on disk"


def test_client_that_only_consumes_is_not_told(wire):
    wire.open()

    wire.ask(Basic.Qos(0, 1), Basic.QosOk)


def test_heartbeats_come_to_a_client_that_does_not_know_of_it(wire):
    wire.open(capabilities={**CAPABILITIES, "connection.blocked": False}, heartbeat=1)
    wire.publish(routing_key="orders")

    assert isinstance(wire.read(), Heartbeat)


def test_other_connections_consume(full, wire):
    wire.open()
    wire.publish(routing_key="orders")
    wire.expect(Connection.Blocked)
    with Wire(full.address) as consumer:
        consumer.open()
        consumer.ask(Channel.Open(), Channel.OpenOk, channel=2)


def test_publisher_goes_on_when_there_is_room(tmp_path):
    limit = shutil.disk_usage(tmp_path).free - MARGIN_BYTES
    server = Portask(tmp_path / "data", "--disk-free-limit-bytes", str(limit), "--alarm-interval-ms", "20")
    server.start()
    ballast = tmp_path / "ballast"
    try:
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2 * MARGIN_BYTES)
        with Wire(server.address) as wire:
            wire.open()
            wire.ask(Confirm.Select(), Confirm.SelectOk)
            confirms_until_blocked(wire)
            ballast.unlink()
            while not isinstance(got := wire.read(), Connection.Unblocked):
                assert isinstance(got, Basic.Ack)
            wire.publish(routing_key="orders")
            wire.expect(Basic.Ack)
    finally:
        ballast.unlink(missing_ok=True)
        server.kill()


def confirms_until_blocked(wire):
    """Publish, one confirm after the other, until the broker says that it is blocked."""

    def blocked():
        wire.publish(routing_key="orders")
        return isinstance(wire.expect((Basic.Ack, Connection.Blocked)), Connection.Blocked)

    eventually(blocked)


def test_pika_calls_back(full):
    told = []
    connection = pika.BlockingConnection(parameters(full.address, blocked_connection_timeout=None))
    connection.add_on_connection_blocked_callback(lambda _, frame: told.append(frame.method.reason))
    channel = connection.channel()
    channel.basic_publish("", "orders", b"hello")

    def blocked():
        connection.process_data_events(time_limit=0.01)
        return told

    assert eventually(blocked) == ["low on disk"]
    full.kill()
    hang_up(connection)
