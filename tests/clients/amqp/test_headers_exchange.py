"""Headers exchanges: all, any, and the two that look at x- keys too."""

import pika
import pytest

from tests.clients.amqp.session import channel_refused, drain


@pytest.fixture
def exchange(channel, name):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "headers")
    return exchange


def taken(channel, publisher, exchange, queue, arguments, headers):
    """Whether a binding with *arguments* takes a message with *headers*."""
    channel.queue_bind(queue, exchange, "", arguments)
    publisher.basic_publish(exchange, "", b"hello", pika.BasicProperties(headers=headers))
    return drain(channel, queue) == [b"hello"]


TAKEN = [
    ({"x-match": "all", "a": 1, "b": "two"}, {"a": 1, "b": "two", "c": 3}),
    ({"x-match": "any", "a": 1, "b": "two"}, {"b": "two"}),
    ({"a": 1}, {"a": 1}),
    ({}, {"a": 1}),
    ({"x-match": "all"}, {}),
    ({"x-match": "all", "a": None}, {"a": "anything"}),
    ({"x-match": "all", "x-a": 1, "b": 2}, {"b": 2}),
    ({"x-match": "all", "a": True}, {"a": True}),
    ({"x-match": "any", "x-a": 1, "b": 2}, {"b": 2}),
]
TAKEN_WITH_X = [
    ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}),
    ({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"x-a": 1}),
]
NOT_TAKEN = [
    ({"x-match": "all", "a": 1, "b": "two"}, {"a": 1}),
    ({"x-match": "all", "a": 1}, {"a": 2}),
    ({"x-match": "any", "a": 1, "b": 2}, {"a": 2, "b": 1}),
    ({"x-match": "any", "a": 1}, {}),
    ({"x-match": "any", "a": 1}, None),
    ({"x-match": "all", "a": 1}, {"a": "1"}),
    ({"x-match": "any", "x-a": 1, "b": 2}, {"x-a": 1}),
    ({"x-match": "all", "a": None}, {"b": 1}),
]


@pytest.mark.parametrize(("arguments", "headers"), TAKEN)
def test_headers_that_match_are_taken(channel, publisher, exchange, queue, arguments, headers):
    assert taken(channel, publisher, exchange, queue, arguments, headers)


@pytest.mark.parametrize(("arguments", "headers"), TAKEN_WITH_X)
def test_x_headers_count_where_the_binding_says_so(channel, publisher, exchange, queue, arguments, headers):
    assert taken(channel, publisher, exchange, queue, arguments, headers)


@pytest.mark.parametrize(("arguments", "headers"), NOT_TAKEN)
def test_headers_that_do_not_match_are_not_taken(channel, publisher, exchange, queue, arguments, headers):
    assert not taken(channel, publisher, exchange, queue, arguments, headers)


def test_x_header_that_is_missing_is_missed_with_all_with_x(channel, publisher, exchange, queue):
    assert not taken(channel, publisher, exchange, queue, {"x-match": "all-with-x", "x-a": 1, "b": 2}, {"b": 2})


def test_integers_are_equal_across_widths(channel, publisher, exchange, queue):
    assert taken(channel, publisher, exchange, queue, {"a": 5}, {"a": pika.compat.long(5)})


def test_unknown_match_is_406(channel, exchange, queue):
    with channel_refused(406, "Invalid x-match field value"):
        channel.queue_bind(queue, exchange, "", {"x-match": "most"})


def test_routing_key_is_not_looked_at(channel, publisher, exchange, queue):
    channel.queue_bind(queue, exchange, "red", {"a": 1})
    publisher.basic_publish(exchange, "blue", b"hello", pika.BasicProperties(headers={"a": 1}))

    assert drain(channel, queue) == [b"hello"]


@pytest.mark.parametrize("exchange", ["amq.headers", "amq.match"])
def test_predeclared_exchange_routes_by_headers(channel, publisher, exchange, queue):
    assert taken(channel, publisher, exchange, queue, {"test": queue}, {"test": queue})
