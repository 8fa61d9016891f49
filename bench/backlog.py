"""Figures of a backlog: the memory and the disk that messages take which wait for a group."""

from __future__ import annotations

from pathlib import Path

from bench.figure import Bench, Figure, Metric, Sample

MB = 1_000_000
PAYLOAD = 100
FEW = 3_000
MANY = 3_000_000

MEMORY = Metric("growth_mb", "memory that they add to 3,000 waiting messages", "MB", limit=40)
STORED = Metric("stored_share", "stored bytes to payload bytes", "", limit=0.25)
BESIDE = (
    Metric("rss_few_mb", "RSS with 3,000 waiting", "MB"),
    Metric("rss_many_mb", "RSS with all waiting", "MB"),
    Metric("messages", "messages that wait at the end", ""),
    Metric("disk_share", "bytes of all files, reserved ones too, to payload bytes", ""),
    Metric("messages_per_s", "published a second meanwhile", "/s"),
    Metric("syncs", "syncs, as the broker counts", ""),
)


def _backlog(bench: Bench, many: int, batch: int, window: int) -> Sample:
    with bench.broker("--sync", "always") as broker:
        # The group exists, so they are its backlog: one is handed out and goes back when the load hangs up.
        bench.load.run(broker, "publish", n=1, topic="load")
        bench.load.run(broker, "consume", n=1, topic="load", prefetch=1)
        bench.load.run(broker, "publish", n=FEW - 2, batch=batch, window=window)
        empty = broker.wait_quiet()
        few = broker.rss_bytes()
        result = bench.load.run(broker, "publish", n=many - FEW, batch=batch, window=window, seed=2)
        full = broker.wait_quiet()
        rss = broker.rss_bytes()
        stored = sum(full[name] - empty[name] for name in ("journal_bytes", "segment_bytes"))
        payload = (many - FEW) * PAYLOAD
        metrics = {
            "growth_mb": (rss - few) / MB,
            "stored_share": stored / payload,
            "disk_share": _disk_bytes(broker.directory) / payload,
            "rss_few_mb": few / MB,
            "rss_many_mb": rss / MB,
            "messages": many,
            "messages_per_s": result["messages_per_s"],
            "syncs": full["syncs"],
        }
        return Sample(metrics, {"load": result, "storage_few": empty, "storage_many": full})


def _disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def _in_frames(bench: Bench) -> Sample:
    return _backlog(bench, MANY, 100, 100)


def _singly(bench: Bench) -> Sample:
    return _backlog(bench, bench.choose(MANY, MANY // 10), 1, 2000)


FIGURES = (
    Figure(
        "backlog",
        "3,000,000 messages of 100 bytes wait, published in frames of 100",
        (MEMORY, STORED, *BESIDE),
        _in_frames,
        3,
        1,
    ),
    Figure(
        "backlog-singly",
        "3,000,000 messages of 100 bytes wait (300,000 with --quick), published one a frame",
        (MEMORY, STORED._replace(limit=None), *BESIDE),
        _singly,
        2,
        1,
    ),
)
