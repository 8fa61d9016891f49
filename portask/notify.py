"""Telling the service manager how the server is doing: the protocol of sd_notify(3).

A datagram of NAME=VALUE lines to the Unix socket that NOTIFY_SOCKET names; a name that begins with @
is in the abstract namespace. Without the variable nothing is sent: the server was started by hand.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Notifier:
    """The line to the service manager, if there is one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_interval_s = _watchdog_interval(environ)
        """How often `watchdog` should be called: half of what the manager waits for; 0 when it doesn't wait."""

    def ready(self, status: str) -> None:
        """All listeners accept."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, status: str) -> None:
        """What the server is doing, for `systemctl status`."""
        self._send(f"STATUS={_one_line(status)}")

    def watchdog(self) -> None:
        """The server still works."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """The server has begun to stop."""
        self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.connect(self._address)
                sock.sendall(text.encode())
        except OSError as error:
            # A server that can't tell how it is should go on serving; if it matters, the manager will act.
            log.warning("service manager not reached", extra={"error": str(error)})


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _watchdog_interval(environ: Mapping[str, str]) -> float:
    """Seconds between two signs of life. The variables may be another process's, inherited by mistake."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdecimal() else 0.0
