"""The listener of AMQP 0-9-1."""

from __future__ import annotations

import gevent

from handlers.amqp.codec import MIN_FRAME_MAX, PROTOCOL_HEADER
from handlers.amqp.connection import AmqpConnection
from handlers.amqp.reply_to import ReplyConsumer
from handlers.base import StreamHandler
from handlers.link import Connection, Link
from portask.broker import Broker
from portask.errors import UnavailableError
from portask.options import Option

KIB = 1024
MIB = 1024 * KIB
BEAT_S = 0.5
"""How often heartbeats are looked after: a client may ask for one a second, which takes one every half."""


class AmqpHandler(StreamHandler):
    """Serves AMQP clients."""

    name = "amqp"
    port_option = "amqp_port"
    options = (
        Option("amqp_port", "int", 5672, "amqp", "Port of AMQP 0-9-1; 0 is none.", minimum=0, maximum=65535),
        Option(
            "amqp_frame_max",
            "size",
            128 * KIB,
            "amqp",
            "Largest frame that clients are offered, and may not exceed. Counts for new connections.",
            unit="bytes",
            minimum=MIN_FRAME_MAX,
            maximum=16 * MIB,
            reloadable=True,
        ),
        Option(
            "amqp_channel_max",
            "int",
            2047,
            "amqp",
            "Most channels that a connection may have. Counts for new connections.",
            minimum=1,
            maximum=65535,
            reloadable=True,
        ),
        Option(
            "amqp_heartbeat_s",
            "int",
            60,
            "amqp",
            "Interval of heartbeats, in seconds, that clients are offered; what they say counts. 0 offers none.",
            minimum=0,
            maximum=65535,
            reloadable=True,
        ),
        Option(
            "amqp_handshake_timeout_ms",
            "duration",
            10_000,
            "amqp",
            "Time that a client may take from connecting to the end of the handshake.",
            unit="ms",
            minimum=100,
            maximum=3_600_000,
            reloadable=True,
        ),
        Option(
            "amqp_max_message_bytes",
            "size",
            16 * MIB,
            "amqp",
            "Largest body of a message that is taken.",
            unit="bytes",
            minimum=1 * KIB,
            maximum=512 * MIB,
            reloadable=True,
        ),
    )
    initial_frame_max = MIN_FRAME_MAX
    """Largest frame of a client that has not agreed on one yet."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.connections: set[AmqpConnection] = set()
        self.reply_consumers: dict[str, ReplyConsumer] = {}
        """Those who wait for direct replies, by address."""
        self._heart: gevent.Greenlet | None = None

    def start(self) -> None:
        """Bind, accept, and look after heartbeats. Raises OSError."""
        super().start()
        if self.address is not None:
            self._heart = gevent.spawn(self._beat)
            self._heart.name = "amqp heartbeats"

    def close(self, timeout_s: float) -> None:
        """End all connections. Blocks."""
        super().close(timeout_s)
        if self._heart is not None:
            self._heart.kill()
            self._heart = None

    def connect(self, link: Link) -> Connection:
        """A new connection with the limits that are configured now."""
        connection = AmqpConnection(self, link)
        self.connections.add(connection)
        return connection

    def connection_ended(self, connection: AmqpConnection) -> None:
        """*connection* has come to its end."""
        self.connections.discard(connection)

    def refusal(self, error: UnavailableError) -> bytes:
        """The protocol header, which is what a client gets that cannot be served."""
        return PROTOCOL_HEADER

    def _beat(self) -> None:
        while True:
            gevent.sleep(BEAT_S)
            now = self.broker.clock.monotonic()
            for connection in list(self.connections):
                connection.beat(now)
