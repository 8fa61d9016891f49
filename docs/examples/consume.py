"""Publish two messages, receive and acknowledge them. Needs nothing but Python's standard library.

Usage: consume.py HOST PORT
"""

import socket
import sys
from collections import deque


class Connection:
    """Commands out, answers in; messages that come between are kept in `messages`."""

    def __init__(self, host, port):
        self.sock = socket.create_connection((host, port))
        self.file = self.sock.makefile("rb")
        self.messages = deque()

    def ask(self, line, body=b""):
        """Send a command and return what follows OK."""
        self.sock.sendall(line.encode() + b"\n" + body)
        while (answer := self.read()) is None:
            pass
        kind, _, rest = answer.partition(" ")
        if kind == "ERR":
            raise RuntimeError(rest)
        return rest

    def message(self):
        """The next message as (id, payload, fields)."""
        while not self.messages:
            self.read()
        return self.messages.popleft()

    def read(self):
        """The next line; None when it began a message."""
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the server closed the connection")
        text = line.decode().rstrip("\n")
        if not text.startswith("MSG "):
            return text
        _, message_id, _, length, *fields = text.split(" ")
        payload = None if length == "-" else self.file.read(int(length))
        self.file.read(1)  # the line end behind the payload
        self.messages.append((message_id, payload, dict(field.partition("=")[::2] for field in fields)))
        return None


def main(host="127.0.0.1", port="7672"):
    connection = Connection(host, int(port))
    print("stored as", connection.ask("PUBLISH orders two books"))
    payload = b"any bytes: \x00\n\xff"
    print("stored as", connection.ask(f"PUBLISHB orders {len(payload)} key=customer-7 h.kind=note", payload))
    connection.ask("SUBSCRIBE orders example")
    for number in (1, 2):
        message_id, payload, _fields = connection.message()
        print(f"message {number}: {payload!r}")
        connection.ask(f"ACK {message_id}")
    connection.ask("QUIT")
    print("settled 2")


if __name__ == "__main__":
    main(*sys.argv[1:])
