"""Figures of latency: messages that are published singly at moments fixed beforehand."""

from __future__ import annotations

from typing import Any

from bench.figure import Bench, Figure, Metric, Sample

PERCENTILES = ("p50", "p95", "p99", "p99.9", "max")
DELIVERY = "from publish to delivery"
CONFIRM = "from publish to confirm"
BESIDE = (
    Metric("late_p99_ms", "how late the load itself sent, p99 (counted above)", "ms"),
    Metric("cpu_us", "broker CPU", "us/message"),
    Metric("rounds_per_s", "rounds a second", "/s"),
    Metric("syncs", "syncs, as the broker counts", ""),
    Metric("syncs_per_s", "syncs a second", "/s"),
    Metric("sync_mean_ms", "a sync, mean", "ms"),
)


def _percentiles(name: str, text: str, limit: float | None) -> tuple[Metric, ...]:
    """Metrics for all percentiles; the limit is the p99's."""
    return tuple(Metric(f"{name}_{at}_ms", f"{text}, {at}", "ms", limit if at == "p99" else None) for at in PERCENTILES)


def _sample(result: dict[str, Any], *names: str) -> Sample:
    broker = result["broker"]
    metrics = {
        "late_p99_ms": result["late_ms"]["p99"],
        "cpu_us": broker["cpu_us_per_message"],
        "rounds_per_s": broker["rounds"] / result["seconds"],
        "syncs": broker["syncs"],
        "syncs_per_s": broker["syncs_per_s"],
        "sync_mean_ms": broker.get("sync_ms_mean", 0.0),
    }
    for name in names:
        metrics |= {f"{name}_{at}_ms": result[f"{name}_ms"][at] for at in PERCENTILES}
    return Sample(metrics, {"load": result})


def _steady(bench: Bench) -> Sample:
    with bench.broker("--sync", "always") as broker:
        result = bench.load.run(broker, "latency", rate=1000, seconds=bench.choose(30, 6))
        return _sample(result, "delivery", "confirm")


def _topics(bench: Bench) -> Sample:
    with bench.broker("--sync", "always") as broker:
        result = bench.load.run(broker, "topics", topics=2000, connections=10, seconds=bench.choose(30, 6))
        return _sample(result, "confirm")


FIGURES = (
    Figure(
        "latency",
        "1,000 messages a second, published singly, delivered and acked singly, sync=always",
        (*_percentiles("delivery", DELIVERY, 1.5), *_percentiles("confirm", CONFIRM, 3), *BESIDE),
        _steady,
        5,
        2,
    ),
    Figure(
        "topics",
        "2,000 topics, 1 message a second each, over 10 connections, sync=always",
        (*_percentiles("confirm", CONFIRM, 20), *BESIDE),
        _topics,
        3,
        1,
    ),
)
