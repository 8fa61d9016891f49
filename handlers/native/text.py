"""Text mode: lines that a person can type, and the bytes that some of them announce.

    command := line [bytes]          line ends in \\n or \\r\\n
    value   := bytes other than space, control, "%" and non-ASCII; those as %XX

A `TextDecoder` gets whole lines and whole bodies from the decoder, which knows by `body_bytes` what is
due next; so a large payload that arrives in pieces is looked at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

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
from handlers.native.verbs import MAX_NUMBER, REQUIRED, VERBS, Kind, Verb
from portask.errors import MessageTooLargeError, PortaskError, ProtocolError
from portask.message import MAX_HEADERS, Headers, Message, Record, to_message, to_record
from portask.storage.base import Buffer

NULL = b"-"
"""Instead of a length: a null payload."""
# What may stand in a value as it is: all of printable ASCII but space and "%".
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_PLAIN_NAME = _PLAIN.replace("=", "")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NUMBER = re.compile(rb"[0-9]{1,19}")
_ID = re.compile(r"([^/]+)/([0-9]{1,10})/([0-9]{1,19})(?:-([0-9]{1,19}))?")
_SHOWN = 40


class _Body:
    """A message whose bytes are due, and the command that it belongs to."""

    __slots__ = ("error", "message", "publish")

    def __init__(self, publish: _Publish, message: Message, error: PortaskError | None) -> None:
        self.publish = publish
        self.message = message
        self.error = error


class _Publish:
    """A PUBLISHB or MPUBLISH that is being received."""

    __slots__ = ("due", "error", "partition", "records", "size_bytes", "topic")

    def __init__(self, topic: str, due: int, partition: int | None) -> None:
        self.topic = topic
        self.due = due
        self.partition = partition
        self.records: list[Record] = []
        self.size_bytes = 0
        self.error: PortaskError | None = None
        """Why all of it is refused, once all its bytes are there."""


class TextDecoder:
    """Lines and bodies in, commands out. Keeps what it knows of an unfinished command."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.body_bytes: int | None = None
        """Bytes that are due next, not a line."""
        self._body: _Body | None = None
        self._publish: _Publish | None = None

    @property
    def unfinished(self) -> bool:
        """Whether the last line began a command that is not complete."""
        return self._publish is not None

    def line(self, line: bytes) -> Command | Refusal | None:
        """What *line*, without its end, completes."""
        try:
            if self._publish is not None:
                return self._entry(self._publish, line) if line else None
            if line[:8] == b"PUBLISH ":
                return _publish_line(line[8:])
            return self._command(line)
        except _OutOfStepError as out:
            return Refusal(None, out.error, fatal=True)
        except PortaskError as error:
            return Refusal(None, error)

    def body(self, data: bytes) -> Command | Refusal | None:
        """What *data*, exactly the bytes that were due, completes."""
        body, self._body, self.body_bytes = self._body, None, None
        assert body is not None
        return self._add(body.publish, body.message._replace(payload=data), body.error)

    # -- lines ------------------------------------------------------------------------------------

    def _command(self, line: bytes) -> Command | Refusal | None:
        word, _, rest = line.lstrip(b" ").partition(b" ")
        if not word:
            return None
        name = word.decode("latin-1").upper()
        if name == "PUBLISH":
            return _publish_line(rest)
        if name in _BODIES:
            return _BODIES[name](self, rest.split())
        verb = VERBS.get(name)
        if verb is None:
            raise UnknownCommandError(f"{_shown(word)} is no command; HELP lists them")
        words = rest.split()
        arguments = _settlement(verb, words) if name in _SETTLING else _arguments(verb, words)
        return Command(name, None, arguments)

    def publishb(self, words: list[bytes]) -> Command | Refusal | None:
        """Begin a PUBLISHB."""
        # Without a sound length nobody knows where the next command begins.
        with _Step():
            if len(words) < 2:
                raise ProtocolError(f"usage: {VERBS['PUBLISHB'].text_usage}")
            length = self._length(words[1])
        publish = _Publish("", 1, None)
        try:
            publish.topic = _text(words[0])
            for word in words[2:]:
                if word.startswith(b"partition="):
                    publish.partition = _number(word[10:], "partition")
            message = _fields([word for word in words[2:] if not word.startswith(b"partition=")])
        except PortaskError as error:
            publish.error, message = error, Message(b"")
        return self._expect(publish, message, length, None)

    def mpublish(self, words: list[bytes]) -> Command | Refusal | None:
        """Begin an MPUBLISH."""
        with _Step():
            if len(words) < 2 or len(words) > 3 or not (len(words) == 2 or words[2].startswith(b"partition=")):
                raise ProtocolError(f"usage: {VERBS['MPUBLISH'].text_usage}")
            count = _number(words[1], "count")
            if not 1 <= count <= self.limits.command_messages:
                raise MessageTooLargeError(
                    f"one MPUBLISH takes 1 to {self.limits.command_messages} messages, not {count}; use more commands"
                )
        publish = _Publish("", count, None)
        try:
            publish.topic = _text(words[0])
            publish.partition = _number(words[2][10:], "partition") if len(words) > 2 else None
        except PortaskError as error:
            publish.error = error
        self._publish = publish
        return None

    def _entry(self, publish: _Publish, line: bytes) -> Command | Refusal | None:
        words = line.split()
        with _Step():
            length = self._length(words[0] if words else b"")
            if publish.size_bytes + (length or 0) > self.limits.command_bytes:
                raise MessageTooLargeError(f"one MPUBLISH takes {self.limits.command_bytes} bytes; use more commands")
        error, message = None, Message(b"")
        try:
            message = _fields(words[1:])
        except PortaskError as refused:
            error = refused
        return self._expect(publish, message, length, error)

    def _length(self, word: bytes) -> int | None:
        """The payload's length; None for a null payload."""
        if word == NULL:
            return None
        length = _number(word, "length")
        if length > self.limits.message_bytes:
            raise MessageTooLargeError(
                f"a message of {length} bytes is larger than max_message_bytes, {self.limits.message_bytes}"
            )
        return length

    def _expect(
        self, publish: _Publish, message: Message, length: int | None, error: PortaskError | None
    ) -> Command | Refusal | None:
        if length is None:
            return self._add(publish, message._replace(payload=None), error)
        if length == 0:
            return self._add(publish, message._replace(payload=b""), error)
        self._publish = publish
        self._body = _Body(publish, message, error)
        self.body_bytes = length
        return None

    def _add(self, publish: _Publish, message: Message, error: PortaskError | None) -> Command | Refusal | None:
        size = _size(message)
        if error is None and size > self.limits.message_bytes:
            error = MessageTooLargeError(
                f"a message of {size} bytes with key and headers is larger than max_message_bytes,"
                f" {self.limits.message_bytes}"
            )
        publish.error = publish.error or error
        publish.size_bytes += size
        publish.records.append(to_record(message))
        publish.due -= 1
        if publish.due:
            self._publish = publish
            return None
        self._publish = None
        if publish.error is not None:
            return Refusal(None, publish.error)
        arguments = Publish(publish.topic, publish.records, publish.partition, publish.size_bytes)
        return Command("PUBLISH", None, arguments)


_BODIES: dict[str, Callable[[TextDecoder, list[bytes]], Command | Refusal | None]] = {
    "PUBLISHB": TextDecoder.publishb,
    "MPUBLISH": TextDecoder.mpublish,
}
_SETTLING = frozenset({"ACK", "NACK"})


class _OutOfStepError(Exception):
    """After *error* nobody knows where the next command begins."""

    def __init__(self, error: PortaskError) -> None:
        super().__init__(error)
        self.error = error


class _Step:
    """Makes an error inside the block one that ends the stream."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PortaskError):
            raise _OutOfStepError(error)


# -- reading values -------------------------------------------------------------------------------


def _publish_line(rest: bytes) -> Command:
    topic, space, payload = rest.partition(b" ")
    if not space:
        raise ProtocolError(f"usage: {VERBS['PUBLISH'].text_usage} (a space after the topic, even if nothing follows)")
    return Command("PUBLISH", None, Publish(_text(topic), [payload], None, len(payload)))


def _arguments(verb: Verb, words: list[bytes]) -> tuple[Any, ...]:
    """The arguments of *verb*, in the table's order."""
    values: dict[str, Any] = {}
    settings: dict[str, str | None] = {}
    places = iter(
        [argument for argument in verb.arguments if not argument.named and argument.kind is not Kind.SETTINGS]
    )
    by_name = {argument.name.encode(): argument for argument in verb.arguments if argument.kind is not Kind.SETTINGS}
    takes_settings = any(argument.kind is Kind.SETTINGS for argument in verb.arguments)
    for word in words:
        name, equals, value = word.partition(b"=")
        argument = by_name.get(name) if equals else None
        if argument is None and equals and takes_settings:
            settings[_text(name)] = _text(value) or None
            continue
        if argument is None and equals:
            raise ProtocolError(f"{_shown(name)} is no argument; usage: {verb.text_usage}")
        if argument is None:
            argument, value = next(places, None), word
        if argument is None or argument.name in values:
            raise ProtocolError(f"{_shown(word)} is too much; usage: {verb.text_usage}")
        values[argument.name] = _number(value, argument.name) if argument.kind is Kind.NUMBER else _text(value)
    if settings:
        values["settings"] = settings
    missing = [
        argument.name for argument in verb.arguments if argument.default is REQUIRED and argument.name not in values
    ]
    if missing:
        raise ProtocolError(f"{missing[0]} is missing; usage: {verb.text_usage}")
    return tuple(values.get(argument.name, argument.default) for argument in verb.arguments)


def _settlement(verb: Verb, words: list[bytes]) -> Settlement:
    group = None
    ranges = []
    for word in words:
        if word.startswith(b"group="):
            group = _text(word[6:])
            continue
        match = _ID.fullmatch(_text(word))
        if match is None:
            raise ProtocolError(f"{_shown(word)} is no id; usage: {verb.text_usage}")
        first = int(match[3])
        last = first if match[4] is None else int(match[4])
        if not first <= last <= MAX_NUMBER:
            raise ProtocolError(f"{_shown(word)} is no range of offsets")
        ranges.append((match[1], int(match[2]), first, last))
    if not ranges:
        raise ProtocolError(f"usage: {verb.text_usage}")
    return Settlement(group, ranges)


def _fields(words: list[bytes]) -> Message:
    """Key, headers, timestamp and properties; the payload is still to come."""
    key = properties = None
    timestamp = -1
    headers: list[tuple[str, bytes | None]] = []
    for word in words:
        name, equals, value = word.partition(b"=")
        if name.startswith(b"h."):
            headers.append((_text(name[2:]), _bytes(value) if equals else None))
        elif name == b"key" and equals:
            key = _bytes(value)
        elif name == b"timestamp" and equals:
            timestamp = _number(value, "timestamp")
        elif name == b"properties" and equals:
            properties = _bytes(value)
        else:
            raise ProtocolError(f"{_shown(word)} is neither key=, h.NAME=, timestamp= nor properties=")
    if len(headers) > MAX_HEADERS:
        raise ProtocolError(f"{len(headers)} headers are more than {MAX_HEADERS}")
    return Message(b"", key, tuple(headers), timestamp, properties)


def _size(message: Message) -> int:
    size = len(message.payload or b"") + len(message.key or b"") + len(message.properties or b"")
    return size + sum(len(name) + len(value or b"") for name, value in message.headers)


def _bytes(word: bytes) -> bytes:
    if b"%" not in word:
        return word
    if _BAD_ESCAPE.search(word):
        raise ProtocolError(f"{_shown(word)}: % is followed by two hexadecimal digits; % itself is %25")
    return unquote_to_bytes(word)


def _text(word: bytes) -> str:
    try:
        return _bytes(word).decode()
    except UnicodeDecodeError:
        raise ProtocolError(f"{_shown(word)} is not UTF-8") from None


def _number(word: bytes, name: str) -> int:
    if not _NUMBER.fullmatch(word) or int(word) > MAX_NUMBER:
        raise ProtocolError(f"{name} must be {Kind.NUMBER.value}, not {_shown(word)}")
    return int(word)


def _shown(word: bytes) -> str:
    """*word* as it may stand in an error's text, on one line and not too long."""
    return repr(word[:_SHOWN])[1:] + ("..." if len(word) > _SHOWN else "")


# -- writing --------------------------------------------------------------------------------------


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
            message = to_message(record, timestamp)
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
