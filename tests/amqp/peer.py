"""The other side of an AMQP connection: a socket, and the tables to encode methods and decode what comes back."""

import socket
import struct
from typing import Any, NamedTuple

from handlers.amqp.codec import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    PROTOCOL_HEADER,
    encode_frame,
    encode_method_frame,
)
from handlers.amqp.methods import METHODS
from portask.properties import Properties, encode_header

TIMEOUT_S = 5
BY_NAME = {method.name: method for method in METHODS.values()}
CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}


class Frame(NamedTuple):
    """One frame; of a method frame also its name and value."""

    kind: int
    channel: int
    payload: bytes
    name: str = ""
    value: Any = None


def method(name, **arguments):
    """A value of the method *name*."""
    return BY_NAME[name].value(**arguments)


def frame_of(channel, name, **arguments):
    """The frame of a method."""
    return encode_method_frame(channel, method(name, **arguments))


def header_frame(channel, body_size, properties=None):
    """The frame of a content header."""
    return encode_frame(FRAME_HEADER, channel, encode_header(properties or Properties(), body_size))


def body_frame(channel, body):
    """The frame of a piece of a body."""
    return encode_frame(FRAME_BODY, channel, body)


def publish_frames(channel, body, routing_key="q", exchange="", properties=None, **arguments):
    """The frames of one small message."""
    return (
        frame_of(channel, "basic.publish", exchange=exchange, routing_key=routing_key, **arguments)
        + header_frame(channel, len(body), properties)
        + (body_frame(channel, body) if body else b"")
    )


class AmqpPeer:
    """A client that says exactly what it is told."""

    def __init__(self, port, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self.tune = None

    def login(self, *, frame_max=None, channel_max=None, heartbeat=0, capabilities=None, response=b"\0guest\0guest"):
        """Say all that stands before the first channel."""
        self.start(capabilities, response)
        self.tune = self.expect("connection.tune").value
        self.send(
            0,
            "connection.tune-ok",
            channel_max=self.tune.channel_max if channel_max is None else channel_max,
            frame_max=self.tune.frame_max if frame_max is None else frame_max,
            heartbeat=heartbeat,
        )
        self.send(0, "connection.open", virtual_host="/")
        self.expect("connection.open-ok")
        return self

    def start(self, capabilities=None, response=b"\0guest\0guest", mechanism="PLAIN"):
        """Say the first words; the server's own."""
        self.send_bytes(PROTOCOL_HEADER)
        start = self.expect("connection.start").value
        properties = {"product": "peer", "capabilities": CAPABILITIES if capabilities is None else capabilities}
        self.send(0, "connection.start-ok", client_properties=properties, mechanism=mechanism, response=response)
        return start

    def open(self, channel=1):
        """Open a channel."""
        self.ask(channel, "channel.open")
        return self

    def send(self, channel, name, **arguments):
        """Send a method."""
        self.send_bytes(frame_of(channel, name, **arguments))

    def ask(self, channel, name, **arguments):
        """Send a method and return the value of the answer, which must be its own."""
        self.send(channel, name, **arguments)
        return self.expect(f"{name}-ok", channel).value

    def publish(self, channel, body, routing_key="q", **options):
        """Send a message."""
        self.send_bytes(publish_frames(channel, body, routing_key, **options))

    def send_bytes(self, data):
        """Send *data* as it is."""
        self.sock.sendall(data)

    def send_frame(self, kind, channel, payload):
        """Send a frame."""
        self.send_bytes(encode_frame(kind, channel, payload))

    def expect(self, name, channel=0):
        """The next frame, which must be the method *name*; heartbeats are passed over."""
        frame = self.read()
        assert (frame.name, frame.channel) == (name, frame.channel if channel == 0 else channel), frame
        return frame

    def read(self):
        """The next frame that is no heartbeat. Raises ConnectionResetError at the end."""
        while True:
            kind, channel, size = struct.unpack(">BHI", self.read_exactly(7))
            payload = self.read_exactly(size)
            assert self.read_exactly(1) == bytes((FRAME_END,))
            if kind == FRAME_METHOD:
                found = METHODS[struct.unpack(">HH", payload[:4])]
                return Frame(kind, channel, payload, found.name, found.decode(payload))
            if kind != FRAME_HEARTBEAT:
                return Frame(kind, channel, payload)

    def read_body(self):
        """The body of a message whose method has been read."""
        size = struct.unpack(">Q", self.read().payload[4:12])[0]
        body = b""
        while len(body) < size:
            body += self.read().payload
        return body

    def closing(self, name="connection.close"):
        """Code, text, class and method of the close that comes next, other frames passed over."""
        while (frame := self.read()).name != name:
            pass
        value = frame.value
        return value.reply_code, value.reply_text, value.class_id, value.method_id

    def read_exactly(self, size):
        """The next *size* bytes. Raises ConnectionResetError when there are fewer."""
        data = bytearray()
        while len(data) < size:
            received = self.sock.recv(min(size - len(data), 1 << 20))
            if not received:
                raise ConnectionResetError(f"the server has gone after {len(data)} of {size} bytes")
            data += received
        return bytes(data)

    def is_closed(self):
        """Whether the server has closed; waits for it or for more bytes."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def half_close(self):
        """Say that nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        """Hang up."""
        self.sock.close()
