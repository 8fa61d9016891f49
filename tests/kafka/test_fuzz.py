"""Requests of random values, changed at random: a response that decodes, or a closed connection, and no traceback."""

import random
import struct

import psutil
import pytest

from handlers.kafka import tables
from handlers.kafka.served import SERVED
from tests.kafka.batches import batch, changed
from tests.kafka.peer import decode, encode, produce_request
from tests.oracle.random_values import random_value

EVERY = [(one.api, version) for one in SERVED.values() for version in range(one.first, one.last + 1)]
"""Every API in every version that is served."""
ROUNDS = 60
WAITING = {1, 11, 14}
"""Fetch, JoinGroup and SyncGroup: changed ones may wait for minutes, as they ask to."""
WAIT_S = 0.3
SLOW_FIELDS = {"max_wait_ms", "timeout_ms", "rebalance_timeout_ms", "session_timeout_ms", "auto_offset_reset"}
NAMES = ["t", "u", "", "no/name", "x" * 300]
VARINTS = [b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x07", b"\x80\x01", b"\x00", b"\x02"]
MEMORY_BYTES = 64 << 20
"""More than all requests of one test together; nearly all of it is what the process has not given back."""


def name_of(case):
    return f"{case[0].name} {case[1]}"


def tame(numbers, value, topic_ids):
    """Let what a random *value* names be there sometimes, and let nothing wait for long."""
    for name in value.__slots__:
        held = getattr(value, name)
        if isinstance(held, list):
            for element in held:
                if hasattr(element, "__slots__"):
                    tame(numbers, element, topic_ids)
        elif hasattr(held, "__slots__"):
            tame(numbers, held, topic_ids)
        elif name in SLOW_FIELDS and isinstance(held, int):
            setattr(value, name, numbers.choice([0, 0, 1, 5, -1]))
        elif name in {"name", "topic"} and held is not None:
            setattr(value, name, numbers.choice(NAMES))
        elif name == "topic_id" and numbers.random() < 0.7:
            setattr(value, name, numbers.choice(topic_ids))
        elif name in {"partition", "partition_index", "index"}:
            setattr(value, name, numbers.choice([0, 0, 1, -1, held]))
        elif name == "acks":
            setattr(value, name, numbers.choice([-1, 1, 1, 0, held]))
        elif name in {"count", "num_partitions"}:
            setattr(value, name, numbers.choice([0, 1, 3, -1, 1 << 30]))
        elif name == "records":
            setattr(value, name, random_records(numbers))


def random_records(numbers):
    """A batch, nearly one, or none."""
    made = batch(*[numbers.randbytes(numbers.choice([0, 5, 300]))] * numbers.randint(1, 3), compression=0)
    kind = numbers.randrange(5)
    if kind == 0:
        return None
    if kind == 1:
        return mutate(numbers, made)
    if kind == 2:
        field = numbers.choice(["attributes", "count", "last_offset_delta", "producer_id", "base_sequence", "length"])
        return changed(made, **{field: numbers.choice([-1, 0, 1, 2, 5, 32767])})
    if kind == 3:
        return changed(made, producer_id=numbers.randint(0, 3), producer_epoch=0, base_sequence=numbers.randint(0, 4))
    return made


def mutate(numbers, data):
    """*data* with some bits, bytes or varints changed, cut or put in between."""
    data = bytearray(data)
    for _ in range(numbers.randint(1, 3)):
        at = numbers.randrange(len(data) + 1)
        kind = numbers.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << numbers.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = numbers.choice(VARINTS)
        elif kind == 3:
            data[at : at + 4] = numbers.choice([b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00"])
        elif kind == 4:
            data[at:at] = numbers.randbytes(numbers.randint(1, 20))
        else:
            del data[at : at + numbers.randint(1, 4)]
    return bytes(data)


class Fuzzer:
    """A peer that connects again when it was hung up on."""

    def __init__(self, served):
        self.served = served
        self.peer = served.peer()
        self.answered = 0

    def try_out(self, frame):
        """Send a request without its size; whatever comes back must decode, whatever comes after must be served."""
        key, version = struct.unpack(">hh", frame[:4])
        if key in WAITING:
            self.peer.sock.settimeout(WAIT_S)
        try:
            self.peer.send_frame(frame)
            self.peer.send(tables.API_VERSIONS, 0)
            self._read(key, version)
            self.answered += 1
        except (ConnectionResetError, BrokenPipeError):
            self._connect_again()
        except TimeoutError:
            if key not in WAITING:
                raise
            self._connect_again()

    def _connect_again(self):
        self.peer.close()
        self.peer = self.served.peer()

    def _read(self, key, version):
        answer = self.peer.read_frame()
        sent_last = self.peer.correlation
        if struct.unpack(">i", answer[:4])[0] == sent_last:
            return  # a Produce without acks has no answer
        if key == tables.API_VERSIONS.key and not 0 <= version <= SERVED[key].last:
            version = 0
        decode(SERVED[key].api, version, answer)
        assert decode(tables.API_VERSIONS, 0, self.peer.read_frame())[0] == sent_last


@pytest.fixture
def fuzzer(serve):
    served = serve("--auto-create-topics", "false", "--group-initial-rebalance-delay-ms", "0")
    return Fuzzer(served)


@pytest.mark.parametrize("case", EVERY, ids=name_of)
def test_changed_requests_are_answered_or_end_the_connection(fuzzer, case, caplog):
    api, version = case
    seed = api.key * 100 + version
    numbers = random.Random(seed)
    served = fuzzer.served
    topic = served.topic()
    topic_ids = [bytes.fromhex(topic.id), bytes(16), b"0123456789abcdef"]
    before = psutil.Process().memory_info().rss
    for number in range(ROUNDS):
        request = random_value(numbers, api.request, version)
        tame(numbers, request, topic_ids)
        frame = encode(api, version, request, correlation=-7, client_id=numbers.choice(["c", None, ""]))[4:]
        for data in (frame, mutate(numbers, frame)):
            if len(data) < 10:
                continue
            print(f"seed {seed}, round {number}: {data.hex()}")
            fuzzer.try_out(data)

    assert [record.message for record in caplog.records if record.exc_info] == []
    assert psutil.Process().memory_info().rss - before < MEMORY_BYTES
    assert fuzzer.answered


@pytest.mark.parametrize("seed", range(8))
def test_changed_streams_end_or_go_on(fuzzer, seed, caplog):
    numbers = random.Random(seed)
    served = fuzzer.served
    served.topic()
    for number in range(ROUNDS):
        stream = b"".join(
            numbers.choice(
                [
                    encode(tables.PRODUCE, 9, produce_request("t", batch())),
                    encode(tables.LIST_OFFSETS, 1, replica_id=-1, topics=[]),
                    encode(tables.METADATA, 9, topics=[]),
                    encode(tables.API_VERSIONS, 3, client_software_name="a", client_software_version="b"),
                ]
            )
            for _ in range(numbers.randint(1, 8))
        )
        print(f"seed {seed}, round {number}")
        peer = served.peer()
        peer.send_bytes(mutate(numbers, stream))
        peer.half_close()
        while peer.sock.recv(1 << 20):
            pass
        peer.close()

    assert [record.message for record in caplog.records if record.exc_info] == []
    served.peer().introduce("kgo")
