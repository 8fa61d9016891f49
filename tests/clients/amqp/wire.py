"""A connection frame by frame, for what no client library sends: pamqp encodes, this keeps the socket."""

import socket
from typing import NamedTuple

from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Connection
from pamqp.header import ContentHeader

HEADER = b"AMQP\x00\x00\x09\x01"
CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}


class Closed(NamedTuple):
    """How the broker refused."""

    what: str
    code: int
    text: str
    method: tuple[int, int]


class Wire:
    """A socket to the broker; reading raises ConnectionError when the broker has closed it."""

    def __init__(self, address):
        self.sock = socket.create_connection(address, timeout=20)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send_bytes(self, data):
        """Send bytes as they are."""
        self.sock.sendall(data)

    def send(self, *frames, channel=1):
        """Send frames on one channel."""
        self.sock.sendall(b"".join(frame.marshal(one, channel) for one in frames))

    def publish(self, body=b"hello", *, properties=None, channel=1, **fields):
        """Send one message."""
        content = (ContentHeader(0, len(body), properties or Basic.Properties()), ContentBody(body))
        self.send(Basic.Publish(**fields), *content[: 2 if body else 1], channel=channel)

    def receive(self):
        """Bytes as they come; empty at the end."""
        try:
            return self.sock.recv(65536)
        except ConnectionResetError:
            return b""

    def read(self):
        """The next frame, whatever its channel."""
        while len(self.pending) < 7 or len(self.pending) < int.from_bytes(self.pending[3:7]) + 8:
            data = self.receive()
            if not data:
                raise ConnectionError("the broker has gone")
            self.pending += data
        size, _, decoded = frame.unmarshal(self.pending)
        self.pending = self.pending[size:]
        return decoded

    def ask(self, method, expected, channel=1):
        """Send a method and return its answer, which is of the class *expected*."""
        self.send(method, channel=channel)
        return self.expect(expected)

    def expect(self, expected):
        """The next frame, which is of the class *expected*."""
        got = self.read()
        assert isinstance(got, expected), dict(got) if isinstance(got, (Channel.Close, Connection.Close)) else got
        return got

    def start(self, *, mechanism="PLAIN", response="\0guest\0guest", capabilities=CAPABILITIES):
        """Say hello and who this is; returns the broker's Start."""
        self.send_bytes(HEADER)
        start = self.expect(Connection.Start)
        properties = {"capabilities": capabilities, "product": "wire"}
        self.send(Connection.StartOk(properties, mechanism, response, "en_US"), channel=0)
        return start

    def open(self, *, channel_max=2047, frame_max=131072, heartbeat=0, vhost="/", channels=(1,), **settings):
        """Everything up to open channels; returns the broker's Tune."""
        self.start(**settings)
        tune = self.expect(Connection.Tune)
        self.send(Connection.TuneOk(channel_max, frame_max, heartbeat), channel=0)
        self.ask(Connection.Open(vhost), Connection.OpenOk, channel=0)
        for number in channels:
            self.ask(Channel.Open(), Channel.OpenOk, channel=number)
        return tune

    def closed(self):
        """How the broker refused; frames before that are passed over."""
        while not isinstance(got := self.read(), (Channel.Close, Connection.Close)):
            pass
        what = "channel" if isinstance(got, Channel.Close) else "connection"
        return Closed(what, got.reply_code, got.reply_text, (got.class_id, got.method_id))

    def is_over(self):
        """Whether the broker ends the socket, after whatever it still sends."""
        while self.receive():
            pass
        return True
