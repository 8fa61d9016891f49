"""Clients that ask for a lot and stop reading."""

import random
import socket
import struct
from contextlib import ExitStack

import psutil
import pytest

from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import create, read, values, write

STALLED = 20
REQUESTS = 50
LOG_BYTES = 64_000_000
MIB = 1 << 20
ANSWER_BYTES = 8 * MIB  # --kafka-fetch-max-bytes


@pytest.fixture
def server_pid(server):
    return server.process.pid


def fetch_request(number, topic):
    """A Fetch of version 4 from the first offset on, without limit."""
    name = topic.encode()
    head = struct.pack(">hhih6s", 1, 4, number, 6, b"unread")
    body = struct.pack(">iiiibi", -1, 500, 1, 2**31 - 1, 0, 1)
    partition = struct.pack(f">h{len(name)}siiqi", len(name), name, 1, 0, 0, 2**31 - 1)
    frame = head + body + partition
    return struct.pack(">i", len(frame)) + frame


def stalled(bootstrap, topic):
    """A connection that has asked for the whole log many times and has read the beginning of one answer."""
    host, _, port = bootstrap.rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.connect((host, int(port)))
    sock.settimeout(30)
    sock.sendall(b"".join(fetch_request(number, topic) for number in range(REQUESTS)))
    assert len(sock.recv(4)) == 4
    return sock


def fill(bootstrap, topic):
    """Write more than anybody should hold in memory."""
    create(bootstrap, topic)
    noise = random.Random(1).randbytes(100_000)
    write(bootstrap, topic, [{"value": noise} for _ in range(LOG_BYTES // len(noise))])


@in_child
def test_clients_that_stop_reading_do_not_disturb_others(bootstrap, topic):
    fill(bootstrap, topic)
    create(bootstrap, topic + "-other")
    with ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(stalled(bootstrap, topic))
        assert write(bootstrap, topic + "-other", values(5000)) == [(0, number) for number in range(5000)]
        assert len(read(bootstrap, topic + "-other", 5000)) == 5000
        count = LOG_BYTES // 100_000
        assert len(read(bootstrap, topic, count)) == count


@in_child
def test_a_client_that_stops_reading_costs_the_memory_of_one_answer(bootstrap, server_pid, topic):
    fill(bootstrap, topic)
    server = psutil.Process(server_pid)
    before = server.memory_info().rss
    with ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(stalled(bootstrap, topic))
        write(bootstrap, topic, values(1000))
        assert server.memory_info().rss - before < STALLED * ANSWER_BYTES * 1.3


@in_child
def test_memory_comes_back_when_such_clients_have_gone(bootstrap, server_pid, topic):
    fill(bootstrap, topic)
    server = psutil.Process(server_pid)
    highest = []
    for _ in range(6):
        with ExitStack() as stack:
            for _ in range(STALLED):
                stack.enter_context(stalled(bootstrap, topic))
            highest.append(server.memory_info().rss)
    assert highest[-1] < highest[1] + STALLED * MIB
