"""The way from a command to the broker."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from portask.cli.outcome import CommandError, Exit

if TYPE_CHECKING:
    from portask.client import Client


def connect(arguments: argparse.Namespace) -> Client:
    """A client of the broker that --server names. Blocks. Raises CommandError when there is none."""
    # Imported here, because --help needs no client and no CBOR.
    from portask.client import Client, ConnectionLostError

    check_address(arguments.server)
    try:
        return Client(arguments.server, timeout=arguments.timeout, retry=arguments.timeout, name="cli")
    except ConnectionLostError as error:
        raise CommandError(
            f"{error}; start a broker with 'portask serve', or name another with --server HOST:PORT", Exit.UNAVAILABLE
        ) from error


def check_address(address: str) -> None:
    """Raise CommandError unless *address* is HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise CommandError(f"--server {address!r} is not HOST:PORT, such as 127.0.0.1:7672", Exit.USAGE)
