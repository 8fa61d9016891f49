"""Virtual hosts: names apart from each other."""

import pytest

from tests.clients.amqp.session import channel_refused, drain, publish

RIGHTS = {"configure": ".*", "write": ".*", "read": ".*"}


@pytest.fixture
def inside(broker, connect):
    """A channel in the virtual host `billing`."""
    broker.define(vhosts=[{"name": "billing"}], permissions=[{"user": "guest", "vhost": "billing", **RIGHTS}])
    return connect(virtual_host="billing").channel()


def test_queue_of_one_is_not_in_the_other(inside, name):
    queue = name()
    inside.queue_declare(queue, exclusive=True)

    assert inside.queue_declare(queue, passive=True).method.queue == queue


def test_missing_queue_is_named_with_its_virtual_host(inside, queue):
    with channel_refused(404, f"no queue '{queue}' in vhost 'billing'"):
        inside.queue_declare(queue, passive=True)


def test_equal_names_are_two_queues(channel, publisher, inside, queue):
    inside.queue_declare(queue, durable=True)
    publish(publisher, queue, b"outside")
    publish(inside, queue, b"inside")

    assert drain(channel, queue) == [b"outside"]
    assert inside.queue_delete(queue).method.message_count == 1


@pytest.mark.parametrize("exchange", ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"])
def test_each_has_the_predeclared_exchanges(inside, exchange):
    inside.exchange_declare(exchange, passive=True)
