"""Portask and Apache Kafka side by side, over Kafka's protocol.

Both are started once for all figures of a run, warmed up, and measured in turns: A B A B. Every ratio is of two
measurements that followed each other. Where Apache Kafka cannot be had, Portask is measured alone, and the
figures say why there is no ratio.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any, Self

import psutil

from bench.broker import BenchError, Broker, free_port
from bench.comparison import Comparison
from bench.figure import Bench, Sample
from bench.peers.apache_kafka import VERSION, ApacheKafka

KAFKA = Comparison("kafka", "Apache Kafka")
WARM_UP = 2_000_000
WARM_UP_PARTS = 4
SETTLE_S = 1.0
"""A broker that was measured gets so long to finish what it does in the background, before it is the other's turn."""


class KafkaBroker(Broker):
    """Portask with a Kafka listener."""

    def __init__(self, directory, *flags: str) -> None:
        self.kafka_port = free_port()
        super().__init__(directory, "--kafka-port", str(self.kafka_port), *flags)

    @property
    def kafka_address(self) -> str:
        """Where it speaks Kafka's protocol."""
        return f"127.0.0.1:{self.kafka_port}"


Side = KafkaBroker | ApacheKafka


class Pair:
    """The two, and a Portask with `sync=interval` for the figure that wants one."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.sides: dict[str, Side] = {}
        self.missing = ""
        self.measured: set[str] = set()
        self.kept_topics: set[str] = set()
        self._numbers = itertools.count(1)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start them and warm them up. Raises BenchError when it is Portask that fails."""
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self._add("portask", lambda directory: KafkaBroker(directory, "--sync", "always"))
            try:
                self._add("kafka", ApacheKafka)
            except BenchError as error:
                self.missing = str(error)
                print(f"  Portask is measured alone: {error}", file=sys.stderr, flush=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def relaxed(self) -> Side:
        """Portask with `sync=interval`, warmed up as well."""
        if "relaxed" not in self.sides:
            self._add("relaxed", lambda directory: KafkaBroker(directory, "--sync", "interval"))
        return self.sides["relaxed"]

    def _add(self, name: str, make: Callable[[Any], Side]) -> None:
        side = make(self._stack.enter_context(self.bench.directory()))
        self._stack.enter_context(side)
        self.run(side, "ready", topic="", seconds=30)
        # In parts, so that no topic of theirs is larger than those of the figures.
        messages = self.bench.choose(WARM_UP, WARM_UP // 10) // WARM_UP_PARTS
        for part, size in enumerate((100, 100, 100, 1000)):
            self.run(side, "produce", n=messages, size=size, topic=f"warm-{part}")
            self.run(side, "consume", n=messages, size=size, topic=f"warm-{part}")
            self.run(side, "delete", topic=f"warm-{part}")
        time.sleep(SETTLE_S)
        self.sides[name] = side

    @property
    def is_alive(self) -> bool:
        """Whether all of them still run."""
        return all(psutil.pid_exists(side.pid) for side in self.sides.values())

    def turns(self) -> list[tuple[str, Side]]:
        """Those that are compared, in their order."""
        return [(name, self.sides[name]) for name in ("portask", "kafka") if name in self.sides]

    def new_topic(self) -> str:
        """A name that was not given before."""
        return f"load-{next(self._numbers)}"

    def run(self, side: Side, action: str, **flags: Any) -> dict[str, Any]:
        """What the load measured on *side*."""
        return self.bench.load.run(side, f"kafka-{action}", kafka=side.kafka_address, **flags)

    def settle(self, side: Side) -> None:
        """Wait until *side* has finished its background work; of Apache Kafka only time tells."""
        if isinstance(side, KafkaBroker):
            side.wait_quiet(10)
        else:
            time.sleep(SETTLE_S)

    def sample(self, name: str, metrics: dict[str, Any], raw: dict[str, Any]) -> Sample:
        """The sample of the figure called *name*."""
        self.measured.add(name)
        return Sample(metrics, {"apache_kafka": self.missing or VERSION, **raw}, self.missing)


def pair(bench: Bench) -> Pair:
    """The pair of this run; a new one if a broker of the old one has died."""
    if (found := bench.kept("kafka")) and not found.is_alive:
        bench.drop("kafka")
    return bench.keep("kafka", lambda: Pair(bench))
