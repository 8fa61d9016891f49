"""Plugin of the pytest that runs kafka-python's own integration tests: it leaves out what left_out.txt names.

A line of the file is the test's id, a tab and the reason. A line for a test that does not exist is an error,
and so is a test that is skipped without such a line.
"""

from pathlib import Path

import pytest
from kafka import KafkaConsumer

LIST = Path(__file__).with_name("left_out.txt")


def reasons():
    """The reason why a test is left out, by its id."""
    return dict(line.split("\t") for line in LIST.read_text().splitlines())


def pytest_collection_modifyitems(config, items):
    left_out = reasons()
    ids = {item.nodeid for item in items}
    if unknown := left_out.keys() - ids:
        raise pytest.UsageError(f"{LIST.name} names tests that are not there: {sorted(unknown)}")
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


@pytest.fixture(autouse=True)
def subscribes_when_bootstrapped(monkeypatch):
    """kafka-python 3.0.12 loses what is subscribed to while its first Metadata is on the way, and waits for minutes."""
    subscribe = KafkaConsumer.subscribe

    def bootstrap_and_subscribe(consumer, *args, **kwargs):
        consumer.bootstrap(timeout_ms=30_000)
        return subscribe(consumer, *args, **kwargs)

    monkeypatch.setattr(KafkaConsumer, "subscribe", bootstrap_and_subscribe)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped without a line in {LIST.name}: {report.longrepr}"
    return report
