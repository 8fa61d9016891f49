"""A broker, one or two workers of the application, and a program that calls it, for each result backend."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import pytest

from tests.clients import toolchain
from tests.clients.amqp.broker import PEER, Peer, Portask
from tests.clients.redis_server import RedisServer

HERE = Path(__file__).parent
START_S = 60
LONGEST_S = 90


def environ(address, backend):
    """Where a process of the application finds Celery, the broker and the results."""
    packages = toolchain.CELERY.require() / "packages"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PORTASK_"))}
    host, port = address
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join([str(packages), str(HERE)]),
        "BROKER_URL": f"amqp://guest:guest@{host}:{port}//",
        "RESULT_BACKEND": backend,
    }


class Worker:
    """`celery worker` with one process for tasks."""

    def __init__(self, environ, name="first", *flags):
        command = [sys.executable, "-m", "celery", "-A", "application", "worker", "-l", "INFO", "-n", f"{name}@tests"]
        self.process = subprocess.Popen(
            [*command, "--concurrency", "1", *flags],
            env=environ, cwd=HERE, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.log = deque(maxlen=200)
        self.is_ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.is_ready.wait(START_S):
            self.kill()
            raise AssertionError("the worker was not ready:\n" + "".join(self.log))

    def _read(self):
        for line in self.process.stdout:
            self.log.append(line)
            if " ready." in line:
                self.is_ready.set()

    def stop(self):
        """End it as its users do; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(LONGEST_S)
        finally:
            self.kill()

    def kill(self):
        """SIGKILL to all of it. A second call does nothing."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LONGEST_S)
        self.reader.join()
        self.process.stdout.close()
        self.process = None


class Caller:
    """The program child.py, one command at a time."""

    def __init__(self, environ):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "child.py"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, name, *args, **options):
        """What the command returned; raises AssertionError with what it raised."""
        self.process.stdin.write(json.dumps([name, args, options]) + "\n")
        self.process.stdin.flush()
        deadline = threading.Timer(LONGEST_S, self.process.kill)
        deadline.start()
        try:
            line = self.process.stdout.readline()
        finally:
            deadline.cancel()
        assert line, f"{name} {args}: no answer"
        answer = json.loads(line)
        assert "answer" in answer, answer
        return answer["answer"]

    def close(self):
        """End it."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A Redis of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module", params=["rpc", "redis"])
def backend(request):
    """Where results go: to queues of the broker, or to Redis."""
    return "rpc://" if request.param == "rpc" else f"redis://{request.getfixturevalue('redis').address}/0"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """The broker that the tests of a module share."""
    if PEER is not None:
        yield Peer()
        return
    broker = Portask(tmp_path_factory.mktemp("broker") / "data")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def settings(broker, backend):
    """The environment of the application's processes."""
    return environ(broker.address, backend)


@pytest.fixture(scope="module")
def worker(settings):
    """A worker that the tests of a module share."""
    worker = Worker(settings)
    yield worker
    worker.kill()


@pytest.fixture(scope="module")
def caller(settings):
    """The program that sends tasks."""
    caller = Caller(settings)
    caller("purge")
    yield caller
    caller.close()


@pytest.fixture
def lines(tmp_path):
    """A function that waits until a file has so many lines, and returns them."""

    def lines(path, count):
        deadline = time.monotonic() + LONGEST_S
        while not path.exists() or len(path.read_text().splitlines()) < count:
            assert time.monotonic() < deadline, f"{path.name} has not got {count} lines"
            time.sleep(0.01)
        return path.read_text().splitlines()

    return lines
