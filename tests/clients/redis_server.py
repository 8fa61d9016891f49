"""A Redis of its own for tests that need one beside the broker."""

import shutil
import subprocess

from tests.clients import toolchain
from tests.server_process import free_port

LONGEST_S = 30


class RedisServer:
    """Started by `with`; keeps nothing. The running test is left out where none is installed."""

    def __init__(self, directory):
        program = shutil.which("redis-server")
        if program is None:
            toolchain.leave_out("redis-server is not installed")
        self.port = free_port()
        self.command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        self.process = None

    @property
    def address(self):
        """Where it listens, host:port."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if "eady to accept connections" in line:
                return self
        raise AssertionError("Redis did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=LONGEST_S)
