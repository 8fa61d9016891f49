"""Listeners of protocols that are still to come: their names and options stand, so scripts may pass them."""

from __future__ import annotations

import logging
from typing import ClassVar

from handlers.base import Handler
from portask.options import Option

log = logging.getLogger(__name__)


class _ReservedHandler(Handler):
    """Opens nothing and says so."""

    port_option: ClassVar[str]

    def start(self) -> None:
        """Say that nothing listens, unless the port is 0."""
        if getattr(self.broker.settings, self.port_option):
            log.info("listener not in this version", extra={"protocol": self.name, "option": self.port_option})

    def stop_accepting(self) -> None:
        """Nothing was accepted."""

    def close(self, timeout_s: float) -> None:
        """Nothing is open."""


class AmqpHandler(_ReservedHandler):
    """The place of AMQP 0-9-1."""

    name = "amqp"
    port_option = "amqp_port"
    options = (
        Option(
            "amqp_port", "int", 5672, "amqp", "Reserved: this version has no AMQP listener.", minimum=0, maximum=65535
        ),
    )
