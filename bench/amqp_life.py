"""Figures of brokers that hold much, over AMQP 0-9-1: memory, start, idle connections. All on new directories."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from bench.amqp_pair import RABBITMQ, Pair, Side
from bench.comparison import MB, rss_mb
from bench.figure import Bench, Figure, Metric, Sample

FEW = 300_000
MANY = 3_000_000
QUICK_SHARE = 10
PART = 300_000
"""Publishing in parts keeps each run of the load far from its time limit."""
MEMORY_MB = 150
GROWTH_MB = 40
READY_S = 2.0
READY_LIMIT_S = 240
QUEUES = 1000
CONNECTIONS = 1000
IDLE_MB = 70
MEMORY_TARGET = (20.0, 30.0)


def _memory(bench: Bench) -> Sample:
    """The resident memory at the end of the publishing or after some rest, whichever is more."""
    found: dict[str, float] = {}
    few, many = (bench.choose(count, count // QUICK_SHARE) for count in (FEW, MANY))
    with Pair(bench) as both:
        values: dict[str, dict[str, float]] = {"few": {}, "many": {}, "growth": {}}
        for name, side in both.turns():
            both.run(side, "declare", topic="waiting")
            for step, count in (("few", few), ("many", many - few)):
                _fill(both, side, count, topic="waiting")
                before_mb = rss_mb(side)
                both.settle(side)
                values[step][name] = max(before_mb, rss_mb(side))
            values["growth"][name] = max(values["many"][name] - values["few"][name], 0)
        for step, by_side in values.items():
            found |= RABBITMQ.compare(step, by_side)
        return both.sample(found, {"few": few, "many": many})


def _fill(both: Pair, side: Side, messages: int, **flags) -> None:
    while messages > 0:
        both.run(side, "publish", n=min(PART, messages), confirm=True, **flags)
        messages -= PART


def _start(bench: Bench) -> Sample:
    """In turns, after a clean stop and after kill -9."""
    found: dict[str, list[float]] = {}
    messages = bench.choose(MANY, MANY // QUICK_SHARE)
    with Pair(bench) as both:
        for _, side in both.turns():
            both.run(side, "declare", topic="start", queues=QUEUES)
            _fill(both, side, messages, topic="start", queues=QUEUES)
            both.settle(side)
        for end in ("stop", "kill") * bench.choose(2, 1):
            times = {name: _restart(both, side, end, messages) for name, side in both.turns()}
            for name, value in RABBITMQ.compare(f"ready_{end}", times).items():
                found.setdefault(name, []).append(value)
        return both.sample(found, {"messages": messages, "queues": QUEUES})


def _restart(both: Pair, side: Side, end: str, messages: int) -> float:
    """End *side* and start it; the seconds from exec until every queue tells what waits in it."""
    getattr(side, end)()
    with ThreadPoolExecutor(1) as pool:
        flags = {"amqp": side.amqp_address, "topic": "start", "queues": QUEUES, "n": messages}
        # It asks from before the broker is there.
        asking = pool.submit(both.bench.load.probe, "amqp-ready", **flags, seconds=READY_LIMIT_S)
        began_ns = time.time_ns()
        side.start()
        return (asking.result()["at_ns"] - began_ns) / 1e9


def _idle(bench: Bench) -> Sample:
    """First connections without a channel, then on another broker connections with one each."""
    found, raw = {}, {}
    for kind, channels in (("bare", {}), ("channel", {"channels": True})):
        with Pair(bench) as both:
            memory, share = {}, {}
            for name, side in both.turns():
                result = both.run(side, "idle", connections=CONNECTIONS, seconds=bench.choose(20, 5), **channels)
                memory[name], share[name] = result["rss_bytes"] / MB, result["cpu_percent"]
                raw[f"{kind}_{name}"] = result
            found |= RABBITMQ.compare(f"{kind}_rss", memory) | RABBITMQ.compare(f"{kind}_cpu", share)
    return both.sample(found, raw)


FIGURES = (
    Figure(
        "amqp-memory",
        "resident memory with persistent messages of 100 B waiting in one durable queue, AMQP",
        (
            *RABBITMQ.metrics("few", f"{FEW:,} wait", "MB", own_limit=MEMORY_MB, target=MEMORY_TARGET),
            *RABBITMQ.metrics("many", f"{MANY:,} wait", "MB", own_limit=MEMORY_MB),
            Metric("growth_portask", "growth between the two, Portask", "MB", GROWTH_MB),
            Metric("growth_rabbitmq", "growth between the two, RabbitMQ", "MB"),
        ),
        _memory,
        2,
        1,
        "amqp",
    ),
    Figure(
        "amqp-start",
        f"start with {MANY:,} persistent messages in 1,000 queues: from exec until AMQP tells what waits in each",
        (
            *RABBITMQ.metrics("ready_stop", "after a clean stop", "s", own_limit=READY_S),
            *RABBITMQ.metrics("ready_kill", "after kill -9", "s", own_limit=READY_S),
        ),
        _start,
        1,
        1,
        "amqp",
    ),
    Figure(
        "amqp-idle",
        "1,000 idle AMQP connections with heartbeats of 10 s (over 20 s; 5 s with --quick)",
        (
            *RABBITMQ.metrics("bare_rss", "RSS", "MB", own_limit=IDLE_MB),
            *RABBITMQ.metrics("bare_cpu", "CPU", "%"),
            *RABBITMQ.metrics("channel_rss", "with an open channel each, RSS", "MB"),
            *RABBITMQ.metrics("channel_cpu", "with an open channel each, CPU", "%"),
        ),
        _idle,
        2,
        1,
        "amqp",
    ),
)
