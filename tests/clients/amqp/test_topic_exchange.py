"""Topic exchanges: words, * for one and # for any number."""

import pytest

from tests.clients.amqp.session import channel_refused, drain

MATCHES = {
    "a.b.c": {"a.b.c"},
    "a.*.c": {"a.b.c", "a..c"},
    "a.#": {"a", "a.b", "a.b.c", "a.b.c.d", "a..c"},
    "#.c": {"a.b.c", "a..c", "c"},
    "#": {"", "a", "a.b", "a.b.c", "a.b.c.d", "a..c", "c", "b.c.d"},
    "*": {"a", "c"},
    "*.*": {"a.b"},
    "*.*.*": {"a.b.c", "a..c", "b.c.d"},
    "a.#.d": {"a.b.c.d"},
    "#.b.#": {"a.b", "a.b.c", "a.b.c.d", "b.c.d"},
    "#.*": {"a", "a.b", "a.b.c", "a.b.c.d", "a..c", "c", "b.c.d"},
    "a.*": {"a.b"},
    "": {""},
    "a*": set(),
    "A.b.c": set(),
}
KEYS = sorted(set().union(*MATCHES.values()))


@pytest.fixture
def exchange(channel, name):
    exchange = name("exchange")
    channel.exchange_declare(exchange, "topic")
    return exchange


@pytest.mark.parametrize("pattern", MATCHES)
def test_pattern_takes_its_keys(channel, publisher, exchange, queue, pattern):
    # RabbitMQ replaces an empty key by the queue's name when the queue is unnamed too; here it is named.
    channel.queue_bind(queue, exchange, pattern)
    for key in KEYS:
        publisher.basic_publish(exchange, key, key.encode())

    got = {body.decode() for body in drain(channel, queue)}
    # No key has no words in RabbitMQ, and one word, the empty one, by the letter of the specification.
    assert got - {""} == MATCHES[pattern] - {""}


def test_queue_with_two_patterns_that_match_gets_one_message(channel, publisher, exchange, queue):
    channel.queue_bind(queue, exchange, "a.#")
    channel.queue_bind(queue, exchange, "*.b")
    publisher.basic_publish(exchange, "a.b", b"once")

    assert drain(channel, queue) == [b"once"]


def test_unbound_pattern_leaves_the_others(channel, publisher, exchange, queue):
    for pattern in ("a.*", "a.#", "b"):
        channel.queue_bind(queue, exchange, pattern)
    channel.queue_unbind(queue, exchange, "a.#")
    for key in ("a.b", "a.b.c", "b"):
        publisher.basic_publish(exchange, key, key.encode())

    assert drain(channel, queue) == [b"a.b", b"b"]


def test_each_queue_gets_what_its_pattern_takes(channel, publisher, exchange, declare):
    queues = {pattern: declare() for pattern in ("kern.*", "*.critical", "#")}
    for pattern, queue in queues.items():
        channel.queue_bind(queue, exchange, pattern)
    for key in ("kern.info", "kern.critical", "app.critical", "app.info"):
        publisher.basic_publish(exchange, key, key.encode())

    assert {pattern: drain(channel, queue) for pattern, queue in queues.items()} == {
        "kern.*": [b"kern.info", b"kern.critical"],
        "*.critical": [b"kern.critical", b"app.critical"],
        "#": [b"kern.info", b"kern.critical", b"app.critical", b"app.info"],
    }


def test_five_hundred_patterns_route_each_to_its_queue(channel, publisher, exchange, declare):
    one, two = declare(), declare()
    for number in range(250):
        channel.queue_bind(one, exchange, f"sensor.{number}.*")
        channel.queue_bind(two, exchange, f"*.{number}.heat")
    publisher.basic_publish(exchange, "sensor.17.heat", b"both")
    publisher.basic_publish(exchange, "sensor.18.light", b"one")
    publisher.basic_publish(exchange, "room.19.heat", b"two")

    assert (drain(channel, one), drain(channel, two)) == ([b"both", b"one"], [b"both", b"two"])


@pytest.mark.peer_differs("3.10 takes any number")
def test_more_than_two_hashes_are_406(channel, exchange, queue):
    with channel_refused(406):
        channel.queue_bind(queue, exchange, "#.a.#.b.#")
