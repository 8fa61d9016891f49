"""Figures of many queues and many bindings over AMQP 0-9-1."""

from __future__ import annotations

from typing import Any, NamedTuple

from bench.amqp_pair import RABBITMQ, pair
from bench.figure import Bench, Figure, Sample

TIMES = 1.5


class Route(NamedTuple):
    """A topology, what is sent through it, and the words for it."""

    name: str
    text: str
    topology: dict[str, Any]
    messages: int
    quick_messages: int


ROUTES = (
    Route("fanout", "fan-out from one exchange to 50 queues", {"topology": "fanout", "queues": 50}, 10_000, 1000),
    Route("queues", "1,000 queues with one consumer each", {"queues": 1000}, 100_000, 20_000),
    Route(
        "topic",
        "a topic exchange with 10,000 bindings to 10 queues",
        {"topology": "topic", "queues": 10, "bindings": 10_000},
        100_000,
        20_000,
    ),
)
CONNECTIONS = 10
MODES = {
    "durable": ("persistent, confirm, ack", {"confirm": True}),
    "transient": ("transient, auto-ack", {"transient": True, "auto-ack": True}),
}


def _routes(bench: Bench) -> Sample:
    both, found, raw = pair(bench), {}, {}
    for route in ROUTES:
        for mode, (_, flags) in MODES.items():
            rates, cpus = {}, {}
            for name, side in both.turns():
                topic = both.kept(side, f"kept-{route.name}", **route.topology)
                messages = bench.choose(route.messages, route.quick_messages)
                more = {"topic": topic, "n": messages, "consumers": CONNECTIONS, **flags, **route.topology}
                result = raw[f"{route.name}_{mode}_{name}"] = both.run(side, "both", **more)
                rates[name] = result["messages_per_s"] * result["copies"]
                cpus[name] = result["broker"]["cpu_us_per_message"] / result["copies"]
                both.settle(side)
            found |= RABBITMQ.compare(f"{route.name}_{mode}_rate", rates)
            found |= RABBITMQ.compare(f"{route.name}_{mode}_cpu", cpus)
    return both.sample(found, raw)


def _metrics():
    for route in ROUTES:
        for mode, (words, _) in MODES.items():
            name, text = f"{route.name}_{mode}", f"{route.text}, {words}"
            limit = TIMES if mode == "durable" else None
            yield from RABBITMQ.metrics(f"{name}_rate", f"{text}: deliveries a second", "/s", limit, at_least=True)
            yield from RABBITMQ.metrics(f"{name}_cpu", f"{text}: broker CPU for a delivery", "us/message")


FIGURES = (
    Figure(
        "amqp-routes",
        "one producer and all consumers at once with AMQP, 100 B, durable queues",
        tuple(_metrics()),
        _routes,
        3,
        1,
        "amqp",
    ),
)
