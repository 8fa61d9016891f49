"""The real command against a real broker process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "portask"]
PATIENCE_S = 60


class Finished:
    """How a command ended."""

    def __init__(self, process):
        self.code = process.returncode
        self.raw = process.stdout
        self.err = process.stderr.decode()

    @property
    def out(self):
        return self.raw.decode()

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def jsonl(self):
        return [json.loads(line) for line in self.lines]


class Server:
    """A broker process on ports of its own."""

    def __init__(self, directory, *flags):
        self.directory = directory
        self.port, self.http_port = free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        flags = (
            f"--data-dir={directory}",
            f"--native-port={self.port}",
            f"--http-port={self.http_port}",
            "--kafka-port=0",
            "--amqp-port=0",
            "--log-format=json",
            *flags,
        )
        self.process = subprocess.Popen([*COMMAND, "serve", *flags], stderr=subprocess.PIPE, env=environment())
        self.started = []
        for line in self.process.stderr:
            self.started.append(json.loads(line))
            if self.started[-1]["message"] == "portask ready":
                return
        raise AssertionError(f"no broker: {self.started}")

    def stop(self, number=signal.SIGTERM):
        """End it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self.process.stderr.close()
        return code


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTASK_")}
    return {**kept, "TZ": "UTC", **variables}


@pytest.fixture
def start_server():
    """A function that starts a broker; all are stopped when the test ends."""
    servers = []

    def start(directory, *flags):
        servers.append(Server(directory, *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One broker for all tests; each uses topics of its own."""
    server = Server(tmp_path_factory.mktemp("broker") / "data")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def run():
    """A function that runs a command to its end."""

    def run(*arguments, stdin=b"", **variables):
        command = [*COMMAND, *map(str, arguments)]
        done = subprocess.run(
            command, check=False, input=stdin, capture_output=True, timeout=PATIENCE_S, env=environment(**variables)
        )
        return Finished(done)

    return run


@pytest.fixture(scope="session")
def portask(run, server):
    """The same with the broker's address given, which has to succeed unless *code* says otherwise."""

    def portask(*arguments, stdin=b"", code=0, **variables):
        done = run(*arguments, stdin=stdin, PORTASK_SERVER=server.address, **variables)
        assert done.code == code, done.err
        return done

    return portask


@pytest.fixture
def popen(server):
    """A function that starts a command and returns its process."""
    processes = []

    def popen(*arguments, **options):
        processes.append(
            subprocess.Popen(
                [*COMMAND, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(PORTASK_SERVER=server.address),
                **options,
            )
        )
        return processes[-1]

    yield popen
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)
        process.stdout.close()
        process.stderr.close()


@pytest.fixture
def topic(request):
    """A name that no other test uses."""
    return re.sub(r"[^\w.-]", "-", request.node.name)


@pytest.fixture(scope="session")
def environ():
    """A function that gives the environment of a command."""
    return environment
