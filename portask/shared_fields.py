"""Encoding 2: records that differ in their payloads, and share most of what goes with them.

    payload := CBOR [items, shared, picks]
    items   := array of payloads (bytes | null) and gaps (unsigned integers, as in portask.batch)
    shared  := array of [key, timestamp, properties], each once; the records have no headers
    picks   := for each record its place in `shared`, u16 little-endian; null when there is only one

What AMQP clients publish to one queue mostly has the same routing key and properties. Written once, a message
costs what a plain payload costs: 0.3 us instead of 0.6 to encode, 0.2 instead of 1.7 to decode, and a fifth less
to compress.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Container, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from portask.encoding import Decoded, Entry, plain_payload, repacked_payload
from portask.errors import ProtocolError
from portask.message import Record, check_records, decode_cbor, encode_cbor

if TYPE_CHECKING:
    from portask.batch import Batch

ENCODING_SHARED = 2
LEAST_SHARING = 4
"""So many records must have the same fields on average; below that encoding 0 is as good."""
_MAX_SHARED = 1 << 16
_TUPLES = {tuple}
_LENGTHS = {5}
_PAYLOADS = {bytes, type(None)}


def encode_shared(records: Sequence[Any]) -> bytes | None:
    """*records* in this encoding; None when they have too little in common, or are not all tuples of five fields."""
    if type(records[0]) is not tuple or set(map(type, records)) != _TUPLES or set(map(len, records)) != _LENGTHS:
        return None
    payloads, keys, headers, timestamps, properties = zip(*records, strict=True)
    if headers.count(None) != len(records):
        return None
    fields = list(zip(keys, timestamps, properties, strict=True))
    shared = {key: place for place, key in enumerate(dict.fromkeys(fields))}
    if len(shared) * LEAST_SHARING > len(records) + LEAST_SHARING or len(shared) > _MAX_SHARED:
        return None
    places = map(shared.__getitem__, fields) if len(shared) > 1 else None
    return _encode(payloads, list(shared), places)


def _encode(items: Sequence[bytes | int | None], shared: list[Any], places: Iterable[int] | None) -> bytes:
    return encode_cbor([items, shared, None if places is None else _packed(array("H", places)).tobytes()])


def _packed(places: array[int]) -> array[int]:
    """*places* with their bytes in the order in which they are stored, or back."""
    if sys.byteorder == "big":
        places.byteswap()
    return places


class SharedFieldsEncoding:
    """portask.encoding.Encoding for them."""

    def decode(self, batch: Batch) -> Decoded:
        """The records of *batch*. Raises ProtocolError."""
        items, shared, places = _open(batch)
        if len(items) == batch.count and set(map(type, items)) <= _PAYLOADS:
            return Decoded(_join(items, shared, places), None)
        payloads: list[bytes | None] = []
        offsets: list[int] = []
        offset = batch.base_offset
        for item in items:
            if type(item) is int and item > 0:
                offset += item
            elif item is None or type(item) is bytes:
                payloads.append(item)
                offsets.append(offset)
                offset += 1
            else:
                raise ProtocolError("an item is a payload, null or a gap of one offset or more")
        if offset != batch.next_offset:
            raise ProtocolError(f"{offset - batch.base_offset} offsets instead of {batch.count}")
        return Decoded(_join(payloads, shared, places), offsets)

    def entries(self, batch: Batch) -> list[Entry]:
        """What compaction must know. Raises ProtocolError."""
        records, offsets = self.decode(batch)
        default = batch.envelope.timestamp
        known = range(batch.base_offset, batch.next_offset) if offsets is None else offsets
        fields: list[Any] = records
        return [
            Entry(offset, key, payload is None, default if timestamp is None else timestamp)
            for (payload, key, _, timestamp, _), offset in zip(fields, known, strict=True)
        ]

    def keep(self, batch: Batch, offsets: Container[int]) -> bytes | None:
        """The payload with only the records at *offsets*. Raises ProtocolError."""
        records, places = self.decode(batch)
        known = range(batch.base_offset, batch.next_offset) if places is None else places
        items: list[bytes | int | None] = []
        kept: list[Any] = []
        last = batch.base_offset
        fields: list[Any] = records
        for (payload, key, _, timestamp, properties), offset in zip(fields, known, strict=True):
            if offset in offsets:
                if offset > last:
                    items.append(offset - last)
                items.append(payload)
                kept.append((key, timestamp, properties))
                last = offset + 1
        if not kept:
            return None
        if batch.next_offset > last:
            items.append(batch.next_offset - last)
        shared = {key: place for place, key in enumerate(dict.fromkeys(kept))}
        plain = _encode(items, list(shared), map(shared.__getitem__, kept) if len(shared) > 1 else None)
        return repacked_payload(batch, plain)


def _open(batch: Batch) -> tuple[list[Any], list[Any], array[int] | None]:
    """Items, shared fields and places of *batch*, checked but for the items. Raises ProtocolError."""
    content = decode_cbor(plain_payload(batch))
    if type(content) is not list or len(content) != 3 or type(content[0]) is not list or type(content[1]) is not list:
        raise ProtocolError("not items, shared fields and picks")
    items, shared, picks = content
    if not 1 <= len(shared) <= _MAX_SHARED or any(type(fields) is not list or len(fields) != 3 for fields in shared):
        raise ProtocolError("shared fields are at least one array of three")
    check_records([[None, key, None, timestamp, properties] for key, timestamp, properties in shared], sys.maxsize)
    if picks is None:
        return items, shared, None
    if type(picks) is not bytes or len(picks) % 2:
        raise ProtocolError("picks are two bytes for each record")
    places = array("H")
    places.frombytes(picks)
    places = _packed(places)
    if places and max(places) >= len(shared):
        raise ProtocolError("a pick beyond the shared fields")
    return items, shared, places


def _join(payloads: list[bytes | None], shared: list[Any], places: array[int] | None) -> list[Record]:
    if places is None:
        key, timestamp, properties = shared[0]
        return list(zip(payloads, repeat(key), repeat(None), repeat(timestamp), repeat(properties), strict=False))
    if len(places) != len(payloads):
        raise ProtocolError(f"{len(places)} picks for {len(payloads)} records")
    whole = [(key, None, timestamp, properties) for key, timestamp, properties in shared]
    return [(payload, *whole[place]) for payload, place in zip(payloads, places, strict=True)]
