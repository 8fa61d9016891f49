"""Committed offsets: what has become durable, by group, and the way of new ones to the store.

A commit is a change on the bus. All that are there when a round is made go into it together and share
its sync; an offset can be fetched when it is durable, and then its client is answered. Only the
greenlet that commits waits.

Changes become durable in the order in which they came, and memory follows in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from gevent.event import AsyncResult

from portask.bus import Bus, Change
from portask.coordinator.offset_row import TABLE, CommittedOffset, OffsetKey, decode_row, encode_key, encode_value
from portask.errors import CoordinatorUnavailableError, PortaskError
from portask.storage.base import Round, Storage
from portask.topic import Topic

Place = tuple[Topic, int]
"""A topic and the number of a partition."""
PartitionOffsets = dict[int, CommittedOffset]


class CommittedOffsets:
    """Offsets by group, topic id and partition."""

    def __init__(self, bus: Bus, storage: Storage) -> None:
        self.commits = 0
        """Offsets committed, for metrics."""
        self._bus = bus
        self._storage = storage
        self._groups: dict[str, dict[str, PartitionOffsets]] = {}
        self._in_flight: Counter[str] = Counter()

    def load(self, topic_ids: set[str]) -> None:
        """Restore what is stored for these topics; what is left of others is deleted. Raises CorruptError."""
        left_over: list[bytes] = []
        for key, value in self._storage.load(TABLE).items():
            place, offset = decode_row(key, value)
            if place.topic_id in topic_ids:
                self._set(place, offset)
            else:
                left_over.append(key)
        if left_over:
            # A commit that was under way when its topic was deleted.
            self._bus.put(Change(lambda round_: round_.puts.update(dict.fromkeys(_rows(left_over))), _ignore))

    # -- reading ----------------------------------------------------------------------------------

    def groups(self) -> list[str]:
        """Ids of the groups that have offsets."""
        return list(self._groups)

    def get(self, key: OffsetKey) -> CommittedOffset | None:
        """That offset, if it was ever committed."""
        return self._groups.get(key.group_id, {}).get(key.topic_id, {}).get(key.partition)

    def of_group(self, group_id: str) -> Mapping[str, Mapping[int, CommittedOffset]]:
        """All offsets of a group, by topic id and partition."""
        return self._groups.get(group_id, {})

    def keys(self, group_id: str) -> Iterator[OffsetKey]:
        """The keys of all offsets of a group."""
        for topic_id, partitions in self._groups.get(group_id, {}).items():
            for partition in partitions:
                yield OffsetKey(group_id, topic_id, partition)

    def is_busy(self, group_id: str) -> bool:
        """Whether commits of that group are on their way to the store."""
        return group_id in self._in_flight

    # -- writing ----------------------------------------------------------------------------------

    def commit(self, group_id: str, offsets: Mapping[Place, CommittedOffset]) -> None:
        """Set *offsets*. Blocks until they are durable; raises CoordinatorUnavailableError when they will not be."""
        written: dict[OffsetKey, CommittedOffset] = {}

        def collect(round_: Round) -> None:
            for (topic, partition), offset in offsets.items():
                if not topic.closed:
                    key = OffsetKey(group_id, topic.id, partition)
                    written[key] = offset
                    round_.puts[TABLE, encode_key(key)] = encode_value(offset)

        def done(change: Change) -> None:
            self._in_flight[group_id] -= 1
            if not self._in_flight[group_id]:
                del self._in_flight[group_id]
            if change.error is None:
                self.commits += len(written)
                for key, offset in written.items():
                    self._set(key, offset)

        self._in_flight[group_id] += 1
        self._write(collect, done)

    def delete(self, choose: Callable[[], Iterable[OffsetKey]], more: Callable[[Round], None] | None = None) -> int:
        """Forget the offsets that *choose* names when the round is made, and count them. Blocks until durable.

        *more* may add to that round.
        """
        keys: list[OffsetKey] = []

        def collect(round_: Round) -> None:
            keys.extend(choose())
            round_.puts.update(dict.fromkeys(_rows(map(encode_key, keys))))
            if more is not None:
                more(round_)

        def done(change: Change) -> None:
            for key in keys if change.error is None else ():
                self._forget(key)

        self._write(collect, done)
        return len(keys)

    def settle(self) -> None:
        """Return when every commit that is under way is durable or refused. Blocks."""
        self._write(_ignore, _ignore)

    def collect_topic(self, topic: Topic, round_: Round) -> None:
        """Put the deletion of all offsets of *topic* into *round_*."""
        for group_id, topics in self._groups.items():
            for partition in topics.get(topic.id, ()):
                round_.puts[TABLE, encode_key(OffsetKey(group_id, topic.id, partition))] = None

    def keep_topics(self, topic_ids: set[str]) -> None:
        """Free the memory of offsets of all other topics: they were deleted."""
        for group_id, topics in list(self._groups.items()):
            for topic_id in [topic_id for topic_id in topics if topic_id not in topic_ids]:
                del topics[topic_id]
            if not topics:
                del self._groups[group_id]

    # -- inside -----------------------------------------------------------------------------------

    def _write(self, collect: Callable[[Round], None], done: Callable[[Change], None]) -> None:
        """Have *collect*'s rows written. Blocks; raises CoordinatorUnavailableError when storage did not take them.

        *done* is called in the order of the changes, and also when the greenlet that waits here was killed.
        """
        answer = AsyncResult()

        def tell(change: Change) -> None:
            done(change)
            answer.set(change)

        change = Change(collect, tell)
        try:
            self._bus.put(change)
        except PortaskError as error:
            change.error = error
            tell(change)
        answer.get()
        if change.error is not None:
            raise CoordinatorUnavailableError(f"offsets could not be stored: {change.error}") from change.error

    def _set(self, key: OffsetKey, offset: CommittedOffset) -> None:
        self._groups.setdefault(key.group_id, {}).setdefault(key.topic_id, {})[key.partition] = offset

    def _forget(self, key: OffsetKey) -> None:
        topics = self._groups.get(key.group_id, {})
        partitions = topics.get(key.topic_id, {})
        partitions.pop(key.partition, None)
        if not partitions:
            topics.pop(key.topic_id, None)
        if not topics:
            self._groups.pop(key.group_id, None)


def _rows(keys: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((TABLE, key) for key in keys)


def _ignore(_: object) -> None:
    """Nothing to add, nobody to tell."""
