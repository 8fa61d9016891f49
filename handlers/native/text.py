"""Text mode: lines that a person can type, and the bytes that some of them announce.

    command := line [bytes]          line ends in \\n or \\r\\n
    value   := bytes other than space, control, "%" and non-ASCII; those as %XX

A `TextDecoder` gets whole lines and whole bodies from the decoder, which knows by `body_bytes` what is
due next; so a large payload that arrives in pieces is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable

from handlers.native.command import Command, Limits, Publish, Refusal, UnknownCommandError
from handlers.native.verbs import VERBS
from handlers.native.words import parse_arguments, parse_fields, parse_number, parse_settlement, parse_text, shown
from portask.errors import MessageTooLargeError, PortaskError, ProtocolError
from portask.message import Message, Record, to_record

NULL = b"-"
_HTTP_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"))
_HTTP_VERSIONS = (b" HTTP/1.0", b" HTTP/1.1")
"""Instead of a length: a null payload."""


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
        if name in _HTTP_METHODS and rest.endswith(_HTTP_VERSIONS):
            # A web page may have its visitor's browser send such a request to loopback, commands in its body.
            raise _OutOfStepError(ProtocolError("HTTP is not spoken here; use the port of http_port"))
        if name == "PUBLISH":
            return _publish_line(rest)
        if name in _BODIES:
            return _BODIES[name](self, rest.split())
        verb = VERBS.get(name)
        if verb is None:
            raise UnknownCommandError(f"{shown(word)} is no command; HELP lists them")
        words = rest.split()
        arguments = parse_settlement(verb, words) if name in _SETTLING else parse_arguments(verb, words)
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
            publish.topic = parse_text(words[0])
            for word in words[2:]:
                if word.startswith(b"partition="):
                    publish.partition = parse_number(word[10:], "partition")
            message = parse_fields([word for word in words[2:] if not word.startswith(b"partition=")])
        except PortaskError as error:
            publish.error, message = error, Message(b"")
        return self._expect(publish, message, length, None)

    def mpublish(self, words: list[bytes]) -> Command | Refusal | None:
        """Begin an MPUBLISH."""
        with _Step():
            if len(words) < 2 or len(words) > 3 or not (len(words) == 2 or words[2].startswith(b"partition=")):
                raise ProtocolError(f"usage: {VERBS['MPUBLISH'].text_usage}")
            count = parse_number(words[1], "count")
            if not 1 <= count <= self.limits.command_messages:
                raise MessageTooLargeError(
                    f"one MPUBLISH takes 1 to {self.limits.command_messages} messages, not {count}; use more commands"
                )
        publish = _Publish("", count, None)
        try:
            publish.topic = parse_text(words[0])
            publish.partition = parse_number(words[2][10:], "partition") if len(words) > 2 else None
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
            message = parse_fields(words[1:])
        except PortaskError as refused:
            error = refused
        return self._expect(publish, message, length, error)

    def _length(self, word: bytes) -> int | None:
        """The payload's length; None for a null payload."""
        if word == NULL:
            return None
        length = parse_number(word, "length")
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


def _publish_line(rest: bytes) -> Command:
    topic, space, payload = rest.partition(b" ")
    if not space:
        raise ProtocolError(f"usage: {VERBS['PUBLISH'].text_usage} (a space after the topic, even if nothing follows)")
    return Command("PUBLISH", None, Publish(parse_text(topic), [payload], None, len(payload)))


def _size(message: Message) -> int:
    size = len(message.payload or b"") + len(message.key or b"") + len(message.properties or b"")
    return size + sum(len(name) + len(value or b"") for name, value in message.headers)
