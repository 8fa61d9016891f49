"""Policies: arguments that queues and exchanges get by their names."""

import pytest

from tests.clients.amqp.session import drain, eventually, exists, get, publish, ready, wait_until_deleted


@pytest.fixture
def policy(broker, name):
    """A function that gives the queues or exchanges whose names begin with a prefix a policy; returns the prefix."""
    prefixes = []

    def policy(definition, *, apply_to="queues", priority=0, prefix=None):
        prefix = prefix or name("policy")
        prefixes.append(f"{prefix}-{len(prefixes)}")
        rule = {
            "vhost": "/",
            "name": prefixes[-1],
            "pattern": f"^{prefix}",
            "apply-to": apply_to,
            "priority": priority,
            "definition": definition,
        }
        broker.define(policies=[rule])
        return prefix

    return policy


@pytest.fixture
def made(channel, broker):
    """A function that declares a queue whose name begins with a prefix; it is deleted after the test."""
    queues = []

    def made(prefix, **arguments):
        queues.append(f"{prefix}-{len(queues)}")
        channel.queue_declare(queues[-1], durable=True, arguments=arguments)
        return queues[-1]

    yield made
    if channel.is_open:
        for queue in queues:
            channel.queue_delete(queue)


def test_policy_limits_the_length(channel, publisher, policy, made):
    queue = made(policy({"max-length": 2}))
    publish(publisher, queue, b"1", b"2", b"3")

    assert drain(channel, queue) == [b"2", b"3"]


def test_policy_gives_a_ttl(channel, publisher, policy, made):
    queue = made(policy({"message-ttl": 50}))
    publish(publisher, queue, b"hello")

    eventually(lambda: ready(channel, queue) == 0)


def test_policy_names_a_dead_letter_exchange(channel, publisher, policy, made, declare):
    dead = declare()
    queue = made(policy({"dead-letter-exchange": "", "dead-letter-routing-key": dead}))
    publish(publisher, queue, b"hello")
    channel.basic_reject(get(channel, queue).tag, requeue=False)

    assert get(channel, dead).body == b"hello"


def test_policy_expires_a_queue(connection, channel, name, policy, made):
    queue = made(policy({"expires": 200}))
    wait_until_deleted(channel, name("exchange"), queue)

    assert not exists(connection, queue)


def test_lower_number_of_policy_and_argument_counts(channel, publisher, policy, made):
    prefix = policy({"max-length": 3})
    low, high = made(prefix, **{"x-max-length": 1}), made(prefix, **{"x-max-length": 9})
    for queue in (low, high):
        publish(publisher, queue, *[b"%d" % number for number in range(5)])

    assert (ready(channel, low), ready(channel, high)) == (1, 3)


def test_argument_that_is_no_number_wins(channel, publisher, policy, made, declare):
    by_policy, by_argument = declare(), declare()
    prefix = policy({"dead-letter-exchange": "", "dead-letter-routing-key": by_policy})
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": by_argument}
    queue = made(prefix, **arguments)
    publish(publisher, queue, b"hello")
    channel.basic_reject(get(channel, queue).tag, requeue=False)

    assert get(channel, by_argument).body == b"hello"


def test_highest_priority_is_the_only_one_that_counts(channel, publisher, policy, made):
    prefix = policy({"max-length": 1}, priority=1)
    policy({"max-length": 3}, priority=2, prefix=prefix)
    queue = made(prefix)
    publish(publisher, queue, *[b"%d" % number for number in range(5)])

    assert ready(channel, queue) == 3


def test_policy_reaches_queues_that_are_there(channel, publisher, policy, made, name):
    prefix = name("early")
    queue = made(prefix)
    policy({"max-length": 1}, prefix=prefix)
    eventually(lambda: publish(publisher, queue, b"1", b"2") or ready(channel, queue) == 1)


def test_policy_names_an_alternate_exchange(channel, publisher, policy, queue, name):
    alternate = name("exchange")
    channel.exchange_declare(alternate, "fanout")
    channel.queue_bind(queue, alternate)
    exchange = policy({"alternate-exchange": alternate}, apply_to="exchanges")
    channel.exchange_declare(exchange, "direct")
    publisher.basic_publish(exchange, "nothing", b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_policy_for_exchanges_leaves_queues_alone(channel, publisher, policy, made):
    queue = made(policy({"alternate-exchange": "amq.fanout"}, apply_to="exchanges"))
    publish(publisher, queue, b"1", b"2")

    assert drain(channel, queue) == [b"1", b"2"]


def test_policy_is_exported(broker, policy):
    prefix = policy({"max-length": 7})
    (found,) = [rule for rule in broker.definitions()["policies"] if rule["pattern"] == f"^{prefix}"]

    assert (found["definition"], found["apply-to"]) == ({"max-length": 7}, "queues")


def test_imported_topology_routes(broker, channel, publisher, name):
    exchange, queue = name("exchange"), name("queue")
    common = {"vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}
    binding = {
        "source": exchange,
        "vhost": "/",
        "destination": queue,
        "destination_type": "queue",
        "routing_key": "red",
        "arguments": {},
    }
    broker.define(
        exchanges=[{"name": exchange, "type": "direct", "internal": False, **common}],
        queues=[{"name": queue, **common}],
        bindings=[binding],
    )
    publisher.basic_publish(exchange, "red", b"hello")

    assert drain(channel, queue) == [b"hello"]


def test_what_was_declared_is_exported(broker, channel, name):
    exchange, queue = name("exchange"), name("queue")
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.queue_declare(queue, durable=True, arguments={"x-max-length": 5})
    channel.queue_bind(queue, exchange, "a.#", {"x-note": "b"})
    definitions = broker.definitions()
    (exported,) = [one for one in definitions["queues"] if one["name"] == queue]
    (bound,) = [one for one in definitions["bindings"] if one["source"] == exchange]

    assert (exported["durable"], exported["arguments"]["x-max-length"]) == (True, 5)
    assert (bound["destination"], bound["routing_key"], bound["arguments"]) == (queue, "a.#", {"x-note": "b"})
    assert exchange in [one["name"] for one in definitions["exchanges"]]
