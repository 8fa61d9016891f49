"""Portask and RabbitMQ side by side, over AMQP 0-9-1.

Both are started once for the figures of a run, warmed up, and measured in turns: A B A B. Every ratio is of two
measurements that followed each other. Where RabbitMQ is not installed, Portask is measured alone, and the figures
say why there is no ratio.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any, Self

import psutil

from bench.broker import BenchError, Broker, free_port
from bench.comparison import Comparison
from bench.figure import Bench, Sample
from bench.peers.rabbitmq import RabbitMQ

RABBITMQ = Comparison("rabbitmq", "RabbitMQ")
WARM_UP = 100_000
WINDOW = 2000
PREFETCH = 500
SETTLE_S = 1.0
"""A broker that was measured gets so long to finish what it does in the background, before it is the other's turn."""
ALIVE_S = 60


class AmqpBroker(Broker):
    """Portask with an AMQP listener."""

    def __init__(self, directory, *flags: str) -> None:
        self.amqp_port = free_port()
        super().__init__(directory, "--amqp-port", str(self.amqp_port), *flags)

    @property
    def amqp_address(self) -> str:
        """Where it speaks AMQP 0-9-1."""
        return f"127.0.0.1:{self.amqp_port}"


Side = AmqpBroker | RabbitMQ


class Pair:
    """The two on empty directories. *missing* says why the second is not there, if it is not."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.sides: dict[str, Side] = {}
        self.missing = ""
        self.version = ""
        self.kept_topics: set[str] = set()
        self._numbers = itertools.count(1)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start them. Raises BenchError when it is Portask that fails."""
        with contextlib.ExitStack() as stack:
            self._add(stack, "portask", lambda directory: AmqpBroker(directory, "--sync", "always"))
            try:
                self._add(stack, "rabbitmq", RabbitMQ)
                self.version = self.sides["rabbitmq"].version
            except BenchError as error:
                self.missing = str(error)
                print(f"  Portask is measured alone: {error}", file=sys.stderr, flush=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add(self, stack: contextlib.ExitStack, name: str, make) -> None:
        side = make(stack.enter_context(self.bench.directory()))
        stack.enter_context(side)
        self.bench.load.probe("amqp-alive", amqp=side.amqp_address, seconds=ALIVE_S)
        self.sides[name] = side

    def warm_up(self) -> None:
        """Let both do what they will be measured with."""
        messages = self.bench.choose(WARM_UP, WARM_UP // 5)
        for side in self.sides.values():
            for size in (100, 1000):
                with self.topic(side) as topic:
                    for action, flags in (("publish", {"confirm": True}), ("consume", {}), ("both", {"confirm": True})):
                        self.run(side, action, topic=topic, n=messages, size=size, **flags)
        time.sleep(SETTLE_S)

    @property
    def is_alive(self) -> bool:
        """Whether all of them still run."""
        return all(psutil.pid_exists(side.pid) for side in self.sides.values())

    def turns(self) -> list[tuple[str, Side]]:
        """Those that are compared, in their order."""
        return list(self.sides.items())

    @contextlib.contextmanager
    def topic(self, side: Side, **topology: Any) -> Iterator[str]:
        """A name that was not given before, of a topology of queues that is removed at the end."""
        topic = f"load-{next(self._numbers)}"
        self.run(side, "declare", topic=topic, **topology)
        yield topic
        self.settle(side)
        self.run(side, "delete", topic=topic, **topology)

    def kept(self, side: Side, topic: str, **topology: Any) -> str:
        """The topology called *topic*, made when it is first asked for: some take a peer a quarter of a minute."""
        key = f"{side.pid} {topic}"
        if key not in self.kept_topics:
            self.run(side, "declare", topic=topic, **topology)
            self.kept_topics.add(key)
            self.settle(side)
        return topic

    def run(self, side: Side, action: str, **flags: Any) -> dict[str, Any]:
        """What the load measured on *side*."""
        flags = {"window": WINDOW, "prefetch": PREFETCH, **flags}
        return self.bench.load.run(side, f"amqp-{action}", amqp=side.amqp_address, **flags)

    def settle(self, side: Side) -> None:
        """Wait until *side* has finished its background work; of RabbitMQ only time tells."""
        if isinstance(side, AmqpBroker):
            side.wait_quiet(10)
        else:
            time.sleep(SETTLE_S)

    def sample(self, metrics: dict[str, Any], raw: dict[str, Any]) -> Sample:
        """What one repetition brought."""
        return Sample(metrics, {"rabbitmq": self.missing or self.version, **raw}, self.missing)


@contextlib.contextmanager
def _warm(bench: Bench) -> Iterator[Pair]:
    with Pair(bench) as both:
        both.warm_up()
        yield both


def pair(bench: Bench) -> Pair:
    """The pair of this run, warmed up; a new one if a broker of the old one has died."""
    if (found := bench.kept("rabbitmq")) and not found.is_alive:
        bench.drop("rabbitmq")
    return bench.keep("rabbitmq", lambda: _warm(bench))
