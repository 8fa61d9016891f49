"""Bindings of queues and exchanges."""

from itertools import pairwise

import pytest

from tests.clients.amqp.session import channel_refused, drain


@pytest.fixture
def exchange(channel, name):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "direct")
    return exchange


def test_direct_exchange_routes_by_the_whole_key(channel, publisher, exchange, queue):
    channel.queue_bind(queue, exchange, "red")
    for key in ("red", "re", "redd", ""):
        publisher.basic_publish(exchange, key, key.encode())

    assert drain(channel, queue) == [b"red"]


def test_queue_bound_twice_with_one_key_gets_one_message(channel, publisher, exchange, queue):
    channel.queue_bind(queue, exchange, "red")
    channel.queue_bind(queue, exchange, "red")
    publisher.basic_publish(exchange, "red", b"once")

    assert drain(channel, queue) == [b"once"]


def test_bindings_with_other_arguments_are_other_bindings(channel, publisher, exchange, queue):
    channel.queue_bind(queue, exchange, "red", {"x-note": 1})
    channel.queue_bind(queue, exchange, "red", {"x-note": 2})
    channel.queue_unbind(queue, exchange, "red", {"x-note": 1})
    publisher.basic_publish(exchange, "red", b"once")

    assert drain(channel, queue) == [b"once"]


def test_unbound_queue_gets_nothing(channel, publisher, exchange, queue):
    channel.queue_bind(queue, exchange, "red")
    channel.queue_unbind(queue, exchange, "red")
    publisher.basic_publish(exchange, "red", b"lost")

    assert drain(channel, queue) == []


def test_unbind_of_what_was_not_bound_is_agreed_to(channel, exchange, queue):
    channel.queue_unbind(queue, exchange, "red")

    assert channel.is_open


def test_unbind_with_other_arguments_takes_nothing_away(channel, publisher, exchange, queue):
    channel.queue_bind(queue, exchange, "red")
    channel.queue_unbind(queue, exchange, "red", {"x-note": 1})
    publisher.basic_publish(exchange, "red", b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_empty_queue_and_key_mean_the_last_queue_and_its_name(channel, publisher, exchange):
    made = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", exchange, "")
    publisher.basic_publish(exchange, made, b"hello")

    assert drain(channel, made) == [b"hello"]


def test_queue_is_bound_to_the_default_exchange_by_its_name(channel, publisher, queue):
    publisher.basic_publish("", queue, b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_exchanges_in_a_row_route_through(channel, publisher, name, queue):
    chain = [name("exchange") for _ in range(4)]
    for exchange in chain:
        channel.exchange_declare(exchange, "fanout")
    for source, destination in pairwise(chain):
        channel.exchange_bind(destination, source)
    channel.queue_bind(queue, chain[-1])
    publisher.basic_publish(chain[0], "", b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_exchanges_in_a_circle_deliver_once(channel, publisher, name, queue):
    one, two = name("exchange"), name("exchange")
    for exchange in (one, two):
        channel.exchange_declare(exchange, "fanout")
    channel.exchange_bind(one, two)
    channel.exchange_bind(two, one)
    channel.queue_bind(queue, one)
    channel.queue_bind(queue, two)
    publisher.basic_publish(one, "", b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_exchange_binding_routes_by_its_key(channel, publisher, exchange, name, queue):
    destination = name("exchange")
    channel.exchange_declare(destination, "fanout")
    channel.exchange_bind(destination, exchange, "red")
    channel.queue_bind(queue, destination)
    publisher.basic_publish(exchange, "red", b"red")
    publisher.basic_publish(exchange, "blue", b"blue")

    assert drain(channel, queue) == [b"red"]


def test_unbound_exchange_gets_nothing(channel, publisher, exchange, name, queue):
    destination = name("exchange")
    channel.exchange_declare(destination, "fanout")
    channel.exchange_bind(destination, exchange, "red")
    channel.queue_bind(queue, destination)
    channel.exchange_unbind(destination, exchange, "red")
    publisher.basic_publish(exchange, "red", b"lost")

    assert drain(channel, queue) == []


def test_unbind_of_an_exchange_that_was_not_bound_is_agreed_to(channel, exchange, name):
    destination = name("exchange")
    channel.exchange_declare(destination, "fanout")
    channel.exchange_unbind(destination, exchange, "red")

    assert channel.is_open


def test_binding_of_the_default_exchange_is_403(channel, exchange):
    with channel_refused(403, "operation not permitted on the default exchange"):
        channel.exchange_bind("", exchange)


def test_bindings_go_with_their_queue(channel, publisher, exchange, queue):
    channel.queue_bind(queue, exchange, "red")
    channel.queue_delete(queue)
    channel.queue_declare(queue, durable=True)
    publisher.basic_publish(exchange, "red", b"lost")

    assert drain(channel, queue) == []


def test_many_keys_reach_one_queue(channel, publisher, exchange, queue):
    keys = [f"key {number}" for number in range(50)]
    for key in keys:
        channel.queue_bind(queue, exchange, key)
    for key in keys:
        publisher.basic_publish(exchange, key, key.encode())

    assert drain(channel, queue) == [key.encode() for key in keys]
