"""The encoder of one round: loose records and opaque runs in, batches of a round out.

A thousand queues with a message each are a thousand batches of one record in every round, so what is done for
each is kept short: the settings are looked up once per topic and reload, and a single record is not measured.
Appends that share their records, which is how messages go to many queues, are encoded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from portask.batch import Envelope, encode_batch, encode_records
from portask.draft import Draft, cut, single
from portask.message import Record
from portask.partition import Partition, TailBatch
from portask.storage import base
from portask.storage.base import Buffer, Frame, Round

if TYPE_CHECKING:
    from portask.bus import Append
    from portask.config import Settings
    from portask.topic import TopicConfig

BATCH_OVERHEAD_BYTES = 600
"""What a batch in the tail cache costs beyond its bytes: measured on batches of one message."""


class _Body(NamedTuple):
    """One batch without the place where it goes."""

    draft: Draft
    max_timestamp: int
    data: bytes


class Encoder:
    """Makes the batches of one round. `plain_bytes`, `stored_bytes`, `batches` and `messages` count what it made."""

    __slots__ = ("_known", "_now_ms", "_round", "_settings", "batches", "messages", "plain_bytes", "stored_bytes")

    def __init__(self, round_: Round, settings: Settings, now_ms: int, is_shared: bool) -> None:
        """*is_shared*: whether appends to several partitions may have the same records."""
        self._round = round_
        self._settings = settings
        self._now_ms = now_ms
        self._known: dict[Any, list[_Body]] | None = {} if is_shared else None
        self.plain_bytes = 0
        self.stored_bytes = 0
        self.batches = 0
        self.messages = 0

    def encode(self, partition: Partition, appends: Sequence[Append]) -> list[TailBatch]:
        """Give *appends* their offsets, put their batches into the round and return them for the tail cache.

        May block, for what is large.
        """
        offset = partition.written_offset
        tail: list[TailBatch] = []
        loose: list[Append] = []
        for item in appends:
            item.base_offset = offset
            offset += item.count
            if item.admission is not None:
                item.admission.place(item.base_offset, self._round)
            if item.opaque is None:
                loose.append(item)
                continue
            if loose:
                self._encode_loose(partition, loose, tail)
                loose = []
            self._encode_opaque(partition, item, tail)
        if loose:
            self._encode_loose(partition, loose, tail)
        return tail

    def _encode_opaque(self, partition: Partition, item: Append, tail: list[TailBatch]) -> None:
        opaque = item.opaque
        assert opaque is not None
        codec, payload = opaque.encode(item.base_offset, partition.leader_epoch)
        envelope = Envelope(opaque.encoding, codec, 0, partition.leader_epoch, self._now_ms, opaque.size)
        body = b"".join(encode_batch(envelope, payload))
        self._add(partition, item.base_offset, item.count, opaque.max_timestamp, body, None, 0, tail)
        self.plain_bytes += opaque.size

    def _encode_loose(self, partition: Partition, loose: list[Append], tail: list[TailBatch]) -> None:
        offset = loose[0].base_offset
        for (records, size_bytes, _), max_timestamp, data in self._bodies(partition, loose):
            count = len(records)
            self._add(partition, offset, count, max_timestamp, data, records, size_bytes, tail)
            offset += count

    def _bodies(self, partition: Partition, loose: list[Append]) -> list[_Body]:
        config = partition.topic.config
        known = self._known
        if known is None:
            return self._make_bodies(partition, loose)
        # The items keep their records alive for as long as the round is made, so no two lists have the same id.
        records = id(loose[0].records) if len(loose) == 1 else tuple([id(item.records) for item in loose])
        key = (records, partition.leader_epoch, config.derived(_way))
        bodies = known.get(key)
        if bodies is None:
            bodies = known[key] = self._make_bodies(partition, loose)
        else:
            self.plain_bytes += sum([item.size_bytes for item in loose])
        return bodies

    def _make_bodies(self, partition: Partition, loose: list[Append]) -> list[_Body]:
        strategy, level = partition.topic.config.derived(_way)
        settings, now_ms = self._settings, self._now_ms
        if len(loose) == 1:
            records, size_bytes = loose[0].records, loose[0].size_bytes
        else:
            records = list(chain.from_iterable([item.records for item in loose]))
            size_bytes = sum([item.size_bytes for item in loose])
        self.plain_bytes += size_bytes
        drafts: Iterable[Draft]
        if len(records) == 1:
            drafts = (single(records, size_bytes),)
        else:
            drafts = cut(records, settings.batch_messages, settings.batch_bytes)
        bodies = []
        for draft in drafts:
            pieces: list[Buffer] = encode_records(draft.records, now_ms, strategy, level, partition.leader_epoch)
            bodies.append(_Body(draft, draft.max_timestamp(now_ms), b"".join(pieces)))
        return bodies

    def _add(
        self,
        partition: Partition,
        base_offset: int,
        count: int,
        max_timestamp: int,
        body: bytes,
        records: list[Record] | None,
        held_bytes: int,
        tail: list[TailBatch],
    ) -> None:
        self._round.appends.append(base.Append(partition.log, base_offset, count, max_timestamp, (body,)))
        size = len(body)
        self.batches += 1
        self.messages += count
        self.stored_bytes += size
        frame = Frame(base_offset, count, max_timestamp, body)
        tail.append(TailBatch(partition, frame, records, self._now_ms, held_bytes + size + BATCH_OVERHEAD_BYTES))


def _way(config: TopicConfig) -> tuple[Any, int]:
    """How a topic's records are compressed."""
    return config.compression, config.zstd_level
