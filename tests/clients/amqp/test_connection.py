"""Connections: how they are opened, what the broker says of itself, how they end."""

import amqp
import pika
import pytest
from pamqp.commands import Basic, Channel, Connection
from pamqp.heartbeat import Heartbeat
from pika.exceptions import ProbableAccessDeniedError, ProbableAuthenticationError

from tests.clients.amqp.session import connection_refused, eventually, parameters
from tests.clients.amqp.wire import HEADER, Wire

OFFERED = {
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "consumer_priorities",
    "direct_reply_to",
    "exchange_exchange_bindings",
    "per_consumer_qos",
    "publisher_confirms",
}


@pytest.fixture
def wire(broker):
    with Wire(broker.address) as wire:
        yield wire


def test_start_names_the_version_the_mechanisms_and_the_locale(wire):
    wire.send_bytes(HEADER)
    start = wire.expect(Connection.Start)

    assert (start.version_major, start.version_minor) == (0, 9)
    assert {"PLAIN", "AMQPLAIN"} <= set(start.mechanisms.split())
    assert start.locales == "en_US"


def test_start_has_the_properties_that_clients_look_for(wire):
    wire.send_bytes(HEADER)
    properties = wire.expect(Connection.Start).server_properties

    assert {"product", "version", "platform", "copyright", "information", "cluster_name"} <= set(properties)
    assert {name for name, is_offered in properties["capabilities"].items() if is_offered} == OFFERED


@pytest.mark.peer_differs("the peer is 3.10")
def test_the_version_is_one_for_which_kombu_asks_for_global_prefetch(connection):
    with_version = connection._impl.server_properties
    version = with_version["version"]
    text = version.decode() if isinstance(version, bytes) else version

    assert (3, 3) <= tuple(map(int, text.split(".")[:2])) < (4, 0)
    assert with_version["product"] in {"RabbitMQ", b"RabbitMQ"}


def test_tune_offers_the_usual_limits(wire):
    tune = wire.open()

    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


def test_header_of_version_0_9_is_taken_for_0_9_1(wire):
    wire.send_bytes(b"AMQP\x01\x01\x00\x09")

    assert "PLAIN" in wire.expect(Connection.Start).mechanisms


@pytest.mark.parametrize("hello", [b"AMQP\x00\x00\x09\x02", b"AMQP\x00\x00\x08\x00"])
def test_header_of_another_0_x_version_is_answered_with_ours_and_the_end(wire, hello):
    wire.send_bytes(hello)

    assert wire.receive() == b"AMQP\x00\x00\x09\x01"
    assert wire.is_over()


@pytest.mark.parametrize("hello", [b"GET / HT", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"AMQP\x07\x00\x09\x01"])
def test_what_is_no_header_is_answered_with_one_and_the_end(wire, hello):
    wire.send_bytes(hello)

    assert wire.receive()[:4] == b"AMQP"
    assert wire.is_over()


def test_pika_logs_in_with_plain(connect):
    assert connect().is_open


def test_py_amqp_logs_in_with_amqplain(broker):
    host, port = broker.address
    with amqp.Connection(f"{host}:{port}", login_method="AMQPLAIN") as connection:
        assert connection.connected


def test_wrong_password_is_refused_with_403(wire):
    wire.start(response="\0guest\0wrong")

    closed = wire.closed()
    assert (closed.what, closed.code) == ("connection", 403)
    assert closed.text.startswith("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN")


def test_unknown_user_is_refused_in_the_same_words_as_a_wrong_password(broker):
    texts = set()
    for response in ("\0guest\0wrong", "\0nobody\0nothing"):
        with Wire(broker.address) as wire:
            wire.start(response=response)
            texts.add(wire.closed().text)

    assert len(texts) == 1


def test_wrong_password_of_a_client_that_knows_no_failure_close_ends_the_socket(wire):
    wire.start(response="\0guest\0wrong", capabilities={})

    with pytest.raises(ConnectionError):
        wire.read()


def test_pika_says_that_the_password_is_wrong(broker):
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(parameters(broker.address, password="wrong"))


def test_py_amqp_says_that_the_password_is_wrong(broker):
    host, port = broker.address
    with pytest.raises(amqp.AccessRefused):
        amqp.Connection(f"{host}:{port}", password="wrong").connect()


def test_unknown_mechanism_ends_the_socket(wire):
    wire.start(mechanism="SCRAM")

    with pytest.raises(ConnectionError):
        wire.read()


def test_virtual_host_that_is_not_there_is_530(wire):
    wire.start()
    tune = wire.expect(Connection.Tune)
    wire.send(Connection.TuneOk(tune.channel_max, tune.frame_max, 0), channel=0)
    wire.send(Connection.Open("nowhere"), channel=0)

    assert wire.closed() == ("connection", 530, "NOT_ALLOWED - vhost nowhere not found", (10, 40))


def test_pika_says_that_the_virtual_host_is_not_there(broker):
    with pytest.raises((ProbableAccessDeniedError, pika.exceptions.ConnectionClosedByBroker)):
        pika.BlockingConnection(parameters(broker.address, virtual_host="nowhere"))


@pytest.mark.peer_differs("3.10 drops the socket after three seconds")
@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (
            {"channel_max": 0},
            "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
        (
            {"channel_max": 2048},
            "NOT_ALLOWED - negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
        ),
        (
            {"frame_max": 0},
            "NOT_ALLOWED - negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)",
        ),
        (
            {"frame_max": 131073},
            "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
        (
            {"frame_max": 8191},
            "NOT_ALLOWED - negotiated frame_max = 8191 is lower than the minimum allowed value (8192)",
        ),
    ],
)
def test_limits_beyond_what_was_offered_are_530(wire, limits, text):
    wire.start()
    wire.expect(Connection.Tune)
    agreed = {"channel_max": 2047, "frame_max": 131072, "heartbeat": 0, **limits}
    wire.send(Connection.TuneOk(**agreed), channel=0)

    assert wire.closed() == ("connection", 530, text, (10, 30))


def test_lower_limits_are_agreed_to(connect):
    connection = connect(channel_max=5, frame_max=8192)

    assert connection.channel().is_open


def test_large_body_is_cut_to_the_agreed_frames(connect, queue):
    channel = connect(frame_max=8192).channel()
    channel.confirm_delivery()
    body = bytes(range(256)) * 400
    channel.basic_publish("", queue, body)

    assert channel.basic_get(queue, auto_ack=True)[2] == body


def test_heartbeats_come_when_nothing_else_does(wire):
    wire.open(heartbeat=1)

    assert isinstance(wire.read(), Heartbeat)


def test_a_silent_client_is_dropped_after_its_heartbeats_are_missed(wire):
    wire.open(heartbeat=1)

    assert wire.is_over()


def test_heartbeat_0_means_none(wire, name):
    wire.open(heartbeat=0)
    wire.send(Heartbeat(), channel=0)

    wire.ask(Basic.Qos(0, 1), Basic.QosOk)


def test_close_is_answered(wire):
    wire.open()

    wire.ask(Connection.Close(200, "bye", 0, 0), Connection.CloseOk, channel=0)


def test_methods_after_an_error_are_passed_over_until_close_ok(wire):
    wire.open()
    wire.send(Basic.Recover(False))
    assert wire.closed().code == 540
    wire.send(Basic.Qos(0, 1))
    wire.send(Channel.Open(), channel=2)
    wire.send(Connection.CloseOk(), channel=0)

    assert wire.is_over()


def test_secret_may_be_updated(connection):
    connection.update_secret("guest", "rotated")

    assert connection.channel().is_open


def test_many_connections_are_served_at_once(connect):
    connections = [connect() for _ in range(20)]

    assert all(connection.channel().is_open for connection in connections)


def test_client_that_vanishes_frees_what_it_had(broker, publisher, queue):
    with Wire(broker.address) as wire:
        wire.open()
        publisher.basic_publish("", queue, b"hello")
        eventually(lambda: isinstance(wire.ask(Basic.Get(queue=queue), Basic.GetOk), Basic.GetOk))
    eventually(lambda: publisher.queue_declare(queue, passive=True).method.message_count == 1)


def test_capabilities_are_no_duty(wire):
    wire.open(capabilities={})

    wire.ask(Basic.Qos(0, 1), Basic.QosOk)


def test_pika_sees_why_the_connection_was_closed(channel):
    with connection_refused(540, "NOT_IMPLEMENTED"):
        channel.basic_recover(requeue=False)
