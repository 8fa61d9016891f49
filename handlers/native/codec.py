"""The decoder of a connection: bytes in whatever pieces they arrive, commands out.

It keeps the bytes of an unfinished line, body or frame and knows how many are missing at least, so
bytes that cannot complete anything are only added. HELLO changes the mode for the bytes that follow it,
so the decoder reads that itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from handlers.native import cbor, text_encoder
from handlers.native.cbor import HEADER, decode_request
from handlers.native.command import Command, Delivered, Limits, Refusal, Result
from handlers.native.text import TextDecoder
from portask.errors import MessageTooLargeError
from portask.storage.base import Buffer


class Mode(Enum):
    """The two ways to speak."""

    TEXT = "text"
    CBOR = "cbor"


class Encoding(NamedTuple):
    """How a mode writes what goes to the peer."""

    answer: Callable[[int | None, Result], list[Buffer]]
    error: Callable[[int | None, str, str], list[Buffer]]
    delivery: Callable[[Delivered], list[Buffer]]
    cancelled: Callable[[str, str, str, str], list[Buffer]]


ENCODINGS = {
    Mode.TEXT: Encoding(
        text_encoder.encode_answer,
        text_encoder.encode_error,
        text_encoder.encode_delivery,
        text_encoder.encode_cancelled,
    ),
    Mode.CBOR: Encoding(cbor.encode_answer, cbor.encode_error, cbor.encode_delivery, cbor.encode_cancelled),
}


class Decoder:
    """Bytes in, commands out, in the order in which they are complete."""

    def __init__(self, limits: Limits) -> None:
        self.mode = Mode.TEXT
        """Of the bytes that come next."""
        self.closed = False
        """After a fatal refusal nothing more is taken."""
        self._limits = limits
        self._text = TextDecoder(limits)
        self._rest = bytearray()
        self._missing = 0
        """Bytes that *rest* lacks at least; in a line a line end is lacking instead."""

    @property
    def unfinished(self) -> bool:
        """Whether a command has begun that is not complete."""
        return bool(self._rest) or self._text.unfinished

    def feed(self, data: Buffer) -> list[Command | Refusal]:
        """What *data* completes. *data* is not kept."""
        if self.closed:
            return []
        if self._rest:
            self._rest += data
            self._missing -= len(data)
            if self._missing > 0:
                return []
            source = bytes(self._rest)
            self._rest.clear()
        else:
            source = bytes(data)
        found: list[Command | Refusal] = []
        position = 0
        while position < len(source) and not self.closed:
            before = position
            position = (
                self._frame(source, position, found) if self.mode is Mode.CBOR else self._line(source, position, found)
            )
            if position == before:
                self._rest += memoryview(source)[position:]
                break
        return found

    def _line(self, source: bytes, position: int, found: list[Command | Refusal]) -> int:
        """Take lines and bodies from *position* on for as long as they are whole; the position after them."""
        size = len(source)
        decoder = self._text
        while position < size:
            if decoder.body_bytes is not None:
                end = position + decoder.body_bytes
                if end > size:
                    self._missing = end - size
                    return position
                item = decoder.body(source[position:end])
                position = end
            else:
                end = source.find(b"\n", position)
                if (size if end < 0 else end) - position > self._limits.line_bytes:
                    self._refuse(f"a line is longer than native_max_line_bytes, {self._limits.line_bytes}", found)
                    return size
                if end < 0:
                    self._missing = 1
                    return position
                item = decoder.line(source[position : end - 1 if source[end - 1 : end] == b"\r" else end])
                position = end + 1
            if item is None:
                continue
            found.append(item)
            if isinstance(item, Refusal):
                self.closed = item.fatal
                if self.closed:
                    return size
            elif item.verb == "HELLO" and self._switch(item):
                return position
        return position

    def _frame(self, source: bytes, position: int, found: list[Command | Refusal]) -> int:
        """Take one frame at *position*; the position after it, or the same when it isn't whole."""
        size = len(source)
        start = position + HEADER.size
        if start > size:
            self._missing = start - size
            return position
        length: int = HEADER.unpack_from(source, position)[0]
        if length > self._limits.command_bytes:
            self._refuse(f"a frame of {length} bytes is larger than {self._limits.command_bytes}; send several", found)
            return size
        if start + length > size:
            self._missing = start + length - size
            return position
        item = decode_request(source[start : start + length], self._limits)
        found.append(item)
        if isinstance(item, Command) and item.verb == "HELLO":
            self._switch(item)
        return start + length

    def _switch(self, hello: Command) -> bool:
        """Follow HELLO into its mode; False when there is no such mode, which the session will say."""
        wanted = next((mode for mode in Mode if mode.value == hello.arguments[0]), None)
        if wanted is not None:
            self.mode = wanted
        return wanted is not None

    def _refuse(self, why: str, found: list[Command | Refusal]) -> None:
        self.closed = True
        found.append(Refusal(None, MessageTooLargeError(why), fatal=True))
