"""Figures of latency over Kafka's protocol: records produced without linger at moments fixed beforehand."""

from __future__ import annotations

from typing import Any

from bench.figure import Bench, Figure, Metric, Sample
from bench.kafka_pair import KAFKA, Pair, pair
from bench.kafka_throughput import DURABILITY

RATES = (1000, 10_000)
P50_BAR = 1.5
NO_HIGHER = 1.0
PERCENTILES = ("p50", "p95", "p99", "p99.9", "max")


def latencies(result: dict[str, Any], kind: str = "delivery") -> dict[str, float]:
    """The percentiles by their names."""
    return {at: result[f"{kind}_ms"][at] for at in PERCENTILES}


def _run(both: Pair, side, rate: int) -> dict[str, Any]:
    topic = both.new_topic()
    result = both.run(side, "latency", rate=rate, seconds=both.bench.choose(20, 3), linger="0", topic=topic, size=100)
    both.settle(side)
    both.run(side, "delete", topic=topic)
    return result


def _latency(bench: Bench) -> Sample:
    both, found, raw = pair(bench), {}, {}
    relaxed = both.relaxed()
    for rate in RATES:
        results = {name: _run(both, side, rate) for name, side in (*both.turns(), ("relaxed", relaxed))}
        raw |= {f"{rate}_{name}": result for name, result in results.items()}
        synced = {name: result for name, result in results.items() if name != "relaxed"}
        unsynced = {name: result for name, result in results.items() if name != "portask"}
        for at in PERCENTILES:
            found |= KAFKA.compare(f"at_{rate}_{at}", {name: latencies(result)[at] for name, result in synced.items()})
        for kind in ("confirm", "late"):
            for at in ("p50", "p99"):
                values = {name: latencies(result, kind)[at] for name, result in synced.items()}
                found |= KAFKA.compare(f"{kind}_{rate}_{at}", values)
        cpus = {name: result["broker"]["cpu_us_per_message"] for name, result in synced.items()}
        found |= KAFKA.compare(f"cpu_{rate}", cpus)
        for at in ("p50", "p99"):
            values = {name: latencies(result)[at] for name, result in unsynced.items()}
            found |= KAFKA.compare(f"relaxed_{rate}_{at}", values, "relaxed")
    return both.sample("kafka-latency", found, raw)


def _metrics():
    bars = {"p50": P50_BAR, "p99": NO_HIGHER}
    for rate in RATES:
        text = f"{rate:,} a second"
        for at in PERCENTILES:
            yield from KAFKA.metrics(f"at_{rate}_{at}", f"{text}, from due to consumed, {at}", "ms", bars.get(at))
        yield from KAFKA.metrics(f"cpu_{rate}", f"{text}, broker CPU", "us/message", NO_HIGHER)
        for at in ("p50", "p99"):
            bar = NO_HIGHER if at == "p50" else None
            yield from KAFKA.metrics(f"relaxed_{rate}_{at}", f"{text} with sync=interval, {at}", "ms", bar)
            yield from KAFKA.metrics(f"confirm_{rate}_{at}", f"{text}, from due to confirmed, {at}", "ms")
            yield from _late(rate, at)


def _late(rate: int, at: str) -> tuple[Metric, ...]:
    """How late the load itself was: no ratio."""
    return KAFKA.metrics(f"late_{rate}_{at}", f"{rate:,} a second, how late the load sent (counted above), {at}", "ms")[
        1:
    ]


FIGURES = (
    Figure(
        "kafka-latency",
        "latency with Kafka's protocol, records of 100 B produced singly, linger 0, acks=all, one partition, "
        f"sync=always unless it says otherwise; {DURABILITY}",
        tuple(_metrics()),
        _latency,
        3,
        1,
        "kafka",
    ),
)
