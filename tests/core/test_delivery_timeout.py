"""What is remembered of hand-outs to find consumers that do not settle in time."""

from types import SimpleNamespace

import pytest

from portask.queues.delivery_timeout import FEW_RUNS, DeliveryTimeouts
from portask.subscriptions.consumer import Consumer, Delivery
from portask.subscriptions.offset_set import OffsetSet

PARTITION = SimpleNamespace(number=0)


@pytest.fixture
def timeouts():
    return DeliveryTimeouts()


@pytest.fixture
def give(timeouts):
    """A function that gives *consumer* the message at *offset*."""

    def give(consumer, offset, now=0.0):
        timeouts.note(consumer, [Delivery(PARTITION, offset, 0, [b""], 0)], now)
        consumer.held.setdefault(0, OffsetSet()).add_range(offset, offset + 1)

    return give


def make_consumer():
    return Consumer(lambda deliveries: None, 0, lambda error: None)


def test_memory_goes_by_what_is_in_flight(timeouts, give):
    consumer = make_consumer()
    give(consumer, 0)
    for offset in range(1, 20 * FEW_RUNS):
        give(consumer, offset, 1.0)
        consumer.held[0].remove_range(offset, offset + 1)

    assert len(timeouts) <= FEW_RUNS
    assert timeouts.late(10.0, 10_000) == ([consumer], float("inf"))


def test_consumers_that_have_settled_all_are_forgotten(timeouts, give):
    for offset in range(2 * FEW_RUNS):
        consumer = make_consumer()
        give(consumer, offset)
        consumer.held.clear()

    assert len(timeouts) <= FEW_RUNS


def test_everything_that_is_in_flight_is_remembered(timeouts, give):
    consumer = make_consumer()
    for offset in range(5 * FEW_RUNS):
        give(consumer, offset, float(offset))
    consumer.held[0].remove_range(0, 3 * FEW_RUNS)

    assert timeouts.late(0.0, 1000) == ([], 3 * FEW_RUNS + 1)
