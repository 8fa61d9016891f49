"""The seven tutorials that everyone starts with, as programs."""

import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parent / "tutorials"
LONGEST_S = 60


class Running:
    """A program that prints lines; it is killed when it prints nothing more in time."""

    def __init__(self, broker, script, *words):
        host, port = broker.address
        command = [sys.executable, "-u", TUTORIALS / script, host, str(port), *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.deadline = threading.Timer(LONGEST_S, self.process.kill)
        self.deadline.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.deadline.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def lines(self, count):
        """The next *count* lines."""
        return [self.process.stdout.readline().rstrip("\n") for _ in range(count)]


@pytest.fixture
def start(broker):
    """A function that starts a program and waits for its first line, `ready`."""
    with ExitStack() as stack:

        def start(script, *words):
            program = stack.enter_context(Running(broker, script, *words))
            assert program.lines(1) == ["ready"]
            return program

        yield start


@pytest.fixture
def run(broker):
    """A function that runs a program to its end and returns its lines."""

    def run(script, *words):
        host, port = broker.address
        command = [sys.executable, TUTORIALS / script, host, str(port), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_hello_world(run, name):
    queue = name("hello")
    for text in ("Hello World!", "stop"):
        assert run("send.py", queue, text) == [f"sent {text}"]

    assert run("receive.py", queue) == ["received Hello World!", "received stop"]


def test_work_queues(run, start, name):
    queue = name("task_queue")
    workers = [start("worker.py", queue, "2") for _ in range(2)]
    run("new_task.py", queue, "one.", "two..", "three...", "four....")

    first, second = (worker.lines(2) for worker in workers)
    assert sorted(first + second) == ["done four....", "done one.", "done three...", "done two.."]


def test_publish_subscribe(run, start, name):
    exchange = name("logs")
    listeners = [start("receive_logs.py", exchange) for _ in range(2)]
    run("emit_log.py", exchange, "info: started", "info: stopped")

    for listener in listeners:
        assert listener.lines(2) == ["received info: started", "received info: stopped"]


def test_routing(run, start, name):
    exchange = name("direct_logs")
    errors = start("receive_direct.py", exchange, "error")
    everything = start("receive_direct.py", exchange, "info", "warning", "error")
    run("emit_direct.py", exchange, "info", "fine", "error", "broken", "debug", "unseen", "warning", "smoke")
    run("emit_direct.py", exchange, "error", "burnt")

    assert errors.lines(2) == ["received error:broken", "received error:burnt"]
    assert everything.lines(4) == [
        "received info:fine",
        "received error:broken",
        "received warning:smoke",
        "received error:burnt",
    ]


def test_topics(run, start, name):
    exchange = name("topic_logs")
    kernel = start("receive_topic.py", exchange, "kern.*")
    critical = start("receive_topic.py", exchange, "*.critical")
    everything = start("receive_topic.py", exchange, "#")
    run("emit_topic.py", exchange, "kern.critical", "A", "kern.info", "B", "app.critical", "C", "app.web.info", "D")

    assert kernel.lines(2) == ["received kern.critical:A", "received kern.info:B"]
    assert critical.lines(2) == ["received kern.critical:A", "received app.critical:C"]
    assert everything.lines(4)[-1] == "received app.web.info:D"


def test_remote_calls(run, start, name):
    queue = name("rpc_queue")
    start("rpc_server.py", queue)

    assert run("rpc_client.py", queue, "1", "10", "90") == [
        "fibonacci of 1 is 1",
        "fibonacci of 10 is 55",
        "fibonacci of 90 is 2880067194370816120",
    ]


def test_publisher_confirms(run, name, channel):
    queue = name("confirms")

    assert run("confirms.py", queue, "500") == ["one by one: 500 confirmed", "as they come: 500 confirmed"]
    assert channel.queue_declare(queue, passive=True).method.message_count == 1000
