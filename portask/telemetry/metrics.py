"""Metrics in Prometheus' format, made from the plain numbers that the broker counts anyway.

Nothing is counted here and nothing is updated on a hot path: one collector reads everything when it
is scraped. prometheus_client takes 0.1 s to import and psutil 0.04 s, so this module is imported by
the first scrape.

Label sets are bounded: of the subscriptions the first MAX_SUBSCRIPTIONS by topic and name are shown,
and `portask_subscriptions_omitted` says how many are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from portask import __version__
from portask.batcher import SYNC_BUCKETS_S

if TYPE_CHECKING:
    from portask.broker import Broker
    from portask.subscriptions.subscription import Subscription

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_SUBSCRIPTIONS = 1000


class Figure(NamedTuple):
    """One metric: its name, where its value is read, and what it says. A name in _total is a counter."""

    name: str
    source: str
    text: str


_BROKER = (
    Figure("portask_connections", "connections", "Connections open now that count towards max_connections."),
    Figure("portask_bus_bytes", "bus.used_bytes", "Bytes taken from publishers and not yet answered."),
    Figure("portask_bus_limit_bytes", "bus.limit_bytes", "Bytes at which publishers have to wait."),
    Figure("portask_bus_items", "bus", "Items that wait for the batcher."),
    Figure("portask_bus_waits_total", "bus.waits", "How often a publisher had to wait for room on the bus."),
    Figure("portask_rounds_total", "batcher.stats.rounds", "Rounds written to storage."),
    Figure("portask_rounds_failed_total", "batcher.stats.failed_rounds", "Rounds that storage refused."),
    Figure("portask_round_messages_total", "batcher.stats.round_messages", "Messages in all rounds written."),
    Figure("portask_batches_total", "batcher.stats.batches", "Batches in all rounds written."),
    Figure(
        "portask_compression_input_bytes_total", "batcher.stats.plain_bytes", "Bytes of messages before compression."
    ),
    Figure(
        "portask_compression_output_bytes_total", "batcher.stats.stored_bytes", "Bytes of the batches that they became."
    ),
)

_COMPACTION = (
    Figure("portask_compactions_total", "cleanings", "How often a partition was compacted."),
    Figure("portask_compaction_removed_messages_total", "removed_records", "Messages that compaction took away."),
    Figure("portask_compaction_removed_bytes_total", "removed_bytes", "Bytes in storage that this freed."),
    Figure("portask_compaction_seconds_total", "seconds", "Time spent on it, waiting for others included."),
    Figure("portask_compaction_broken_partitions", "broken", "Partitions left alone because a batch is damaged."),
)

_LOOP = (
    Figure("portask_loop_lag_seconds", "lag_s", "How late the event loop was when last measured."),
    Figure("portask_loop_lag_max_seconds", "longest_lag_s", "The longest lag of the event loop since the start."),
    Figure("portask_loop_late_seconds_total", "late_s", "All measured lags of the event loop together."),
)

_PROTOCOL = (
    Figure("portask_protocol_connections", "connections", "Connections open now."),
    Figure("portask_protocol_connections_total", "connections_total", "Connections accepted."),
    Figure("portask_protocol_messages_received_total", "messages_in", "Messages published by clients."),
    Figure("portask_protocol_messages_sent_total", "messages_out", "Messages delivered to clients."),
    Figure("portask_protocol_received_bytes_total", "bytes_in", "Bytes received."),
    Figure("portask_protocol_sent_bytes_total", "bytes_out", "Bytes sent."),
)

_SUBSCRIPTION = (
    Figure("portask_subscription_consumers", "consumers", "Consumers attached."),
    Figure("portask_subscription_in_flight_messages", "in_flight", "Messages handed out and not settled."),
    Figure(
        "portask_subscription_requeued_messages", "requeued", "Messages given back that wait for their next consumer."
    ),
    Figure("portask_subscription_lag_messages", "lag", "Messages that are not settled, handed out or not."),
    Figure("portask_subscription_redeliveries_total", "redeliveries_total", "Messages handed out again."),
)

# What a storage counts since it was opened; everything else it reports is as it is now.
_STORAGE_COUNTERS = frozenset(("rounds", "syncs", "sync_seconds", "written_bytes", "moved_bytes", "rewritten_bytes"))


def render(broker: Broker) -> bytes:
    """All metrics of *broker* as they are now."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BrokerCollector(broker))
    return generate_latest(registry)


class BrokerCollector:
    """Reads a broker's numbers when asked to collect."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def collect(self) -> Iterator[Metric]:
        """Every metric once."""
        broker = self._broker
        yield _family(
            "portask_build_info", "The version, as a label; the value is always 1.", [((__version__,), 1)], ("version",)
        )
        yield _family(
            "portask_start_time_seconds",
            "When the broker started, in seconds since 1970.",
            [((), broker.started_at_ms / 1000)],
        )
        yield _family("portask_ready", "1 when the broker takes and stores messages, else 0.", [((), is_ready(broker))])
        yield from _read(_BROKER, [((), broker)], ())
        yield _family(
            "portask_compression_ratio",
            "Bytes before compression for each byte stored, since the start.",
            [((), _ratio(broker))],
        )
        yield self._syncs()
        yield from _read(
            _PROTOCOL, [((name,), traffic) for name, traffic in sorted(broker.stats.protocols.items())], ("protocol",)
        )
        yield from _read(_COMPACTION, [((), broker.compaction)], ())
        if broker.loop is not None:
            yield from _read(_LOOP, [((), broker.loop)], ())
        yield from self._topics()
        yield from self._storage()
        yield from _process()

    def _syncs(self) -> Metric:
        stats = self._broker.batcher.stats
        buckets, seen = [], 0
        for limit, count in zip((*map(str, SYNC_BUCKETS_S), "+Inf"), stats.sync_buckets, strict=True):
            seen += count
            buckets.append((limit, seen))
        family = HistogramMetricFamily(
            "portask_sync_duration_seconds", "Time that storage took to make rounds durable."
        )
        family.add_metric([], buckets, stats.sync_seconds)
        return family

    def _topics(self) -> Iterator[Metric]:
        topics = self._broker.topics()
        count = sum(len(topic.subscriptions) for topic in topics)
        yield _family("portask_topics", "Topics.", [((), len(topics))])
        yield _family(
            "portask_partitions", "Partitions of all topics.", [((), sum(len(topic.partitions) for topic in topics))]
        )
        yield _family("portask_subscriptions", "Subscriptions of all topics.", [((), count)])
        yield _family(
            "portask_subscriptions_omitted",
            "Subscriptions without figures of their own, to bound what a scrape returns.",
            [((), max(0, count - MAX_SUBSCRIPTIONS))],
        )
        every: Iterable[Subscription] = chain.from_iterable(
            (topic.subscriptions[name] for name in sorted(topic.subscriptions)) for topic in topics
        )
        shown = [((one.topic.name, one.name), one) for one in islice(every, MAX_SUBSCRIPTIONS)]
        yield from _read(_SUBSCRIPTION, shown, ("topic", "group"))

    def _storage(self) -> Iterator[Metric]:
        for name, value in sorted(self._broker.storage.stats().items()):
            suffix = "_total" if name in _STORAGE_COUNTERS else ""
            yield _family(f"portask_storage_{name}{suffix}", f"Storage's own figure: {name}.", [((), value)])


def is_ready(broker: Broker) -> bool:
    """Whether *broker* takes and stores messages."""
    return broker.ready and broker.failure is None


def _ratio(broker: Broker) -> float:
    stats = broker.batcher.stats
    return stats.plain_bytes / stats.stored_bytes if stats.stored_bytes else 1.0


def _read(
    figures: Iterable[Figure], sources: Sequence[tuple[tuple[str, ...], Any]], labels: tuple[str, ...]
) -> Iterator[Metric]:
    for name, source, text in figures:
        read = attrgetter(source)
        yield _family(name, text, [(values, _number(read(thing))) for values, thing in sources], labels)


def _number(value: Any) -> float:
    """A number as it is, what a method returns, or how many there are of something."""
    if callable(value):
        return float(value())
    return float(value) if isinstance(value, int | float) else float(len(value))


def _family(
    name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> Metric:
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family = kind(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _process() -> Iterator[Metric]:
    process = psutil.Process()
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        yield _family(
            "portask_process_cpu_seconds_total",
            "Processor time used, user and system.",
            [((), times.user + times.system)],
        )
        yield _family("portask_process_resident_memory_bytes", "Memory resident.", [((), memory.rss)])
        yield _family("portask_process_virtual_memory_bytes", "Memory mapped.", [((), memory.vms)])
        yield _family("portask_process_threads", "Threads.", [((), process.num_threads())])
        yield _family("portask_process_open_fds", "File descriptors open.", [((), process.num_fds())])
