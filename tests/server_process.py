"""The real server as a process that a test may kill, and a socket that speaks its lines."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from urllib.parse import unquote_to_bytes


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """`portask serve` on a directory, text protocol only."""

    def __init__(self, directory, *flags):
        self.directory = str(directory)
        self.port = free_port()
        self.flags = flags
        self.process = None
        self.reader = None
        self.log = []

    def start(self, timeout=20):
        """Start and wait for `portask ready`."""
        command = [
            *(sys.executable, "-m", "portask", "serve", "--data-dir", self.directory, "--host", "127.0.0.1"),
            *("--native-port", str(self.port), "--http-port", "0", "--kafka-port", "0", "--amqp-port", "0"),
            *self.flags,
        ]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PORTASK_", "COVERAGE_"))}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
        self.log = []
        deadline = threading.Timer(timeout, self.process.kill)
        deadline.start()
        try:
            for line in self.process.stderr:
                self.log.append(line)
                if "portask ready" in line:
                    # A full pipe would stop the server at its next line.
                    self.reader = threading.Thread(target=self.log.extend, args=(self.process.stderr,), daemon=True)
                    self.reader.start()
                    return
        finally:
            deadline.cancel()
        raise AssertionError("the server did not start:\n" + "".join(self.log))

    def kill(self):
        """SIGKILL, and wait until it is gone. A second call does nothing."""
        self._end(signal.SIGKILL)

    def stop(self):
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def wait(self):
        """The exit code of a server that ends by itself."""
        return self._end(None)

    def _end(self, number):
        if self.process is None:
            return None
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        if self.reader is not None:
            self.reader.join()
            self.reader = None
        self.process.stderr.close()
        self.process = None
        return code

    def connect(self):
        """A connection in text mode."""
        return Lines(self.port)


class KafkaServerProcess(ServerProcess):
    """`portask serve` with a Kafka listener too, always on the same port."""

    def __init__(self, directory, *flags):
        self.kafka_port = free_port()
        self.bootstrap = f"127.0.0.1:{self.kafka_port}"
        super().__init__(directory, "--kafka-port", str(self.kafka_port), *flags)


class Lines:
    """A connection in text mode: commands out, answers and messages in."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.sock.makefile("rb", buffering=1 << 16)
        self.messages = deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *commands):
        """Send bytes as they are."""
        self.sock.sendall(b"".join(commands))

    def read(self):
        """The next answer, a string; or a message, a Message. Raises ConnectionError at the end."""
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the server has gone")
        text = line.decode().rstrip("\n")
        return Message(text, self.file) if text.startswith("MSG ") else text

    def answer(self):
        """The next answer; messages that come before it are kept in `messages`."""
        while isinstance(got := self.read(), Message):
            self.messages.append(got)
        return got

    def answers_to_the_end(self):
        """All answers until the server closes the connection."""
        answers = []
        with suppress(ConnectionError):
            while True:
                answers.append(self.answer())
        return answers

    def ask(self, command):
        """Send *command* and return its answer."""
        self.send(command)
        return self.answer()

    def close(self):
        """Hang up."""
        self.file.close()
        self.sock.close()


class Message:
    """One MSG."""

    def __init__(self, line, file):
        _, self.id, self.topic, length, *fields = line.split(" ")
        self.fields = dict(field.split("=", 1) for field in fields)
        self.redelivered = int(self.fields.get("redelivered", "0")) > 0
        self.key = unquote_to_bytes(self.fields["key"]) if "key" in self.fields else None
        self.offset = int(re.fullmatch(r".*/(\d+)", self.id).group(1))
        self.payload = None if length == "-" else self._take(file, int(length))
        self._take(file, 1)

    @staticmethod
    def _take(file, size):
        data = file.read(size)
        if len(data) < size:
            raise ConnectionResetError("the server has gone")
        return data
