"""Figures of many partitions over Kafka's protocol, and of the memory that everything has left behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from bench.broker import BenchError
from bench.comparison import rss_mb
from bench.figure import Bench, Figure, Metric, Sample
from bench.kafka_latency import NO_HIGHER, PERCENTILES, latencies
from bench.kafka_pair import KAFKA, KafkaBroker, Side, pair
from bench.kafka_throughput import DURABILITY, MESSAGES, QUICK_MESSAGES
from bench.peers.apache_kafka import ApacheKafka

PARTITIONS = 1000
CLIENTS = {"partitions": PARTITIONS, "producers": 8, "consumers": 8}
RATE = 2000
MEMORY_SHARE = 1 / 8
MEMORY_MB = 150
START_SHARE = 1 / 4
READY_S = 180
BEFORE_MEMORY = {"kafka-produce", "kafka-consume", "kafka-both", "kafka-latency", "kafka-partitions"}


def _partitions(bench: Bench) -> Sample:
    """Flat out, where clients choose partitions in their own way and by key; then at a fixed rate."""
    both, found, raw = pair(bench), {}, {}
    messages = bench.choose(MESSAGES, QUICK_MESSAGES)
    runs = {
        "flat": ("both", {"n": messages}),
        # Batches of few records: Apache Kafka takes so long for them that fewer must do.
        "keyed": ("both", {"n": messages // 10, "keyed": True}),
        "paced": ("latency", {"rate": RATE, "seconds": bench.choose(20, 3), "linger": "0"}),
    }
    for run, (action, flags) in runs.items():
        results = {}
        for name, side in both.turns():
            topic = both.new_topic()
            results[name] = both.run(side, action, topic=topic, group=topic, **CLIENTS, **flags)
            both.settle(side)
            both.run(side, "delete", topic=topic)
        raw |= {f"{run}_{name}": result for name, result in results.items()}
        rates = {name: result["messages_per_s"] for name, result in results.items()}
        cpus = {name: result["broker"]["cpu_us_per_message"] for name, result in results.items()}
        if action == "both":
            found |= KAFKA.compare(f"{run}_rate", rates)
        found |= KAFKA.compare(f"{run}_cpu", cpus)
        for at in PERCENTILES:
            found |= KAFKA.compare(f"{run}_{at}", {name: latencies(result)[at] for name, result in results.items()})
    return both.sample("kafka-partitions", found, raw)


def _partition_metrics():
    flat = "flat out"
    yield from KAFKA.metrics("flat_rate", f"{flat}: messages a second", "/s", NO_HIGHER, at_least=True)
    paced = f"{RATE:,} a second, linger 0"
    for at in PERCENTILES:
        bar = NO_HIGHER if at == "p99" else None
        yield from KAFKA.metrics(f"paced_{at}", f"{paced}: from due to consumed, {at}", "ms", bar)
    yield from KAFKA.metrics("paced_cpu", f"{paced}: broker CPU", "us/message")
    yield from KAFKA.metrics("flat_cpu", f"{flat}: broker CPU", "us/message")
    for at in PERCENTILES:
        yield from KAFKA.metrics(f"flat_{at}", f"{flat}: from handed to the client to consumed, {at}", "ms")
    keyed = "flat out, records with keys"
    yield from KAFKA.metrics("keyed_rate", f"{keyed}: messages a second", "/s")
    yield from KAFKA.metrics("keyed_cpu", f"{keyed}: broker CPU", "us/message")
    for at in PERCENTILES:
        yield from KAFKA.metrics(f"keyed_{at}", f"{keyed}: from handed to the client to consumed, {at}", "ms")


def _memory(bench: Bench) -> Sample:
    both = pair(bench)
    if lacking := BEFORE_MEMORY - both.measured:
        raise BenchError(f"memory is measured when the rest was, and this run lacks {', '.join(sorted(lacking))}")
    for _, side in both.turns():
        both.settle(side)
    found = {name: rss_mb(side) for name, side in both.turns()}
    return both.sample("kafka-memory", KAFKA.compare("rss", found), {"after": sorted(both.measured)})


def _start(bench: Bench) -> Sample:
    """Both on directories of their own, which hold nothing else; in turns, after a clean stop and after kill -9."""
    found: dict[str, list[float]] = {}
    with bench.directory() as ours, bench.directory() as theirs:
        sides: dict[str, Side] = {"portask": KafkaBroker(ours, "--sync", "always")}
        missing = ""
        try:
            sides["kafka"] = ApacheKafka(theirs)
        except BenchError as error:
            missing = str(error)
        try:
            for side in sides.values():
                side.start()
                flags = {"kafka": side.kafka_address, "topic": "start", "partitions": PARTITIONS}
                bench.load.run(side, "kafka-ready", **(flags | {"topic": ""}), seconds=READY_S)
                messages = bench.choose(MESSAGES, QUICK_MESSAGES)
                bench.load.run(side, "kafka-produce", **flags, n=messages, keyed=True)
            for end in ("stop", "kill") * bench.choose(3, 1):
                times = {name: _restart(bench, side, end) for name, side in sides.items()}
                for name, value in KAFKA.compare(f"ready_{end}", times).items():
                    found.setdefault(name, []).append(value)
        finally:
            for side in sides.values():
                side.kill()
    return Sample(found, {"apache_kafka": missing or "measured"}, missing)


def _restart(bench: Bench, side: Side, end: str) -> float:
    """End *side* and start it; the seconds from exec until it tells the ends of all partitions."""
    getattr(side, end)()
    with ThreadPoolExecutor(1) as pool:
        flags = {"kafka": side.kafka_address, "topic": "start", "partitions": PARTITIONS, "seconds": READY_S}
        # It asks from before the broker is there.
        asking = pool.submit(bench.load.probe, "kafka-ready", **flags)
        began_ns = time.time_ns()
        side.start()
        return (asking.result()["at_ns"] - began_ns) / 1e9


FIGURES = (
    Figure(
        "kafka-partitions",
        f"1,000 partitions with Kafka's protocol, 8 producers, 8 consumers in a group, 100 B, acks=all; {DURABILITY}",
        tuple(_partition_metrics()),
        _partitions,
        3,
        1,
        "kafka",
    ),
    Figure(
        "kafka-memory",
        "resident memory at the end of all of this over Kafka's protocol",
        (
            *KAFKA.metrics("rss", "RSS", "MB", MEMORY_SHARE)[:1],
            Metric("rss_portask", "RSS, Portask", "MB", MEMORY_MB),
            *KAFKA.metrics("rss", "RSS", "MB")[2:],
        ),
        _memory,
        1,
        1,
        "kafka",
    ),
    Figure(
        "kafka-start",
        "ready after start with 1,000 partitions with data: from exec until the ends of all are told",
        (
            *KAFKA.metrics("ready_stop", "after a clean stop", "s", START_SHARE),
            *KAFKA.metrics("ready_kill", "after kill -9", "s"),
        ),
        _start,
        2,
        1,
        "kafka",
    ),
)
