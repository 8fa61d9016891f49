"""Compaction: of each key only the newest record stays, in topics whose cleanup_policy says so.

One greenlet looks at the partitions now and then and cleans those of which enough is new. To clean is to
go through what was written since the last time and note the newest offset of each key, then to have storage
rewrite the log without the records that a newer one outdates. When there are more keys than the table has
room for, it is done in several passes, each as far as the table reached. Offsets never change.

A tombstone stays for delete_retention_ms after the first cleaning that saw it, so that readers who are not
far behind learn of it. Records without a key stay, and so does the last record of a log, that reading can
reach its end. What is within min_compaction_lag_ms is not touched.

    table "compaction"   log u64 -> see portask.cleaning_progress
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import gevent
from gevent.event import Event

from portask.bus import Bus
from portask.catalog import Catalog, commit
from portask.cleaning import Cleaning, CleaningStoppedError
from portask.cleaning_progress import TABLE, Progress
from portask.errors import CorruptError, PortaskError
from portask.storage.base import Round, Storage

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.config import Settings
    from portask.partition import Partition
    from portask.topic import Topic

log = logging.getLogger(__name__)

T = TypeVar("T")


class Dirt(NamedTuple):
    """How much a partition needs to be cleaned."""

    ratio: float
    is_due: bool


class Compaction:
    """Owns the greenlet that cleans partitions."""

    def __init__(self, catalog: Catalog, bus: Bus, storage: Storage, settings: Settings, clock: Clock) -> None:
        self.cleanings = 0
        self.removed_records = 0
        self.removed_bytes = 0
        self.seconds = 0.0
        self.broken: set[int] = set()
        """Logs with a damaged batch: they are left alone until the next start."""
        self._catalog = catalog
        self._bus = bus
        self._storage = storage
        self._settings = settings
        self._clock = clock
        self._progress: dict[int, Progress] = {}
        self._gathered_at_ms = 0
        self._stopped = Event()
        self._greenlet: gevent.Greenlet | None = None
        catalog.on_delete.append(self._forget)

    def load(self) -> None:
        """Restore what was reached. Raises CorruptError when a row is broken."""
        rows = self._storage.load(TABLE)
        self._progress = {int.from_bytes(key, "big"): Progress.decode(row) for key, row in rows.items()}

    def start(self) -> None:
        """Begin to look every `compaction_interval_ms`."""
        self._gathered_at_ms = self._clock.now_ms()
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = "compaction"

    def stop(self) -> None:
        """End the greenlet. Blocks until the step that it is at is through."""
        self._stopped.set()
        if self._greenlet is not None:
            self._greenlet.join()

    def apply(self) -> int:
        """Clean every partition of which enough is new, the dirtiest first; how many those were. Blocks."""
        dirty: list[tuple[float, Partition]] = []
        for topic in self._catalog.topics():
            if "compact" in topic.config.cleanup_policy:
                for partition in topic.partitions:
                    dirt = self._try(partition, self._look)
                    if dirt is not None and dirt.is_due:
                        dirty.append((dirt.ratio, partition))
        dirty.sort(key=lambda found: -found[0])
        return sum(self._try(partition, self.clean) is not None for _, partition in dirty)

    def _run(self) -> None:
        while not self._stopped.wait(self._settings.compaction_interval_ms / 1000):
            try:
                self.apply()
            except Exception:  # one partition's trouble must not end it for all
                log.exception("compaction failed, it is tried again")

    def _try(self, partition: Partition, call: Callable[[Partition], T]) -> T | None:
        """What *call* returns; None when something kept it from that, which concerns this partition alone."""
        if self._stopped.is_set() or partition.closed or partition.log in self.broken:
            return None
        where = {"topic": partition.topic.name, "partition": partition.number}
        try:
            return call(partition)
        except CleaningStoppedError:
            return None
        except CorruptError as error:
            self.broken.add(partition.log)
            log.error(  # noqa: TRY400  # the text says it all
                "partition is not compacted until the next start", extra={**where, "error": str(error)}
            )
        except PortaskError as error:
            log.warning("compaction failed, it is tried again", extra={**where, "error": str(error)})
        return None

    # -- what there is to do ----------------------------------------------------------------------

    def _look(self, partition: Partition) -> Dirt:
        """How dirty *partition* is. May block, also to bring what is new within reach."""
        reach = self._storage.rewritable(partition.log)
        dirt = self._measure(partition, reach.next_offset, reach.size_bytes)
        if dirt.is_due or reach.next_offset >= partition.high_watermark:
            return dirt
        # The rest is still where it cannot be rewritten. That changes by itself as more is written, so it is
        # only hurried along where little is, and not often: it moves what all logs have there.
        whole = self._storage.bounds(partition.log)
        now_ms = self._clock.now_ms()
        is_time = now_ms - self._gathered_at_ms >= self._settings.compaction_gather_ms
        if not is_time or not self._measure(partition, whole.next_offset, whole.size_bytes).is_due:
            return dirt
        self._gathered_at_ms = now_ms
        reach = self._storage.rewritable(partition.log, gather=True)
        return self._measure(partition, reach.next_offset, reach.size_bytes)

    def _measure(self, partition: Partition, end_offset: int, size_bytes: int) -> Dirt:
        """How dirty the part of *partition* below *end_offset* is, which has *size_bytes*. May block."""
        config, progress = partition.topic.config, self._progress.get(partition.log, Progress())
        now_ms = self._clock.now_ms()
        first_dirty = max(progress.clean_offset, partition.log_start_offset)
        if first_dirty >= self._end(partition, end_offset):
            expired = progress.expired_before(now_ms, config.delete_retention_ms)
            return Dirt(0.0, progress.tombstones > 0 and expired >= progress.clean_offset)
        clean_bytes = progress.clean_bytes
        if partition.log_start_offset > progress.start_offset:
            # Of the clean part some was trimmed: about so much as of its offsets.
            left = max(0, progress.clean_offset - partition.log_start_offset)
            clean_bytes = clean_bytes * left // max(1, progress.clean_offset - progress.start_offset)
        ratio = max(0, size_bytes - clean_bytes) / max(1, size_bytes)
        is_due = ratio >= config.min_cleanable_dirty_ratio
        if not is_due and config.max_compaction_lag_ms <= now_ms:
            first = self._storage.read(partition.log, first_dirty, 0)
            is_due = bool(first) and first[0].max_timestamp + config.max_compaction_lag_ms <= now_ms
        return Dirt(ratio, is_due)

    def _end(self, partition: Partition, end_offset: int) -> int:
        """Where cleaning ends: before what is not durable, and before what is too new. May block."""
        end_offset = min(end_offset, partition.high_watermark)
        lag_ms = partition.topic.config.min_compaction_lag_ms
        if lag_ms:
            found = self._storage.find_time(partition.log, self._clock.now_ms() - lag_ms + 1)
            if found is not None:
                end_offset = min(end_offset, found)
        return end_offset

    # -- cleaning ---------------------------------------------------------------------------------

    def clean(self, partition: Partition) -> int:
        """Clean all of *partition* that can be; the number of records that are gone. Blocks.

        Raises CorruptError when a batch makes no sense, and what storage raises.
        """
        started = time.monotonic()
        before_bytes, removed = self._storage.bounds(partition.log).size_bytes, 0
        config = partition.topic.config
        end_offset = self._end(partition, self._storage.rewritable(partition.log).next_offset)
        known = self._progress.get(partition.log, Progress())
        expired_before = known.expired_before(self._clock.now_ms(), config.delete_retention_ms)
        reached, passes = min(known.clean_offset, end_offset), 0
        while reached < end_offset or not passes:
            cleaning = Cleaning(
                self._storage, partition, expired_before, self._settings.compaction_memory_bytes, self._stopped
            )
            reached = cleaning.read(reached, end_offset)
            cleaning.rewrite()
            partition.compacted(reached)
            removed += cleaning.removed
            passes += 1
            progress = Progress(
                reached, cleaning.kept_bytes, partition.log_start_offset, cleaning.tombstones, list(known.marks)
            )
            if reached >= end_offset:
                progress.mark(self._clock.now_ms(), config.delete_retention_ms)
            self._save(partition, progress)
        elapsed_s = time.monotonic() - started
        after_bytes = self._storage.bounds(partition.log).size_bytes
        self.cleanings += 1
        self.removed_records += removed
        self.seconds += elapsed_s
        self.removed_bytes += max(0, before_bytes - after_bytes)
        log.info(
            "partition compacted",
            extra={
                "topic": partition.topic.name,
                "partition": partition.number,
                "end_offset": end_offset,
                "removed": removed,
                "bytes_before": before_bytes,
                "bytes_after": after_bytes,
                "passes": passes,
                "ms": round(elapsed_s * 1000),
            },
        )
        return removed

    def _save(self, partition: Partition, progress: Progress) -> None:
        def collect(round_: Round) -> None:
            # The topic may have been deleted, and its row with it.
            if not partition.closed:
                round_.puts[TABLE, _key(partition)] = progress.encode()
                self._progress[partition.log] = progress

        commit(self._bus, collect)

    def _forget(self, topic: Topic, round_: Round) -> None:
        for partition in topic.partitions:
            self._progress.pop(partition.log, None)
            round_.puts[TABLE, _key(partition)] = None


def _key(partition: Partition) -> bytes:
    return partition.log.to_bytes(8, "big")
