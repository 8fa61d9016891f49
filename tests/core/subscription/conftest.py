"""A subscription on a running broker whose storage does what it is told."""

import pytest

from tests.core.subscription.peer import AwkwardStorage


@pytest.fixture
def storage():
    return AwkwardStorage()


@pytest.fixture
def broker(make_broker, storage):
    return make_broker(storage=storage)


@pytest.fixture
def topic(broker):
    return broker.create_topic("orders", 1)


@pytest.fixture
def subscription(broker, topic):
    return broker.subscribe(topic, "billing")


@pytest.fixture
def publish(broker, topic):
    """A function that publishes *count* numbered messages and waits until they are stored."""

    def publish(count, partition=0):
        start = topic.partitions[partition].written_offset
        broker.publish(topic.partitions[partition], [b"%d" % (start + number) for number in range(count)], count)

    return publish


@pytest.fixture
def restart(make_broker, storage):
    """A function that gives the subscription as a broker finds it that starts on what is stored now."""

    def restart():
        topic = make_broker(storage=storage).topic("orders")
        return topic.subscriptions["billing"]

    return restart
