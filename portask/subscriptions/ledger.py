"""The ledger of a subscription: everything it has settled, and the way of that to the store.

    table "subscriptions"   subscription id u64 -> CBOR [topic id, name, start kind, start value]
    table "settled"         see portask.subscriptions.settlement

Rows are collected by a change on the bus when its round is made, and at most one change waits there. So
however many acks come while a round is being written, they cost one row together, and all of them are
answered when the round that has it is durable. Where nobody else is to read what is settled, the log is
trimmed to the floor by the same round.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gevent

from portask.bus import Change, Item
from portask.errors import CorruptError, PortaskError, ProtocolError, ShuttingDownError, StorageFailedError
from portask.message import decode_cbor, encode_cbor
from portask.start import Start
from portask.storage.base import Round
from portask.subscriptions.settlement import Collected, Settlement

if TYPE_CHECKING:
    from portask.partition import Partition

log = logging.getLogger(__name__)

TABLE = "subscriptions"
RETRY_S = 1.0
"""How long to wait after storage refused a round."""
_KEY = struct.Struct(">Q")

Done = Callable[[Change], None]


@dataclass(frozen=True)
class SubscriptionRow:
    """A subscription as it is stored."""

    id: int
    topic_id: str
    name: str
    start: Start

    @property
    def key(self) -> bytes:
        """The key of its row."""
        return _KEY.pack(self.id)

    def encode(self) -> bytes:
        """The value of its row."""
        return encode_cbor([bytes.fromhex(self.topic_id), self.name, self.start.kind, self.start.value])

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> SubscriptionRow:
        """The subscription of that row. Raises CorruptError."""
        try:
            (subscription_id,) = _KEY.unpack(key)
            topic_id, name, kind, number = decode_cbor(value)
            return cls(subscription_id, topic_id.hex(), str(name), Start(kind, int(number)))
        except (ProtocolError, struct.error, ValueError, TypeError, AttributeError) as error:
            raise CorruptError(f"row {key.hex()} of table {TABLE} is broken: {error}") from error


class Ledger:
    """The settlements of one subscription, one for each partition."""

    def __init__(
        self,
        row: SubscriptionRow,
        settlements: list[Settlement],
        submit: Callable[[Change], None],
        reserved: Callable[[], None],
    ) -> None:
        """*submit* is `Bus.put`; *reserved* is called when more offsets may be handed out."""
        self.row = row
        self.settlements = settlements
        self._submit = submit
        self._reserved = reserved
        self._callbacks: list[Done] = []
        self._waits_on_bus = False
        self._is_urgent = False
        """Whether what waits there is urgent."""
        self._retry: gevent.Greenlet | None = None
        self._closed = False
        self._deleting = False
        self._deleted = False
        self._revived = False
        """Whether rows may have been put after those that delete them."""
        self.trimmed: list[Partition] | None = None
        """The partitions, if their logs go with what is settled."""

    def save(self, done: Done | None = None, *, is_urgent: bool = True) -> None:
        """Have the next round store what has changed, or one that comes soon if it is not urgent.

        *done* is called when that is durable, or with the error that kept it from it: before this returns
        when the bus takes nothing any more.
        """
        if done is not None:
            self._callbacks.append(done)
        if not self._waits_on_bus or (is_urgent and not self._is_urgent):
            self._waits_on_bus = True
            self._is_urgent = is_urgent
            save = _Save(self)
            change = Change(save.collect, save.done, is_urgent=is_urgent)
            try:
                self._submit(change)
            except PortaskError as error:
                change.error = error
                save.done(change)

    def add(self, settlement: Settlement, partition: Partition) -> None:
        """Keep *settlement* too, that of a new *partition*. Nothing is handed out there before it is stored."""
        self.settlements.append(settlement)
        if self.trimmed is not None:
            self.trimmed.append(partition)
        self.save()

    def collect_creation(self, round_: Round) -> None:
        """Put the rows of a new subscription into *round_*. Nothing may be handed out before that is durable."""
        round_.puts[TABLE, self.row.key] = self.row.encode()
        for settlement, collected in self.collect(round_):
            settlement.stored(collected)

    def collect_deletion(self, round_: Round) -> None:
        """Put the deletion of all rows into *round_*. `drop` is to follow when that is durable."""
        self._deleting = True
        round_.puts[TABLE, self.row.key] = None
        for settlement in self.settlements:
            settlement.erase(round_.puts)

    def collect(self, round_: Round) -> list[tuple[Settlement, Collected]]:
        """Put the rows that have changed into *round_* and return what to tell `finish`."""
        if self._deleted:
            return []
        self._revived = self._deleting
        collected = [
            (settlement, settlement.collect(round_.puts)) for settlement in self.settlements if settlement.dirty
        ]
        if self.trimmed is not None:
            for settlement, rows in collected:
                partition = self.trimmed[settlement.partition]
                if rows.floor > partition.log_start_offset:
                    round_.trims[partition.log] = rows.floor
        return collected

    def finish(self, collected: list[tuple[Settlement, Collected]], error: PortaskError | None) -> None:
        """The round that has *collected* is durable, or failed with *error*."""
        for settlement, rows in collected:
            if error is not None:
                settlement.refused(rows)
            else:
                before = settlement.durable_reserved
                settlement.stored(rows)
                if self.trimmed is not None:
                    partition = self.trimmed[settlement.partition]
                    if rows.floor > partition.log_start_offset:
                        partition.trimmed(rows.floor)
                if settlement.durable_reserved != before:
                    self._reserved()
        if error is not None and not isinstance(error, StorageFailedError | ShuttingDownError):
            self._save_later()

    def take_callbacks(self) -> list[Done]:
        """Those who wait for what is collected now; from here on the next change serves."""
        callbacks, self._callbacks = self._callbacks, []
        self._waits_on_bus = False
        return callbacks

    def settle_in(self, items: list[Item], settle: Callable[[], None], refused: Callable[[bool], None]) -> None:
        """Add a change to *items* that stores what *settle* does, in the round that has the rest of them.

        *settle* is called when that round is made; *refused* when it failed, with whether *settle* was called.
        """
        change = _Settle(self, settle, refused)
        items.append(Change(change.collect, change.done))

    def close(self) -> None:
        """Save for the last time."""
        self._closed = True
        self._stop_retry()
        self.save()

    def drop(self) -> None:
        """Store nothing more: the rows have been deleted."""
        self._closed = self._deleted = True
        self._stop_retry()
        if self._revived:
            # A broker that stops meanwhile leaves rows that belong to no subscription, and so mean nothing.
            with suppress(ShuttingDownError):
                self._submit(Change(self.collect_deletion, _ignore))

    def _save_later(self) -> None:
        if self._retry is None and not self._closed:
            self._retry = gevent.spawn_later(RETRY_S, self._save_again)
            self._retry.name = f"retry of subscription {self.row.id}"

    def _save_again(self) -> None:
        self._retry = None
        self.save()

    def _stop_retry(self) -> None:
        if self._retry is not None:
            self._retry.kill(block=False)
            self._retry = None


class VolatileLedger:
    """In place of a Ledger, for logs that are gone with the broker: nothing is stored, and what is settled is freed."""

    def __init__(self, settlements: list[Settlement], partitions: list[Partition]) -> None:
        self._settlements = settlements
        self._partitions = partitions

    def save(self, done: Done | None = None, *, is_urgent: bool = True) -> None:
        """Free what is settled; *done* is called before this returns."""
        for settlement in self._settlements:
            partition = self._partitions[settlement.partition]
            if settlement.floor > partition.log_start_offset:
                partition.trimmed(settlement.floor)
        if done is not None:
            done(Change(_ignore, _ignore))

    def settle_in(self, items: list[Item], settle: Callable[[], None], refused: Callable[[bool], None]) -> None:
        """Add a change to *items* that settles when the round that has the rest of them is durable."""

        def done(change: Change) -> None:
            if change.error is not None:
                refused(False)
            else:
                settle()
                self.save()

        items.append(Change(_ignore, done))

    def close(self) -> None:
        """There is nothing to save."""

    def drop(self) -> None:
        """There is nothing to forget."""


class _Settle:
    """A change that settles when it is collected, and not before: part of a transaction."""

    __slots__ = ("_collected", "_ledger", "_refused", "_settle")

    def __init__(self, ledger: Ledger, settle: Callable[[], None], refused: Callable[[bool], None]) -> None:
        self._ledger = ledger
        self._settle = settle
        self._refused = refused
        self._collected: list[tuple[Settlement, Collected]] | None = None

    def collect(self, round_: Round) -> None:
        self._settle()
        self._collected = self._ledger.collect(round_)

    def done(self, change: Change) -> None:
        if change.error is not None:
            self._refused(self._collected is not None)
        self._ledger.finish(self._collected or [], change.error)


class _Save:
    """One change on the bus: from the collecting of its rows to the calling of those who wait for them."""

    __slots__ = ("_callbacks", "_collected", "_ledger")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._callbacks: list[Done] | None = None
        self._collected: list[tuple[Settlement, Collected]] = []

    def collect(self, round_: Round) -> None:
        self._callbacks = self._ledger.take_callbacks()
        self._collected = self._ledger.collect(round_)

    def done(self, change: Change) -> None:
        # Without a collect the change never came to be part of a round.
        callbacks = self._ledger.take_callbacks() if self._callbacks is None else self._callbacks
        self._ledger.finish(self._collected, change.error)
        for call in callbacks:
            try:
                call(change)
            except Exception:  # one consumer's mistake must not keep the answer from the others
                log.exception("answering failed")


def _ignore(_: object) -> None:
    """Nobody waits for the second deletion."""
