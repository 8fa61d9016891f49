"""Exchanges: declared, compared, deleted, predeclared."""

import pytest

from tests.clients.amqp.session import Consumer, channel_refused, drain, exchange_exists, poll, publish

TYPES = ("direct", "fanout", "topic", "headers")
PREDECLARED = {
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
}


@pytest.mark.parametrize("kind", TYPES)
def test_declared_exchange_is_found(channel, name, kind):
    exchange = name()
    channel.exchange_declare(exchange, kind)

    channel.exchange_declare(exchange, passive=True)


@pytest.mark.parametrize("exchange", PREDECLARED)
def test_predeclared_exchange_is_there(channel, exchange):
    channel.exchange_declare(exchange, passive=True)


@pytest.mark.parametrize(("exchange", "kind"), PREDECLARED.items())
def test_equal_declaration_of_a_predeclared_exchange_is_agreed_to(channel, exchange, kind):
    channel.exchange_declare(exchange, kind, durable=True)


def test_trace_exchange_is_internal(channel):
    with channel_refused(403, "cannot publish to internal exchange 'amq.rabbitmq.trace'"):
        channel.exchange_declare("amq.rabbitmq.trace", passive=True)
        channel.confirm_delivery()
        channel.basic_publish("amq.rabbitmq.trace", "", b"")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"exchange_type": "topic"}, "inequivalent arg 'type'"),
        ({"durable": True}, "inequivalent arg 'durable'"),
        ({"auto_delete": True}, "inequivalent arg 'auto_delete'"),
        ({"internal": True}, "inequivalent arg 'internal'"),
        ({"arguments": {"alternate-exchange": "amq.fanout"}}, "inequivalent arg 'alternate-exchange'"),
    ],
)
def test_declaration_that_differs_is_406(channel, name, changed, text):
    exchange = name()
    channel.exchange_declare(exchange, "direct")

    with channel_refused(406, text):
        channel.exchange_declare(exchange, **{"exchange_type": "direct", **changed})


def test_other_arguments_are_not_compared(channel, name):
    exchange = name()
    channel.exchange_declare(exchange, "direct", arguments={"x-owner": "billing"})

    channel.exchange_declare(exchange, "direct", arguments={"x-owner": "shipping"})


def test_passive_declare_compares_nothing(channel, name):
    exchange = name()
    channel.exchange_declare(exchange, "direct")

    channel.exchange_declare(exchange, "topic", passive=True, durable=True)


@pytest.mark.peer_differs("3.10 closes the connection with 503")
def test_unknown_type_is_406(channel, name):
    with channel_refused(406, "unknown exchange type 'cubic'"):
        channel.exchange_declare(name(), "cubic")


def test_deleted_exchange_is_gone(connection, channel, name):
    exchange = name()
    channel.exchange_declare(exchange, "direct")
    channel.exchange_delete(exchange)

    assert not exchange_exists(connection, exchange)


def test_delete_of_what_is_not_there_is_agreed_to(channel, name):
    channel.exchange_delete(name())

    assert channel.is_open


def test_delete_if_unused_of_an_unused_exchange(connection, channel, name):
    exchange = name()
    channel.exchange_declare(exchange, "direct")
    channel.exchange_delete(exchange, if_unused=True)

    assert not exchange_exists(connection, exchange)


def test_bindings_go_with_their_exchange(channel, name, queue):
    exchange = name()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_bind(queue, exchange)
    channel.exchange_delete(exchange)
    channel.exchange_declare(exchange, "fanout")
    channel.confirm_delivery()
    channel.basic_publish(exchange, "", b"lost")

    assert poll(channel, queue) is None


def test_auto_delete_exchange_stays_until_it_was_bound(connection, channel, name):
    exchange = name()
    channel.exchange_declare(exchange, "direct", auto_delete=True)

    assert exchange_exists(connection, exchange)


def test_auto_delete_exchange_goes_with_its_last_binding(connection, channel, name, queue):
    exchange = name()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    channel.queue_bind(queue, exchange, "one")
    channel.queue_bind(queue, exchange, "two")
    channel.queue_unbind(queue, exchange, "one")
    assert exchange_exists(connection, exchange)
    channel.queue_unbind(queue, exchange, "two")

    assert not exchange_exists(connection, exchange)


def test_auto_delete_exchange_goes_with_the_last_queue_bound_to_it(connection, channel, name, queue):
    exchange = name()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    channel.queue_bind(queue, exchange)
    channel.queue_delete(queue)

    assert not exchange_exists(connection, exchange)


def test_alternate_exchange_gets_what_nothing_took(channel, name, queue):
    exchange, alternate = name(), name()
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    channel.queue_bind(queue, alternate)
    channel.confirm_delivery()
    channel.basic_publish(exchange, "nothing", b"hello")

    delivery = poll(channel, queue)
    assert (delivery.body, delivery.method.routing_key) == (b"hello", "nothing")


def test_alternate_exchange_gets_nothing_that_was_taken(channel, name, declare):
    exchange, alternate = name(), name()
    taking, spare = declare(), declare()
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    channel.queue_bind(spare, alternate)
    channel.queue_bind(taking, exchange, "key")
    channel.confirm_delivery()
    channel.basic_publish(exchange, "key", b"hello")

    assert (drain(channel, taking), drain(channel, spare)) == ([b"hello"], [])


def test_message_that_an_alternate_took_is_not_returned(channel, name, queue):
    exchange, alternate = name(), name()
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    channel.queue_bind(queue, alternate)
    channel.confirm_delivery()

    channel.basic_publish(exchange, "nothing", b"hello", mandatory=True)


def test_missing_alternate_exchange_drops(channel, name):
    exchange = name()
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": name()})
    channel.confirm_delivery()

    channel.basic_publish(exchange, "nothing", b"hello")


def test_alternates_that_point_at_each_other_drop(channel, name):
    one, two = name(), name()
    channel.exchange_declare(one, "direct", arguments={"alternate-exchange": two})
    channel.exchange_declare(two, "direct", arguments={"alternate-exchange": one})
    channel.confirm_delivery()

    channel.basic_publish(one, "nothing", b"hello")


def test_internal_exchange_takes_from_another(channel, name, queue):
    exchange, internal = name(), name()
    channel.exchange_declare(internal, "fanout", internal=True)
    channel.exchange_declare(exchange, "fanout")
    channel.exchange_bind(internal, exchange)
    channel.queue_bind(queue, internal)
    channel.confirm_delivery()
    channel.basic_publish(exchange, "", b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_line_breaks_in_a_name_are_left_out(channel, name):
    exchange = name()
    channel.exchange_declare(exchange + "\r\n", "direct")

    channel.exchange_declare(exchange, passive=True)


def test_name_may_be_any_text(channel, publisher, name, queue):
    exchange = name("Aufträge <img onerror> 注文")
    channel.exchange_declare(exchange, "fanout")
    channel.queue_bind(queue, exchange)
    publisher.basic_publish(exchange, "schlüssel", b"hello")

    delivery = poll(channel, queue)
    assert (delivery.method.exchange, delivery.method.routing_key) == (exchange, "schlüssel")


def test_fanout_gives_each_queue_its_own_message(channel, publisher, name, declare):
    exchange = name()
    queues = [declare() for _ in range(5)]
    channel.exchange_declare(exchange, "fanout")
    for queue in queues:
        channel.queue_bind(queue, exchange)
    publisher.basic_publish(exchange, "ignored", b"hello")

    assert [drain(channel, queue) for queue in queues] == [[b"hello"]] * 5


def test_consumer_is_told_exchange_and_routing_key(channel, publisher, name, queue):
    exchange = name()
    channel.exchange_declare(exchange, "direct")
    channel.queue_bind(queue, exchange, "key")
    publisher.basic_publish(exchange, "key", b"one")
    publish(publisher, queue, b"two")
    one, two = Consumer(channel, queue).take(2)

    assert (one.method.exchange, one.method.routing_key) == (exchange, "key")
    assert (two.method.exchange, two.method.routing_key) == ("", queue)
