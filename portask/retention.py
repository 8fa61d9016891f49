"""Retention: takes away what is too old or too much, by moving log start offsets.

One greenlet looks at every partition now and then. It only ever trims to what is durable, and storage
frees whole segments, so a topic may keep a little more than its limits say, never less.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from portask.bus import Bus
from portask.catalog import commit
from portask.errors import PortaskError, StorageError
from portask.partition import Partition
from portask.storage.base import Round, Storage

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.config import Settings
    from portask.topic import Topic

log = logging.getLogger(__name__)


class Retention:
    """Owns the greenlet that trims partitions to their topics' retention."""

    def __init__(
        self,
        topics: Callable[[], Iterable[Topic]],
        bus: Bus,
        storage: Storage,
        settings: Settings,
        clock: Clock,
        chores: Sequence[Callable[[], object]] = (),
    ) -> None:
        """*chores* are done after each look: they forget what else is too old, and may block."""
        self.trims = 0
        self._chores = chores
        self._topics = topics
        self._bus = bus
        self._storage = storage
        self._settings = settings
        self._clock = clock
        self._stopped = Event()
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to look every `retention_interval_ms`."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = "retention"

    def stop(self) -> None:
        """End the greenlet. Blocks until a trim that has begun is through."""
        self._stopped.set()
        if self._greenlet is not None:
            self._greenlet.join()

    def apply(self) -> int:
        """Trim every partition that keeps too much; the number of those trimmed. Blocks."""
        trims: dict[Partition, int] = {}
        for topic in list(self._topics()):
            for partition in topic.partitions:
                offset = self._limit_or_start(partition)
                if offset > partition.log_start_offset:
                    trims[partition] = offset
        if trims:
            trim(self._bus, trims)
            self.trims += len(trims)
        return len(trims)

    def _run(self) -> None:
        while not self._stopped.wait(self._settings.retention_interval_ms / 1000):
            try:
                self.apply()
                for chore in self._chores:
                    chore()
            except PortaskError as error:
                log.warning("retention failed, it is tried again", extra={"error": str(error)})

    def _limit_or_start(self, partition: Partition) -> int:
        """As `_limit`; a partition that cannot be read keeps what it has, so that the others are still trimmed."""
        try:
            return self._limit(partition)
        except StorageError as error:
            where = {"topic": partition.topic.name, "partition": partition.number}
            log.warning("retention skips a partition", extra={**where, "error": str(error)})
            return partition.log_start_offset

    def _limit(self, partition: Partition) -> int:
        """The offset that *partition* should start at. May block."""
        config = partition.topic.config
        offset = partition.log_start_offset
        if offset == partition.high_watermark or "delete" not in config.cleanup_policy:
            return offset
        retention_ms, retention_bytes = config.retention_ms, config.retention_bytes
        if retention_ms >= 0:
            offset = max(offset, partition.find_time(self._clock.now_ms() - retention_ms))
        if retention_bytes >= 0 and self._storage.bounds(partition.log).size_bytes > retention_bytes:
            offset = max(offset, self._storage.find_size(partition.log, retention_bytes))
        return min(offset, partition.high_watermark)


def trim(bus: Bus, offsets: dict[Partition, int]) -> None:
    """Drop everything before these offsets. Blocks until that is durable; raises what kept it from it."""

    def collect(round_: Round) -> None:
        for partition, offset in offsets.items():
            if not partition.closed:
                round_.trims[partition.log] = max(offset, round_.trims.get(partition.log, 0))

    commit(bus, collect)
    for partition, offset in offsets.items():
        partition.trimmed(offset)
