"""Figures of a process's life: how soon it is ready, and what it takes while nothing happens."""

from __future__ import annotations

import time

from bench.broker import Broker
from bench.figure import Bench, Figure, Metric, Sample

MB = 1_000_000
MESSAGES = 3_000_000
SETTLE_S = 2.0


def _start_empty(bench: Bench) -> Sample:
    times = []
    for _ in range(5):
        with bench.directory() as directory:
            broker = Broker(directory)
            try:
                times.append(broker.start())
            finally:
                broker.kill()
    return Sample({"ready_s": times}, {})


def _start_full(bench: Bench) -> Sample:
    """Kill it at once after the last confirm, so that the most is left to recover; then also after clean stops."""
    clean, killed, stops = [], [], []
    with bench.directory() as directory, Broker(directory) as broker:
        bench.load.run(broker, "publish", n=MESSAGES)
        for _ in range(3):
            broker.kill()
            killed.append(broker.start())
            broker.wait_quiet()
            stops.append(broker.stop())
            clean.append(broker.start())
            result = bench.load.run(broker, "publish", n=100_000)
        storage = broker.info()["storage"]
    metrics = {"ready_clean_s": clean, "ready_killed_s": killed, "stop_s": stops}
    return Sample(metrics, {"load": result, "storage": storage})


def _idle(bench: Bench) -> Sample:
    seconds = bench.choose(20, 10)
    with bench.broker() as broker:
        time.sleep(SETTLE_S)
        before_s, began = broker.cpu_s(), time.monotonic()
        time.sleep(seconds)
        share = (broker.cpu_s() - before_s) / (time.monotonic() - began)
        return Sample({"rss_mb": broker.rss_bytes() / MB, "cpu_percent": share * 100}, {"seconds": seconds})


FIGURES = (
    Figure(
        "start-empty",
        "start on an empty directory",
        (Metric("ready_s", "from exec to `portask ready`", "s", limit=0.5),),
        _start_empty,
        3,
        1,
    ),
    Figure(
        "start-full",
        "start on a directory that holds 3,000,000 messages",
        (
            Metric("ready_clean_s", "after a clean stop, from exec to `portask ready`", "s", limit=1.5),
            Metric(
                "ready_killed_s",
                "after kill -9 right after the last confirm, from exec to `portask ready`",
                "s",
                limit=1.5,
            ),
            Metric("stop_s", "clean stop", "s"),
        ),
        _start_full,
        2,
        1,
    ),
    Figure(
        "idle",
        "no connection, all listeners open (over 20 s; 10 s with --quick)",
        (
            Metric("rss_mb", "RSS", "MB", limit=60),
            Metric("cpu_percent", "CPU", "%", limit=1),
        ),
        _idle,
        3,
        1,
    ),
)
