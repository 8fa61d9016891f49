"""A queue on a running broker against a slow model that knows where every single message is.

The model checks each hand-out when it happens: the oldest that is ready, flagged if it was ever handed out
before, to somebody who may have it. Storage syncs when the test lets it, and a crash leaves any prefix of the rounds
that has what was synced.
"""

import copy

import gevent
from gevent.event import Event
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from portask.broker import Broker
from portask.clock import ManualClock
from portask.config import load_settings
from portask.storage.memory import MemoryStorage
from portask.subscriptions.consumer import Consumer
from tests.core.queue_peer import body_of, record

READY, GONE = "ready", "gone"


class CrashStorage(MemoryStorage):
    """Memory that knows what a crash would leave, and syncs when it may."""

    def __init__(self, state=None):
        super().__init__()
        if state is not None:
            self._logs, self._tables = copy.deepcopy(state)
        self.states = []
        self.may_sync = Event()
        self.may_sync.set()
        self.is_lost = False

    def open(self):
        super().open()
        self.states = [self.state()]

    def state(self):
        return copy.deepcopy((self._logs, self._tables))

    def write(self, round_):
        if not self.is_lost:
            super().write(round_)
            self.states.append(self.state())

    def sync(self):
        self.may_sync.wait()
        if not self.is_lost:
            del self.states[:-1]


class ModelConsumer(Consumer):
    """A consumer that reports every hand-out to the model."""

    def __init__(self, model, prefetch, *, no_ack):
        super().__init__(self.take, prefetch, lambda error: None, no_ack=no_ack)
        self.model = model
        self.mine = set()

    def take(self, deliveries):
        try:
            for delivery in deliveries:
                self.model.delivered(self, delivery)
            assert self.no_ack or not self.prefetch or len(self.mine) <= self.prefetch
        except AssertionError as error:
            # Raised here it would only end the subscription's greenlet.
            self.model.failure = self.model.failure or error


class QueueMachine(RuleBasedStateMachine):
    """Rules are what clients, batcher and accidents do."""

    @initialize(durable=st.booleans())
    def begin(self, durable):
        self.durable = durable
        self.failure = None
        self.bodies = []  # by offset
        self.state = []  # by offset: READY, GONE or who has it
        self.failures = []  # by offset, None after a crash: not known
        self.nonce = 0
        self.confirmed = set()
        self.settled = set()  # acked, not known to be for good
        self.gone = set()  # settled for good
        self.seen = set()  # handed out at any time
        self.doubtful = set()  # may be flagged without reason: there before a restart
        self.consumers, self.getters, self.left = [], [], []
        self.start(CrashStorage())
        self.queue = self.queues.declare("q", durable=durable)

    def start(self, storage):
        self.storage = storage
        self.broker = Broker(load_settings(["--storage=memory"], {}, ()), storage, ManualClock())
        self.broker.start()
        self.queues = self.broker.virtual_hosts.get("/").queues

    def run_greenlets(self):
        for _ in range(30):
            gevent.sleep(0)
        if self.failure is not None:
            raise self.failure

    # -- what is handed out -----------------------------------------------------------------------

    def delivered(self, consumer, delivery):
        for position, one in enumerate(delivery.records):
            offset = delivery.base_offset + position
            body = body_of(one)
            assert self.bodies[offset] == body
            assert READY in self.state
            assert offset == self.state.index(READY)
            assert body not in self.gone
            if body in self.seen:
                assert delivery.redeliveries
            else:
                assert not delivery.redeliveries or body in self.doubtful
            if self.failures[offset] is not None:
                assert delivery.failures == self.failures[offset]
            self.seen.add(body)
            if consumer.no_ack:
                self.state[offset] = GONE
                self.settled.add(body)
            else:
                self.state[offset] = consumer
                consumer.mine.add(offset)

    # -- rules ------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 20))
    def publish(self, count):
        bodies = [b"%d" % number for number in range(self.nonce, self.nonce + count)]
        self.nonce += count
        self.bodies += bodies
        self.state += [READY] * count
        self.failures += [0] * count
        confirmed = self.confirmed
        self.queue.publish(
            [record(body) for body in bodies], 100 * count, lambda error: error is None and confirmed.update(bodies)
        )
        with gevent.Timeout(10):
            while self.queue.topic.partitions[0].written_offset < len(self.bodies):
                gevent.sleep(0)
        self.run_greenlets()

    @precondition(lambda self: len(self.consumers) < 4)
    @rule(prefetch=st.sampled_from([0, 1, 3, 10]), no_ack=st.sampled_from([False, False, False, True]))
    def consume(self, prefetch, no_ack):
        consumer = ModelConsumer(self, prefetch, no_ack=no_ack)
        self.consumers.append(consumer)
        self.queue.consume(consumer)
        self.run_greenlets()

    @precondition(lambda self: self.storage.may_sync.is_set())
    @rule(no_ack=st.booleans())
    def get(self, no_ack):
        getter = next((one for one in self.getters if one.no_ack is no_ack), None)
        if getter is None:
            getter = ModelConsumer(self, 0, no_ack=no_ack)
            self.getters.append(getter)
        is_ready = READY in self.state
        found = self.queue.get(getter)
        assert (found is not None) == is_ready
        if found is not None:
            getter.take([found[0]])
            assert found[1] == self.state.count(READY)
        self.run_greenlets()

    def holders(self):
        return [one for one in (*self.consumers, *self.getters, *self.left) if one.mine]

    @precondition(lambda self: self.holders())
    @rule(data=st.data(), verb=st.sampled_from(["ack", "ack", "ack", "reject", "requeue", "fail"]))
    def settle(self, data, verb):
        consumer = data.draw(st.sampled_from(self.holders()), "consumer")
        first = last = data.draw(st.sampled_from(sorted(consumer.mine)), "first")
        most = data.draw(st.integers(0, 12), "more")
        while last + 1 in consumer.mine and last - first < most:
            last += 1
        for offset in range(first, last + 1):
            consumer.mine.discard(offset)
            if verb in ("ack", "reject"):
                self.state[offset] = GONE
                self.settled.add(self.bodies[offset])
            else:
                self.state[offset] = READY
                if verb == "fail" and self.failures[offset] is not None:
                    self.failures[offset] += 1
        if verb == "ack":
            self.queue.ack(consumer, 0, first, last)
        elif verb == "reject":
            self.queue.reject(consumer, 0, first, last)
        else:
            self.queue.requeue(consumer, 0, first, last, counted=verb == "fail")
        self.run_greenlets()

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def cancel(self, data):
        consumer = data.draw(st.sampled_from(self.consumers), "consumer")
        self.consumers.remove(consumer)
        self.left.append(consumer)
        self.queue.cancel(consumer)
        self.run_greenlets()

    @precondition(lambda self: self.consumers or self.left or self.getters)
    @rule(data=st.data())
    def release(self, data):
        consumer = data.draw(st.sampled_from([*self.consumers, *self.left, *self.getters]), "consumer")
        for known in (self.consumers, self.left, self.getters):
            if consumer in known:
                known.remove(consumer)
        self.give_back(consumer)
        self.queue.release(consumer)
        self.run_greenlets()

    def give_back(self, consumer):
        for offset in consumer.mine:
            self.state[offset] = READY
            if self.failures[offset] is not None:
                self.failures[offset] += 1
        consumer.mine = set()

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def pause_or_resume(self, data):
        consumer = data.draw(st.sampled_from(self.consumers), "consumer")
        (consumer.resume if consumer.paused else consumer.pause)()
        self.run_greenlets()

    @precondition(lambda self: self.storage.may_sync.is_set())
    @rule()
    def purge(self):
        ready = [offset for offset, state in enumerate(self.state) if state == READY]
        for offset in ready:
            self.state[offset] = GONE
        assert self.queue.purge() == len(ready)
        self.gone |= {self.bodies[offset] for offset in ready} | self.settled
        self.run_greenlets()

    @precondition(lambda self: self.storage.may_sync.is_set())
    @rule()
    def settle_for_good(self):
        # What is handed out meanwhile may be settled too late for it.
        settled = set(self.settled)
        self.queue.subscription.save()
        self.gone |= settled
        self.run_greenlets()

    @rule()
    def hold_or_allow_syncs(self):
        may_sync = self.storage.may_sync
        may_sync.clear() if may_sync.is_set() else may_sync.set()
        self.run_greenlets()

    @precondition(lambda self: self.durable)
    @rule(clean=st.booleans(), lost=st.integers(0, 5))
    def restart(self, clean, lost):
        if clean:
            self.storage.may_sync.set()
            assert self.broker.stop(10)
            self.gone |= self.settled
            for consumer in (*self.consumers, *self.getters, *self.left):
                self.give_back(consumer)
            state = self.storage.state()
        else:
            state = self.storage.states[max(0, len(self.storage.states) - 1 - lost)]
            for consumer in self.consumers:
                consumer.deliver = lambda deliveries: None
            # What the old broker confirms from here on, nobody hears.
            self.confirmed = set(self.confirmed)
            self.storage.is_lost = True
            self.storage.may_sync.set()
            self.broker.stop(10)
        self.consumers, self.getters, self.left = [], [], []
        self.start(CrashStorage(state))
        self.queue = self.queues.get("q")
        partition, settlement = self.queue.topic.partitions[0], self.queue.subscription.feeds[0].settlement
        assert not self.confirmed.intersection(self.bodies[partition.written_offset :])
        del self.bodies[partition.written_offset :]
        del self.state[partition.written_offset :]
        self.failures = self.failures[: partition.written_offset] if clean else [None] * partition.written_offset
        for offset, body in enumerate(self.bodies):
            if settlement.is_settled(offset) or offset < partition.log_start_offset:
                assert body in self.settled or body in self.gone or self.state[offset] == GONE
                self.state[offset] = GONE
            else:
                assert body not in self.gone
                self.settled.discard(body)
                self.state[offset] = READY
        # What is settled now is so for good.
        self.gone |= {body for offset, body in enumerate(self.bodies) if self.state[offset] == GONE}
        self.doubtful.update(self.bodies)
        self.run_greenlets()

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def counts_agree(self):
        if not hasattr(self, "queue"):
            return
        held = sum(len(one.mine) for one in (*self.consumers, *self.getters, *self.left))
        assert self.queue.unacked == held
        assert self.queue.ready == self.state.count(READY)
        assert self.queue.consumer_count == len(self.consumers)

    def teardown(self):
        if not hasattr(self, "queue"):
            return
        self.storage.may_sync.set()
        for consumer in (*self.consumers, *self.getters, *self.left):
            self.give_back(consumer)
            self.queue.release(consumer)
        self.consumers, self.getters, self.left = [ModelConsumer(self, 0, no_ack=True)], [], []
        self.queue.consume(self.consumers[0])
        with gevent.Timeout(10):
            while READY in self.state and self.failure is None:
                gevent.sleep(0)
        self.queue.subscription.save()
        self.run_greenlets()
        assert self.queue.topic.partitions[0].log_start_offset == len(self.bodies)
        assert self.broker.stop(10)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
