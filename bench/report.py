"""Results: one JSON file for each figure and run, and the table made from the newest of each figure."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.figure import Figure, Metric, Sample

DIRECTORY = Path(__file__).resolve().parent / "results"
TABLE = Path(__file__).resolve().parent / "RESULTS.md"
HEAD = """# Measured figures

Written by `make bench`; every row can be made again by the command beside it, and the load commands with all
that they printed are in `bench/results/`. The load generator runs on the same machine and takes its share of it. A bar
is met when the median of the repetitions reaches it. Latencies count from the moment at which a message was due,
not from the moment at which it went. Where a figure has no full run yet, the row shows a quick one.

Figures over Kafka's protocol were measured on Portask and on Apache Kafka in the same run, in turns, both warmed up,
with the same load; a ratio is of two measurements that followed each other. With `acks=all` Portask answers when the
records are on disk (`sync=always`); Apache Kafka answers when they are in the system's memory, and does not sync.

Figures over AMQP were measured the same way on Portask and on Debian's RabbitMQ 3.10 with its management plugin; both
sync before they confirm a persistent message.
"""
TARGETS = """## What comes next: LavinMQ

LavinMQ 2.9.1, compiled, is the fastest AMQP broker known. Its figures were not measured in these runs: they are those
of the comparison on two shared cores that preceded Portask, with one producer and one consumer, written as from the
lowest to the highest.
"""


def save(figure: Figure, quick: bool, machine: dict[str, str], samples: Sequence[Sample]) -> Path:
    """Keep what was measured; the file that holds it. Earlier results stay."""
    DIRECTORY.mkdir(exist_ok=True)
    now = time.gmtime()
    path = DIRECTORY / f"{time.strftime('%Y%m%dT%H%M%SZ', now)}-{figure.name}{'-quick' if quick else ''}.json"
    result = {
        "figure": figure.name,
        "quick": quick,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
        "command": f'make bench ARGS="{"--quick " if quick else ""}--only {figure.group or figure.name}"',
        "machine": machine,
        "metrics": [sample.metrics for sample in samples],
        "raw": [sample.raw for sample in samples],
        "lacks": sorted({sample.lacks for sample in samples if sample.lacks}),
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def newest(figure: Figure) -> dict[str, Any] | None:
    """The last full result of *figure*, else the last quick one, else None."""
    found = [json.loads(path.read_text()) for path in DIRECTORY.glob(f"*Z-{figure.name}*.json")]
    found = [result for result in found if result["figure"] == figure.name]
    return max(found, key=lambda result: (not result["quick"], result["at"]), default=None)


def values(metrics: Sequence[dict[str, Any]], name: str) -> list[float]:
    """All that was measured of one metric, over all repetitions."""
    found: list[float] = []
    for sample in metrics:
        value = sample.get(name, [])
        found += value if isinstance(value, list) else [value]
    return found


def spread(found: Sequence[float], unit: str) -> str:
    """Least, median and most."""
    if min(found) == max(found):
        return f"{_number(found[0])} {unit}".rstrip()
    return f"{' / '.join(_number(f(found)) for f in (min, statistics.median, max))} {unit}".rstrip()


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def verdict(metric: Metric, found: Sequence[float]) -> str:
    """Whether the bar is met, if there is one."""
    if metric.limit is None:
        return ""
    return "yes" if metric.is_met(statistics.median(found)) else "NO"


def lines(metrics: Sequence[Metric], measured: Sequence[dict[str, Any]]) -> list[tuple[Metric, list[float]]]:
    """Those of *metrics* that were measured, with what was."""
    return [(metric, found) for metric in metrics if (found := values(measured, metric.name))]


def write(figures: Sequence[Figure], beside: Sequence[Metric]) -> None:
    """Write RESULTS.md from the newest results; *beside* are the primitives measured with every figure."""
    results = [(figure, result) for figure in figures if (result := newest(figure))]
    text = [HEAD]
    for machine in _machines(results):
        text += [f"- {name}: {value}" for name, value in machine.items()]
    titles = ("figure", "bar", "measured (min / median / max)", "met", "beside it (medians)", "command")
    text += ["", f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for figure, result in results:
        for metric in figure.metrics:
            if metric.limit is not None:
                found = values(result["metrics"], metric.name)
                cells = (
                    f"{figure.text}: {metric.text}",
                    metric.bar,
                    spread(found, metric.unit) if found else f"not measured{_reason(result)}",
                    verdict(metric, found) if found else "",
                    ", ".join(filter(None, (_made_of(figure, metric, result["metrics"]), _beside(result["metrics"])))),
                    f"`{result['command']}`",
                )
                text.append(f"| {' | '.join(cells)} |")
    text += _targets(results)
    text += ["", "## Beside them", ""]
    text += ["What else was measured in the same runs. The last lines of each are the machine's own primitives,"]
    text += ["measured before every repetition: what is lost there is not the broker's to win.", ""]
    for figure, result in results:
        count, mode = len(result["metrics"]), ", quick" if result["quick"] else ""
        text += [f"### {figure.name}", "", f"{figure.text}."]
        text += [f"{result['at']}, {count} repetitions{mode}; portask {result['machine']['portask']}.", ""]
        text += ["| | min / median / max |", "|---|---|"]
        rows = lines((*figure.metrics, *beside), result["metrics"])
        text += [f"| {metric.text} | {spread(found, metric.unit)} |" for metric, found in rows if metric.limit is None]
        text += [""]
    TABLE.write_text("\n".join(text).rstrip() + "\n")


def _targets(results: Sequence[tuple[Figure, dict[str, Any]]]) -> list[str]:
    """The table of the metrics that have a target; nothing when none was measured."""
    rows = []
    for figure, result in results:
        for metric, found in lines([one for one in figure.metrics if one.target], result["metrics"]):
            low, high = metric.target
            middle = statistics.median(found)
            cells = (
                f"{figure.name}: {metric.text}",
                spread([low, high], metric.unit) if low == high else f"{_number(low)} to {_number(high)} {metric.unit}",
                f"{_number(middle)} {metric.unit}",
                f"{_number(middle / high)} to {_number(middle / low)} times"
                if low < high
                else f"{middle / low:.3g} times",
            )
            rows.append(f"| {' | '.join(cells)} |")
    titles = ("figure", "LavinMQ", "Portask (median)", "Portask's to LavinMQ's")
    return ["", TARGETS, f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *rows] if rows else []


def _reason(result: dict[str, Any]) -> str:
    """Why a figure lacks something: the first line of it, in a cell of a table."""
    return "".join(f": {text.splitlines()[0].rstrip(':').replace('|', '/')}" for text in result.get("lacks", ()))


def _made_of(figure: Figure, metric: Metric, measured: Sequence[dict[str, Any]]) -> str:
    """The medians of what *metric* was computed from."""
    rows = lines([other for other in figure.metrics if other.name in metric.of], measured)
    return ", ".join(
        f"{other.text.rpartition(', ')[2]} {_number(statistics.median(found))} {other.unit}" for other, found in rows
    )


def _beside(measured: Sequence[dict[str, Any]]) -> str:
    """How often a run synced, what a bare sync took just before, how late the load itself was."""
    texts = {
        "syncs": "{} syncs",
        "syncs_per_s": "{} syncs/s",
        "late_p99_ms": "load late by p99 {} ms",
        "fdatasync_p50_ms": "bare fdatasync p50 {} ms",
        "fdatasync_p99_ms": "p99 {} ms",
    }
    medians = {name: statistics.median(found) for name in texts if (found := values(measured, name))}
    return ", ".join(texts[name].format(_number(value)) for name, value in medians.items())


def _machines(results: Sequence[tuple[Figure, dict[str, Any]]]) -> list[dict[str, str]]:
    """The machine of the newest result: a table is for one machine."""
    return [max((result for _, result in results), key=lambda result: result["at"])["machine"]] if results else []
