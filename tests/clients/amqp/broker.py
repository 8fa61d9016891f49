"""The broker that the sessions run against: Portask as a process, or the one that AMQP_PEER (host:port) names.

A test that RabbitMQ fails asks for the wrong thing, so every test runs against both, but for those marked
`peer_differs`: there RabbitMQ 3.10, the oldest peer, does what RabbitMQ 4 no longer does, or Portask does more.
"""

import json
import os
import subprocess
import sys
import tempfile
from http.client import HTTPConnection
from pathlib import Path

from tests.server_process import ServerProcess, free_port

PEER = os.environ.get("AMQP_PEER")
PEER_MANAGEMENT = os.environ.get("AMQP_PEER_MANAGEMENT", "127.0.0.1:25674")
GUEST = "Basic Z3Vlc3Q6Z3Vlc3Q="


class Portask(ServerProcess):
    """`portask serve` with an AMQP listener, always on the same port."""

    def __init__(self, directory, *flags):
        self.amqp_port = free_port()
        super().__init__(directory, "--amqp-port", str(self.amqp_port), *flags)

    @property
    def address(self):
        """Host and port of the AMQP listener."""
        return "127.0.0.1", self.amqp_port

    def define(self, **definitions):
        """Import RabbitMQ's definitions, given by their keys."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(definitions, file)
            file.flush()
            self.run("definitions", "import", file.name)

    def definitions(self):
        """What it exports."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "definitions.json"
            self.run("definitions", "export", path)
            return json.loads(path.read_text())

    def run(self, *words):
        """Run a command of the command line against the server; what it printed."""
        command = [sys.executable, "-m", "portask", *words, "--server", f"127.0.0.1:{self.port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


class Peer:
    """A broker that runs already, with RabbitMQ's management beside it."""

    def __init__(self):
        host, _, port = PEER.partition(":")
        self.address = host, int(port)

    def define(self, **definitions):
        """Import RabbitMQ's definitions, given by their keys."""
        self._ask("POST", json.dumps(definitions))

    def definitions(self):
        """What it exports."""
        return json.loads(self._ask("GET"))

    @staticmethod
    def _ask(method, body=None):
        connection = HTTPConnection(PEER_MANAGEMENT, timeout=20)
        try:
            headers = {"Authorization": GUEST, "Content-Type": "application/json"}
            connection.request(method, "/api/definitions", body, headers)
            response = connection.getresponse()
            text = response.read()
            assert response.status < 300, text
            return text
        finally:
            connection.close()
