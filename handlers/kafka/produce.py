"""Produce: record sets into partitions, unopened.

Each partition's set is checked by its header, compressed when it came uncompressed, and put on the bus;
the connection goes on reading. The answer is due when the last partition's round is safe. Records are
looked at only where a topic's settings ask for something that the header does not tell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.errors import code_of
from handlers.kafka.record_batch import (
    ENCODING_KAFKA,
    NO_COMPRESSION,
    NO_PRODUCER_ID,
    TRANSACTIONAL,
    BatchHeader,
    RefusedBatchError,
    StoredBatch,
    check_batch,
)
from handlers.kafka.record_checks import FOREVER, Demands, check_header, check_records
from handlers.kafka.tables import PRODUCE
from portask.bus import Append, Opaque
from portask.compression import begin_compress, compress
from portask.errors import PortaskError, UsageError
from portask.offload import offload
from portask.producer import Admission

if TYPE_CHECKING:
    from handlers.kafka.session import Session
    from portask.storage.base import Buffer
    from portask.topic import Topic, TopicConfig

log = logging.getLogger(__name__)

ACKS = {-1, 0, 1}
_ZSTD_VERSION = 7
_TOPIC_ID_VERSION = 13
_NO_TIMESTAMP = -1
CREATE_TIME = "CreateTime"
MIN_RECORDS_BYTES = 512
"""Records below this are kept as they are: one line of 100 bytes costs 3 us to compress and shrinks by a quarter."""
CHECK_POOL_BYTES = 64 * 1024
"""From this size on, looking at each record takes about a millisecond and is done in the thread pool."""
PACK_POOL_BYTES = 128 * 1024
"""From this size on, a batch is compressed in the thread pool while the connection goes on reading; the batcher
waits for it when it comes to it. Handing it over costs 20 us, compressing so much 140 us."""
_PACKED_POOL_BYTES = 4 * 1024
"""The same for compressed records, which may swell."""

_TopicAnswer = PRODUCE.Response.TopicProduceResponse
_PartitionAnswer = PRODUCE.Response.PartitionProduceResponse
_RecordAnswer = PRODUCE.Response.BatchIndexAndErrorMessage


class Rules(NamedTuple):
    """What a topic's settings mean for a batch."""

    max_batch_bytes: int
    demands: Demands
    is_stamped: bool
    """Whether records get the time of their append."""
    zstd_level: int

    @classmethod
    def of(cls, config: TopicConfig) -> Rules:
        """The rules that *config* makes."""
        is_stamped = config.timestamp_type != CREATE_TIME
        demands = Demands(
            "compact" in config.cleanup_policy,
            FOREVER if is_stamped else config.timestamp_before_max_ms,
            FOREVER if is_stamped else config.timestamp_after_max_ms,
        )
        return cls(config.max_batch_bytes, demands, is_stamped, config.zstd_level)


Reply = Callable[[Any, bool], None]
"""Gets the response, and whether any partition was refused. Must not block."""


class _Pending:
    """A request whose partitions are on their way to storage."""

    __slots__ = ("failed", "is_transactional", "left", "reply", "response")

    def __init__(self, reply: Reply, is_transactional: bool) -> None:
        self.reply = reply
        self.is_transactional = is_transactional
        self.response = PRODUCE.Response(responses=[])
        self.left = 1  # the request itself, until all of it is on the bus
        self.failed = False

    def done(self) -> None:
        """One part is answered; the last one sends the response."""
        self.left -= 1
        if not self.left:
            self.reply(self.response, self.failed)

    def refuse(self, answer: Any, code: ErrorCode, text: str | None = None) -> None:
        """Answer one partition with an error."""
        answer.error_code = code
        answer.error_message = text
        self.failed = True

    def refuse_for(self, answer: Any, error: PortaskError) -> None:
        """Answer one partition with *error*, and the records that are to blame for it."""
        self.refuse(answer, code_of(error), str(error))
        if isinstance(error, RefusedBatchError):
            answer.record_errors = [
                _RecordAnswer(batch_index=index, batch_index_error_message=str(error)) for index in error.records
            ]


def produce(session: Session, request: Any, version: int, reply: Reply) -> None:
    """Begin to append what *request* brings; *reply* is called once, maybe later. Blocks while the bus is full."""
    pending = _Pending(reply, request.transactional_id is not None)
    for data in request.topic_data:
        topic, code = _find(session, data, version)
        answers = []
        for part in data.partition_data:
            answer = _PartitionAnswer(
                index=part.index, base_offset=-1, log_append_time_ms=_NO_TIMESTAMP, log_start_offset=-1
            )
            answers.append(answer)
            if request.acks not in ACKS:
                pending.refuse(answer, ErrorCode.INVALID_REQUIRED_ACKS)
            elif topic is None:
                pending.refuse(answer, code)
            else:
                _append(session, topic, part, version, answer, pending)
        pending.response.responses.append(
            _TopicAnswer(name=data.name, topic_id=data.topic_id, partition_responses=answers)
        )
    pending.done()


def _find(session: Session, data: Any, version: int) -> tuple[Topic | None, ErrorCode]:
    catalog = session.broker.catalog
    by_id = version >= _TOPIC_ID_VERSION
    try:
        return catalog.topic_by_id(data.topic_id.hex()) if by_id else catalog.topic(data.name), ErrorCode.NONE
    except UsageError:  # a name that no topic can have is unknown like any other
        return None, ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _append(session: Session, topic: Topic, part: Any, version: int, answer: Any, pending: _Pending) -> None:
    """Check one partition's records and put them on the bus. Blocks."""
    try:
        partition = topic.partition(part.index)
        records: memoryview | None = part.records
        rules = topic.config.derived(Rules.of)
        header = check_batch(records, rules.max_batch_bytes, version >= _ZSTD_VERSION)
        assert records is not None
        now_ms = session.broker.clock.now_ms()
        _check_records(records, header, rules.demands, now_ms)
        if header.attributes & TRANSACTIONAL:
            _refuse_transaction(answer, pending)
            return
        answer.log_start_offset = partition.log_start_offset
        admission = None
        if header.producer_id > NO_PRODUCER_ID:
            admission = Admission(
                partition, header.producer_id, header.producer_epoch, header.base_sequence, header.count, now_ms
            )
        stored, max_timestamp = StoredBatch(records, header), header.max_timestamp
        if rules.is_stamped:
            stored.stamp(now_ms)
            answer.log_append_time_ms = max_timestamp = now_ms
        place = partial(_place, stored, _pack(stored, header, rules.zstd_level))
        opaque = Opaque(ENCODING_KAFKA, header.count, max_timestamp, header.size, place)
        done = partial(_done, pending, answer, admission)
        item = Append(partition, [], header.size, done, opaque, admission)
        pending.left += 1
        try:
            session.broker.append(item)
        except BaseException:
            pending.left -= 1
            raise
        session.messages_in += header.count
    except PortaskError as error:
        pending.refuse_for(answer, error)


def _refuse_transaction(answer: Any, pending: _Pending) -> None:
    if pending.is_transactional:
        pending.refuse(answer, ErrorCode.INVALID_TXN_STATE, "transactions are not part of this version")
    else:
        code = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        pending.refuse(answer, code, "a batch of a transaction came without the transaction's id")


def _done(pending: _Pending, answer: Any, admission: Admission | None, item: Append) -> None:
    if item.error is not None:
        pending.refuse_for(answer, item.error)
        answer.log_append_time_ms = _NO_TIMESTAMP
    elif admission is not None:
        answer.base_offset = admission.entry.base_offset
        if answer.log_append_time_ms != _NO_TIMESTAMP:
            answer.log_append_time_ms = admission.entry.timestamp
    else:
        answer.base_offset = item.base_offset
    pending.done()


def _check_records(records: memoryview, header: BatchHeader, demands: Demands, now_ms: int) -> None:
    """Raise what check_header and check_records do. Blocks when there is much to look at."""
    check_header(header, demands, now_ms)
    if demands.need_records:
        if header.size < CHECK_POOL_BYTES:
            check_records(records, header, demands, now_ms)
        else:
            offload(check_records, records, header, demands, now_ms)


def _pack(stored: StoredBatch, header: BatchHeader, level: int) -> Callable[[], bytes] | None:
    """Begin to compress the records of a batch that came uncompressed; the function that returns them."""
    records = stored.records
    if header.compression != NO_COMPRESSION or len(records) < MIN_RECORDS_BYTES:
        return None
    if len(records) >= PACK_POOL_BYTES:
        return begin_compress(records, level)
    packed = compress(records, level)
    return lambda: packed


def _place(
    stored: StoredBatch, packing: Callable[[], bytes] | None, base_offset: int, leader_epoch: int
) -> tuple[int, list[Buffer]]:
    """The codec of the envelope, and the batch at its place in the log. Blocks until it is compressed."""
    if packing is not None:
        packed = packing()
        if len(packed) < len(stored.records):
            stored.compressed(packed)
    return stored.codec, stored.encode(base_offset, leader_epoch)
