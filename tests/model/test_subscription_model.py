"""A subscription against a slow model that knows the state of every single offset.

The model checks every hand-out when it happens: the right message, the right order, the right flag, to a
consumer with credit. The test plays the batcher, so that rounds are written, synced, refused and lost in
a crash whenever it wants; a crash leaves any prefix of the rounds that has what was synced.
"""

import copy
from types import SimpleNamespace

import gevent
import pytest
from gevent.event import Event
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from portask.batch import Strategy, encode_records
from portask.errors import NotInFlightError, StorageFullError
from portask.partition import Partition, TailBatch, TailCache
from portask.storage.base import Append, Frame, Round
from portask.storage.memory import MemoryStorage
from portask.subscriptions.settlement import TABLE as SETTLED
from portask.subscriptions.subscription import Consumer, Start, Subscription, restore_subscriptions

PARTITIONS = 2
TOPIC_ID = "ab" * 16


class Compacted(MemoryStorage):
    """Memory whose reads can be kept waiting, and from whose logs single frames can be taken away."""

    def __init__(self):
        super().__init__()
        self.gone = set()
        self.gate = None

    def read(self, log, offset, max_bytes):
        if self.gate is not None:
            self.gate.wait()
        return [frame for frame in super().read(log, offset, max_bytes) if (log, frame.base_offset) not in self.gone]

    def snapshot(self):
        """What a crash right now would leave, if everything written survived."""
        return copy.deepcopy((self._logs, self._tables)), set(self.gone)

    @classmethod
    def after(cls, snapshot):
        (logs, tables), gone = snapshot
        storage = cls()
        storage._logs, storage._tables, storage.gone = copy.deepcopy(logs), copy.deepcopy(tables), set(gone)
        storage.open()
        return storage


class ModelConsumer(Consumer):
    """A consumer that reports every hand-out to the model and remembers what it holds."""

    def __init__(self, model, prefetch):
        super().__init__(self.take, prefetch, lambda error: pytest.fail(f"cancelled: {error}"))
        self.model = model
        self.mine = set()

    def take(self, deliveries):
        try:
            for delivery in deliveries:
                self.model.delivered(self, delivery)
            assert not self.paused
            assert self.in_flight == len(self.mine)
            assert not self.prefetch or self.in_flight <= self.prefetch
        except AssertionError as error:
            # Raised here it would only end the subscription's greenlet.
            self.model.failure = self.model.failure or error


class SubscriptionMachine(RuleBasedStateMachine):
    """Rules are what peers, batcher, retention and accidents do."""

    @initialize(start=st.sampled_from([Start.FIRST, Start("offset", 3)]), before=st.integers(0, 8))
    def begin(self, start, before):
        self.storage = Compacted()
        self.storage.open()
        self.failure = None
        self.nonce = 0
        self.records = {}  # (partition, offset) -> (record, timestamp), all that exists
        self.doubtful = set()  # compacted away: may be handed out from the read-ahead or not
        self.state = {}  # (partition, offset) -> "fresh", "requeued", "settled" or a consumer
        self.counts = {}  # (partition, offset) -> times given back
        self.seen = set()  # handed out at any time, by record
        self.confirmed = set()  # settled for good, by record
        self.suspects = set()  # keys that may be flagged though the model has no count for them
        self.durable = []  # snapshots: the synced one first, then one for each round written since
        self.unsynced = []  # changes whose round is written
        self.bus = []
        self.open_partitions()
        for partition in range(PARTITIONS):
            if before:
                self.write(partition, before, 0)
        self.subscription = Subscription.begin(self.topic, 5, "group", start, self.bus.append)
        for partition in self.topic.partitions:
            partition.subscriptions.append(self.subscription)
        round_ = Round()
        self.subscription.collect_creation(round_)
        self.storage.write(round_)
        self.durable = [self.storage.snapshot()]
        for key in self.records:
            self.state[key] = "settled" if start.kind == "offset" and key[1] < 3 else "fresh"
            if self.state[key] == "settled":
                self.confirmed.add(self.records[key][0])
        self.next_fresh = dict.fromkeys(range(PARTITIONS), 0)
        self.consumers = []

    def open_partitions(self):
        self.topic = SimpleNamespace(name="topic", id=TOPIC_ID, closed=False, partitions=[], subscriptions={})
        cache = TailCache(1)
        self.topic.partitions = [
            Partition(self.topic, number, number, self.storage, cache) for number in range(PARTITIONS)
        ]

    def run_greenlets(self):
        for _ in range(12):
            gevent.sleep(0)
        if self.failure is not None:
            raise self.failure

    # -- what is handed out -----------------------------------------------------------------------

    def delivered(self, consumer, delivery):
        number = delivery.partition.number
        requeued = sorted(
            key for key, state in self.state.items() if key[0] == number and state == "requeued" and key in self.records
        )
        for position, record in enumerate(delivery.records):
            key = (number, delivery.base_offset + position)
            assert self.records[key] == (record, delivery.timestamp)
            # The lowest first; what has been compacted away may be passed over.
            while requeued and requeued[0] != key:
                passed = requeued.pop(0)
                assert passed in self.doubtful
                self.state[passed] = "settled"
            if requeued:
                requeued.pop(0)
            else:
                assert self.state[key] == "fresh"
                for offset in range(self.next_fresh[number], key[1]):
                    passed = (number, offset)
                    if self.state.get(passed) == "fresh" and passed in self.records:
                        assert passed in self.doubtful
                        self.state[passed] = "settled"
                self.next_fresh[number] = key[1] + 1
            if key in self.suspects:
                assert delivery.redeliveries >= self.counts.get(key, 0)
                assert delivery.redeliveries or record not in self.seen
            else:
                assert delivery.redeliveries == self.counts.get(key, 0)
            assert record not in self.confirmed
            self.state[key] = consumer
            self.seen.add(record)
            consumer.mine.add(key)

    # -- rules ------------------------------------------------------------------------------------

    def write(self, number, count, gap):
        partition = self.topic.partitions[number]
        base = partition.written_offset + gap
        records = []
        for offset in range(base, base + count):
            self.nonce += 1
            record = b"%d/%d/%d" % (number, offset, self.nonce)
            records.append(record)
            self.records[number, offset] = (record, self.nonce)
            self.state[number, offset] = "fresh"
        # All of a batch have its timestamp.
        for offset in range(base, base + count):
            self.records[number, offset] = (self.records[number, offset][0], self.nonce)
        body = [b"".join(encode_records(records, self.nonce, Strategy.BULK, 1, 0))]
        round_ = Round()
        round_.appends.append(Append(number, base, count, self.nonce, body))
        self.storage.write(round_)
        partition.wrote([TailBatch(partition, Frame(base, count, self.nonce, body[0]), records, self.nonce, 100)])
        self.durable.append(self.storage.snapshot())

    @rule(number=st.integers(0, PARTITIONS - 1), count=st.integers(1, 12), gap=st.sampled_from([0, 0, 0, 1, 2000]))
    def publish(self, number, count, gap):
        self.write(number, count, gap)
        self.run_greenlets()

    @precondition(lambda self: len(self.consumers) < 4)
    @rule(prefetch=st.sampled_from([0, 1, 2, 5, 10]))
    def attach(self, prefetch):
        consumer = ModelConsumer(self, prefetch)
        self.consumers.append(consumer)
        self.subscription.attach(consumer)
        self.run_greenlets()

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def detach(self, data):
        consumer = data.draw(st.sampled_from(self.consumers), "consumer")
        self.consumers.remove(consumer)
        self.subscription.detach(consumer)
        self.give_back(consumer, consumer.mine)
        self.run_greenlets()

    def give_back(self, consumer, keys):
        for key in list(keys):
            consumer.mine.discard(key)
            if key[1] < self.topic.partitions[key[0]].log_start_offset:
                self.state[key] = "settled"
                continue
            self.state[key] = "requeued"
            self.counts[key] = self.counts.get(key, 0) + 1

    @precondition(lambda self: any(consumer.mine for consumer in self.consumers))
    @rule(data=st.data(), settle=st.booleans())
    def ack_or_nack(self, data, settle):
        consumer = data.draw(st.sampled_from([one for one in self.consumers if one.mine]), "consumer")
        number, first = data.draw(st.sampled_from(sorted(consumer.mine)), "first")
        last = first
        most = data.draw(st.integers(0, 12), "more")
        while (number, last + 1) in consumer.mine and last - first < most:
            last += 1
        keys = [(number, offset) for offset in range(first, last + 1)]
        if settle:
            records = [self.records[key][0] for key in keys if key in self.records]
            for key in keys:
                consumer.mine.discard(key)
                self.state[key] = "settled"
            self.subscription.ack(
                consumer,
                number,
                first,
                last,
                lambda change: change.error is None and self.confirmed.update(records),
            )
        else:
            self.subscription.nack(consumer, number, first, last)
            self.give_back(consumer, keys)
        self.run_greenlets()

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def settle_what_is_not_there(self, data):
        consumer = data.draw(st.sampled_from(self.consumers), "consumer")
        number = data.draw(st.integers(0, PARTITIONS), "partition")
        first, last = data.draw(st.tuples(st.integers(-1, 40), st.integers(-1, 40)), "range")
        if first <= last and all((number, offset) in consumer.mine for offset in range(first, last + 1)):
            return
        for settle in (self.subscription.ack, self.subscription.nack):
            with pytest.raises(NotInFlightError):
                settle(consumer, number, first, last)

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def pause_or_resume(self, data):
        consumer = data.draw(st.sampled_from(self.consumers), "consumer")
        (consumer.resume if consumer.paused else consumer.pause)()
        self.run_greenlets()

    @rule()
    def write_round(self):
        round_ = Round()
        changes, self.bus[:] = list(self.bus), []
        for change in changes:
            change.collect(round_)
        self.storage.write(round_)
        self.durable.append(self.storage.snapshot())
        self.unsynced += changes

    @rule()
    def sync_rounds(self):
        self.durable = self.durable[-1:]
        changes, self.unsynced = self.unsynced, []
        for change in changes:
            change.done(change)
        self.run_greenlets()

    @precondition(lambda self: self.bus)
    @rule()
    def refuse_round(self):
        changes, self.bus[:] = list(self.bus), []
        for change in changes:
            change.collect(Round())
            change.error = StorageFullError("no space left")
            change.done(change)
        # Its greenlet would try again in a second.
        self.subscription._ledger._stop_retry()
        self.subscription._ledger.save()
        self.run_greenlets()

    @rule(number=st.integers(0, PARTITIONS - 1), share=st.floats(0, 1))
    def trim(self, number, share):
        partition = self.topic.partitions[number]
        offset = partition.log_start_offset + int(share * (partition.written_offset - partition.log_start_offset) / 2)
        round_ = Round()
        round_.trims[number] = offset
        self.storage.write(round_)
        self.durable.append(self.storage.snapshot())
        partition.trimmed(offset)
        for key in [key for key in self.records if key[0] == number and key[1] < offset]:
            if self.state[key] in {"fresh", "requeued"}:
                self.state[key] = "settled"
        self.run_greenlets()

    @rule(data=st.data())
    def compact(self, data):
        number = data.draw(st.integers(0, PARTITIONS - 1), "partition")
        partition = self.topic.partitions[number]
        kept = partition._tail[partition._head :]
        before = kept[0].base_offset if kept else 0
        frames = [one for one in MemoryStorage.read(self.storage, number, 0, 1 << 30) if one.next_offset < before]
        if frames:
            frame = data.draw(st.sampled_from(frames), "frame")
            self.storage.gone.add((number, frame.base_offset))
            self.doubtful |= {(number, offset) for offset in range(frame.base_offset, frame.next_offset)}

    @precondition(lambda self: self.storage.gate is None)
    @rule()
    def reads_wait(self):
        self.storage.gate = Event()

    @precondition(lambda self: self.storage.gate is not None)
    @rule()
    def reads_go_on(self):
        gate, self.storage.gate = self.storage.gate, None
        gate.set()
        self.run_greenlets()

    @rule(data=st.data(), clean=st.booleans())
    def restart(self, data, clean):
        if clean:
            for consumer in self.consumers:
                consumer.cancelled = lambda error: None
                self.give_back(consumer, consumer.mine)
            self.subscription.close()
            self.write_round()
            self.sync_rounds()
        else:
            self.subscription._ended = True
            for consumer in self.consumers:
                consumer.deliver = lambda deliveries: None
                self.subscription.detach(consumer)
        if self.subscription._greenlet is not None:
            self.subscription._greenlet.kill()
        snapshot = data.draw(st.sampled_from(self.durable), "what is left")
        self.storage = Compacted.after(snapshot)
        self.durable = [self.storage.snapshot()]
        self.unsynced, self.consumers = [], []
        self.bus.clear()
        self.open_partitions()
        (self.subscription,) = restore_subscriptions(self.storage.load, {TOPIC_ID: self.topic}, self.bus.append)
        if not clean:
            self.forget_what_was_lost()
        for key, state in self.state.items():
            if state != "settled":
                self.state[key] = "fresh"
        self.next_fresh = dict.fromkeys(range(PARTITIONS), 0)

    def forget_what_was_lost(self):
        """Of the log nothing is left beyond its end; of acks that were not confirmed any may be lost."""
        for key in list(self.state):
            partition = self.topic.partitions[key[0]]
            if key[1] >= partition.written_offset:
                self.records.pop(key, None)
                self.state.pop(key)
                self.counts.pop(key, None)
                self.doubtful.discard(key)
                self.suspects.discard(key)
                continue
            record = self.records[key][0]
            if key[1] < partition.log_start_offset:
                self.state[key] = "settled"
            elif record not in self.confirmed:
                settled = self.subscription.feeds[key[0]].settlement.is_settled(key[1])
                assert not settled or self.state[key] == "settled" or key in self.doubtful
                self.state[key] = "settled" if settled else "fresh"
            self.suspects.add(key)
            self.counts.pop(key, None)

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def counts_agree(self):
        assert self.subscription.in_flight == sum(len(consumer.mine) for consumer in self.consumers)
        assert [consumer.in_flight for consumer in self.consumers] == [len(one.mine) for one in self.consumers]

    @invariant()
    def every_offset_has_its_place(self):
        for feed in self.subscription.feeds:
            feed.available()
            held = {key[1] for consumer in self.consumers for key in consumer.mine if key[0] == feed.partition.number}
            for offset in range(feed.partition.log_start_offset, feed.next):
                places = (offset in held) + feed.settlement.is_settled(offset) + (offset in feed.requeued)
                assert places == 1

    def teardown(self):
        if not hasattr(self, "consumers"):
            return
        if self.storage.gate is not None:
            self.reads_go_on()
        for consumer in list(self.consumers):
            self.consumers.remove(consumer)
            self.subscription.detach(consumer)
            self.give_back(consumer, consumer.mine)
        last = ModelConsumer(self, 0)
        self.consumers = [last]
        self.subscription.attach(last)
        for _ in range(20):
            self.run_greenlets()
            for number, offset in sorted(last.mine):
                self.subscription.ack(last, number, offset, offset)
                last.mine.discard((number, offset))
                self.state[number, offset] = "settled"
            self.write_round()
            self.sync_rounds()
        left = [key for key, state in self.state.items() if state != "settled" and key not in self.doubtful]
        assert left == []
        assert self.subscription.lag() == 0
        # Nothing is left but a header for each partition, and perhaps the page that the floor is in.
        assert len(self.storage.load(SETTLED)) <= 2 * PARTITIONS
        assert all(feed.settlement.settled_beyond == 0 for feed in self.subscription.feeds)
        self.subscription.detach(last)
        self.run_greenlets()
        assert self.subscription._greenlet is None


TestSubscription = SubscriptionMachine.TestCase
TestSubscription.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
