"""`portask bench`: throughput and latency of a running broker over its own protocol."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from multiprocessing.connection import Connection, wait
from threading import BrokenBarrierError
from typing import Any

import psutil

from portask.cli.bench_load import Plan, Tally, consume, produce
from portask.cli.command import add_actions, add_server
from portask.cli.connect import connect
from portask.cli.outcome import CommandError, Exit
from portask.cli.output import add_output, print_object
from portask.errors import PortaskError

EXAMPLE = "portask bench pub --messages 1000000 --size 100 --batch 100"
SEED = 20261123

# Forked workers inherit what is imported; there are no threads and no greenlets here that could suffer.
_fork = multiprocessing.get_context("fork")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    add = add_actions(parser)
    texts = (
        ("pub", "publish as fast as possible and wait for every confirm", "portask bench pub --messages 1000000"),
        (
            "sub",
            "publish, then measure receiving and acknowledging",
            "portask bench sub --messages 1000000 --consumers 2",
        ),
        ("both", "publish and receive at the same time", "portask bench both --messages 1000000"),
        ("latency", "publish one by one at a fixed rate", "portask bench latency --rate 1000 --messages 30000"),
    )
    for name, text, example in texts:
        action = add(name, text, example, _run)
        _add_load(action, latency=name == "latency")
        add_output(action)
        add_server(action)
        action.set_defaults(action=name)


def _add_load(parser: argparse.ArgumentParser, *, latency: bool) -> None:
    def number(flag: str, default: int, text: str) -> None:
        parser.add_argument(flag, metavar="N", type=_positive, default=default, help=f"{text} ({default})")

    number("--messages", 10_000 if latency else 500_000, "messages in all")
    number("--size", 100, "bytes of a payload")
    number("--batch", 1 if latency else 100, "messages in one frame")
    number("--window", 10_000, "messages unconfirmed or unsettled at a time, for each connection")
    number("--producers", 1, "publishing connections")
    number("--consumers", 1, "receiving connections")
    number("--partitions", 1, "partitions of the topic")
    parser.add_argument(
        "--rate", metavar="N", type=float, default=1000.0 if latency else 0.0, help="messages a second, 0 for no limit"
    )
    parser.add_argument(
        "--topic", metavar="TOPIC", help="publish to this topic and keep it (default: a new one, removed at the end)"
    )
    parser.add_argument(
        "--pid", metavar="PID", type=int, help="the broker's process, for its CPU and memory (as it says itself)"
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _run(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        pid = arguments.pid or (client.info().get("pid") if _is_here(arguments.server) else None)
        topic = arguments.topic or f"bench-{uuid.uuid4().hex[:8]}"
        if arguments.topic is None or arguments.topic not in {known["name"] for known in client.topics()}:
            client.create_topic(topic, arguments.partitions)
        try:
            result = _measure(arguments, topic, _find_process(pid, arguments.pid is not None))
        except BaseException:
            if arguments.topic is None:
                # What went wrong first is what counts.
                with suppress(PortaskError):
                    client.delete_topic(topic)
            raise
        if arguments.topic is None:
            client.delete_topic(topic)
    print_object({"test": arguments.action, **result}, arguments.output)
    return Exit.OK


def _measure(arguments: argparse.Namespace, topic: str, process: psutil.Process | None) -> dict[str, Any]:
    producers, consumers = _plans(arguments, topic)
    load: dict[str, Any] = {
        "messages": arguments.messages,
        "payload_bytes": arguments.size,
        "batch": arguments.batch,
        "window": arguments.window,
    }
    if arguments.action == "sub":
        _work(producers, [])
    before = process.cpu_times() if process else None
    published, consumed = _work(
        [] if arguments.action == "sub" else producers, [] if arguments.action == "pub" else consumers
    )
    if published:
        load["publish"] = {"connections": len(published), **_rates(published, arguments.size)}
        load["confirm_ms"] = _percentiles(published)
    if consumed:
        load["consume"] = {"connections": len(consumed), **_rates(consumed, arguments.size)}
    if arguments.action == "latency":
        load["delivery_ms"] = _percentiles(consumed)
    if process and before:
        after = process.cpu_times()
        used_s = after.user + after.system - before.user - before.system
        load["broker"] = {
            "pid": process.pid,
            "cpu_us_per_message": round(used_s / arguments.messages * 1e6, 3),
            "rss_bytes": process.memory_info().rss,
        }
    return load


def _plans(arguments: argparse.Namespace, topic: str) -> tuple[list[Plan], list[Plan]]:
    host, _, port = arguments.server.rpartition(":")
    stamped = arguments.action == "latency"
    base = Plan(
        (host.strip("[]"), int(port)),
        topic,
        arguments.messages,
        arguments.size,
        arguments.batch,
        arguments.window,
        arguments.rate / arguments.producers,
        stamped,
        SEED,
    )
    share, extra = divmod(arguments.messages, arguments.producers)
    producers = [
        base._replace(messages=share + (number < extra), seed=SEED + number) for number in range(arguments.producers)
    ]
    return [plan for plan in producers if plan.messages], [base] * arguments.consumers


def _work(producers: Sequence[Plan], consumers: Sequence[Plan]) -> tuple[list[Tally], list[Tally]]:
    """Run all of them at the same time and return what they have seen. Blocks. Raises what one of them raised."""
    barrier = _fork.Barrier(len(producers) + len(consumers))
    left = _fork.Value("q", consumers[0].messages if consumers else 0)

    def settled(count: int) -> int:
        with left.get_lock():
            left.value -= count
            return int(left.value)

    def begin() -> None:
        barrier.wait(timeout=60)

    jobs = [
        *((lambda plan=plan: produce(plan, begin)) for plan in producers),
        *((lambda plan=plan: consume(plan, begin, settled)) for plan in consumers),
    ]
    tallies = _in_processes(jobs, barrier.abort)
    return tallies[: len(producers)], tallies[len(producers) :]


def _in_processes(jobs: Sequence[Callable[[], Tally]], abort: Callable[[], None]) -> list[Tally]:
    """Run each of *jobs* in a process of its own and return their results. Blocks. Ends all when one fails."""
    links, processes = [], []
    for job in jobs:
        link, far = _fork.Pipe(duplex=False)
        process = _fork.Process(target=run_job, args=(job, far, abort), daemon=True)
        process.start()
        far.close()
        links.append(link)
        processes.append(process)
    results: dict[Connection, Tally] = {}
    errors: list[str] = []
    try:
        while len(results) < len(links) and not errors:
            ready = wait([link for link in links if link not in results])
            for link in (link for link in links if link in ready):
                result = receive_result(link)
                if isinstance(result, Tally):
                    results[link] = result
                else:
                    errors.append(result)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    if errors:
        # A worker that fails breaks the barrier of the others; the first cause is the one worth telling.
        raise CommandError(next((error for error in errors if error != _BARRIER), _BARRIER))
    return [results[link] for link in links]


_BARRIER = "the load could not be started together"


def run_job(job: Callable[[], Tally], link: Connection, abort: Callable[[], None]) -> None:
    """Run *job* in this process and send what comes of it: a Tally, or a text that says what went wrong."""
    with closing(link):
        try:
            result: Tally | str = job()
        except KeyboardInterrupt:
            return
        except BrokenBarrierError:
            result = _BARRIER
        except (CommandError, OSError) as error:
            abort()
            result = str(error)
        link.send(result)


def receive_result(link: Connection) -> Tally | str:
    with closing(link):
        try:
            result: Tally | str = link.recv()
        except EOFError:
            return "a process of the load died"
        return result


def _rates(tallies: Sequence[Tally], size: int) -> dict[str, float]:
    messages = sum(tally.messages for tally in tallies)
    seconds = max(tally.ended for tally in tallies) - min(tally.started for tally in tallies)
    return {
        "seconds": round(seconds, 3),
        "messages_per_s": round(messages / seconds) if seconds else 0,
        "mb_per_s": round(messages * size / seconds / 1e6, 2) if seconds else 0.0,
    }


def _percentiles(tallies: Sequence[Tally]) -> dict[str, float]:
    samples = sorted(sample for tally in tallies for sample in tally.latencies)
    if not samples:
        return {}

    def at(share: float) -> float:
        return round(samples[min(len(samples) - 1, math.ceil(len(samples) * share) - 1)] * 1000, 3)

    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "p99.9": at(0.999), "max": at(1.0)}


def _is_here(server: str) -> bool:
    """Whether *server* is surely on this machine, so that the process number it gives means something."""
    return server.rpartition(":")[0].strip("[]") in ("127.0.0.1", "::1", "localhost")


def _find_process(pid: int | None, is_asked: bool) -> psutil.Process | None:
    """The broker's process; None when its number is unknown, or was not asked for and cannot be observed."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        process.cpu_times()
        return process
    except psutil.Error as error:
        if is_asked:
            raise CommandError(f"process {pid} cannot be observed ({error}); leave --pid out", Exit.USAGE) from error
        return None
