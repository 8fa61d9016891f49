"""The listener of Portask's own protocol."""

from __future__ import annotations

from handlers.base import StreamHandler
from handlers.link import Connection, Link
from handlers.native.codec import ENCODINGS, Mode
from handlers.native.command import Limits
from handlers.native.connection import NativeConnection
from handlers.native.errors import code_of
from portask.errors import UnavailableError
from portask.options import Option

KIB = 1024
MIB = 1024 * KIB


class NativeHandler(StreamHandler):
    """Serves text mode and CBOR mode on one port."""

    name = "native"
    port_option = "native_port"
    options = (
        Option(
            "native_port", "int", 7672, "native", "Port of Portask's own protocol; 0 is none.", minimum=0, maximum=65535
        ),
        Option(
            "native_max_line_bytes",
            "size",
            64 * KIB,
            "native",
            "Longest line of text mode, and so the longest payload of PUBLISH. Counts for new connections.",
            unit="bytes",
            minimum=KIB,
            maximum=16 * MIB,
            reloadable=True,
        ),
        Option(
            "native_max_command_bytes",
            "size",
            64 * MIB,
            "native",
            "Largest CBOR frame, and most bytes of the messages in one MPUBLISH. Counts for new connections.",
            unit="bytes",
            minimum=64 * KIB,
            maximum=1024 * MIB,
            reloadable=True,
        ),
        Option(
            "native_command_timeout_ms",
            "duration",
            30_000,
            "native",
            "Time that a command may take to arrive from its first byte to its last.",
            unit="ms",
            minimum=100,
            maximum=24 * 3_600_000,
            reloadable=True,
        ),
    )

    def connect(self, link: Link) -> Connection:
        """A new connection with the limits that are configured now."""
        settings = self.broker.settings
        limits = Limits(settings.native_max_line_bytes, settings.max_message_bytes, settings.native_max_command_bytes)
        return NativeConnection(self.broker, link, limits)

    def refusal(self, error: UnavailableError) -> bytes:
        """An ERR line: every connection begins in text mode."""
        return b"".join(ENCODINGS[Mode.TEXT].error(None, code_of(error), str(error)))
