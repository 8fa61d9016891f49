"""The other side of a connection, made of a socket and nothing of the client."""

import json
import socket
import struct
from collections import deque

import cbor2

from tests.server_process import Lines

TIMEOUT_S = 20


class TextPeer(Lines):
    """A peer in text mode."""

    def ask_json(self, command):
        """The map that answers *command*."""
        return json.loads(self.ask(command).removeprefix("OK "))

    def ask_lines(self, command):
        """The maps that answer *command*, one a line."""
        return [json.loads(line) for line in self.ask_text(command)]

    def ask_text(self, command):
        """The lines that follow the answer to *command*."""
        answer = self.ask(command)
        assert answer.startswith("OK "), answer
        return [self.file.readline().decode().rstrip("\n") for _ in range(int(answer[3:]))]

    def message(self):
        """The next message; no answer may come before it."""
        if self.messages:
            return self.messages.popleft()
        got = self.read()
        assert not isinstance(got, str), got
        return got

    def take(self, count):
        """The next *count* messages."""
        return [self.message() for _ in range(count)]

    def is_closed(self):
        """Whether the server has closed; waits for it or for more bytes."""
        return self.file.read(1) == b""

    def half_close(self):
        """Say that nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)


class CborPeer:
    """A peer in CBOR mode."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.file = self.sock.makefile("rb", buffering=1 << 16)
        self.pushes = deque()
        self.correlation = 0
        self.sock.sendall(b"HELLO cbor\n")
        line = self.file.readline()
        assert line.startswith(b"OK "), line

    def send(self, *requests):
        """Send requests as frames."""
        self.sock.sendall(b"".join(map(frame, requests)))

    def send_bytes(self, data):
        """Send *data* as it is."""
        self.sock.sendall(data)

    def read(self):
        """The next frame's value. Raises ConnectionError at the end."""
        head = self.file.read(4)
        if len(head) < 4:
            raise ConnectionResetError("the server has gone")
        return cbor2.loads(self.file.read(struct.unpack(">I", head)[0]))

    def answer(self):
        """The next answer; pushes that come before it are kept in `pushes`."""
        while (value := self.read())[0] not in {"OK", "ERR"}:
            self.pushes.append(value)
        return value

    def ask(self, verb, *arguments):
        """What the answer says after its correlation; an ERR gives its code alone."""
        self.correlation += 1
        self.send([verb, self.correlation, *arguments])
        kind, correlation, *rest = self.answer()
        assert correlation == self.correlation
        return rest if kind == "OK" else rest[0]

    def push(self):
        """The next push; no answer may come before it."""
        if self.pushes:
            return self.pushes.popleft()
        value = self.read()
        assert value[0] not in {"OK", "ERR"}, value
        return value

    def is_closed(self):
        """Whether the server has closed; waits for it or for more bytes."""
        return self.file.read(1) == b""

    def close(self):
        """Hang up."""
        self.file.close()
        self.sock.close()


def frame(value):
    """*value* as a frame."""
    data = cbor2.dumps(value)
    return struct.pack(">I", len(data)) + data


def payloads(messages):
    """The payloads of what a client has received."""
    return [message.payload for message in messages]
