"""`python -m bench`: measure what the broker reaches here, and write bench/RESULTS.md."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import (
    amqp_latency,
    amqp_life,
    amqp_routes,
    amqp_throughput,
    backlog,
    kafka_latency,
    kafka_partitions,
    kafka_throughput,
    latency,
    life,
    machine,
    primitive,
    report,
    syncs,
    throughput,
)
from bench.broker import ROOT, BenchError
from bench.figure import Bench, Figure, Sample
from bench.load import Load

FIGURES = (
    *(*throughput.FIGURES, *latency.FIGURES, *backlog.FIGURES, *life.FIGURES, *syncs.FIGURES),
    *(*kafka_throughput.FIGURES, *kafka_latency.FIGURES, *kafka_partitions.FIGURES),
    *(*amqp_throughput.FIGURES, *amqp_latency.FIGURES, *amqp_routes.FIGURES, *amqp_life.FIGURES),
)
NAMES = sorted({figure.group for figure in FIGURES if figure.group}) + [figure.name for figure in FIGURES]
SCRATCH = ROOT / "build" / "bench"


def main() -> int:
    """Measure what the arguments name; 0 when all of it could be measured, whether the bars are met or not."""
    arguments = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = [figure for figure in FIGURES if not arguments.only or {figure.name, figure.group} & set(arguments.only)]
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=arguments.scratch))
    try:
        load = Load(scratch)
        description = machine.describe(scratch, load.go_version)
        with Bench(load, scratch, arguments.quick) as bench:
            failed = [
                figure.name for figure in chosen if not _measure(bench, figure, arguments.repetitions, description)
            ]
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the figures that were finished are kept", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        report.write(FIGURES, primitive.METRICS)
    print(f"\n{report.TABLE.relative_to(ROOT)} is written")
    if failed:
        print(f"could not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages and repetitions: about seven minutes")
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="NAME",
        help=f"one figure, or a group of them; may be repeated: {', '.join(NAMES)}",
    )
    parser.add_argument("--repetitions", type=int, metavar="N", help="instead of each figure's own number")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=SCRATCH,
        metavar="DIR",
        help="where data directories are made and removed again: on the disk that is to be measured (build/bench)",
    )
    return parser.parse_args()


def _measure(bench: Bench, figure: Figure, repetitions: int | None, description: dict[str, str]) -> bool:
    """Repeat *figure*, show and keep what it brought; False when it could not be measured."""
    count = repetitions or (figure.quick_repetitions if bench.quick else figure.repetitions)
    print(f"\n{figure.name}: {figure.text}", flush=True)
    samples: list[Sample] = []
    began = time.monotonic()
    for number in range(1, count + 1):
        try:
            beside = primitive.measure(bench.scratch)
            sample = figure.measure(bench)
        except (BenchError, OSError) as error:
            print(f"  {number}/{count} failed: {error}", file=sys.stderr, flush=True)
            break
        samples.append(sample._replace(metrics={**sample.metrics, **beside}))
        print(f"  {number}/{count} after {time.monotonic() - began:.0f} s", flush=True)
    if not samples:
        return False
    report.save(figure, bench.quick, description, samples)
    _show(figure, samples)
    return len(samples) == count


def _show(figure: Figure, samples: Sequence[Sample]) -> None:
    measured = [sample.metrics for sample in samples]
    for metric, found in report.lines((*figure.metrics, *primitive.METRICS), measured):
        met = {"": "", "yes": "met", "NO": "NOT MET"}[report.verdict(metric, found)]
        print(f"    {metric.text:<62} {report.spread(found, metric.unit):>32}  {metric.bar:<18} {met}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
