"""Words of a line, and the values that they stand for.

Every function here raises ProtocolError for what stands for nothing.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from handlers.native.command import Settlement
from handlers.native.verbs import MAX_NUMBER, REQUIRED, Kind, Verb
from portask.errors import ProtocolError
from portask.message import MAX_HEADERS, Message

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NUMBER = re.compile(rb"[0-9]{1,19}")
_ID = re.compile(r"([^/]+)/([0-9]{1,10})/([0-9]{1,19})(?:-([0-9]{1,19}))?")
_SHOWN = 40


def parse_arguments(verb: Verb, words: list[bytes]) -> tuple[Any, ...]:
    """The arguments of *verb*, in the table's order."""
    values: dict[str, Any] = {}
    settings: dict[str, str | None] = {}
    plain = [argument for argument in verb.arguments if argument.kind is not Kind.SETTINGS]
    by_name = {argument.name.encode(): argument for argument in plain}
    places = iter([argument for argument in plain if not argument.named])
    takes_settings = len(plain) < len(verb.arguments)
    for word in words:
        name, equals, value = word.partition(b"=")
        argument = by_name.get(name) if equals else None
        if argument is None and equals:
            if not takes_settings:
                raise ProtocolError(f"{shown(name)} is no argument; usage: {verb.text_usage}")
            settings[parse_text(name)] = parse_text(value) or None
            continue
        if argument is None:
            argument, value = next(places, None), word
        if argument is None or argument.name in values:
            raise ProtocolError(f"{shown(word)} is too much; usage: {verb.text_usage}")
        values[argument.name] = (
            parse_number(value, argument.name) if argument.kind is Kind.NUMBER else parse_text(value)
        )
    if settings:
        values["settings"] = settings
    missing = [
        argument.name for argument in verb.arguments if argument.default is REQUIRED and argument.name not in values
    ]
    if missing:
        raise ProtocolError(f"{missing[0]} is missing; usage: {verb.text_usage}")
    return tuple(values.get(argument.name, argument.default) for argument in verb.arguments)


def parse_settlement(verb: Verb, words: list[bytes]) -> Settlement:
    """The arguments of ACK and NACK."""
    group = None
    ranges = []
    for word in words:
        if word.startswith(b"group="):
            group = parse_text(word[6:])
            continue
        match = _ID.fullmatch(parse_text(word))
        if match is None:
            raise ProtocolError(f"{shown(word)} is no id; usage: {verb.text_usage}")
        first = int(match[3])
        last = first if match[4] is None else int(match[4])
        if not first <= last <= MAX_NUMBER:
            raise ProtocolError(f"{shown(word)} is no range of offsets")
        ranges.append((match[1], int(match[2]), first, last))
    if not ranges:
        raise ProtocolError(f"usage: {verb.text_usage}")
    return Settlement(group, ranges)


def parse_fields(words: list[bytes]) -> Message:
    """Key, headers, timestamp and properties; the payload is still to come."""
    key = properties = None
    timestamp = -1
    headers: list[tuple[str, bytes | None]] = []
    for word in words:
        name, equals, value = word.partition(b"=")
        if name.startswith(b"h."):
            headers.append((parse_text(name[2:]), parse_bytes(value) if equals else None))
        elif name == b"key" and equals:
            key = parse_bytes(value)
        elif name == b"timestamp" and equals:
            timestamp = parse_number(value, "timestamp")
        elif name == b"properties" and equals:
            properties = parse_bytes(value)
        else:
            raise ProtocolError(f"{shown(word)} is neither key=, h.NAME=, timestamp= nor properties=")
    if len(headers) > MAX_HEADERS:
        raise ProtocolError(f"{len(headers)} headers are more than {MAX_HEADERS}")
    return Message(b"", key, tuple(headers), timestamp, properties)


def parse_bytes(word: bytes) -> bytes:
    """The bytes that *word* stands for."""
    if b"%" not in word:
        return word
    if _BAD_ESCAPE.search(word):
        raise ProtocolError(f"{shown(word)}: % is followed by two hexadecimal digits; % itself is %25")
    return unquote_to_bytes(word)


def parse_text(word: bytes) -> str:
    """The text that *word* stands for."""
    try:
        return parse_bytes(word).decode()
    except UnicodeDecodeError:
        raise ProtocolError(f"{shown(word)} is not UTF-8") from None


def parse_number(word: bytes, name: str) -> int:
    """The number that *word* is; *name* is for the error."""
    if not _NUMBER.fullmatch(word) or int(word) > MAX_NUMBER:
        raise ProtocolError(f"{name} must be {Kind.NUMBER.value}, not {shown(word)}")
    return int(word)


def shown(word: bytes) -> str:
    """*word* as it may stand in an error's text, on one line and not too long."""
    return repr(word[:_SHOWN])[1:] + ("..." if len(word) > _SHOWN else "")
