"""AMQP clients that work until the server dies, and note in Promises what they saw.

Each is a greenlet with a connection of its own; `run` returns when that breaks, and may be called again for the next
life of the server.
"""

import time
from collections import deque
from contextlib import contextmanager, suppress

import amqp
import gevent
from amqp.exceptions import RecoverableConnectionError

from tests.crash.amqp_promises import ROUTES, Transaction

LONGEST_S = 20


DEATHS = (OSError, RecoverableConnectionError)
"""What py-amqp raises when the server has gone."""


@contextmanager
def connected(address):
    """A connection by py-amqp."""
    connection = amqp.Connection(f"{address[0]}:{address[1]}", heartbeat=0)
    try:
        connection.connect()
        yield connection
    finally:
        connection.collect()


class Confirms:
    """The confirms of one channel of py-amqp."""

    def __init__(self, channel, confirmed):
        """*confirmed* is called with what was published, in order."""
        self.channel = channel
        self.open = deque()
        self._confirmed = confirmed
        self._number = 0
        channel.confirm_select()
        channel.events["basic_ack"].add(self._ack)
        channel.events["basic_nack"].add(self._nack)

    def publish(self, what, body, exchange="", key="", **properties):
        """Publish a persistent message; *what* it is when it is confirmed."""
        self._number += 1
        self.open.append((self._number, what))
        self.channel.basic_publish(amqp.Message(body, delivery_mode=2, **properties), exchange, key)

    def wait(self, most=0):
        """Wait until at most *most* are not confirmed."""
        while len(self.open) > most:
            self.channel.connection.drain_events(timeout=LONGEST_S)

    def _ack(self, tag, multiple):
        if multiple:
            while self.open and self.open[0][0] <= tag:
                self._confirmed(self.open.popleft()[1])
        else:
            found = next(one for one in self.open if one[0] == tag)
            self.open.remove(found)
            self._confirmed(found[1])

    def _nack(self, tag, multiple):
        raise AssertionError(f"{tag} was refused, multiple={multiple}")


class Publisher:
    """Sends numbered messages along one route, in windows, and notes each confirm."""

    def __init__(self, route, promises, rng):
        self.route = route
        self.name = f"{route}-{rng.getrandbits(16):04x}".encode()
        self.promises = promises
        self.rng = rng
        self.number = 0

    def run(self, address):
        """Publish until the server dies."""
        with suppress(*DEATHS), connected(address) as connection:
            confirms = Confirms(connection.channel(), self.promises.confirmed.add)
            window = self.rng.choice((0, 10, 200))
            while True:
                for _ in range(self.rng.choice((1, 1, 5, 20))):
                    self._publish(confirms)
                confirms.wait(window)
                # The other clients have their turn.
                gevent.sleep(self.rng.choice((0, 0.005, 0.02)))

    def _publish(self, confirms):
        self.number += 1
        rng, route = self.rng, ROUTES[self.route]
        body = b"%s %d %s" % (self.name, self.number, rng.randbytes(rng.choice((0, 10, 100, 100, 1000))))
        properties, delay_ms = {}, 0
        if route.priorities > 1:
            properties["priority"] = rng.randrange(route.priorities)
        if route.expirations_ms:
            properties["expiration"] = str(rng.choice(route.expirations_ms))
        if route.delays_ms:
            delay_ms = rng.choice(route.delays_ms)
            properties["application_headers"] = {"x-delay": delay_ms}
        self.promises.sent[body] = self.route, time.time() * 1000, delay_ms
        confirms.publish(body, body, route.exchange, route.key, **properties)


class Worker:
    """Consumes a queue: acks most, requeues or rejects some, keeps some.

    Now and then it publishes a receipt after what it has settled. Once that is confirmed, so is the rest: the server
    takes the frames of a channel in order.
    """

    def __init__(self, queue, promises, rng):
        self.queue = queue
        self.promises = promises
        self.rng = rng
        self.verbs = {
            "work": (6, 2, 2, 1),
            "limited": (4, 5, 0, 1),
        }.get(queue, (8, 2, 0, 1))
        """How often it acks, requeues, rejects and keeps."""

    def run(self, address):
        """Consume until the server dies."""
        with suppress(*DEATHS), connected(address) as connection:
            channel = connection.channel()
            self.confirms = Confirms(channel, self._sure)
            self.settled, self.requeued = set(), []
            channel.basic_qos(0, self.rng.choice((5, 50, 300)), False)
            channel.basic_consume(self.queue, callback=self._receive)
            while True:
                connection.drain_events(timeout=LONGEST_S)
                if self.rng.random() < 0.1 and (self.settled or self.requeued):
                    self._publish_receipt()

    def _publish_receipt(self):
        what = self.settled, self.requeued
        # Publishing may receive more, which comes too late for this receipt.
        self.settled, self.requeued = set(), []
        self.confirms.publish(what, b"receipt", "", "receipts")

    def _receive(self, message):
        channel, tag, body = message.channel, message.delivery_tag, bytes(message.body)
        place = self.queue, body
        self.promises.delivery(*place, message.delivery_info["redelivered"], message.headers)
        (verb,) = self.rng.choices(("ack", "requeue", "reject", "keep"), self.verbs)
        if verb == "ack":
            self.promises.settled.add(place)
            self.settled.add(place)
            channel.basic_ack(tag)
        elif verb == "requeue":
            self.requeued.append(place)
            channel.basic_reject(tag, requeue=True)
        elif verb == "reject":
            channel.basic_reject(tag, requeue=False)

    def _sure(self, what):
        settled, requeued = what
        self.promises.surely_settled |= settled
        if self.queue == "limited":
            for place in requeued:
                self.promises.failures[place] = self.promises.failures.get(place, 0) + 1


class Trader:
    """Takes messages and gives others, all in one transaction."""

    def __init__(self, promises, rng):
        self.promises = promises
        self.rng = rng
        self.number = 0
        self.name = f"trade-{rng.getrandbits(16):04x}".encode()

    def run(self, address):
        """Trade until the server dies."""
        with suppress(*DEATHS), connected(address) as connection:
            channel = connection.channel()
            channel.tx_select()
            while True:
                self._trade(channel)

    def _trade(self, channel):
        one = Transaction()
        self.promises.transactions.append(one)
        for _ in range(self.rng.randrange(3)):
            message = channel.basic_get("input")
            if message is not None:
                body = bytes(message.body)
                self.promises.delivery("input", body, message.delivery_info["redelivered"], None)
                one.inputs.append(body)
                channel.basic_ack(message.delivery_tag)
        for _ in range(self.rng.randrange(1, 5)):
            self.number += 1
            body = b"%s %d %s" % (self.name, self.number, self.rng.randbytes(self.rng.choice((0, 100, 1000))))
            queue = self.rng.choice(("left", "right"))
            one.outputs.append((queue, body))
            channel.basic_publish(amqp.Message(body, delivery_mode=2), "", queue)
        if self.rng.random() < 0.8:
            one.state = "committing"
            self.promises.settled |= {("input", body) for body in one.inputs}
            channel.tx_commit()
            one.state = "committed"
        else:
            channel.tx_rollback()
            # What was taken stays unsettled on the channel: give it back, or the next commit takes it along.
            channel.basic_recover(requeue=True)
            one.state = "rolled back"


class Architect:
    """Declares and deletes queues, exchanges and bindings."""

    def __init__(self, promises, rng):
        self.promises = promises
        self.rng = rng
        self.number = 0

    def run(self, address):
        """Build until the server dies."""
        with suppress(*DEATHS), connected(address) as connection:
            channel = connection.channel()
            while True:
                self.number += 1
                name = f"site-{self.number}"
                channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-max-length": self.number})
                self.promises.declared.add(("queues", name))
                channel.exchange_declare(name, "topic", durable=True, auto_delete=False)
                self.promises.declared.add(("exchanges", name))
                channel.queue_bind(name, name, f"{name}.#")
                self.promises.declared.add(("bindings", name))
                if self.rng.random() < 0.3:
                    doomed = {(kind, name) for kind in ("queues", "bindings")}
                    self.promises.declared -= doomed
                    channel.queue_delete(name)
                    self.promises.deleted |= doomed
