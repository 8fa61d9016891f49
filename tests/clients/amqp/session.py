"""What a session with pika consists of: a consumer that collects, gets with a deadline, errors with their codes."""

import time
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pika
import pytest
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker

LONGEST_S = 20
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def parameters(address, *, user="guest", password="guest", **settings):
    """Connection parameters for a broker on this machine."""
    host, port = address
    defaults = {"heartbeat": 0, "socket_timeout": LONGEST_S, "blocked_connection_timeout": LONGEST_S}
    credentials = pika.PlainCredentials(user, password)
    return pika.ConnectionParameters(host, port, credentials=credentials, **{**defaults, **settings})


def hang_up(connection):
    """End a connection whose broker may have gone."""
    with suppress(AMQPError):
        connection.close()


def eventually(condition, timeout=LONGEST_S):
    """The first value of *condition* that is true; raises AssertionError when none is before the deadline."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {timeout} s"
        time.sleep(0.005)
    return value


class Delivery(NamedTuple):
    """One message as a consumer or a get has it."""

    method: object
    properties: pika.BasicProperties
    body: bytes

    @property
    def tag(self):
        """Its delivery tag."""
        return self.method.delivery_tag

    @property
    def headers(self):
        """Its headers."""
        return self.properties.headers


class Consumer:
    """A consumer whose deliveries wait to be taken."""

    def __init__(self, channel, queue, **settings):
        self.channel = channel
        self.deliveries = []
        self.cancelled = False
        self.tag = channel.basic_consume(queue, self._receive, **settings)

    def _receive(self, channel, *delivery):
        self.deliveries.append(Delivery(*delivery))

    def take(self, count=1, timeout=LONGEST_S):
        """The next *count* deliveries."""
        self.wait(lambda: len(self.deliveries) >= count, timeout)
        taken, self.deliveries = self.deliveries[:count], self.deliveries[count:]
        return taken

    def take_bodies(self, count=1):
        """The bodies of the next *count* deliveries."""
        return [delivery.body for delivery in self.take(count)]

    def wait(self, condition, timeout=LONGEST_S):
        """Serve the connection until *condition* holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not true within {timeout} s; here: {self.deliveries}"
            self.channel.connection.process_data_events(time_limit=0.01)

    def cancel(self):
        """Stop it."""
        self.channel.basic_cancel(self.tag)


def publish(channel, queue, *bodies, **properties):
    """Publish bodies to a queue by the default exchange."""
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(**properties))


def get(channel, queue, *, auto_ack=False):
    """One message of a queue that has one or gets one soon."""
    return eventually(lambda: poll(channel, queue, auto_ack=auto_ack))


def poll(channel, queue, *, auto_ack=True):
    """One message, or None."""
    method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
    return None if method is None else Delivery(method, properties, body)


def drain(channel, queue):
    """The bodies of all that is ready, taken out."""
    bodies = []
    while (delivery := poll(channel, queue)) is not None:
        bodies.append(delivery.body)
    return bodies


def ready(channel, queue):
    """How many messages wait in a queue."""
    return channel.queue_declare(queue, passive=True).method.message_count


def consumers(channel, queue):
    """How many consumers a queue has."""
    return channel.queue_declare(queue, passive=True).method.consumer_count


def exists(connection, queue):
    """Whether there is such a queue."""
    return is_found(connection, lambda channel: channel.queue_declare(queue, passive=True))


def exchange_exists(connection, exchange):
    """Whether there is such an exchange."""
    return is_found(connection, lambda channel: channel.exchange_declare(exchange, passive=True))


def is_found(connection, ask):
    """Whether *ask*, on a channel of its own, is not answered with 404."""
    channel = connection.channel()
    try:
        ask(channel)
    except ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise
        return False
    channel.close()
    return True


def wait_until_deleted(channel, exchange, queue):
    """Return when a queue is gone, without asking for it, which would be a use: an exchange goes with its binding."""
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    channel.queue_bind(queue, exchange)
    eventually(lambda: not exchange_exists(channel.connection, exchange))


@contextmanager
def channel_refused(code, text=""):
    """The body ends with the channel closed by the broker with this code, and *text* in what it says."""
    with pytest.raises(ChannelClosedByBroker) as caught:
        yield caught
    assert caught.value.reply_code == code
    assert text in caught.value.reply_text


@contextmanager
def connection_refused(code, text=""):
    """The body ends with the connection closed by the broker with this code, and *text* in what it says."""
    with pytest.raises(ConnectionClosedByBroker) as caught:
        yield caught
    assert caught.value.reply_code == code
    assert text in caught.value.reply_text
