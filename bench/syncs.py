"""The figure that keeps the durable rates honest: syncs as the system saw them, next to the broker's own count."""

from __future__ import annotations

import re
import shutil

from bench.broker import BenchError
from bench.figure import Bench, Figure, Metric, Sample

CALLS = "fdatasync,fsync,sync_file_range,msync,syncfs,sync"
_CALL = re.compile(r"\b(fdatasync|fsync|sync_file_range|msync|syncfs|sync)\((?:\d+<([^>]*)>)?")


def _syncs(bench: Bench) -> Sample:
    strace = shutil.which("strace")
    if strace is None:
        raise BenchError("strace is not installed, so syncs cannot be counted from outside")
    trace = bench.scratch / "strace"
    # With the filter in the kernel only the traced calls are slowed down.
    prefix = (strace, "-f", "--seccomp-bpf", "-y", "-qq", "-e", f"trace={CALLS}", "-o", str(trace))
    with bench.broker("--sync", "always", prefix=prefix) as broker:
        result = bench.load.run(broker, "publish", n=bench.choose(200_000, 50_000), batch=10, window=10)
        storage = broker.wait_quiet()
        broker.stop()
    found = [match for line in trace.read_text().splitlines() if (match := _CALL.search(line))]
    journal = sum(match[1] == "fdatasync" and "journal" in (match[2] or "") for match in found)
    metrics = {
        "broker_syncs": storage["syncs"],
        "journal_syncs": journal,
        "all_syncs": len(found),
        "rounds": storage["rounds"],
        "messages_per_s": result["messages_per_s"],
    }
    calls: dict[str, int] = {}
    for match in found:
        name = f"{match[1]} {re.sub(r'[0-9a-f]{4,}', '*', (match[2] or '').rpartition('/')[2])}"
        calls[name] = calls.get(name, 0) + 1
    return Sample(metrics, {"load": result, "calls": calls})


FIGURES = (
    Figure(
        "syncs",
        "publish in frames of 10 under strace",
        (
            Metric("broker_syncs", "syncs, as the broker counts", ""),
            Metric("journal_syncs", "fdatasync of journal files, as strace counts", ""),
            Metric("all_syncs", "syncs of all kinds and files, from start to stop, as strace counts", ""),
            Metric("rounds", "rounds", ""),
            Metric("messages_per_s", "messages a second", "/s"),
        ),
        _syncs,
        1,
        1,
    ),
)
