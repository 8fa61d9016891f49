"""Streams of random methods and messages, changed at random: frames that decode or an end, and no traceback."""

import random
from contextlib import suppress

import psutil
import pytest

from handlers.amqp.codec import PROTOCOL_HEADER
from handlers.amqp.methods import METHODS
from portask.properties import Properties
from tests.amqp.peer import encode_method_frame, frame_of, publish_frames

ROUNDS = 40
MEMORY_BYTES = 64 << 20
"""More than all streams of one test together; nearly all of it is what the process has not given back."""
NAMES = ["", "q", "r", "x", "amq.topic", "amq.headers", "no.such", "a.#.*", "é" * 100, "\udcff"]
TYPES = ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-delayed-message", "none"]
ARGUMENTS = [
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-priority",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-priority",
    "x-stream-offset",
    "x-delayed-type",
    "x-match",
    "alternate-exchange",
    "x-death",
    "x-delay",
    "CC",
    "BCC",
]
WORDS = [
    "q",
    "r",
    "x",
    "classic",
    "quorum",
    "stream",
    "drop-head",
    "reject-publish",
    "all",
    "any",
    "first",
    "next",
    "1D",
]
NUMBERS = [0, 1, 2, 3, 5, 255, 256, -1, 1 << 31, 1 << 62]
CLIENT_METHODS = [
    method for method in METHODS.values() if not method.name.startswith("connection.") and not method.has_content
]


def random_argument(numbers, depth=2):
    kind = numbers.randrange(8)
    if kind < 3:
        return numbers.choice(NUMBERS)
    if kind < 5:
        return numbers.choice(WORDS)
    if depth and kind == 5:
        return [random_argument(numbers, depth - 1) for _ in range(numbers.randint(0, 3))]
    if depth and kind == 6:
        return random_table(numbers, depth - 1)
    return numbers.choice([None, True, False, 0.5, b"\xff"])


def random_table(numbers, depth=2):
    names = numbers.sample(ARGUMENTS, numbers.choice([0, 0, 1, 1, 2, 4]))
    return {name: random_argument(numbers, depth) for name in names}


def random_value(numbers, method):
    """A value of *method* whose names are often there."""
    fields = {}
    for name, kind, _ in method.arguments:
        if name == "type":
            fields[name] = numbers.choice(TYPES)
        elif kind == "short_string":
            fields[name] = numbers.choice(NAMES)
        elif kind == "long_string":
            fields[name] = numbers.randbytes(numbers.randint(0, 5))
        elif kind == "table":
            fields[name] = random_table(numbers)
        elif kind == "bit":
            # Without nowait there is more to read back.
            fields[name] = numbers.random() < (0.1 if name == "nowait" else 0.3)
        elif kind == "uint64":
            fields[name] = numbers.choice([0, 1, 2, 3, 7, (1 << 64) - 1])
        else:
            fields[name] = numbers.choice([0, 0, 1, 2, 65535])
    return method.value(**fields)


def random_message(numbers, channel):
    properties = Properties(
        headers=random_table(numbers) if numbers.random() < 0.5 else None,
        delivery_mode=numbers.choice([None, 1, 2, 77]),
        priority=numbers.choice([None, 0, 9, 255]),
        expiration=numbers.choice([None, None, "0", "10", "x", "-1", "9" * 40]),
        reply_to=numbers.choice([None, None, "amq.rabbitmq.reply-to", "q"]),
        user_id=numbers.choice([None, None, None, "guest", "root"]),
    )
    return publish_frames(
        channel,
        numbers.randbytes(numbers.choice([0, 1, 5, 300])),
        numbers.choice(NAMES),
        numbers.choice(["", "", "x", "amq.topic", "amq.headers", "no.such"]),
        properties,
        mandatory=numbers.random() < 0.3,
        immediate=numbers.random() < 0.02,
    )


def random_frames(numbers):
    """Frames of a client that has one channel open, now and then another."""
    frames = []
    for _ in range(numbers.randint(1, 25)):
        channel = numbers.choice([1, 1, 1, 1, 1, 1, 2])
        if numbers.random() < 0.4:
            frames.append(random_message(numbers, channel))
        else:
            frames.append(encode_method_frame(channel, random_value(numbers, numbers.choice(CLIENT_METHODS))))
        if numbers.random() < 0.2:
            frames.append(frame_of(numbers.choice([1, 2]), numbers.choice(["channel.close-ok", "channel.open"])))
    return b"".join(frames)


def mutate(numbers, data):
    """*data* with some bits, bytes or sizes changed, cut or put in between."""
    data = bytearray(data)
    for _ in range(numbers.randint(1, 3)):
        at = numbers.randrange(len(data) + 1)
        kind = numbers.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << numbers.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at : at + 4] = numbers.choice([b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0"])
        elif kind == 3:
            data[at:at] = numbers.randbytes(numbers.randint(1, 20))
        elif kind == 4:
            data[at:at] = numbers.choice([b"\xce", b"\0\0\0\0\xce", b"\x08\0\0\0\0\0\0\xce"])
        else:
            del data[at : at + numbers.randint(1, 4)]
    return bytes(data)


class Fuzzer:
    """Says things on new connections, while one that behaves goes on."""

    def __init__(self, served):
        self.served = served
        self.healthy = served.peer()
        self.healthy.ask(1, "queue.declare", queue="healthy", exclusive=True)
        self.frames = 0

    def say(self, data):
        """Log in, say *data* and nothing more; all that comes back must decode."""
        peer = self.served.peer()
        self._end(peer, data)

    def say_at_once(self, data):
        """Say *data* on a connection that has said nothing."""
        self._end(self.served.connect(), data)

    def _end(self, peer, data):
        with suppress(ConnectionResetError, BrokenPipeError):
            peer.send_bytes(data)
            peer.half_close()
            while True:
                peer.read()
                self.frames += 1
        peer.close()

    def check(self):
        """The connection that behaves is served."""
        self.healthy.publish(1, b"one", "healthy")
        self.healthy.send(1, "basic.get", queue="healthy", no_ack=True)
        self.healthy.expect("basic.get-ok", 1)
        assert self.healthy.read_body() == b"one"


@pytest.fixture
def fuzzer(served):
    return Fuzzer(served)


@pytest.mark.parametrize("seed", range(6))
def test_random_methods_are_answered_or_end_the_connection(fuzzer, seed, caplog):
    numbers = random.Random(seed)
    before = psutil.Process().memory_info().rss
    for number in range(ROUNDS):
        print(f"seed {seed}, round {number}")
        fuzzer.say(random_frames(numbers))
        fuzzer.check()

    assert [record.message for record in caplog.records if record.exc_info] == []
    assert psutil.Process().memory_info().rss - before < MEMORY_BYTES
    assert fuzzer.frames


@pytest.mark.parametrize("seed", range(6))
def test_changed_streams_are_answered_or_end_the_connection(fuzzer, seed, caplog):
    numbers = random.Random(1000 + seed)
    before = psutil.Process().memory_info().rss
    for number in range(ROUNDS):
        print(f"seed {seed}, round {number}")
        fuzzer.say(mutate(numbers, random_frames(numbers)))
        fuzzer.check()

    assert [record.message for record in caplog.records if record.exc_info] == []
    assert psutil.Process().memory_info().rss - before < MEMORY_BYTES


@pytest.mark.parametrize("seed", range(3))
def test_changed_handshakes_are_answered_or_end_the_connection(fuzzer, seed, caplog):
    numbers = random.Random(2000 + seed)
    handshake = b"".join(
        (
            PROTOCOL_HEADER,
            frame_of(0, "connection.start-ok", client_properties={"a": {"b": [1]}}, response=b"\0guest\0guest"),
            frame_of(0, "connection.tune-ok", channel_max=2047, frame_max=131072),
            frame_of(0, "connection.open"),
            frame_of(1, "channel.open"),
            publish_frames(1, b"x"),
        )
    )
    for number in range(3 * ROUNDS):
        print(f"seed {seed}, round {number}")
        fuzzer.say_at_once(mutate(numbers, handshake))
    fuzzer.check()

    assert [record.message for record in caplog.records if record.exc_info] == []
