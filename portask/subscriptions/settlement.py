"""What one subscription has settled in one partition, and its form in the store.

Everything below the *floor* is settled; beyond it, the settled offsets form an `OffsetSet`. So the state
is as large as its holes are many, however many messages went by. Offsets that were requeued have a
count of failures until they are settled, 0 for those that were given back without one.

*reserved* makes the redelivered flag honest after a crash: no offset at or beyond the stored value is
ever handed out, so below it any unsettled one may have been, and is flagged. It runs ahead of the
hand-out, so that storing it is rare and nobody waits for it.

    table "settled"
    header row := key subscription:u64 partition:u32            value CBOR [floor, reserved]
    page row   := key subscription:u64 partition:u32 page:u64   value CBOR [settled, counts], of 4,096 offsets
    settled    := bits
    counts     := [count, bits, count, bits, ...]    the offsets that were given back as failed so many times
    bits       := [piece, piece, piece, piece]       each of 1,024 offsets of the page
    piece      := null: none | true: all | bytes: bit 0 of byte 0 is the first offset, zeros at the end cut off

So a row is written in the same time however scattered its offsets are, and is never longer than their
bits. A page row is written when its page changes beyond the floor, and deleted when the floor has left the page or
nothing is left to say. What it says of offsets below the floor is out of date and ignored. Header and
pages change in one round.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from portask.errors import CorruptError, ProtocolError
from portask.message import decode_cbor, encode_cbor
from portask.subscriptions.offset_set import FULL_PAGE, MAX_OFFSET, PAGE_BITS, PAGE_OFFSETS, OffsetSet

TABLE = "settled"
ROW_BITS = 12
ROW_OFFSETS = 1 << ROW_BITS
RESERVE = 2048
"""How far beyond the hand-out a reservation reaches."""
MAX_RESERVE = 16 * RESERVE
"""How far it may reach while a backlog is handed out."""
MAX_REDELIVERIES = 1000
"""Counts stop here: each count that occurs costs a set."""

_PIECES = ROW_OFFSETS // PAGE_OFFSETS
_NO_BITS: list[Any] = [None] * _PIECES
_HEADER_KEY = struct.Struct(">QI")
_PAGE_KEY = struct.Struct(">QIQ")

Puts = dict[tuple[str, bytes], bytes | None]


class Collected(NamedTuple):
    """What a `collect` gave to a round, to be handed back when the round is safe or refused."""

    floor: int
    reserved: int
    pages: frozenset[int]


class Settlement:
    """The settled state of one partition of one subscription."""

    __slots__ = (
        "_beyond",
        "_counts",
        "_dirty_pages",
        "_stored_pages",
        "dirty",
        "durable_reserved",
        "floor",
        "handed_out_before",
        "partition",
        "reserved",
        "subscription_id",
    )

    def __init__(self, subscription_id: int, partition: int, floor: int) -> None:
        self.subscription_id = subscription_id
        self.partition = partition
        self.floor = floor
        """Every offset below is settled; this one is not."""
        self.reserved = floor + RESERVE
        """The reservation that the next header row says."""
        self.durable_reserved = floor
        """The highest reservation that is known to be durable: hand out below it only."""
        self.handed_out_before = floor
        """Unsettled offsets below may have been handed out before the last start."""
        self.dirty = True
        """Whether there is anything to collect."""
        self._beyond = OffsetSet()
        self._counts: dict[int, OffsetSet] = {}
        """Count of failures -> the offsets that were given back so often. No empty sets."""
        self._dirty_pages: set[int] = set()
        self._stored_pages: set[int] = set()
        """Pages that may have a row in the store."""

    @classmethod
    def volatile(cls, partition: int) -> Settlement:
        """The state of a partition that is gone with the broker: nothing has to be reserved."""
        settlement = cls(0, partition, 0)
        settlement.reserved = settlement.durable_reserved = MAX_OFFSET
        return settlement

    @property
    def settled_beyond(self) -> int:
        """How many offsets beyond the floor are settled."""
        return self._beyond.count

    @property
    def end(self) -> int:
        """The offset from which on nothing is settled."""
        return self._beyond.last() + 1 if self._beyond.count else self.floor

    def is_settled(self, offset: int) -> bool:
        """Whether *offset* is settled."""
        return offset < self.floor or offset in self._beyond

    def unsettled(self, start: int) -> tuple[int, int]:
        """The first run of unsettled offsets at or after *start*."""
        start = max(start, self.floor)
        for run_start, run_stop in self._beyond.ranges(start):
            if run_start > start:
                return start, run_start
            start = run_stop
        return start, MAX_OFFSET

    def settle(self, start: int, stop: int) -> None:
        """Settle *start* to *stop*; those that are settled already do not matter."""
        self.dirty = True
        if self._counts:
            self._clear_counts(start, stop)
        if start > self.floor:
            self._beyond.add_range(start, stop)
            self._dirty_pages.update(range(start >> ROW_BITS, ((stop - 1) >> ROW_BITS) + 1))
        elif stop > self.floor:
            self._raise_floor(stop)

    def unsettle(self, start: int, stop: int) -> None:
        """Take a `settle` back whose round was refused: of nothing from *start* to *stop* was the log trimmed."""
        self.dirty = True
        if start < self.floor:
            self._beyond.add_range(start, self.floor)
            self._dirty_pages.update(range(start >> ROW_BITS, (self.floor >> ROW_BITS) + 1))
            self.floor = start
        self._beyond.remove_range(start, stop)
        self._dirty_pages.update(range(start >> ROW_BITS, ((stop - 1) >> ROW_BITS) + 1))

    def requeue(self, offsets: OffsetSet, is_failure: bool = True) -> None:
        """*offsets*, none of which is settled, will be redelivered; with *is_failure* one more is counted for each.

        The end of the broker is no failure of those that may have been handed out then: most of them were not.
        """
        self.dirty = True
        self._dirty_pages.update(page >> (ROW_BITS - PAGE_BITS) for page in offsets.page_numbers())
        if not is_failure:
            rest = offsets.part(0)
            for counted in self._counts.values():
                rest.remove(counted)
            if rest.count:
                self._counts.setdefault(0, OffsetSet()).add(rest)
            return
        raised = []
        rest = offsets
        for count, counted in list(self._counts.items()):
            common = counted.common(offsets)
            if common.count:
                raised.append((count, common))
                rest = rest.part(0)
                rest.remove(common)
                counted.remove(common)
                if not counted.count:
                    del self._counts[count]
        if rest.count:
            raised.append((0, rest))
        for count, part in raised:
            self._counts.setdefault(min(count + 1, MAX_REDELIVERIES), OffsetSet()).add(part)

    def redeliveries(self, start: int, stop: int) -> list[tuple[int, int, int, int]]:
        """*start* to *stop* cut into runs of the same counts: (start, stop, redeliveries, failures), ascending."""
        if not self._counts and start >= self.handed_out_before:
            return [(start, stop, 0, 0)]
        counted = sorted(
            (run_start, run_stop, count)
            for count, offsets in self._counts.items()
            for run_start, run_stop in offsets.ranges(start, stop)
        )
        runs = []
        for run_start, run_stop, count in (*counted, (stop, stop, 0)):
            middle = min(max(start, self.handed_out_before), run_start)
            runs += [(start, middle, 1, 0), (middle, run_start, 0, 0), (run_start, run_stop, max(count, 1), count)]
            start = run_stop
        return [run for run in runs if run[0] < run[1]]

    def reserve(self, reserved: int) -> None:
        """Let the next header row say *reserved*. It counts once `stored` says that this row is durable."""
        self.dirty = True
        self.reserved = reserved

    def cut(self, next_offset: int) -> None:
        """The log goes on at *next_offset*: what is said of offsets from there on is of messages that are lost.

        Those offsets will stand for new messages, so nothing about them may stay.
        """
        self.handed_out_before = min(self.handed_out_before, next_offset)
        if self.end > next_offset:
            self.dirty = True
            self.floor = min(self.floor, next_offset)
            self._beyond.remove_range(next_offset, MAX_OFFSET)
            self._dirty_pages |= self._stored_pages
        self._clear_counts(next_offset, MAX_OFFSET)

    def _clear_counts(self, start: int, stop: int) -> None:
        emptied = []
        for count, offsets in self._counts.items():
            offsets.remove_range(start, stop)
            if not offsets.count:
                emptied.append(count)
        for count in emptied:
            del self._counts[count]

    def _raise_floor(self, floor: int) -> None:
        beyond = self._beyond
        if beyond.count:
            beyond.remove_range(self.floor, floor)
            if beyond.count and beyond.first() == floor:
                start, floor = next(beyond.ranges())
                beyond.remove_range(start, floor)
        page = floor >> ROW_BITS
        if page != self.floor >> ROW_BITS:
            # Rows of pages that lie behind are deleted by the next collect, if there are any.
            self._dirty_pages = {dirty for dirty in self._dirty_pages if dirty >= page}
            self._dirty_pages |= {stored for stored in self._stored_pages if stored < page}
        self.floor = floor

    # -- rows -------------------------------------------------------------------------------------

    def collect(self, puts: Puts) -> Collected:
        """Put every row that changed since the last collect into *puts*.

        The caller must call `stored` or `refused` with what this returns when the round's end is known.
        """
        puts[TABLE, self._header_key()] = encode_cbor([self.floor, self.reserved])
        pages = frozenset(self._dirty_pages)
        for page in pages:
            row = self._page_row(page)
            puts[TABLE, self._page_key(page)] = row
            if row is None:
                self._stored_pages.discard(page)
            else:
                self._stored_pages.add(page)
        self._dirty_pages.clear()
        self.dirty = False
        return Collected(self.floor, self.reserved, pages)

    def stored(self, collected: Collected) -> None:
        """The round of *collected* is durable."""
        self.durable_reserved = max(self.durable_reserved, collected.reserved)

    def refused(self, collected: Collected) -> None:
        """The round of *collected* failed, its rows may be there or not: collect them again."""
        self.dirty = True
        self._dirty_pages |= collected.pages
        self._stored_pages |= collected.pages

    def erase(self, puts: Puts) -> None:
        """Put the deletion of every row that may exist into *puts*."""
        puts[TABLE, self._header_key()] = None
        for page in self._stored_pages:
            puts[TABLE, self._page_key(page)] = None

    def _header_key(self) -> bytes:
        return _HEADER_KEY.pack(self.subscription_id, self.partition)

    def _page_key(self, page: int) -> bytes:
        return _PAGE_KEY.pack(self.subscription_id, self.partition, page)

    def _page_row(self, page: int) -> bytes | None:
        settled = _encode_bits(self._beyond, page)
        counts: list[Any] = []
        for count, offsets in self._counts.items():
            bits = _encode_bits(offsets, page)
            if bits != _NO_BITS:
                counts += (count, bits)
        return encode_cbor([settled, counts]) if counts or settled != _NO_BITS else None

    def load_page(self, page: int, row: bytes) -> None:
        """Take what the *row* of *page* says. Raises ProtocolError."""
        settled, counts = _decode(row, 2, list)
        self._stored_pages.add(page)
        _decode_bits(settled, page, self._beyond)
        self._beyond.remove_range(0, self.floor)
        if len(counts) % 2:
            raise ProtocolError("a count without its offsets")
        for count, bits in zip(counts[::2], counts[1::2], strict=True):
            if type(count) is not int or not 0 <= count <= MAX_REDELIVERIES:
                raise ProtocolError(f"a count of failures is 0 to {MAX_REDELIVERIES}")
            _decode_bits(bits, page, self._counts.setdefault(count, OffsetSet()))
        self._clear_counts(0, self.floor)


def load_settlements(rows: Mapping[bytes, bytes]) -> dict[tuple[int, int], Settlement]:
    """The settlements that the table's *rows* describe, by subscription id and partition.

    Raises CorruptError when a row breaks its format.
    """
    settlements: dict[tuple[int, int], Settlement] = {}
    # A header's key is the beginning of its pages' keys, so it comes before them.
    for key in sorted(rows):
        try:
            if len(key) == _HEADER_KEY.size:
                floor, reserved = _decode(rows[key], 2, int)
                if not 0 <= floor <= MAX_OFFSET or not 0 <= reserved <= MAX_OFFSET:
                    raise ProtocolError(f"offsets {floor} and {reserved} cannot be")
                subscription_id, partition = _HEADER_KEY.unpack(key)
                settlement = Settlement(subscription_id, partition, floor)
                settlement.reserved = settlement.durable_reserved = settlement.handed_out_before = reserved
                settlement.dirty = False
                settlements[subscription_id, partition] = settlement
            else:
                subscription_id, partition, page = _PAGE_KEY.unpack(key)
                settlements[subscription_id, partition].load_page(page, rows[key])
        except (ProtocolError, struct.error) as error:
            raise CorruptError(f"row {key.hex()} of table {TABLE}: {error}") from error
        except KeyError as error:
            raise CorruptError(f"row {key.hex()} of table {TABLE} belongs to no header row") from error
    return settlements


def _decode(row: bytes, length: int, kind: type) -> list[Any]:
    fields = decode_cbor(row)
    if type(fields) is not list or len(fields) != length or any(type(field) is not kind for field in fields):
        raise ProtocolError(f"not an array of {length} of {kind.__name__}")
    return fields


def _encode_bits(offsets: OffsetSet, page: int) -> list[Any]:
    return [_encode_piece(offsets.bits(piece)) for piece in _pieces(page)]


def _encode_piece(bits: int) -> Any:
    if not bits:
        return None
    return True if bits == FULL_PAGE else bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _decode_bits(pieces: Any, page: int, offsets: OffsetSet) -> None:
    if type(pieces) is not list or len(pieces) != _PIECES:
        raise ProtocolError(f"the bits of a page are {_PIECES} pieces")
    for number, piece in zip(_pieces(page), pieces, strict=True):
        if piece is True:
            offsets.add_bits(number, FULL_PAGE)
        elif type(piece) is bytes and len(piece) <= PAGE_OFFSETS // 8:
            offsets.add_bits(number, int.from_bytes(piece, "little"))
        elif piece is not None:
            raise ProtocolError(f"a piece is null, true or up to {PAGE_OFFSETS // 8} bytes")


def _pieces(page: int) -> range:
    """The pages of an OffsetSet that *page* is made of."""
    return range(page * _PIECES, (page + 1) * _PIECES)
