"""Figures of throughput over AMQP 0-9-1 with one queue, Portask and RabbitMQ in turns."""

from __future__ import annotations

from typing import Any

from bench.amqp_pair import RABBITMQ, pair
from bench.figure import Bench, Figure, Sample

MESSAGES = {100: 300_000, 1000: 150_000}
QUICK_SHARE = 5
SIZES = ((100, "100 B"), (1000, "1 kB"))
TIMES = 3.0
PUBLISH_CPU = (0.25, 10.0)
CONSUME_CPU_US = 3.0
BOTH_TIMES = {"durable": 2.5, "transient": 1.4}
BOTH = {
    "durable": ("persistent, confirm, ack", {"confirm": True}),
    "transient": ("transient messages, durable queue, auto-ack", {"transient": True, "auto-ack": True}),
    "volatile": ("transient messages, queue not durable, auto-ack", {"transient": True, "auto-ack": True}),
}
PUBLISH_TARGETS = {100: ((87_000.0, 140_000.0), (4.0, 7.0))}
CONSUME_TARGETS = {100: ((320_000.0, 400_000.0), (0.9, 0.9))}
TWO_PRODUCERS_TARGETS = ((213_000.0, 213_000.0), (2.7, 2.7))


def _messages(bench: Bench, size: int) -> int:
    return bench.choose(MESSAGES[size], MESSAGES[size] // QUICK_SHARE)


def _backlog(bench: Bench) -> Sample:
    """Publish to an empty queue, then consume what waits there."""
    both, found, raw = pair(bench), {}, {}
    for size, _ in SIZES:
        results: dict[str, dict[str, dict[str, Any]]] = {"publish": {}, "consume": {}}
        for name, side in both.turns():
            with both.topic(side) as topic:
                flags = {"topic": topic, "n": _messages(bench, size), "size": size}
                results["publish"][name] = both.run(side, "publish", confirm=True, **flags)
                both.settle(side)
                results["consume"][name] = both.run(side, "consume", **flags)
        for action, by_side in results.items():
            raw |= {f"{action}_{size}_{name}": result for name, result in by_side.items()}
            found |= _compare(f"{action}_{size}", by_side)
    results = {"two": {}}
    for name, side in both.turns():
        with both.topic(side) as topic:
            flags = {"topic": topic, "n": _messages(bench, 100), "producers": 2}
            results["two"][name] = both.run(side, "publish", confirm=True, **flags)
    raw |= {f"two_{name}": result for name, result in results["two"].items()}
    return both.sample(found | _compare("two", results["two"]), raw)


def _both(bench: Bench) -> Sample:
    both, found, raw = pair(bench), {}, {}
    for kind, (_, flags) in BOTH.items():
        results = {}
        for name, side in both.turns():
            volatile = {"volatile": True} if kind == "volatile" else {}
            with both.topic(side, **volatile) as topic:
                results[name] = both.run(side, "both", topic=topic, n=_messages(bench, 100), **volatile, **flags)
        raw |= {f"{kind}_{name}": result for name, result in results.items()}
        found |= _compare(kind, results)
    return both.sample(found, raw)


def _compare(name: str, results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Messages a second and CPU for each, as `_metrics` names them."""
    rates = {side: result["messages_per_s"] for side, result in results.items()}
    cpus = {side: result["broker"]["cpu_us_per_message"] for side, result in results.items()}
    return RABBITMQ.compare(f"{name}_rate", rates) | RABBITMQ.compare(f"{name}_cpu", cpus)


def _backlog_metrics():
    none = (None, None)
    for size, words in SIZES:
        rate, cpu = PUBLISH_TARGETS.get(size, none)
        name, text = f"publish_{size}", f"publish, {words}"
        yield from RABBITMQ.metrics(
            f"{name}_rate", f"{text}: messages a second", "/s", TIMES, at_least=True, target=rate
        )
        share, most_us = PUBLISH_CPU
        yield from RABBITMQ.metrics(
            f"{name}_cpu", f"{text}: broker CPU", "us/message", share, own_limit=most_us, target=cpu
        )
        rate, cpu = CONSUME_TARGETS.get(size, none)
        name, text = f"consume_{size}", f"consume and ack, {words}"
        yield from RABBITMQ.metrics(
            f"{name}_rate", f"{text}: messages a second", "/s", TIMES, at_least=True, target=rate
        )
        yield from RABBITMQ.metrics(
            f"{name}_cpu", f"{text}: broker CPU", "us/message", own_limit=CONSUME_CPU_US, target=cpu
        )
    rate, cpu = TWO_PRODUCERS_TARGETS
    text = "publish with two producers, 100 B"
    yield from RABBITMQ.metrics("two_rate", f"{text}: messages a second", "/s", at_least=True, target=rate)
    yield from RABBITMQ.metrics("two_cpu", f"{text}: broker CPU", "us/message", target=cpu)


def _both_metrics():
    for kind, (text, _) in BOTH.items():
        limit = BOTH_TIMES.get(kind)
        yield from RABBITMQ.metrics(f"{kind}_rate", f"{text}: messages a second", "/s", limit, at_least=True)
        yield from RABBITMQ.metrics(f"{kind}_cpu", f"{text}: broker CPU, both ways together", "us/message")


FIGURES = (
    Figure(
        "amqp-backlog",
        "persistent messages with AMQP to one durable queue with confirms, then that backlog consumed with acks",
        tuple(_backlog_metrics()),
        _backlog,
        5,
        2,
        "amqp",
    ),
    Figure(
        "amqp-both",
        "publish and consume at once with AMQP, 100 B, one queue",
        tuple(_both_metrics()),
        _both,
        5,
        2,
        "amqp",
    ),
)
