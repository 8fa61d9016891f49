"""Metrics, as a scraper reads them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from portask.broker import Broker
from portask.clock import Clock
from portask.config import load_settings
from portask.errors import StorageFailedError
from portask.storage.memory import MemoryStorage
from portask.telemetry import metrics


@pytest.fixture
def broker():
    broker = Broker(load_settings((), {}), MemoryStorage(), Clock())
    broker.start()
    yield broker
    broker.stop(5)


def scrape(broker):
    """Every sample by name and labels."""
    families = text_string_to_metric_families(metrics.render(broker).decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def test_every_metric_has_a_text_and_the_prefix(broker):
    for family in text_string_to_metric_families(metrics.render(broker).decode()):
        assert family.name.startswith("portask_")
        assert family.documentation


def test_published_messages_are_counted(broker):
    topic = broker.create_topic("t", 2)
    broker.publish(topic.partition(0), [b"x" * 100] * 10, 1000)

    samples = scrape(broker)

    assert samples["portask_round_messages_total",] == 10
    assert samples["portask_compression_input_bytes_total",] == 1000
    assert samples["portask_compression_ratio",] > 2
    assert (samples["portask_topics",], samples["portask_partitions",]) == (1, 2)
    assert samples["portask_sync_duration_seconds_count",] == samples["portask_rounds_total",]


def test_buckets_of_syncs_add_up(broker):
    stats = broker.batcher.stats
    for seconds in (0.0001, 0.003, 9.0):
        stats.synced(seconds)

    samples = scrape(broker)

    assert samples["portask_sync_duration_seconds_bucket", ("le", "0.0001")] == 1
    assert samples["portask_sync_duration_seconds_bucket", ("le", "0.005")] == 2
    assert samples["portask_sync_duration_seconds_bucket", ("le", "+Inf")] == 3
    assert samples["portask_sync_duration_seconds_sum",] == pytest.approx(9.0031)


def test_subscription_has_its_figures(broker):
    topic = broker.create_topic("t", 1)
    broker.publish(topic.partition(0), [b"x"] * 10, 10)
    broker.subscribe(topic, "g")

    assert scrape(broker)["portask_subscription_lag_messages", ("group", "g"), ("topic", "t")] == 10


def test_subscriptions_beyond_the_bound_are_counted_only(broker, monkeypatch):
    monkeypatch.setattr(metrics, "MAX_SUBSCRIPTIONS", 2)
    topic = broker.create_topic("t", 1)
    for name in ("a", "b", "c"):
        broker.subscribe(topic, name)

    samples = scrape(broker)

    shown = [labels for name, *labels in samples if name == "portask_subscription_lag_messages"]
    assert [dict(labels)["group"] for labels in shown] == ["a", "b"]
    assert (samples["portask_subscriptions",], samples["portask_subscriptions_omitted",]) == (3, 1)


def test_traffic_is_told_by_protocol(broker):
    broker.stats.protocol("one").messages_in = 3
    broker.stats.protocol("two").bytes_out = 4

    samples = scrape(broker)

    assert samples["portask_protocol_messages_received_total", ("protocol", "one")] == 3
    assert samples["portask_protocol_sent_bytes_total", ("protocol", "two")] == 4


def test_lag_of_the_loop_is_told(broker):
    broker.loop.lag_s, broker.loop.longest_lag_s = 0.25, 0.5

    samples = scrape(broker)

    assert (samples["portask_loop_lag_seconds",], samples["portask_loop_lag_max_seconds",]) == (0.25, 0.5)


def test_failed_storage_is_not_ready(broker):
    assert scrape(broker)["portask_ready",] == 1

    broker.batcher.failure = StorageFailedError("broken")

    assert scrape(broker)["portask_ready",] == 0


def test_figures_of_storage_that_only_grow_are_counters(broker):
    assert ("portask_storage_rounds_total",) in scrape(broker)
    assert ("portask_storage_logs",) in scrape(broker)
