"""What the machine itself takes: the same small pieces of work before every repetition.

The machine may be shared, so a latency means little without what a bare sync took a moment before.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import cbor2
import zstandard

from bench.figure import Metric

SYNCS = 300
SYNC_BYTES = 4096
RATE_S = 0.1
BATCH = 100

METRICS = (
    Metric("fdatasync_p50_ms", "bare loop of 4 KiB write + fdatasync, p50", "ms"),
    Metric("fdatasync_p99_ms", "bare loop of 4 KiB write + fdatasync, p99", "ms"),
    Metric("zstd_us_per_message", "zstd level 1 of 100 messages, one core", "us/message"),
    Metric("cbor_us_per_message", "cbor2 decode of a frame of 100 messages, one core", "us/message"),
    Metric("sleep_late_p99_ms", "how late a sleep of 1 ms ends, p99", "ms"),
)


def measure(directory: Path) -> dict[str, float]:
    """All of them; syncs on the file system of *directory*. Takes about a second."""
    syncs = _time_syncs(directory)
    lines = [
        b'{"at":%d,"level":"INFO","svc":"checkout-%d","user":%d,"ms":%d,"trace":"%012x"}'
        % (1763892000000 + 7 * number, number % 8, 100_000 + number * 7919 % 900_000, 100 + number, number * 0x9E3779B1)
        for number in range(BATCH)
    ]
    frame = cbor2.dumps(["PUBLISH", 1, "load", lines])
    compressor = zstandard.ZstdCompressor(level=1)
    return {
        "fdatasync_p50_ms": percentile(syncs, 0.5) * 1000,
        "fdatasync_p99_ms": percentile(syncs, 0.99) * 1000,
        "zstd_us_per_message": _time_each(lambda: compressor.compress(frame)) / BATCH * 1e6,
        "cbor_us_per_message": _time_each(lambda: cbor2.loads(frame)) / BATCH * 1e6,
        "sleep_late_p99_ms": percentile(_time_sleeps(), 0.99) * 1000,
    }


def percentile(samples: list[float], share: float) -> float:
    """The smallest sample that *share* of all are not above."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _time_syncs(directory: Path) -> list[float]:
    path = directory / "syncs"
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    samples = []
    try:
        # Reserved and written once, as a journal file is, so that a sync has no metadata to write.
        os.pwrite(file, bytes(SYNCS * SYNC_BYTES), 0)
        os.fsync(file)
        block = os.urandom(SYNC_BYTES)
        for number in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(file, block, number * SYNC_BYTES)
            os.fdatasync(file)
            samples.append(time.perf_counter() - began)
    finally:
        os.close(file)
        path.unlink()
    return samples


def _time_each(work) -> float:
    count = 0
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < RATE_S:
        work()
        count += 1
    return passed / count


def _time_sleeps() -> list[float]:
    samples = []
    for _ in range(200):
        began = time.perf_counter()
        time.sleep(0.001)
        samples.append(time.perf_counter() - began - 0.001)
    return samples
