"""Fetch sessions (KIP-227): what a consumer fetches is told once, then only what changes.

A session watches its partitions, and keeps a list of those that may have something to say: what a request
named, what has changed since, and what had more than there was room for. Only these are looked at, so a
fetch costs what there is to tell, not what the session holds. One that gave records goes to the end of
the list: with a full response the others come first next time.

    session id 0, epoch -1   no session: the request names everything
    session id 0, epoch 0    begin one
    session id N, epoch 0    end N, begin another
    session id N, epoch -1   end N
    session id N, epoch E    go on: E is one more than that of the last request, 1 after 2^31 - 1
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from portask.errors import PortaskError, UnknownTopicError

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.kafka.session import Session
    from portask.broker import Broker
    from portask.clock import Clock
    from portask.partition import Partition

FINAL_EPOCH = -1
INITIAL_EPOCH = 0
MAX_EPOCH = (1 << 31) - 1
NO_EPOCH = -1
"""A consumer does not say which leader epoch it knows, or has records of."""
MAX_SESSIONS = 1000
MAX_PARTITIONS = 250_000
"""Partitions that all sessions together may hold: about 80 MB."""
IDLE_S = 120.0
"""A session that was not used for so long makes room for another one."""
_SESSION_VERSION = 7
_TOPIC_ID_VERSION = 13

Key = tuple[str | bytes, int]
"""A topic's name or id, as the request says it, and the number of a partition."""

_random = SystemRandom()


class FetchPartition:
    """One partition as a consumer fetches it."""

    __slots__ = (
        "by_id",
        "error",
        "fetched_epoch",
        "high_watermark",
        "leader_epoch",
        "log_start_offset",
        "max_bytes",
        "number",
        "offset",
        "partition",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, topic_id: bytes, fields: Any, by_id: bool) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.by_id = by_id
        """Whether the consumer knows the topic by its id, not by its name."""
        self.number: int = fields.partition
        self.partition: Partition | None = None
        self.error = ErrorCode.NONE
        """Why there is no partition."""
        self.high_watermark = -1
        """As the consumer was last told."""
        self.log_start_offset = -1
        self.update(fields)

    def update(self, fields: Any) -> None:
        """Take over what a request says."""
        self.offset: int = fields.fetch_offset
        self.max_bytes: int = fields.partition_max_bytes
        # Any negative epoch is none here, as Kafka has it.
        self.leader_epoch: int = max(fields.current_leader_epoch, NO_EPOCH)
        self.fetched_epoch: int = max(fields.last_fetched_epoch, NO_EPOCH)

    def resolve(self, broker: Broker) -> None:
        """Find the partition, also again after its topic was deleted or made."""
        if self.partition is not None and not self.partition.closed:
            return
        by_id = self.by_id
        self.partition = None
        try:
            topic = broker.catalog.topic_by_id(self.topic_id.hex()) if by_id else broker.catalog.topic(self.topic)
            self.partition = topic.partition(self.number)
            self.topic = topic.name
            self.error = ErrorCode.NONE
        except UnknownTopicError:
            self.error = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        except PortaskError:
            self.error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


class FetchSession:
    """The partitions of one consumer, and where its requests stand."""

    def __init__(self, session_id: int, now: float, by_id: bool) -> None:
        self.id = session_id
        """0 when nothing is kept for the next request."""
        self.by_id = by_id
        """Whether topics are named by their ids."""
        self.epoch = INITIAL_EPOCH
        self.partitions: dict[Key, FetchPartition] = {}
        self.pending: dict[Key, None] = {}
        """The partitions that may have something to say, in the order in which they are served."""
        self.used_at = now
        self.is_new = True
        """All partitions are to be answered, not only those with something to say."""
        self.is_changed = False
        """Something has happened to a watched partition since this was last reset."""
        self.wake: Callable[[], object] | None = None
        """Called when something has happened to a watched partition; set while a request waits."""
        self._watched: dict[Key, tuple[Partition, Callable[[], None]]] = {}
        self._unwatched: set[Key] = set()

    def update(self, request: Any) -> None:
        """Take over what *request* adds, changes and forgets."""
        for topic in request.topics:
            name = self._key(topic)
            for fields in topic.partitions:
                key = name, fields.partition
                known = self.partitions.get(key)
                if known is None:
                    self.partitions[key] = FetchPartition(topic.topic, topic.topic_id, fields, self.by_id)
                    self._unwatched.add(key)
                else:
                    known.update(fields)
                self.pending[key] = None
        for topic in request.forgotten_topics_data:
            for number in topic.partitions:
                key = self._key(topic), number
                self.partitions.pop(key, None)
                self.pending.pop(key, None)
                self._unwatch(key)

    def served(self, keys: Iterable[Key]) -> None:
        """Those partitions gave records: the others come first next time."""
        for key in keys:
            self.pending.pop(key, None)
            self.pending[key] = None

    def settled(self, key: Key, partition: Partition) -> None:
        """All that there is of *partition* has been told: it need not be looked at before it changes."""
        watched = self._watched.get(key)
        if watched is not None and watched[0] is partition:
            self.pending.pop(key, None)

    def resolve(self, key: Key, part: FetchPartition, broker: Broker) -> Partition | None:
        """The partition that *part* stands for now, None when there is none."""
        partition = part.partition
        if partition is None or partition.closed:
            part.resolve(broker)
            partition = part.partition
            self._unwatched.add(key)
        return partition

    def watch(self, broker: Broker) -> None:
        """Hear of what happens to the partitions from here on."""
        for key in list(self._unwatched):
            part = self.partitions.get(key)
            partition = None if part is None else self.resolve(key, part, broker)
            if partition is not None:
                self._unwatch(key)
                call = partial(self._changed, key)
                partition.watch(call)
                self._watched[key] = partition, call
        self._unwatched.clear()

    def close(self) -> None:
        """Hear of nothing any more."""
        for key in list(self._watched):
            self._unwatch(key)

    def _key(self, topic: Any) -> str | bytes:
        """What *topic* of a request is known by."""
        return topic.topic_id if self.by_id else topic.topic  # type: ignore[no-any-return]

    def _unwatch(self, key: Key) -> None:
        watched = self._watched.pop(key, None)
        if watched is not None:
            watched[0].unwatch(watched[1])

    def _changed(self, key: Key) -> None:
        self.pending[key] = None
        self.is_changed = True
        if self.wake is not None:
            self.wake()


class FetchSessions:
    """All sessions of a listener, bounded in number and in what they hold."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[int, FetchSession] = {}
        """Least recently used first."""
        self._held = 0
        """Partitions of all of them."""

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, request: Any, by_id: bool) -> FetchSession | ErrorCode:
        """The session that *request* begins or goes on with, brought up to date, or why there is none.

        *by_id* says whether the request names topics by their ids.
        """
        now = self._clock.monotonic()
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self._close(request.session_id)
            session = FetchSession(0, now, by_id)
            session.update(request)
            if request.session_epoch == INITIAL_EPOCH and session.partitions and self._make_room(session, now):
                session.id = self._new_id()
                session.epoch = 1
                self._sessions[session.id] = session
                self._held += len(session.partitions)
            return session
        known = self._sessions.get(request.session_id)
        if known is None:
            return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
        if request.session_epoch != known.epoch:
            return ErrorCode.INVALID_FETCH_SESSION_EPOCH
        if known.by_id != by_id:
            return ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
        known.epoch = 1 if known.epoch == MAX_EPOCH else known.epoch + 1
        known.used_at = now
        known.is_new = False
        self._held -= len(known.partitions)
        known.update(request)
        self._held += len(known.partitions)
        self._sessions[known.id] = self._sessions.pop(known.id)
        if not known.partitions or self._held > MAX_PARTITIONS:
            self._close(known.id)
            known.id = 0
        return known

    def close(self) -> None:
        """Forget all sessions."""
        for session_id in list(self._sessions):
            self._close(session_id)

    def _close(self, session_id: int) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._held -= len(session.partitions)
            session.close()

    def _make_room(self, session: FetchSession, now: float) -> bool:
        """Whether *session* may be kept, at the cost of those that nobody uses."""
        room = MAX_PARTITIONS - len(session.partitions)
        while self._sessions and (len(self._sessions) >= MAX_SESSIONS or self._held > room):
            oldest = next(iter(self._sessions.values()))
            if now - oldest.used_at < IDLE_S:
                return False
            self._close(oldest.id)
        return self._held <= room

    def _new_id(self) -> int:
        # Random, so that an id of an earlier life of this broker is not taken for one of this.
        while (number := _random.randint(1, (1 << 31) - 1)) in self._sessions:
            pass
        return number


def find_session(session: Session, request: Any, version: int) -> FetchSession | ErrorCode:
    """The fetch session of *request*; before version 7 each request stands for itself."""
    if version < _SESSION_VERSION:
        request.session_id, request.session_epoch = 0, FINAL_EPOCH
    return session.fetch_sessions.find(request, by_id=version >= _TOPIC_ID_VERSION)
