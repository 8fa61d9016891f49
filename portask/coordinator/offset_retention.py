"""Retention of committed offsets: which have had their time, and groups that have nothing left (KIP-211).

An offset counts from the moment when the last member left; in a group with members only those of topics
that no member reads any more expire, from their commit on. A client of old that has said itself when
its offset expires is obeyed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from portask.coordinator.committed_offsets import CommittedOffsets
from portask.coordinator.group import Group
from portask.coordinator.group_row import delete_row
from portask.coordinator.offset_row import NO_EXPIRY, CommittedOffset, OffsetKey
from portask.errors import PortaskError
from portask.storage.base import Round

if TYPE_CHECKING:
    from portask.catalog import Catalog
    from portask.clock import Clock
    from portask.config import Settings

log = logging.getLogger(__name__)


class OffsetRetention:
    """Owns the greenlet that looks at all offsets now and then."""

    def __init__(
        self, offsets: CommittedOffsets, groups: dict[str, Group], catalog: Catalog, settings: Settings, clock: Clock
    ) -> None:
        """*groups* are the coordinator's; those that have nothing left are taken out."""
        self._offsets = offsets
        self._groups = groups
        self._catalog = catalog
        self._settings = settings
        self._clock = clock
        self._stopped = Event()
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to look every `offsets_check_interval_ms`."""
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = "offset retention"

    def stop(self) -> None:
        """End the greenlet. Blocks until a look that has begun is through."""
        self._stopped.set()
        if self._greenlet is not None:
            self._greenlet.join()

    def apply(self) -> int:
        """Forget what has had its time; the number of offsets. Blocks until durable.

        Raises CoordinatorUnavailableError, and everything stays.
        """
        over: list[Group] = []

        def delete_rows(round_: Round) -> None:
            for group in over:
                delete_row(group.id, round_)

        try:
            count = self._offsets.delete(lambda: self._choose(over), delete_rows)
        except PortaskError:
            for group in over:
                group.revive()
            raise
        for group in over:
            del self._groups[group.id]
        if count or over:
            log.info("offsets expired", extra={"offsets": count, "groups": len(over)})
        return count

    def _run(self) -> None:
        while not self._stopped.wait(self._settings.offsets_check_interval_ms / 1000):
            try:
                self.apply()
            except PortaskError as error:
                log.warning("retention of offsets failed, it is tried again", extra={"error": str(error)})

    def _choose(self, over: list[Group]) -> Iterator[OffsetKey]:
        """The keys that are to go; groups that have nothing left then are ended, and added to *over*."""
        self._offsets.keep_topics({topic.id for topic in self._catalog.topics()})
        for group in list(self._groups.values()):
            # A commit that is on its way would be deleted before it is there.
            if self._offsets.is_busy(group.id):
                continue
            every = list(self._offsets.keys(group.id))
            expired = [key for key in every if self._is_expired(group, key)]
            if len(expired) == len(every) and group.is_empty:
                group.delete()
                over.append(group)
            yield from expired

    def _is_expired(self, group: Group, key: OffsetKey) -> bool:
        if group.is_subscribed(self._catalog.topic_by_id(key.topic_id).name):
            return False
        offset = self._offsets.get(key)
        assert offset is not None
        return self._is_over(group, offset)

    def _is_over(self, group: Group, offset: CommittedOffset) -> bool:
        base_ms = group.expiry_base_ms(offset.committed_at_ms)
        if base_ms is None:
            return False
        now_ms = self._clock.now_ms()
        if offset.expires_at_ms != NO_EXPIRY:
            return now_ms >= offset.expires_at_ms
        return now_ms - base_ms >= int(self._settings.offsets_retention_ms)
