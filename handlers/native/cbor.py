"""CBOR mode: frames for programs.

frame   := length:u32 value      big-endian; length counts the value
value   := one CBOR array: no tags, no indefinite lengths, nesting up to 8

request := [verb, correlation, argument...]        trailing nulls may be left out
answer  := ["OK", correlation, result...] | ["ERR", correlation, code, text]
push    := ["MSG", topic, group, partition, [message, ...]] | ["CANCELLED", topic, group, code, text]
message := [offset, redeliveries, timestamp, payload, key, headers, properties]   trailing nulls left out
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from handlers.native.command import (
    Command,
    Delivered,
    Limits,
    Lines,
    Page,
    Publish,
    Refusal,
    Result,
    Settlement,
    Stored,
    Subscribed,
    UnknownCommandError,
)
from handlers.native.verbs import MAX_NUMBER, REQUIRED, VERBS, Argument, Kind, Verb
from portask.errors import MessageTooLargeError, PortaskError, ProtocolError
from portask.message import FIELDS, check_records, decode_cbor, encode_cbor
from portask.property_headers import with_headers
from portask.storage.base import Buffer

HEADER = Struct(">I")
UNCOUNTED_BYTES = 256 * 1024
"""Frames up to this size are decoded without counting their values first: they can't hold too many."""
_MAX_CORRELATION = (1 << 64) - 1
_VERBS = {name: verb for name, verb in VERBS.items() if verb.cbor_usage}
_OWN_TIMESTAMP = 3
"""Index of a record's own timestamp, which a delivery has in the batch's place."""


def decode_request(data: bytes, limits: Limits) -> Command | Refusal:
    """The command that one frame's value is; a frame that isn't one leaves the stream in step."""
    correlation = None
    try:
        if len(data) > UNCOUNTED_BYTES:
            count_values(data, limits.command_messages)
        request = decode_cbor(data)
        if type(request) is not list or len(request) < 2:
            raise ProtocolError("a request is an array [verb, correlation, argument...]")
        name, number, *values = request
        if type(number) is not int or not 0 <= number <= _MAX_CORRELATION:
            raise ProtocolError("a request's correlation is a whole number from 0 to 2^64-1")
        correlation = number
        verb = _VERBS.get(name) if type(name) is str else None
        if verb is None:
            raise UnknownCommandError(f"{str(name)[:40]!r} is no command of CBOR mode; HELP lists them")
        if verb.name == "PUBLISH":
            return Command(verb.name, correlation, _publish(verb, values, limits))
        if verb.name in {"ACK", "NACK"}:
            return Command(verb.name, correlation, _settlement(verb, values))
        return Command(verb.name, correlation, _arguments(verb, values))
    except PortaskError as error:
        return Refusal(correlation, error)


def count_values(data: bytes, limit: int) -> None:
    """Raise MessageTooLargeError when *data* holds more than *limit* CBOR values.

    A value of one byte becomes an object of up to 64, so a large frame is counted before it is decoded.
    Heads that a decoder will refuse are passed over here.
    """
    position, end, count = 0, len(data), 0
    while position < end:
        head = data[position]
        position += 1
        kind, small = head >> 5, head & 31
        length = small
        if 24 <= small <= 27:
            width = 1 << (small - 24)
            length = int.from_bytes(data[position : position + width], "big")
            position += width
        if kind in {2, 3}:
            position += length
        count += 1
        if count > limit:
            raise MessageTooLargeError(f"more than {limit} values in one frame; send several")


def _publish(verb: Verb, values: list[Any], limits: Limits) -> Publish:
    if not 2 <= len(values) <= 3 or type(values[0]) is not str:
        raise ProtocolError(f"usage: {verb.cbor_usage}")
    records = values[1]
    size = check_records(records, limits.command_bytes)
    if not records:
        raise ProtocolError("a publish brings at least one message")
    if size > limits.message_bytes:
        # Rare, so that the usual frame is looked at only once.
        _check_sizes(records, limits.message_bytes)
    partition = values[2] if len(values) > 2 else None
    if partition is not None and not _is_number(partition):
        raise ProtocolError(f"partition must be {Kind.NUMBER.value} or null")
    return Publish(values[0], records, partition, size)


def _check_sizes(records: list[Any], max_bytes: int) -> None:
    for record in records:
        size = check_records([record], MAX_NUMBER)
        if size > max_bytes:
            raise MessageTooLargeError(f"a message of {size} bytes is larger than max_message_bytes, {max_bytes}")


def _settlement(verb: Verb, values: list[Any]) -> Settlement:
    if len(values) != 4 or type(values[3]) is not list or not values[3]:
        raise ProtocolError(f"usage: {verb.cbor_usage}")
    topic, group, partition, ranges = values
    if type(topic) is not str or not (group is None or type(group) is str) or not _is_number(partition):
        raise ProtocolError(f"usage: {verb.cbor_usage}")
    settled = []
    for pair in ranges:
        if type(pair) is not list or len(pair) != 2 or not _is_number(pair[0]) or not _is_number(pair[1]):
            raise ProtocolError("a range is an array of the first and the last offset")
        if pair[0] > pair[1]:
            raise ProtocolError(f"the range {pair[0]} to {pair[1]} is empty")
        settled.append((topic, partition, pair[0], pair[1]))
    return Settlement(group, settled)


def _arguments(verb: Verb, values: list[Any]) -> tuple[Any, ...]:
    if len(values) > len(verb.arguments):
        raise ProtocolError(f"too many elements; usage: {verb.cbor_usage}")
    values = values + [None] * (len(verb.arguments) - len(values))
    return tuple(_value(verb, argument, value) for argument, value in zip(verb.arguments, values, strict=True))


def _value(verb: Verb, argument: Argument, value: Any) -> Any:
    if value is None:
        if argument.default is REQUIRED:
            raise ProtocolError(f"{argument.name} is missing; usage: {verb.cbor_usage}")
        return argument.default
    if argument.kind is Kind.SETTINGS:
        return _settings(value)
    if argument.kind is Kind.POSITION and _is_number(value):
        return str(value)
    fits = _is_number(value) if argument.kind is Kind.NUMBER else type(value) is str
    if not fits:
        raise ProtocolError(f"{argument.name} must be {argument.kind.value}; usage: {verb.cbor_usage}")
    return value


def _settings(value: Any) -> dict[str, str | None]:
    if type(value) is not dict:
        raise ProtocolError("settings must be a map")
    for name, setting in value.items():
        if type(name) is not str or not (setting is None or type(setting) in (str, int)):
            raise ProtocolError("settings must be a map from text to text, whole numbers or null")
    return {name: None if setting is None else str(setting) for name, setting in value.items()}


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_NUMBER


# -- writing --------------------------------------------------------------------------------------


def encode_frame(value: Any) -> bytes:
    """*value* as a frame."""
    data = encode_cbor(value)
    return HEADER.pack(len(data)) + data


def encode_answer(correlation: int | None, result: Result) -> list[Buffer]:
    """The frame that answers a command."""
    return [encode_frame(["OK", correlation, *_result(result)])]


def _result(result: Result) -> list[Any]:
    if isinstance(result, Stored):
        return [result.runs]
    if result is None:
        return []
    if isinstance(result, Subscribed):
        return [result.topic, result.group]
    if isinstance(result, Lines):
        return [result.values]
    if isinstance(result, Page):
        rows = [row for run in result.runs for row in _rows(run)]
        return [rows, result.next_offset, result.high_watermark, result.log_start_offset]
    return [result]


def encode_error(correlation: int | None, code: str, text: str) -> list[Buffer]:
    """The frame that refuses a command."""
    return [encode_frame(["ERR", correlation, code, text])]


def encode_delivery(delivered: Delivered) -> list[Buffer]:
    """One frame with all messages."""
    head = ["MSG", delivered.topic, delivered.group, delivered.partition, _rows(delivered)]
    return [encode_frame(head)]


def encode_cancelled(topic: str, group: str, code: str, text: str) -> list[Buffer]:
    """The frame that says that a subscription of the peer has ended."""
    return [encode_frame(["CANCELLED", topic, group, code, text])]


def _rows(delivered: Delivered) -> list[list[Any]]:
    # Lists, because cbor2 asks an abstract class what a tuple is: 12 % of a row's cost.
    _, _, _, base_offset, redeliveries, timestamp, records = delivered
    return [
        [offset, redeliveries, timestamp, record]
        if isinstance(record, bytes)
        else _row(offset, redeliveries, timestamp, record)
        for offset, record in enumerate(records, base_offset)
    ]


def _row(offset: int, redeliveries: int, timestamp: int, record: list[Any] | tuple[Any, ...]) -> list[Any]:
    if len(record) == FIELDS and record[2] is None:
        record = with_headers(record)
    fields: list[Any] = [offset, redeliveries, timestamp, *record]
    if len(record) > _OWN_TIMESTAMP:
        own = fields.pop(3 + _OWN_TIMESTAMP)
        fields[2] = timestamp if own is None else own
    while fields[-1] is None:
        fields.pop()
    return fields
