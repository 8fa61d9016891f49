"""Figures of throughput: publish and confirm, deliver and acknowledge, on one connection each."""

from __future__ import annotations

from bench.figure import Bench, Figure, Metric, Sample

RATE = Metric("messages_per_s", "messages a second", "/s")
CPU = Metric("cpu_us", "broker CPU", "us/message")
BESIDE = (
    Metric("cpu_settled_us", "broker CPU with the moving to segments that follows", "us/message"),
    Metric("confirm_p99_ms", "confirm of a frame in the full window, p99", "ms"),
    Metric("syncs", "syncs, as the broker counts", ""),
    Metric("syncs_per_s", "syncs a second", "/s"),
    Metric("rounds", "rounds", ""),
    Metric("sync_mean_ms", "a sync, mean", "ms"),
    Metric("load_cpu_us", "CPU of the load itself", "us/message"),
)


def _sample(result, before_s=None, after_s=None) -> Sample:
    broker, messages = result["broker"], result["messages"]
    metrics = {
        "messages_per_s": result["messages_per_s"],
        "cpu_us": broker["cpu_us_per_message"],
        "syncs": broker["syncs"],
        "syncs_per_s": broker["syncs_per_s"],
        "rounds": broker["rounds"],
        "sync_mean_ms": broker.get("sync_ms_mean", 0.0),
        "load_cpu_us": broker["load_cpu_s"] / messages * 1e6,
    }
    if "confirm_ms" in result:
        metrics["confirm_p99_ms"] = result["confirm_ms"]["p99"]
    if after_s is not None:
        metrics["cpu_settled_us"] = (after_s - before_s) / messages * 1e6
    return Sample(metrics, {"load": result})


def _publish(bench: Bench, messages: int, batch: int, window: int) -> Sample:
    with bench.broker("--sync", "always") as broker:
        before_s = broker.cpu_s()
        result = bench.load.run(broker, "publish", n=messages, batch=batch, window=window)
        broker.wait_quiet()
        return _sample(result, before_s, broker.cpu_s())


def _publish_frames(bench: Bench) -> Sample:
    return _publish(bench, bench.choose(3_000_000, 500_000), 100, 100)


def _publish_singly(bench: Bench) -> Sample:
    return _publish(bench, bench.choose(500_000, 100_000), 1, 2000)


def _deliver(bench: Bench) -> Sample:
    messages = bench.choose(3_000_000, 500_000)
    with bench.broker("--sync", "always") as broker:
        bench.load.run(broker, "publish", n=messages)
        broker.wait_quiet()
        before_s = broker.cpu_s()
        result = bench.load.run(broker, "consume", n=messages)
        broker.wait_quiet()
        return _sample(result, before_s, broker.cpu_s())


def _deliver_live(bench: Bench) -> Sample:
    messages = bench.choose(3_000_000, 500_000)
    with bench.broker("--sync", "always") as broker:
        return _sample(bench.load.run(broker, "both", n=messages))


FIGURES = (
    Figure(
        "publish",
        "publish and confirm, 100 bytes, frames of 100, one connection, sync=always",
        (RATE._replace(limit=100_000, at_least=True), CPU._replace(limit=8), *BESIDE),
        _publish_frames,
        5,
        2,
    ),
    Figure(
        "publish-singly",
        "publish and confirm with one message a frame, 2,000 frames under way, one connection, sync=always",
        (RATE, CPU, *BESIDE),
        _publish_singly,
        5,
        2,
    ),
    Figure(
        "deliver",
        "deliver and ack a backlog, 100 bytes, one connection, sync=always",
        (RATE._replace(limit=150_000, at_least=True), CPU._replace(limit=8), *BESIDE),
        _deliver,
        5,
        2,
    ),
    Figure(
        "deliver-live",
        "publish, confirm, deliver and ack at the same time, one connection each, sync=always",
        (
            RATE._replace(limit=150_000, at_least=True),
            CPU._replace(text="broker CPU, both ways together", limit=16),
            *BESIDE,
        ),
        _deliver_live,
        5,
        2,
    ),
)
