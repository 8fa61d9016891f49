"""Text mode's way out: results, errors and messages as lines and the bytes that they announce."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_from_bytes

from handlers.native.command import Delivered, Lines, Page, Result, Stored, Subscribed
from portask.message import FIELDS, Headers, Message, to_message
from portask.property_headers import with_headers
from portask.storage.base import Buffer

# What may stand in a value as it is: all of printable ASCII but space and "%".
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_PLAIN_NAME = _PLAIN.replace("=", "")


def encode_answer(correlation: int | None, result: Result) -> list[Buffer]:
    """The line, and what belongs to it, that answers a command."""
    del correlation
    if isinstance(result, Page):
        return _page(result)
    return [_answer(result)]


def _answer(result: Result) -> bytes:
    if isinstance(result, Stored):
        words = [_range(result.topic, partition, base, base + count - 1) for partition, base, count in result.runs]
        return f"OK {' '.join(words)}\n".encode()
    if result is None:
        return b"OK\n"
    if isinstance(result, Subscribed):
        return f"OK {result.topic} {_quote(result.group)}\n".encode()
    if isinstance(result, Lines):
        lines = [value if isinstance(value, str) else _json(value) for value in result.values]
        return "\n".join([f"OK {len(lines)}", *lines, ""]).encode()
    if isinstance(result, dict):
        return f"OK {_json(result)}\n".encode()
    return f"OK {result}\n".encode()


def encode_error(correlation: int | None, code: str, text: str) -> list[Buffer]:
    """The line that refuses a command."""
    del correlation
    return [f"ERR {code} {_one_line(text)}\n".encode()]


def encode_delivery(delivered: Delivered) -> list[Buffer]:
    """Each message as its MSG line, its bytes and a line end."""
    topic, group, partition, base_offset, redeliveries, timestamp, records = delivered
    start = f"MSG {topic}/{partition}/"
    rest = f" group={_quote(group)}" if group is not None else ""
    if redeliveries:
        rest += f" redelivered={redeliveries}"
    plain = f"{rest} timestamp={timestamp}\n"
    pieces: list[Buffer] = []
    for offset, record in enumerate(records, base_offset):
        if isinstance(record, bytes):
            pieces.append(f"{start}{offset} {topic} {len(record)}{plain}".encode())
            pieces.append(record)
        else:
            is_bare = len(record) == FIELDS and record[2] is None
            message = to_message(with_headers(record) if is_bare else record, timestamp)
            length = "-" if message.payload is None else len(message.payload)
            fields = f"{rest} timestamp={message.timestamp}{_optional(message)}"
            pieces.append(f"{start}{offset} {topic} {length}{fields}\n".encode())
            pieces.append(message.payload or b"")
        pieces.append(b"\n")
    return pieces


def encode_cancelled(topic: str, group: str, code: str, text: str) -> list[Buffer]:
    """The line that says that a subscription of the peer has ended."""
    return [f"CANCELLED {topic} {_quote(group)} {code} {_one_line(text)}\n".encode()]


def _page(page: Page) -> list[Buffer]:
    count = sum(len(run.records) for run in page.runs)
    pieces: list[Buffer] = [
        f"OK {count} next_offset={page.next_offset} high_watermark={page.high_watermark}"
        f" log_start_offset={page.log_start_offset}\n".encode()
    ]
    for run in page.runs:
        pieces += encode_delivery(run)
    return pieces


def _optional(message: Message) -> str:
    fields = "" if message.key is None else f" key={quote_from_bytes(message.key, _PLAIN)}"
    fields += _header_fields(message.headers)
    return (
        fields if message.properties is None else f"{fields} properties={quote_from_bytes(message.properties, _PLAIN)}"
    )


def _header_fields(headers: Headers) -> str:
    return "".join(
        f" h.{quote_from_bytes(name.encode(), _PLAIN_NAME)}"
        + ("" if value is None else f"={quote_from_bytes(value, _PLAIN)}")
        for name, value in headers
    )


def _range(topic: str, partition: int, first: int, last: int) -> str:
    return f"{topic}/{partition}/{first}" if first == last else f"{topic}/{partition}/{first}-{last}"


def _quote(text: str) -> str:
    return quote_from_bytes(text.encode(), _PLAIN)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _one_line(text: str) -> str:
    return " ".join(text.split())
