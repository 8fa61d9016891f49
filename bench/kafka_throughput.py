"""Figures of throughput over Kafka's protocol, Portask and Apache Kafka in turns."""

from __future__ import annotations

from typing import Any

from bench.comparison import cpu_s
from bench.figure import Bench, Figure, Sample
from bench.kafka_pair import KAFKA, Pair, pair

MESSAGES = 1_000_000
QUICK_MESSAGES = 200_000
SIZES = ((100, "100 B"), (1000, "1 kB"))
# By size: least throughput and most CPU for each message, as shares of Kafka's.
PRODUCE_BARS = {100: (1.2, 0.6), 1000: (0.9, 0.9)}
CONSUME_BAR = 0.8
BOTH_BAR = 1.1
DURABILITY = "Portask syncs before it answers, Apache Kafka does not sync"


def _produce(bench: Bench) -> Sample:
    both, found, raw = pair(bench), {}, {}
    for size, _ in SIZES:
        for codec in ("none", "zstd"):
            name = f"produce_{size}_{codec}"
            rates, cpus, settled = {}, {}, {}
            for side_name, side in both.turns():
                topic, before_s = both.new_topic(), cpu_s(side)
                messages = bench.choose(MESSAGES, QUICK_MESSAGES)
                result = both.run(side, "produce", n=messages, size=size, codec=codec, topic=topic)
                both.settle(side)
                settled[side_name] = (cpu_s(side) - before_s) / messages * 1e6
                both.run(side, "delete", topic=topic)
                rates[side_name] = result["messages_per_s"]
                cpus[side_name] = result["broker"]["cpu_us_per_message"]
                raw[f"{name}_{side_name}"] = result
            found |= KAFKA.compare(f"{name}_rate", rates) | KAFKA.compare(f"{name}_cpu", cpus)
            found |= KAFKA.compare(f"{name}_settled", settled)
    return both.sample("kafka-produce", found, raw)


def _consume(bench: Bench) -> Sample:
    both, found, raw = pair(bench), {}, {}
    for size, _ in SIZES:
        rates, cpus = {}, {}
        for side_name, side in both.turns():
            result = _read_from_start(both, side, size)
            rates[side_name] = result["messages_per_s"]
            cpus[side_name] = result["broker"]["cpu_us_per_message"]
            raw[f"consume_{size}_{side_name}"] = result
        found |= KAFKA.compare(f"consume_{size}_rate", rates) | KAFKA.compare(f"consume_{size}_cpu", cpus)
    return both.sample("kafka-consume", found, raw)


def _read_from_start(both: Pair, side, size: int) -> dict[str, Any]:
    """Read a topic that every repetition reads, and that the first one fills."""
    messages, topic = both.bench.choose(MESSAGES, QUICK_MESSAGES), f"backlog-{size}"
    if (side.pid, topic) not in both.kept_topics:
        both.run(side, "produce", n=messages, size=size, topic=topic)
        both.kept_topics.add((side.pid, topic))
        both.settle(side)
    result = both.run(side, "consume", n=messages, size=size, topic=topic)
    both.settle(side)
    return result


def _both(bench: Bench) -> Sample:
    both, raw = pair(bench), {}
    rates, cpus = {}, {}
    for name, side in both.turns():
        topic = both.new_topic()
        raw[name] = both.run(side, "both", n=bench.choose(MESSAGES, QUICK_MESSAGES), topic=topic)
        rates[name], cpus[name] = raw[name]["messages_per_s"], raw[name]["broker"]["cpu_us_per_message"]
        both.settle(side)
        both.run(side, "delete", topic=topic)
    return both.sample("kafka-both", KAFKA.compare("both_rate", rates) | KAFKA.compare("both_cpu", cpus), raw)


def _produce_metrics():
    for size, words in SIZES:
        least, most = PRODUCE_BARS[size]
        for codec in ("none", "zstd"):
            name, text = f"produce_{size}_{codec}", f"{words}, codec {codec}"
            yield from KAFKA.metrics(f"{name}_rate", f"{text}: messages a second", "/s", least, at_least=True)
            yield from KAFKA.metrics(f"{name}_cpu", f"{text}: broker CPU", "us/message", most)
            yield from KAFKA.metrics(f"{name}_settled", f"{text}: broker CPU with what follows", "us/message")


def _consume_metrics():
    for size, words in SIZES:
        yield from KAFKA.metrics(
            f"consume_{size}_rate", f"{words}: messages a second", "/s", CONSUME_BAR, at_least=True
        )
        yield from KAFKA.metrics(f"consume_{size}_cpu", f"{words}: broker CPU", "us/message")


FIGURES = (
    Figure(
        "kafka-produce",
        f"produce with Kafka's protocol, acks=all, one partition; {DURABILITY}",
        tuple(_produce_metrics()),
        _produce,
        5,
        2,
        "kafka",
    ),
    Figure(
        "kafka-consume",
        "consume with Kafka's protocol from the start, one partition, produced without a codec",
        tuple(_consume_metrics()),
        _consume,
        5,
        2,
        "kafka",
    ),
    Figure(
        "kafka-both",
        f"produce and consume at once with Kafka's protocol, 100 B, acks=all, one partition; {DURABILITY}",
        (
            *KAFKA.metrics("both_rate", "messages a second", "/s", BOTH_BAR, at_least=True),
            *KAFKA.metrics("both_cpu", "broker CPU, both ways together", "us/message"),
        ),
        _both,
        5,
        2,
        "kafka",
    ),
)
