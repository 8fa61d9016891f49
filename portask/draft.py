"""Drafts: loose records cut to the size of batches.

Most records are plain byte strings, or tuples of all five fields; for those nothing here runs per record but C:
finding out that all are alike and adding their lengths up costs 0.06 us a plain record and 0.2 us a tuple, looking
at each in Python cost 0.3 and 1.8.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from portask.message import Record

MESSAGE_OVERHEAD_BYTES = 41
"""What a record costs beyond its payload: the header of a bytes object and its place in a list."""
TUPLE_OVERHEAD_BYTES = 170
"""The same for a tuple of five fields, of which routing key and properties are mostly another's too."""
_PLAIN = {bytes}
_TUPLES = {tuple}


class Draft(NamedTuple):
    """The records of one batch to be."""

    records: list[Record]
    size_bytes: int
    """About what they take in memory."""
    has_timestamps: bool
    """Whether any may have a timestamp of its own."""

    def max_timestamp(self, now_ms: int) -> int:
        """The newest timestamp (ms); records without one of their own have *now_ms*."""
        if not self.has_timestamps:
            return now_ms
        own = [record[3] for record in self.records if type(record) is not bytes and len(record) > 3]
        newest = max((timestamp for timestamp in own if timestamp is not None), default=-1)
        has_default = len(own) < len(self.records) or None in own
        return max(newest, now_ms) if has_default else newest


def cut(records: list[Record], most: int, most_bytes: int) -> Iterator[Draft]:
    """*records* in order, in drafts of at most *most* and about *most_bytes*; a larger record has its own."""
    for start in range(0, len(records), most):
        piece = records[start : start + most] if len(records) > most else records
        draft = _measure(piece)
        if draft.size_bytes <= most_bytes or len(piece) == 1:
            yield draft
        else:
            yield from map(_measure, _cut_by_bytes(piece, most_bytes))


def single(records: list[Record], size_bytes: int) -> Draft:
    """The one record in *records*, with *size_bytes* of its own. A third of the time that `cut` takes for it."""
    record = records[0]
    if type(record) is bytes:
        return Draft(records, size_bytes + MESSAGE_OVERHEAD_BYTES, has_timestamps=False)
    return Draft(records, size_bytes + TUPLE_OVERHEAD_BYTES, has_timestamps=len(record) > 3 and record[3] is not None)


def _measure(records: list[Record]) -> Draft:
    kinds = set(map(type, records))
    if kinds == _PLAIN:
        return Draft(records, sum(map(len, records)) + MESSAGE_OVERHEAD_BYTES * len(records), has_timestamps=False)
    if kinds == _TUPLES:
        draft = _measure_columns(records)
        if draft is not None:
            return draft
    size_bytes = sum(map(_field_bytes, records)) + MESSAGE_OVERHEAD_BYTES * len(records)
    return Draft(records, size_bytes, has_timestamps=True)


def _measure_columns(records: list[Any]) -> Draft | None:
    """The draft of tuples of payload, key, nothing, nothing and properties; None for any others."""
    try:
        payloads, keys, headers, timestamps, properties = zip(*records, strict=True)
        size_bytes = sum(map(len, payloads)) + sum(map(len, keys)) + sum(map(len, properties))
    except (ValueError, TypeError):
        return None
    if headers.count(None) != len(records) or timestamps.count(None) != len(records):
        return None
    return Draft(records, size_bytes + TUPLE_OVERHEAD_BYTES * len(records), has_timestamps=False)


def _cut_by_bytes(records: list[Record], most_bytes: int) -> Iterator[list[Record]]:
    piece: list[Record] = []
    size = 0
    for record in records:
        own = _field_bytes(record) + MESSAGE_OVERHEAD_BYTES
        if piece and size + own > most_bytes:
            yield piece
            piece, size = [], 0
        piece.append(record)
        size += own
    yield piece


def _field_bytes(field: Any) -> int:
    """Bytes of a record or of a field of it, with what its own fields cost beyond theirs."""
    if isinstance(field, (list, tuple)):
        return sum(map(_field_bytes, field)) + MESSAGE_OVERHEAD_BYTES * len(field)
    return len(field) if isinstance(field, (bytes, str)) else 0
