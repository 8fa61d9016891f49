"""What a test does to a queue: records as AMQP clients make them, and a consumer with a memory."""

import gevent
from gevent.event import AsyncResult

from portask.properties import Properties, encode_header, pack
from portask.subscriptions.consumer import Consumer


def record(body, key=b"q", **properties):
    """A record as it comes by AMQP."""
    return (body, key, None, None, pack("", encode_header(Properties(**properties), len(body))))


def publish(queue, *bodies, into=None, **properties):
    """Publish *bodies* and return what will have the answer: None or an error."""
    answer = AsyncResult()
    queue.publish([record(body, **properties) for body in bodies], 100 * len(bodies), answer.set, into=into)
    return answer


def store(queue, *bodies, **properties):
    """Publish *bodies* and wait until they are safe."""
    assert publish(queue, *bodies, **properties).get(timeout=5) is None


def body_of(record):
    """The body of *record*."""
    return record if isinstance(record, bytes) else record[0]


class QueuePeer:
    """A consumer of a queue that remembers what it got and what it has not settled."""

    def __init__(self, queue, prefetch=0, *, attach=True, exclusive=False, **options):
        self.queue = queue
        self.got = []
        self.flags = {}
        self.failures = {}
        self.places = {}
        self.cancelled = []
        self.consumer = Consumer(self.take, prefetch, self.cancelled.append, **options)
        if attach:
            queue.consume(self.consumer, exclusive=exclusive)

    def take(self, deliveries):
        for delivery in deliveries:
            for position, one in enumerate(delivery.records):
                body = body_of(one)
                self.got.append(body)
                self.flags[body] = delivery.redeliveries > 0
                self.failures[body] = delivery.failures
                self.places[body] = (delivery.partition.number, delivery.base_offset + position)

    def get(self):
        """Fetch one message; its body and how many are left, or None."""
        found = self.queue.get(self.consumer)
        if found is None:
            return None
        self.take([found[0]])
        return self.got[-1], found[1]

    def ack(self, *bodies, into=None):
        for body in bodies:
            partition, offset = self.places[body]
            self.queue.ack(self.consumer, partition, offset, offset, into)

    def requeue(self, *bodies, counted=False):
        for body in bodies:
            partition, offset = self.places[body]
            self.queue.requeue(self.consumer, partition, offset, offset, counted)

    def reject(self, *bodies):
        for body in bodies:
            partition, offset = self.places[body]
            self.queue.reject(self.consumer, partition, offset, offset)

    def cancel(self):
        self.queue.cancel(self.consumer)

    def release(self):
        self.queue.release(self.consumer)


def idle():
    """Let every greenlet that can do something do it."""
    for _ in range(50):
        gevent.sleep(0)
