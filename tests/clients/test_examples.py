"""The example programs of docs/protocol.md, run against a real server."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server_process import ServerProcess

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
STORED = "stored as orders/0/0\nstored as orders/0/1\n"


@pytest.fixture(scope="module")
def go_program(tmp_path_factory):
    program = tmp_path_factory.mktemp("go") / "consume"
    # Fails where go is missing: an example that nobody ran is no example.
    subprocess.run(["go", "build", "-o", program, EXAMPLES / "consume.go"], check=True, timeout=300)
    return program


@pytest.fixture
def run(tmp_path):
    """A function that runs a program on a fresh server and returns what it printed."""
    server = ServerProcess(tmp_path / "data")
    server.start()

    def run(*command):
        done = subprocess.run(
            [*map(str, command), "127.0.0.1", str(server.port)], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    yield run
    server.kill()


def test_the_bash_example_publishes_consumes_and_settles(run):
    assert run("bash", EXAMPLES / "consume.sh") == (
        STORED + "message 1: two books\nmessage 2: three\nlines\nof text\nsettled 2\n"
    )


def test_the_python_example_publishes_consumes_and_settles(run):
    assert run(sys.executable, EXAMPLES / "consume.py") == (
        STORED + "message 1: b'two books'\nmessage 2: b'any bytes: \\x00\\n\\xff'\nsettled 2\n"
    )


def test_the_go_example_publishes_consumes_and_settles(run, go_program):
    assert run(go_program) == (STORED + 'message 1: "two books"\nmessage 2: "any bytes: \\x00\\n\\xff"\nsettled 2\n')


def test_the_frames_example_publishes_consumes_and_settles(run):
    assert run(sys.executable, EXAMPLES / "frames.py").splitlines() == [
        "b'OK '",
        "['OK', 1, [[0, 0, 2]]]",
        "['OK', 2, 'orders', 'example']",
        "0 b'one'",
        "1 b'two'",
        "['OK', 3, 2]",
        "['OK', 4, 'BYE']",
    ]


def test_the_client_example_publishes_consumes_and_settles(tmp_path):
    server = ServerProcess(tmp_path / "data")
    server.start()
    try:
        command = [sys.executable, EXAMPLES / "client.py", f"127.0.0.1:{server.port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        server.kill()
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "stored as orders/0/0",
        "stored as orders/0/1",
        "stored as orders/0/2",
        "orders/0/0 b'two books' b'customer-7' (('kind', b'note'),)",
        "orders/0/1 b'three books' None ()",
        "orders/0/2 b'no books' None ()",
        "waiting: 0",
    ]
