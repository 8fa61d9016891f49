"""Fetch: whole batches from given offsets on, waiting for them if there are none.

    response := every partition of the request, or of the session those with news

A batch is handed out as it is stored wherever the client can read that: the bytes are not looked at. What
the broker had compressed with zstd is decompressed for clients that may not know zstd, and what came by
another protocol is made a batch. The first partition that has something gives at least one batch, however
large; beyond it the limits hold.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.fetch_session import NO_EPOCH, FetchPartition, FetchSession, Key, find_session
from handlers.kafka.list_offsets import check_epoch
from handlers.kafka.stored import read_page
from handlers.kafka.tables import FETCH
from portask.errors import CorruptError, OffsetOutOfRangeError, PortaskError

if TYPE_CHECKING:
    from handlers.kafka.session import Session
    from portask.partition import Partition
    from portask.storage.base import Buffer

log = logging.getLogger(__name__)

MAX_WAIT_S = 600.0
_UNKNOWN = -1

_TopicAnswer = FETCH.Response.FetchableTopicResponse
_PartitionAnswer = FETCH.Response.PartitionData


def fetch(session: Session, request: Any, version: int) -> Any:
    """Answer a Fetch. Blocks until there is enough, something went wrong, or the time is over."""
    found = find_session(session, request, version)
    if isinstance(found, ErrorCode):
        return FETCH.Response(error_code=found, session_id=0, responses=[])
    fetched: FetchSession = found
    try:
        return _Fetch(session, request, fetched).run()
    finally:
        if fetched.wake == session.wake.set:
            fetched.wake = None
        if not fetched.id:
            fetched.close()


class _Fetch:
    """One request while it is answered."""

    def __init__(self, session: Session, request: Any, fetched: FetchSession) -> None:
        self._session = session
        self._fetched = fetched
        settings = session.settings
        self._zstd = takes_zstd(session, settings.kafka_fetch_compression)
        self._max_bytes: int = min(request.max_bytes, settings.kafka_fetch_max_bytes)
        self._min_bytes: int = request.min_bytes
        self._max_wait_s: float = min(max(request.max_wait_ms, 0) / 1000, MAX_WAIT_S)
        self._read_committed = request.isolation_level == 1
        self._size = 0
        self._messages = 0
        self._answers: dict[Key, Any] = {}
        self._is_urgent = False
        """Something is to be told at once, however little there is to read."""
        self._is_waiting = False
        self._missing: set[Key] = set()
        """Partitions that there are not."""

    def run(self) -> Any:
        """The response. Blocks."""
        session, fetched = self._session, self._fetched
        if fetched.id:
            fetched.watch(session.broker)
        self._collect()
        # Partitions that there are not are no reason to answer at once, else their consumer would ask without end.
        if len(fetched.partitions) > len(self._missing) and not self._is_enough() and self._max_wait_s:
            self._is_waiting = True
            self._wait()
        # Another connection may have gone on with the same session meanwhile, and forgotten some.
        answers = {key: answer for key, answer in self._answers.items() if key in fetched.partitions}
        for key, answer in answers.items():
            part = fetched.partitions[key]
            part.high_watermark, part.log_start_offset = answer.high_watermark, answer.log_start_offset
        if fetched.id:
            fetched.served([key for key, answer in answers.items() if answer.records])
        session.messages_out += self._messages
        return FETCH.Response(session_id=fetched.id, responses=_by_topic(fetched, answers))

    def _wait(self) -> None:
        session, fetched = self._session, self._fetched
        clock = session.broker.clock
        deadline = clock.monotonic() + self._max_wait_s
        fetched.wake = session.wake.set
        if not fetched.id:
            # One request alone is not worth watching for unless it waits; what came since its look is not known then.
            fetched.watch(session.broker)
            fetched.is_changed = True
        while not self._is_enough():
            if not fetched.is_changed:
                session.wake.clear()
                left_s = deadline - clock.monotonic()
                if left_s <= 0 or not session.pause(left_s):
                    break
            self._collect()

    def _is_enough(self) -> bool:
        return self._is_urgent or self._size >= self._min_bytes

    def _collect(self) -> None:
        """Read what there is. May block."""
        self._answers.clear()
        self._size = self._messages = 0
        fetched = self._fetched
        fetched.is_changed = False
        for key in list(fetched.pending):
            part = fetched.partitions.get(key)
            if part is None:
                continue
            answer = self._look(key, part)
            if answer is not None:
                self._answers[key] = answer
            elif part.partition is not None and part.offset == part.partition.high_watermark:
                fetched.settled(key, part.partition)
        if fetched.is_new:
            for key, part in fetched.partitions.items():
                if key not in self._answers:
                    self._answers[key] = self._answer(part, [])

    def _look(self, key: Key, part: FetchPartition) -> Any:
        """The answer for one partition; None when there is no news."""
        partition = self._fetched.resolve(key, part, self._session.broker)
        if partition is None:
            return self._miss(key, part)
        code = check_epoch(partition, part.leader_epoch)
        if code is not ErrorCode.NONE:
            return self._refuse(part, code)
        if part.fetched_epoch > partition.leader_epoch:
            return self._refuse(part, ErrorCode.OFFSET_OUT_OF_RANGE)
        if part.offset == partition.high_watermark:
            return self._news(part, partition)
        if part.fetched_epoch != NO_EPOCH and part.offset > partition.high_watermark:
            return self._diverged(part, partition)
        left = self._max_bytes - self._size
        if self._size and left <= 0:
            return self._news(part, partition)
        try:
            page = read_page(partition, part.offset, min(part.max_bytes, left), not self._size, self._zstd)
        except PortaskError as error:
            if not isinstance(error, OffsetOutOfRangeError):
                place = {"topic": part.topic, "partition": part.number, "offset": part.offset}
                log.log(
                    logging.ERROR if isinstance(error, CorruptError) else logging.WARNING,
                    "fetch failed",
                    extra={**place, "error": str(error)},
                )
            return self._refuse(part, code_of(error))
        if not page.size:
            return self._news(part, partition)
        self._size += page.size
        self._messages += page.count
        return self._answer(part, page.pieces)

    def _news(self, part: FetchPartition, partition: Partition) -> Any:
        """An answer without records when the consumer knows other bounds than there are."""
        if part.high_watermark == partition.high_watermark and part.log_start_offset == partition.log_start_offset:
            return None
        return self._answer(part, [])

    def _answer(self, part: FetchPartition, pieces: list[Buffer]) -> Any:
        partition = part.partition
        if partition is None:
            return self._refused(part, part.error)
        return _PartitionAnswer(
            partition_index=part.number,
            high_watermark=partition.high_watermark,
            last_stable_offset=partition.high_watermark,
            log_start_offset=partition.log_start_offset,
            aborted_transactions=[] if self._read_committed else None,
            records=pieces,
        )

    def _diverged(self, part: FetchPartition, partition: Partition) -> Any:
        """The consumer is beyond the end of its epoch: tell it where that was (KIP-595)."""
        answer = self._answer(part, [])
        self._is_urgent = True
        answer.diverging_epoch = FETCH.Response.EpochEndOffset(
            epoch=partition.leader_epoch, end_offset=partition.high_watermark
        )
        return answer

    def _miss(self, key: Key, part: FetchPartition) -> Any:
        """The answer for a partition that there is not; one that goes while others are waited for is told at once."""
        if key not in self._missing:
            self._missing.add(key)
            self._is_urgent = self._is_urgent or self._is_waiting
        return self._refused(part, part.error)

    def _refuse(self, part: FetchPartition, code: ErrorCode) -> Any:
        self._is_urgent = True
        return self._refused(part, code)

    def _refused(self, part: FetchPartition, code: ErrorCode) -> Any:
        return _PartitionAnswer(
            partition_index=part.number,
            error_code=code,
            high_watermark=_UNKNOWN,
            last_stable_offset=_UNKNOWN,
            log_start_offset=_UNKNOWN,
            aborted_transactions=[] if self._read_committed else None,
            records=[],
        )


_ZSTD_CLIENTS = {"apache-kafka-java", "kgo"}
"""Libraries that read zstd in every build, by the name that they give themselves."""


def takes_zstd(session: Session, choice: str) -> bool:
    """Whether the peer may get zstd batches that nobody sent so."""
    return choice == "always" or (choice == "auto" and session.library in _ZSTD_CLIENTS)


def _by_topic(fetched: FetchSession, answers: dict[Key, Any]) -> list[Any]:
    topics: dict[str | bytes, Any] = {}
    for key, answer in answers.items():
        topic = topics.get(key[0])
        if topic is None:
            part = fetched.partitions[key]
            topic = topics[key[0]] = _TopicAnswer(topic=part.topic, topic_id=part.topic_id, partitions=[])
        topic.partitions.append(answer)
    return list(topics.values())
