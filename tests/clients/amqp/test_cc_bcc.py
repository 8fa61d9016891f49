"""More routing keys in the headers CC and BCC."""

import pika
import pytest
from pika.exceptions import UnroutableError

from tests.clients.amqp.session import channel_refused, drain, poll, publish


@pytest.fixture
def queues(declare):
    return [declare() for _ in range(3)]


def test_message_goes_to_all_keys(channel, publisher, queues):
    one, two, three = queues
    publish(publisher, one, b"hello", headers={"CC": [two], "BCC": [three]})

    assert [drain(channel, queue) for queue in queues] == [[b"hello"]] * 3


def test_cc_stays_in_the_headers_and_bcc_does_not(channel, publisher, queues):
    one, two, three = queues
    publish(publisher, one, b"hello", headers={"CC": [two], "BCC": [three], "trace": "abc"})

    for queue in queues:
        assert poll(channel, queue).headers == {"CC": [two], "trace": "abc"}


def test_queue_named_twice_gets_the_message_once(channel, publisher, queue):
    publish(publisher, queue, b"hello", headers={"CC": [queue, queue], "BCC": [queue]})

    assert drain(channel, queue) == [b"hello"]


def test_keys_go_through_any_exchange(channel, publisher, queues):
    one, two, three = queues
    for queue in queues:
        channel.queue_bind(queue, "amq.direct", queue)
    publisher.basic_publish("amq.direct", one, b"hello", pika.BasicProperties(headers={"CC": [two], "BCC": [three]}))

    assert [drain(channel, queue) for queue in queues] == [[b"hello"]] * 3


def test_delivery_tells_the_first_routing_key(channel, publisher, queues):
    one, two, _ = queues
    publish(publisher, one, b"hello", headers={"CC": [two]})

    assert [poll(channel, queue).method.routing_key for queue in (one, two)] == [one, one]


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize("value", ["orders", 5, {"key": "orders"}])
def test_header_that_is_no_array_is_406(publisher, queue, header, value):
    with channel_refused(406, "PRECONDITION_FAILED"):
        publish(publisher, queue, b"hello", headers={header: value})


def test_message_that_only_its_cc_routes_is_not_returned(channel, publisher, name, queue):
    properties = pika.BasicProperties(headers={"CC": [queue]})
    publisher.basic_publish("", name(), b"hello", properties, mandatory=True)

    assert drain(channel, queue) == [b"hello"]


def test_message_that_none_of_its_keys_routes_is_returned(publisher, name):
    properties = pika.BasicProperties(headers={"CC": [name()]})
    with pytest.raises(UnroutableError):
        publisher.basic_publish("", name(), b"hello", properties, mandatory=True)


def test_empty_arrays_add_nothing(channel, publisher, queue):
    publish(publisher, queue, b"hello", headers={"CC": [], "BCC": []})

    assert drain(channel, queue) == [b"hello"]
