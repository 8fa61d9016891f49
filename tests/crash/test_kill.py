"""The real process, killed at random moments under load.

Publishers and consumers write down what they were promised. After every kill the server starts again
on the same directory; in the end the log and the deliveries must agree with every promise:

- each confirmed message is in the log once, byte-equal, at its id, in the order of its publisher;
- no id ever had two payloads, not even in deliveries that came before the confirm;
- a message whose ack was confirmed never comes back, and whatever comes twice is flagged the second time;
- each confirmed message was delivered;
- `portask verify` finds nothing wrong.

KILLS in the environment says how many kills there are over all seeds, 200 if it does not.
"""

import json
import os
import random
import subprocess
import sys
from collections import deque
from contextlib import suppress

import gevent
import pytest

from tests.server_process import Message, ServerProcess

KILLS_PER_SEED = 10
SEEDS = range(-(-int(os.environ.get("KILLS", "200")) // KILLS_PER_SEED))
TOPIC = "orders"


class Promises:
    """What the clients saw, over all lives of the server."""

    def __init__(self):
        self.sent = {}
        self.confirmed = {}
        self.values = {}
        self.delivered = set()
        self.settled = set()
        self.broken = []

    def delivery(self, message):
        """A message came."""
        if self.values.setdefault(message.id, message.payload) != message.payload:
            self.broken.append(f"{message.id} had two payloads")
        if message.id in self.settled:
            self.broken.append(f"{message.id} came back after its ack was confirmed")
        if message.id in self.delivered and not message.redelivered:
            self.broken.append(f"{message.id} was delivered twice without the flag")
        self.delivered.add(message.id)


class Publisher:
    """Sends numbered messages in windows and notes each confirm."""

    def __init__(self, name, promises, rng):
        self.name = name
        self.promises = promises
        self.rng = rng
        self.number = 0

    def run(self, server):
        """Publish until the server dies."""
        with suppress(OSError), server.connect() as link:
            while True:
                window = [self.payloads() for _ in range(self.rng.randrange(1, 6))]
                link.send(*(self.command(payloads) for payloads in window))
                for payloads in window:
                    self.note(link.answer(), payloads)

    def payloads(self):
        return [self.payload() for _ in range(self.rng.choice((1, 1, 1, 7, 40)))]

    def payload(self):
        self.number += 1
        noise = self.rng.randbytes(self.rng.choice((0, 10, 100, 100, 1000, 20_000)))
        payload = b"%s %d %s" % (self.name, self.number, noise)
        self.promises.sent[payload] = (self.name, self.number)
        return payload

    def command(self, payloads):
        topic = TOPIC.encode()
        if len(payloads) == 1:
            return b"PUBLISHB %s %d\n%s" % (topic, len(payloads[0]), payloads[0])
        pieces = (b"%d\n%s" % (len(payload), payload) for payload in payloads)
        return b"MPUBLISH %s %d\n" % (topic, len(payloads)) + b"".join(pieces)

    def note(self, answer, payloads):
        assert answer.startswith("OK "), answer
        offsets = []
        for word in answer.split(" ")[1:]:
            first, _, last = word.rpartition("/")[2].partition("-")
            offsets += range(int(first), int(last or first) + 1)
        for offset, payload in zip(offsets, payloads, strict=True):
            self.promises.confirmed[f"{TOPIC}/0/{offset}"] = payload


class Reader:
    """Consumes in a group, acks most, requeues some, and notes what was confirmed."""

    def __init__(self, promises, rng):
        self.promises = promises
        self.rng = rng

    def run(self, server):
        """Consume until the server dies."""
        with suppress(OSError), server.connect() as link:
            prefetch = self.rng.choice((1, 10, 200))
            assert link.ask(f"SUBSCRIBE {TOPIC} workers {prefetch}\n".encode()).startswith("OK")
            waiting = deque()
            while True:
                got = link.messages.popleft() if link.messages else link.read()
                if isinstance(got, Message):
                    self.promises.delivery(got)
                    verb = "NACK" if self.rng.random() < 0.15 else "ACK"
                    waiting.append((verb, got.id))
                    link.send(f"{verb} {got.id}\n".encode())
                else:
                    assert got.startswith("OK"), got
                    verb, message_id = waiting.popleft()
                    if verb == "ACK":
                        self.promises.settled.add(message_id)


def drain(server, promises):
    """Take and ack whatever the group still holds."""
    with server.connect() as link:
        assert link.ask(f"SUBSCRIBE {TOPIC} workers 1000\n".encode()).startswith("OK")
        while json.loads(link.ask(f"GROUP {TOPIC} workers\n".encode()).removeprefix("OK "))["lag"]:
            while link.messages:
                message = link.messages.popleft()
                promises.delivery(message)
                assert link.ask(f"ACK {message.id}\n".encode()).startswith("OK")
                promises.settled.add(message.id)


def read_all(server):
    """Every message that the log holds, in order."""
    found, offset, end = [], 0, 1
    with server.connect() as link:
        while offset < end:
            _, count, *fields = link.ask(f"READ {TOPIC} 0 {offset} 500\n".encode()).split(" ")
            found += [link.read() for _ in range(int(count))]
            places = dict(field.split("=") for field in fields)
            offset, end = int(places["next_offset"]), int(places["high_watermark"])
    return found


def broken(promises, log):
    """Every promise that *log* does not keep, in words."""
    by_id = {message.id: message.payload for message in log}
    words = list(promises.broken)
    words += [f"{i} was confirmed and is lost" for i, p in promises.confirmed.items() if by_id.get(i) != p]
    words += [f"{i} was delivered and is something else" for i, p in promises.values.items() if by_id.get(i) != p]
    words += [f"{i} was confirmed and never delivered" for i in promises.confirmed if i not in promises.delivered]
    words += [f"{message.id} was never sent" for message in log if message.payload not in promises.sent]
    if len(set(by_id.values())) != len(log):
        words.append("a message is in the log twice")
    numbers = {}
    for message in log:
        name, number = promises.sent.get(message.payload, ("?", 0))
        if number <= numbers.get(name, 0):
            words.append(f"{message.id} is out of order")
        numbers[name] = number
    return words


@pytest.mark.parametrize("seed", SEEDS)
def test_no_promise_is_broken_when_the_process_is_killed(seed, tmp_path):
    rng = random.Random(seed)
    promises = Promises()
    server = ServerProcess(
        tmp_path / "data",
        *("--journal-bytes", str(rng.choice((65536, 300_000, 33_554_432)))),
        *("--segment-bytes", str(rng.choice((65536, 500_000)))),
        *("--tail-cache-bytes", str(rng.choice((0, 100_000, 16_777_216)))),
    )
    clients = [Publisher(b"p%d" % number, promises, rng) for number in range(2)]
    clients += [Reader(promises, rng) for _ in range(2)]
    try:
        for _ in range(KILLS_PER_SEED):
            server.start()
            running = [gevent.spawn(client.run, server) for client in clients]
            gevent.sleep(rng.random() ** 2 * 0.4)
            server.kill()
            gevent.joinall(running, timeout=20, raise_error=True)
        server.start()
        drain(server, promises)
        log = read_all(server)
    finally:
        server.kill()
        print(f"seed {seed}: {len(promises.confirmed)} confirmed, {len(promises.settled)} acked")

    assert broken(promises, log) == []
    command = [sys.executable, "-m", "portask", "verify", server.directory]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
