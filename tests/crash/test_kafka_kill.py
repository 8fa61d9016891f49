"""The real process, killed at random moments while idempotent Kafka producers write.

confluent-kafka and kafka-python send numbered messages to several partitions and go on, each with its one
producer id, over all kills; the server starts again on the same directory and port. In the end the log is read back:

- each message that was acknowledged is in the log at the offset that the producer was told;
- nothing is in the log twice, from any producer;
- each producer's messages are in the order in which they were sent to their partition.

A group whose consumer commits while the server is killed finds what it committed, and goes on from there.

KILLS in the environment says how many kills there are over all seeds, 200 if it does not.
"""

import os
import random
import subprocess
import sys
import threading
from collections import defaultdict

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaException, Producer, TopicPartition
from kafka import KafkaProducer
from kafka.errors import KafkaError

from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import consumer, create, take, values, write
from tests.server_process import KafkaServerProcess

KILLS_PER_SEED = 4
SEEDS = range(-(-int(os.environ.get("KILLS", "200")) // KILLS_PER_SEED))
TOPIC = "orders"
PARTITIONS = 3
MOST_WAITING = 300
LONGEST_S = 60


class Writer:
    """Sends numbered messages until it is stopped, and notes each that was acknowledged and where."""

    def __init__(self, name, rng):
        self.name = name
        self.rng = rng
        self.sent = 0
        self.acknowledged = {}
        self.failed = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self.stopped.is_set():
                self.breathe()
                if self.sent - len(self.acknowledged) > MOST_WAITING:
                    continue
                for _ in range(self.rng.choice((1, 1, 5, 30))):
                    partition = self.rng.randrange(PARTITIONS)
                    noise = self.rng.randbytes(self.rng.choice((0, 10, 100, 1000))).hex()
                    self.send(f"{self.name} {self.sent} {noise}".encode(), partition)
                    self.sent += 1
        except Exception as error:
            self.failed.append(error)

    def stop(self):
        """Stop sending, and wait until everything has been acknowledged."""
        self.stopped.set()
        self.thread.join(LONGEST_S)
        self.flush()

    def acknowledge(self, value, partition, offset):
        """A message was acknowledged."""
        self.acknowledged[value] = (partition, offset)


class ConfluentWriter(Writer):
    """confluent-kafka."""

    def __init__(self, bootstrap, rng):
        super().__init__("confluent", rng)
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": rng.choice((0, 1, 5)),
                "batch.num.messages": rng.choice((5, 50, 1000)),
                "compression.type": rng.choice(("none", "gzip", "lz4", "zstd")),
                "max.in.flight.requests.per.connection": rng.choice((1, 5)),
                "retry.backoff.ms": 10,
                "retry.backoff.max.ms": 50,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 50,
                "error_cb": lambda error: self.failed.append(error) if error.fatal() else None,
                "logger": None,
                "log_level": 0,
            }
        )

    def send(self, value, partition):
        while True:
            try:
                self.producer.produce(TOPIC, value, partition=partition, on_delivery=self._note)
                return
            except BufferError:
                self.producer.poll(0.1)

    def _note(self, error, message):
        if error is None:
            self.acknowledge(message.value(), message.partition(), message.offset())
        else:
            self.failed.append(error)

    def breathe(self):
        self.producer.poll(0)
        self.stopped.wait(0.002)

    def flush(self):
        if self.producer.flush(LONGEST_S):
            self.failed.append("confluent-kafka did not get rid of everything")


class KafkaPythonWriter(Writer):
    """kafka-python."""

    def __init__(self, bootstrap, rng):
        super().__init__("kafka-python", rng)
        self.producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            linger_ms=rng.choice((0, 1, 5)),
            batch_size=rng.choice((500, 16384)),
            compression_type=rng.choice((None, "gzip", "zstd")),
            max_in_flight_requests_per_connection=rng.choice((1, 5)),
            retry_backoff_ms=10,
            reconnect_backoff_ms=10,
            reconnect_backoff_max_ms=50,
        )

    def send(self, value, partition):
        future = self.producer.send(TOPIC, value, partition=partition)
        future.add_callback(lambda metadata: self.acknowledge(value, metadata.partition, metadata.offset))
        future.add_errback(self.failed.append)

    def breathe(self):
        self.stopped.wait(0.005)

    def flush(self):
        try:
            self.producer.flush(LONGEST_S)
        except KafkaError as error:
            self.failed.append(error)
        self.producer.close(LONGEST_S)


def read_all(bootstrap):
    """Each partition's (offset, value)s."""
    log = {partition: [] for partition in range(PARTITIONS)}
    reader = consumer(bootstrap)
    places = [TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in log]
    count = sum(reader.get_watermark_offsets(place, LONGEST_S)[1] for place in places)
    reader.assign(places)
    for message in take(reader, count):
        log[message.partition()].append((message.offset(), message.value()))
    reader.close()
    return log


def broken(writers, log):
    """Every promise that *log* does not keep, in words."""
    words = []
    places = defaultdict(list)
    for partition, entries in log.items():
        numbers = {}
        for offset, value in entries:
            places[value].append((partition, offset))
            name, number, _ = value.decode().split(" ")
            if int(number) <= numbers.get(name, -1):
                words.append(f"{name} {number} is out of order at {partition}/{offset}")
            numbers[name] = int(number)
    words += [f"{value[:30]} is in the log at {found}" for value, found in places.items() if len(found) > 1]
    for writer in writers:
        words += [f"{writer.name}: {error}" for error in writer.failed]
        words += [
            f"{value[:30]} was acknowledged at {place} and is at {places[value]}"
            for value, place in writer.acknowledged.items()
            if places[value] != [place]
        ]
        if len(writer.acknowledged) != writer.sent:
            words.append(f"{writer.name} sent {writer.sent} and {len(writer.acknowledged)} were acknowledged")
    return words


@pytest.mark.parametrize("seed", SEEDS)
@in_child
def test_idempotent_producers_lose_double_and_reorder_nothing_when_the_process_is_killed(seed, tmp_path):
    rng = random.Random(seed)
    server = KafkaServerProcess(
        tmp_path / "data",
        *("--journal-bytes", str(rng.choice((65536, 300_000, 33_554_432)))),
        *("--segment-bytes", str(rng.choice((65536, 500_000)))),
        *("--tail-cache-bytes", str(rng.choice((0, 100_000, 16_777_216)))),
    )
    pause = threading.Event()
    server.start()
    try:
        create(server.bootstrap, TOPIC, PARTITIONS)
        writers = [ConfluentWriter(server.bootstrap, rng), KafkaPythonWriter(server.bootstrap, rng)]
        for writer in writers:
            writer.thread.start()
        for _ in range(KILLS_PER_SEED):
            if rng.random() < 0.7:  # otherwise it may be killed before the producers are back
                known = [len(writer.acknowledged) for writer in writers]
                while known == [len(writer.acknowledged) for writer in writers] and not any(w.failed for w in writers):
                    pause.wait(0.001)
            pause.wait(rng.random() ** 2 * 0.3)
            server.kill()
            server.start()
        for writer in writers:
            writer.stop()
        log = read_all(server.bootstrap)
    finally:
        server.kill()

    print(f"seed {seed}: {[len(writer.acknowledged) for writer in writers]} acknowledged")
    assert broken(writers, log) == []
    command = [sys.executable, "-m", "portask", "verify", server.directory]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@in_child
def test_a_group_goes_on_from_what_it_committed_before_the_process_was_killed(tmp_path):
    server = KafkaServerProcess(tmp_path / "data")
    server.start()
    try:
        create(server.bootstrap, TOPIC)
        write(server.bootstrap, TOPIC, values(100))
        reader = consumer(server.bootstrap, "billing", session_timeout_ms=6000)
        reader.subscribe([TOPIC])
        take(reader, 40)
        reader.commit(offsets=[TopicPartition(TOPIC, 0, 40, "a note")], asynchronous=False)
        server.kill()
        server.start()
        (place,) = consumer(server.bootstrap, "billing").committed([TopicPartition(TOPIC, 0)], LONGEST_S)
        assert (place.offset, place.metadata) == (40, "a note")
        new = consumer(server.bootstrap, "billing")
        reader.close()
        new.subscribe([TOPIC])
        assert [message.offset() for message in take(new, 60)] == list(range(40, 100))
        new.close()
    finally:
        server.kill()


@in_child
def test_a_running_consumer_skips_nothing_when_the_process_is_killed(tmp_path):
    server = KafkaServerProcess(tmp_path / "data")
    server.start()
    try:
        create(server.bootstrap, TOPIC)
        reader = consumer(
            server.bootstrap, "billing", reconnect_backoff_ms=10, reconnect_backoff_max_ms=50, session_timeout_ms=6000
        )
        reader.subscribe([TOPIC])
        seen, committed = [], 0
        for turn in range(4):
            write(server.bootstrap, TOPIC, values(50, start=50 * turn))
            while 50 * (turn + 1) - 1 not in seen:
                seen += [message.offset() for message in take(reader, 1)]
            committed = commit(reader, 50 * (turn + 1))
            server.kill()
            server.start()
        assert set(seen) == set(range(200))
        (place,) = reader.committed([TopicPartition(TOPIC, 0)], LONGEST_S)
        assert place.offset == committed
        reader.close()
    finally:
        server.kill()


def commit(reader, offset):
    """Commit *offset*, again while the group forms anew; returns it."""
    for _ in range(1000):
        try:
            reader.commit(offsets=[TopicPartition(TOPIC, 0, offset)], asynchronous=False)
            return offset
        except KafkaException as error:
            if not error.args[0].retriable() and "REBALANCE" not in str(error) and "MEMBER" not in str(error):
                raise
            reader.poll(0.05)
    raise AssertionError("the commit was refused for too long")
