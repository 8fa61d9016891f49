"""The listener of Kafka's protocol."""

from __future__ import annotations

import re

from handlers.base import StreamHandler
from handlers.kafka.connection import KafkaConnection
from handlers.kafka.fetch_session import FetchSessions
from handlers.kafka.session import Session
from handlers.kafka.software import SoftwareNames
from handlers.link import Connection, Link
from portask.broker import Broker
from portask.errors import UnavailableError
from portask.options import Option

KIB = 1024
MIB = 1024 * KIB

_PORT = r"[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5]"
_ADDRESS = rf"(?:(?P<host>[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>{_PORT}))?"


class KafkaHandler(StreamHandler):
    """Serves Kafka clients."""

    name = "kafka"
    port_option = "kafka_port"
    options = (
        Option("kafka_port", "int", 9092, "kafka", "Port of Kafka's protocol; 0 is none.", minimum=0, maximum=65535),
        Option(
            "kafka_advertised_address",
            "str",
            "",
            "kafka",
            "Host and port that clients are told to connect to; empty tells each the address that it has connected to.",
            pattern=_ADDRESS,
            form="HOST:PORT, or nothing",
        ),
        Option(
            "kafka_max_request_bytes",
            "size",
            100 * MIB,
            "kafka",
            "Largest request that is read. Counts for new connections.",
            unit="bytes",
            minimum=64 * KIB,
            maximum=1024 * MIB,
            reloadable=True,
        ),
        Option(
            "kafka_request_timeout_ms",
            "duration",
            30_000,
            "kafka",
            "Time that a request that has begun may pause before its connection is closed.",
            unit="ms",
            minimum=100,
            maximum=24 * 3_600_000,
            reloadable=True,
        ),
        Option(
            "kafka_fetch_max_bytes",
            "size",
            8 * MIB,
            "kafka",
            "Most bytes of records in one answer to a Fetch, whatever the client asks for; a larger batch still comes.",
            unit="bytes",
            minimum=1 * KIB,
            maximum=1024 * MIB,
            reloadable=True,
        ),
        Option(
            "kafka_fetch_compression",
            "choice",
            "auto",
            "kafka",
            "Who gets batches as they are stored, in zstd, that producers sent uncompressed: clients that are known to "
            "read zstd (auto), all (always), or nobody (never).",
            choices=("auto", "always", "never"),
            reloadable=True,
        ),
    )

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.fetch_sessions = FetchSessions(broker.clock)
        self.software_names = SoftwareNames()

    def connect(self, link: Link) -> Connection:
        """A new connection with the limits that are configured now."""
        settings = self.broker.settings
        session = Session(
            self.broker,
            self.fetch_sessions,
            self.software_names,
            self._advertised(link),
            link.peer_host,
            link.id,
        )
        return KafkaConnection(session, link, settings.kafka_max_request_bytes)

    def refusal(self, error: UnavailableError) -> bytes:
        """Nothing: Kafka has no word for it, a client sees the connection close and tries again."""
        return b""

    def close(self, timeout_s: float) -> None:
        """End all connections and fetch sessions. Blocks."""
        super().close(timeout_s)
        self.fetch_sessions.close()

    def _advertised(self, link: Link) -> tuple[str, int]:
        match = re.fullmatch(_ADDRESS, self.broker.settings.kafka_advertised_address)
        if match is None or not match["host"]:
            return link.local_address
        return match["host"].strip("[]"), int(match["port"])
