"""Figures of latency over AMQP 0-9-1: persistent messages published at moments fixed beforehand."""

from __future__ import annotations

from bench.amqp_pair import RABBITMQ, pair
from bench.figure import Bench, Figure, Metric, Sample

RATES = (1000, 5000)
P50_BAR = 1.3
NO_HIGHER = 1.0
PERCENTILES = ("p50", "p95", "p99", "p99.9", "max")
TARGETS = {(1000, "p50"): (0.13, 0.13), (1000, "p99"): (0.24, 0.36)}
CPU_TARGETS = {1000: (83.0, 83.0)}
ROOM = 100_000
"""No publisher waits for a confirm before it publishes."""


def _latency(bench: Bench) -> Sample:
    """Without confirms, as a latency of delivery is measured elsewhere, and with them, for that of confirms."""
    both, found, raw = pair(bench), {}, {}
    for rate in RATES:
        for kind, confirm in (("delivery", {}), ("confirm", {"confirm": True})):
            results = {}
            for name, side in both.turns():
                flags = {"rate": rate, "seconds": bench.choose(15, 3), "window": ROOM, **confirm}
                with both.topic(side) as topic:
                    results[name] = both.run(side, "latency", topic=topic, **flags)
            raw |= {f"{kind}_{rate}_{name}": result for name, result in results.items()}
            for at in PERCENTILES:
                values = {name: result[f"{kind}_ms"][at] for name, result in results.items()}
                found |= RABBITMQ.compare(f"{kind}_{rate}_{at}", values)
            if kind == "delivery":
                cpus = {name: result["broker"]["cpu_us_per_message"] for name, result in results.items()}
                found |= RABBITMQ.compare(f"cpu_{rate}", cpus)
                late = {name: result["late_ms"]["p99"] for name, result in results.items()}
                found |= RABBITMQ.compare(f"late_{rate}", late)
    return both.sample(found, raw)


def _metrics():
    bars = {"p50": P50_BAR, "p99": NO_HIGHER}
    for rate in RATES:
        text = f"{rate:,} a second"
        for at in PERCENTILES:
            words = f"{text}, from due to consumed, {at}"
            target = TARGETS.get((rate, at))
            yield from RABBITMQ.metrics(f"delivery_{rate}_{at}", words, "ms", bars.get(at), target=target)
        yield from RABBITMQ.metrics(f"cpu_{rate}", f"{text}, broker CPU", "us/message", target=CPU_TARGETS.get(rate))
        for at in PERCENTILES:
            yield from RABBITMQ.metrics(f"confirm_{rate}_{at}", f"{text}, from due to confirmed, {at}", "ms")
        yield from _late(rate)


def _late(rate: int) -> tuple[Metric, ...]:
    """How late the load itself was: no ratio."""
    return RABBITMQ.metrics(f"late_{rate}", f"{rate:,} a second, how late the load sent (counted above), p99", "ms")[1:]


FIGURES = (
    Figure(
        "amqp-latency",
        "latency with AMQP, persistent messages of 100 B published singly to one durable queue, each one acked",
        tuple(_metrics()),
        _latency,
        3,
        1,
        "amqp",
    ),
)
