"""A queue with limits and expiry against a slow model of one, through any sequence of what clients do."""

from hypothesis import given, settings
from hypothesis import strategies as st

from portask.broker import Broker
from portask.clock import ManualClock
from portask.config import load_settings
from portask.storage.memory import MemoryStorage
from tests.core.queue_channel import QueueChannel
from tests.core.subscription.peer import idle

MAX_LENGTH = 5
TTL_S = 10


class Model:
    """Messages as (number, time of expiry), the oldest first."""

    def __init__(self):
        self.now = 0
        self.ready = []
        self.held = []
        self.dead = []

    def publish(self, number, expiration_s):
        lives_s = TTL_S if expiration_s is None else min(TTL_S, expiration_s)
        self.ready.append((number, self.now + lives_s))
        self._drop()

    def get(self):
        if self.ready:
            self.held.append(self.ready.pop(0))

    def ack(self):
        del self.held[:1]

    def reject(self):
        self.dead += [number for number, _ in self.held[:1]]
        del self.held[:1]

    def requeue(self):
        self.ready = sorted(self.ready + self.held[:1])
        del self.held[:1]
        self._drop()
        self._expire()

    def wait(self, seconds):
        self.now += seconds
        self._expire()

    def _drop(self):
        excess = max(0, len(self.ready) - MAX_LENGTH)
        self.dead += [number for number, _ in self.ready[:excess]]
        del self.ready[:excess]

    def _expire(self):
        self.dead += [number for number, ends in self.ready if ends <= self.now]
        self.ready = [(number, ends) for number, ends in self.ready if ends > self.now]


class Real:
    """The same on a broker."""

    def __init__(self, is_durable):
        self.clock = ManualClock()
        self.broker = Broker(load_settings((), {}), MemoryStorage(), self.clock)
        self.broker.start()
        self.channel = QueueChannel(self.broker, is_durable)
        self.channel.declare("dead")
        self.queue = self.channel.declare(
            "jobs",
            max_length=MAX_LENGTH,
            message_ttl=TTL_S * 1000,
            dead_letter_exchange="",
            dead_letter_routing_key="dead",
        )
        self.held = []

    def publish(self, number, expiration_s):
        properties = {} if expiration_s is None else {"expiration": f"{expiration_s}000"}
        self.channel.publish("jobs", b"%d" % number, **properties)

    def get(self):
        got = self.channel.get("jobs")
        if got is not None:
            self.held.append(got)

    def ack(self):
        if self.held:
            self.held.pop(0).ack()

    def reject(self):
        if self.held:
            self.held.pop(0).reject()

    def requeue(self):
        if self.held:
            self.held.pop(0).requeue()

    def wait(self, seconds):
        self.clock.advance(seconds)
        self.broker.queue_reaper.tick()


SETTLE = [st.just((name,)) for name in ("get", "get", "ack", "reject", "requeue")]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.one_of(st.none(), st.integers(1, 2 * TTL_S))),
        st.tuples(st.just("wait"), st.integers(1, TTL_S)),
        *SETTLE,
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(STEPS, st.booleans())
def test_queue_is_as_the_model(steps, is_durable):
    model, real = Model(), Real(is_durable)
    try:
        for number, (name, *given_values) in enumerate(steps):
            values = [number, *given_values] if name == "publish" else given_values
            getattr(model, name)(*values)
            getattr(real, name)(*values)
            idle()
            assert real.queue.ready == len(model.ready)
            assert real.queue.unacked == len(model.held)

        assert [int(body) for body in real.channel.bodies("jobs")] == [number for number, _ in model.ready]
        assert sorted(int(body) for body in real.channel.bodies("dead")) == sorted(model.dead)
    finally:
        real.broker.stop(5)
