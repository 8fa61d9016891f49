"""Compaction against a dictionary: what the newest record of each key is, that never changes.

A broker on files so small that everything moves through journal and segments, with room for few keys, gets
random records; it is compacted, restarted, written to and read from meanwhile.
"""

from random import Random

import gevent
import pytest

from portask.batch import decode_batch
from portask.broker import Broker
from portask.cleaning_progress import Progress
from portask.clock import Clock
from portask.config import load_settings
from portask.message import to_message
from portask.partition import cut_runs
from portask.storage.local import LocalOptions, LocalStorage
from portask.storage.memory import MemoryStorage
from portask.subscriptions.subscription import Consumer

SEEDS = range(6)
STEPS = 40
KEYS = 60
RETENTION_S = 100
CONFIG = {
    "cleanup_policy": "compact",
    "min_cleanable_dirty_ratio": "0",
    "delete_retention_ms": str(RETENTION_S * 1000),
}


class ShiftedClock(Clock):
    """A clock that goes, and can be moved on."""

    __slots__ = ("_shift_ms",)

    def __init__(self):
        self._shift_ms = 0

    def now_ms(self):
        return super().now_ms() + self._shift_ms

    def advance(self, seconds):
        self._shift_ms += seconds * 1000


class Node:
    """A broker with one compacted topic, and everything that was ever written to it."""

    def __init__(self, path, random):
        self.path = path
        self.random = random
        self.clock = ShiftedClock()
        self.written = []
        """(key, payload) by offset."""
        self.memory = MemoryStorage() if path is None else None
        self.start()
        strategy = random.choice(("single_message", "bulk_batching"))
        self.broker.create_topic("orders", config={**CONFIG, "compression": strategy})

    def start(self):
        argv = ["--compaction-gather-ms", "10", "--compaction-interval-ms", "86400000", "--batch-messages", "7"]
        storage = self.memory or LocalStorage(
            LocalOptions(self.path, journal_bytes=5000, segment_bytes=6000, sync="never")
        )
        settings = load_settings(argv, {}, ())
        settings._values["compaction_memory_bytes"] = self.random.choice((0, 16 << 20))
        self.broker = Broker(settings, storage, self.clock)
        self.broker.start()

    def restart(self):
        self.broker.stop(5)
        self.start()

    @property
    def partition(self):
        return self.broker.topic("orders").partitions[0]

    def publish(self):
        random = self.random
        records = []
        for _ in range(random.randint(1, 30)):
            key = b"%d" % int(random.random() ** 2 * KEYS) if random.random() < 0.97 else None
            payload = random.randbytes(random.choice((0, 5, 60))) if random.random() < 0.8 else None
            self.written.append((key, payload))
            records.append([payload, key] if key is not None or payload is None else payload)
        self.broker.publish(self.partition, records, len(records))

    def compact(self):
        self.clock.advance(1)
        self.broker.compaction.apply()

    def read(self, offset=0):
        """What storage has from *offset* on: offset -> (key, payload)."""
        found = {}
        while frames := self.broker.storage.read(self.partition.log, offset, self.random.choice((0, 500, 1 << 20))):
            for frame in frames:
                for run in cut_runs(decode_batch(frame), offset):
                    for place, record in enumerate(run.records, run.base_offset):
                        message = to_message(record)
                        assert place not in found
                        found[place] = message.key, message.payload
            offset = frames[-1].next_offset
        assert list(found) == sorted(found)
        return found

    def newest(self, records):
        """Key -> payload of the newest of *records*, without tombstones."""
        state = {}
        for _, (key, payload) in sorted(records.items()):
            if key is not None:
                state[key] = payload
        return {key: payload for key, payload in state.items() if payload is not None}

    def check(self):
        """Storage holds the truth, in order, and nothing but it."""
        everything = dict(enumerate(self.written))
        found = self.read()
        assert found.items() <= everything.items()
        assert self.newest(found) == self.newest(everything)
        assert {place for place, (key, _) in everything.items() if key is None} <= found.keys()
        assert self.partition.high_watermark == len(self.written)
        return found

    def check_reads(self, found):
        """Whoever reads from any offset finds what there is from there on."""
        places = sorted(found)
        for offset in range(0, len(self.written), 7):
            runs = self.partition.read_runs(offset, self.random.choice((0, 300, 5000)))
            got = [place for run in runs for place in range(run.base_offset, run.next_offset)]
            assert runs
            # The tail cache may still have what storage has not.
            assert set(got) >= {place for place in places if offset <= place < runs[-1].next_offset}
            assert got[0] >= offset

    def check_clean(self, found):
        """Below what was cleaned each key is there once, or not at all when it was deleted long ago."""
        clean = self.broker.compaction._progress.get(self.partition.log, Progress()).clean_offset
        keys = [key for place, (key, _) in found.items() if place < clean and key is not None]
        assert len(keys) == len(set(keys))


@pytest.fixture(params=["memory", "local"])
def make_node(request, tmp_path):
    nodes = []

    def make(seed):
        nodes.append(Node(tmp_path / "data" if request.param == "local" else None, Random(seed)))
        return nodes[-1]

    yield make
    for node in nodes:
        node.broker.stop(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_newest_of_each_key_survives_whatever_happens(make_node, seed):
    node = make_node(seed)
    for _ in range(STEPS):
        step = node.random.random()
        if step < 0.55:
            node.publish()
        elif step < 0.75:
            node.compact()
            node.check_clean(node.check())
        elif step < 0.85:
            node.clock.advance(RETENTION_S)
        elif step < 0.9:
            node.restart()
        else:
            node.check_reads(node.check())
    node.publish()
    node.compact()
    node.check_reads(node.check())


@pytest.mark.parametrize("seed", SEEDS)
def test_it_goes_on_while_others_write_and_read(make_node, seed):
    node = make_node(seed)
    node.publish()

    def write():
        for _ in range(60):
            node.publish()
            gevent.sleep(0.002)

    def follow():
        """Read on and on, and know the truth at the end."""
        offset, seen = 0, {}
        while not writer.ready() or offset < len(node.written):
            for run in node.partition.read_runs(offset, 2000):
                assert run.base_offset >= offset
                for place, record in enumerate(run.records, run.base_offset):
                    message = to_message(record)
                    assert node.written[place] == (message.key, message.payload)
                    seen[place] = message.key, message.payload
                offset = run.next_offset
            gevent.sleep(0)
        return seen

    writer, follower = gevent.spawn(write), gevent.spawn(follow)
    while not writer.ready():
        node.compact()
        node.check_clean(node.read())
        gevent.sleep(0)
    writer.get()
    seen = follower.get()

    node.compact()
    node.check()
    assert node.newest(seen) == node.newest(dict(enumerate(node.written)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_subscription_gets_what_is_left_and_comes_to_an_end(make_node, wait_until, seed):
    node = make_node(seed)
    for _ in range(10):
        node.publish()
    node.compact()
    left = node.check()
    node.restart()
    subscription = node.broker.subscribe(node.broker.topic("orders"), "billing")
    got = []

    def deliver(deliveries):
        for delivery in deliveries:
            got.extend(range(delivery.base_offset, delivery.base_offset + len(delivery.records)))
            last = delivery.base_offset + len(delivery.records) - 1
            subscription.ack(consumer, 0, delivery.base_offset, last)

    consumer = Consumer(deliver, 1 + seed * 10, lambda error: None)
    subscription.attach(consumer)
    wait_until(lambda: not sum(feed.lag() for feed in subscription.feeds))

    assert got == list(left)
    assert subscription.feeds[0].settlement.floor == len(node.written)


def test_what_is_given_back_after_compaction_took_it_is_not_waited_for(make_node, wait_until):
    node = make_node(1)
    for number in range(5):
        node.written.append((b"a", b"%d" % number))
        node.broker.publish(node.partition, [[b"%d" % number, b"a"]], 1)
    node.restart()
    subscription = node.broker.subscribe(node.broker.topic("orders"), "billing")
    got = []
    first = Consumer(got.extend, 5, lambda error: None)
    subscription.attach(first)
    wait_until(lambda: sum(len(delivery.records) for delivery in got) == 5)
    node.compact()
    node.restart()

    assert list(node.check()) == [4]
    subscription = node.broker.topic("orders").subscriptions["billing"]
    again = []

    def deliver(deliveries):
        again.extend(deliveries)
        subscription.ack(second, 0, 4, 4)

    second = Consumer(deliver, 5, lambda error: None)
    subscription.attach(second)
    wait_until(lambda: not subscription.feeds[0].lag())
    assert [(delivery.base_offset, len(delivery.records)) for delivery in again] == [(4, 1)]
