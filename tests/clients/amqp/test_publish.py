"""What is published comes out as it went in."""

import decimal
from datetime import UTC, datetime

import amqp
import pika
import pytest

from tests.clients.amqp.session import channel_refused, connection_refused, drain, get, poll, publish
from tests.clients.amqp.wire import Wire

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PROPERTIES = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "headers": {"trace": "abc"},
    "delivery_mode": 2,
    "priority": 3,
    "correlation_id": "42",
    "reply_to": "answers",
    "expiration": "600000",
    "message_id": "m-1",
    "timestamp": 1_767_268_800,
    "type": "order",
    "user_id": "guest",
    "app_id": "shop",
    "cluster_id": "one",
}
HEADERS = {
    "text": "häuser",
    "bytes": b"\xff\x00\xfe",
    "true": True,
    "false": False,
    "small": 7,
    "negative": -7,
    "large": 2**40,
    "decimal": decimal.Decimal("12.34"),
    "time": NOON,
    "none": None,
    "list": [1, "two", [3, None]],
    "table": {"deep": {"deeper": [{"deepest": True}]}},
    "empty": {},
    "": "no name",
}


def test_body_comes_back(channel, publisher, queue):
    publish(publisher, queue, b"hello")

    assert drain(channel, queue) == [b"hello"]


@pytest.mark.parametrize("size", [0, 1, 131_063, 131_064, 131_065, 262_128, 1_000_000, 5_000_000])
def test_body_of_any_size_comes_back(channel, publisher, queue, size):
    body = bytes(number % 251 for number in range(min(size, 251))) * (size // 251 + 1)
    publish(publisher, queue, body[:size])

    assert poll(channel, queue).body == body[:size]


@pytest.mark.parametrize("name_of_property", PROPERTIES)
def test_property_comes_back(channel, publisher, queue, name_of_property):
    value = PROPERTIES[name_of_property]
    publish(publisher, queue, b"hello", **{name_of_property: value})
    properties = poll(channel, queue).properties

    assert {key: got for key, got in vars(properties).items() if got is not None} == {name_of_property: value}


def test_all_properties_come_back(channel, publisher, queue):
    publish(publisher, queue, b"hello", **PROPERTIES)

    assert vars(poll(channel, queue).properties) == PROPERTIES


def test_no_properties_come_back_as_none(channel, publisher, queue):
    publish(publisher, queue, b"hello")

    assert set(vars(poll(channel, queue).properties).values()) == {None}


@pytest.mark.parametrize("header", HEADERS)
def test_header_comes_back(channel, publisher, queue, header):
    publish(publisher, queue, b"hello", headers={header: HEADERS[header]})

    got = poll(channel, queue).headers[header]
    assert got == HEADERS[header] or got.replace(tzinfo=UTC) == HEADERS[header]


@pytest.mark.parametrize("value", [1.5, -0.0, 1e300, [2.5, {"deep": 3.5}]])
def test_float_of_py_amqp_comes_back(broker, publisher, queue, value):
    host, port = broker.address
    with amqp.Connection(f"{host}:{port}", confirm_publish=True) as connection:
        channel = connection.channel()
        channel.basic_publish(amqp.Message(b"hello", application_headers={"value": value}), routing_key=queue)

        assert channel.basic_get(queue, no_ack=True).headers == {"value": value}


def test_messages_of_a_publisher_come_in_order(channel, publisher, queue):
    bodies = [b"%d" % number for number in range(200)]
    publish(publisher, queue, *bodies)

    assert drain(channel, queue) == bodies


def test_unconfirmed_messages_come_in_order(channel, queue):
    bodies = [b"%d" % number for number in range(2000)]
    publish(channel, queue, *bodies)

    assert [get(channel, queue, auto_ack=True).body for _ in bodies] == bodies


def test_transient_and_persistent_messages_keep_their_order(channel, publisher, queue):
    for number in range(20):
        publish(publisher, queue, b"%d" % number, delivery_mode=1 + number % 2)

    assert drain(channel, queue) == [b"%d" % number for number in range(20)]


def test_message_that_nothing_takes_is_dropped(publisher, name):
    publisher.basic_publish("", name(), b"lost")

    assert publisher.is_open


def test_missing_exchange_closes_the_channel(publisher, name):
    exchange = name()
    with channel_refused(404, f"no exchange '{exchange}' in vhost '/'"):
        publisher.basic_publish(exchange, "", b"hello")


def test_messages_before_an_error_are_kept(channel, connect, queue, name):
    failing = connect().channel()
    publish(failing, queue, b"one", b"two")
    failing.basic_publish(name(), "", b"lost")
    with channel_refused(404):
        failing.queue_declare(queue, passive=True)

    assert [get(channel, queue, auto_ack=True).body for _ in range(2)] == [b"one", b"two"]


def test_internal_exchange_is_403(channel, publisher, name):
    exchange = name()
    channel.exchange_declare(exchange, "fanout", internal=True)

    with channel_refused(403, f"cannot publish to internal exchange '{exchange}' in vhost '/'"):
        publisher.basic_publish(exchange, "", b"hello")


def test_immediate_closes_the_connection(broker):
    with Wire(broker.address) as wire:
        wire.open()
        wire.publish(immediate=True)
        closed = wire.closed()

    assert (closed.what, closed.code) == ("connection", 540)


@pytest.mark.parametrize("expiration", ["soon", "-1", "1.5", "10 ", "", "0x10"])
def test_expiration_that_is_no_number_is_406(publisher, queue, expiration):
    with channel_refused(406, "invalid expiration"):
        publish(publisher, queue, b"hello", expiration=expiration)


def test_publishing_to_a_deleted_queue_drops(channel, publisher, queue):
    publish(publisher, queue, b"one")
    channel.queue_delete(queue)
    publish(publisher, queue, b"two")

    assert publisher.is_open


def test_two_connections_publish_to_one_queue(channel, publisher, connect, queue):
    second = connect().channel()
    second.confirm_delivery()
    for number in range(20):
        publish(publisher if number % 2 else second, queue, b"%d" % number)

    assert drain(channel, queue) == [b"%d" % number for number in range(20)]


def test_header_table_nested_twenty_deep_comes_back(connect, queue):
    deep = "bottom"
    for _ in range(20):
        deep = {"down": deep}
    channel = connect().channel()
    channel.confirm_delivery()
    publish(channel, queue, b"hello", headers=deep)

    assert poll(channel, queue).headers == deep


def test_priority_is_a_byte(channel, publisher, queue):
    publish(publisher, queue, b"hello", priority=255)

    assert poll(channel, queue).properties == pika.BasicProperties(priority=255)


def test_connection_error_while_publishing_is_seen(channel, queue):
    publish(channel, queue, b"hello")
    with connection_refused(540):
        channel.basic_qos(prefetch_size=1)
