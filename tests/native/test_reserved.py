"""The listeners that this version does not have."""

import logging

import pytest

from handlers.reserved import AmqpHandler
from portask.broker import Broker
from portask.clock import Clock
from portask.config import load_settings
from portask.storage.memory import MemoryStorage


@pytest.mark.parametrize("kind", [AmqpHandler])
@pytest.mark.parametrize(("port", "lines"), [("0", 0), ("1234", 1)])
def test_a_reserved_listener_opens_nothing_and_says_so_unless_its_port_is_zero(kind, port, lines, caplog):
    settings = load_settings([f"--{kind.name}-port", port], {}, kind.options)
    handler = kind(Broker(settings, MemoryStorage(), Clock()))
    with caplog.at_level(logging.INFO):
        handler.start()
    handler.stop_accepting()
    handler.close(0)
    assert handler.address is None
    assert len(caplog.records) == lines
