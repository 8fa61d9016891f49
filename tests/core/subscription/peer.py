"""The two ends of a subscription in a test: a storage that can be made to fail, and a consumer with a memory."""

import gevent
from gevent.event import AsyncResult, Event

from portask.errors import (
    StorageFullError,
)
from portask.storage.memory import MemoryStorage
from portask.subscriptions.subscription import Consumer


class AwkwardStorage(MemoryStorage):
    """Memory that keeps what it holds when closed, and refuses, waits or fails when told to."""

    def __init__(self):
        super().__init__()
        self.refuses = False
        self.synced = Event()
        self.synced.set()
        self.read_error = None
        self.reads = 0
        self.compacted = set()

    def write(self, round_):
        if self.refuses:
            raise StorageFullError("no space left")
        super().write(round_)

    def sync(self):
        self.synced.wait()
        super().sync()

    def read(self, log, offset, max_bytes):
        self.reads += 1
        if self.read_error is not None:
            raise self.read_error
        return [frame for frame in super().read(log, offset, max_bytes) if frame.base_offset not in self.compacted]


class Peer:
    """A consumer with a memory."""

    def __init__(self, subscription, prefetch=0):
        self.subscription = subscription
        self.deliveries = []
        self.cancelled = []
        self.consumer = Consumer(self.deliveries.extend, prefetch, self.cancelled.append)
        subscription.attach(self.consumer)

    @property
    def offsets(self):
        return [offset for one in self.deliveries for offset in range(one.base_offset, one.next_offset)]

    @property
    def payloads(self):
        return [record for delivery in self.deliveries for record in delivery.records]

    def ack(self, first, last, partition=0, done=None):
        self.subscription.ack(self.consumer, partition, first, last, done)

    def nack(self, first, last, partition=0):
        self.subscription.nack(self.consumer, partition, first, last)

    def detach(self):
        self.subscription.detach(self.consumer)


def idle():
    """Let every greenlet that can do something do it."""
    for _ in range(50):
        gevent.sleep(0)


def settle(peer, first, last):
    """Ack and wait until that is durable."""
    answer = AsyncResult()
    peer.ack(first, last, done=answer.set)
    assert answer.get(timeout=5).error is None
