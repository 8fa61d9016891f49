"""Frames of Kafka's protocol: requests cut out of what arrives, responses put together.

    request  := size:i32 api_key:i16 version:i16 correlation_id:i32 client_id:string? tagged_fields? body
    response := size:i32 correlation_id:i32 tagged_fields? body

Tagged fields stand in the headers of flexible versions. `client_id` never takes the compact form, so what
a request is can be told before its version is known.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

from handlers.kafka.tables import REQUEST_HEADER
from portask.errors import ProtocolError
from portask.storage.base import Buffer

SIZE = Struct(">i")
_START = Struct(">hhi")
_FRAME = Struct(">ii")
_FLEXIBLE_FRAME = Struct(">iix")
MIN_REQUEST_BYTES = _START.size + 2
_decode_header = REQUEST_HEADER.decode(1)
_decode_flexible_header = REQUEST_HEADER.decode(2)


class FrameTooLargeError(ProtocolError):
    """A request says that it is larger than any may be, or smaller than any can be."""


AHEAD_BYTES = 64 * 1024
"""When more of a request than this is missing, room is made for all of it, so that it is received in place: of a
megabyte that saves 0.13 ms of copying."""
MAX_AHEAD_BYTES = 4 * 1024 * 1024
AHEAD_RATIO = 8
"""Room that is made at most on the strength of a size, and how many times as much as has arrived: it takes its memory
at once, and a size alone is only a promise. The buffer of any other request grows as bytes arrive."""


class Framer:
    """Cuts a stream of bytes into requests."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        """The beginning of a request, perhaps with room for the rest of it."""
        self._filled = 0
        """Bytes of it that have arrived."""

    @property
    def is_unfinished(self) -> bool:
        """Whether a request has begun and not arrived as a whole."""
        return self._filled > 0

    @property
    def missing_bytes(self) -> int:
        """How many bytes of a request that has begun are still to come; 0 while its size is not known."""
        if self._filled < SIZE.size:
            return 0
        size: int = SIZE.unpack_from(self._buffer)[0]
        return SIZE.size + size - self._filled

    @property
    def room(self) -> memoryview | None:
        """Where the rest of a long request goes; None when it comes by `feed`."""
        return memoryview(self._buffer)[self._filled :] if self._filled < len(self._buffer) else None

    def fill(self, size: int) -> list[memoryview]:
        """The request that is complete with *size* more bytes in `room`, if it is."""
        self._filled += size
        return [] if self._filled < len(self._buffer) else [self._take()]

    def feed(self, data: memoryview) -> list[memoryview]:
        """The requests that *data* completes, without their sizes. Each has bytes of its own.

        Raises FrameTooLargeError; what came before it in *data* is lost then, as the connection is.
        """
        frames: list[memoryview] = []
        if self._filled:
            data = self._finish(data, frames)
        position, end = 0, len(data)
        while end - position >= SIZE.size:
            size = self._check(SIZE.unpack_from(data, position)[0])
            if end - position < SIZE.size + size:
                break
            position += SIZE.size
            frames.append(memoryview(bytes(data[position : position + size])))
            position += size
        if position < end:
            self._buffer += data[position:]
            self._filled = len(self._buffer)
        if AHEAD_BYTES < self.missing_bytes <= min(MAX_AHEAD_BYTES, AHEAD_RATIO * self._filled):
            self._make_room()
        return frames

    def _make_room(self) -> None:
        if self._filled < len(self._buffer):
            return
        begun, self._buffer = self._buffer, bytearray(self._filled + self.missing_bytes)
        self._buffer[: self._filled] = begun

    def _finish(self, data: memoryview, frames: list[memoryview]) -> memoryview:
        """Add to what has begun, and return what is left of *data*."""
        missing = SIZE.size - self._filled
        if missing > 0:
            self._buffer += data[:missing]
            data = data[missing:]
            self._filled = len(self._buffer)
        if self._filled < SIZE.size:
            return data
        self._check(SIZE.unpack_from(self._buffer)[0])
        missing = self.missing_bytes
        self._buffer[self._filled : self._filled + len(data[:missing])] = data[:missing]
        self._filled += len(data[:missing])
        if not self.missing_bytes:
            frames.append(self._take())
        return data[missing:]

    def _take(self) -> memoryview:
        """The request that has arrived; the next one may begin."""
        buffer, self._buffer, self._filled = self._buffer, bytearray(), 0
        return memoryview(buffer)[SIZE.size :]

    def _check(self, size: int) -> int:
        if not MIN_REQUEST_BYTES <= size <= self._max_bytes:
            raise FrameTooLargeError(
                f"a request of {size} bytes is not within {MIN_REQUEST_BYTES} to {self._max_bytes}"
            )
        return size


class Header(NamedTuple):
    """What stands before a request."""

    api_key: int
    version: int
    correlation_id: int


def read_start(frame: memoryview) -> Header:
    """Which API is called, in which version. The frame has at least MIN_REQUEST_BYTES."""
    return Header._make(_START.unpack_from(frame))


def read_header(frame: memoryview, is_flexible: bool) -> tuple[str, int]:
    """The client's id, and where the body begins. Raises ProtocolError."""
    decode = _decode_flexible_header if is_flexible else _decode_header
    header, position = decode(frame, 0, len(frame))
    return header.client_id or "", position


def encode_response(correlation_id: int, is_flexible: bool, body: list[Buffer]) -> tuple[list[Buffer], int]:
    """The frame of a response, in pieces, and its size in bytes. *is_flexible* is said of its header."""
    size = sum(map(len, body)) + SIZE.size + is_flexible
    frame: Any = _FLEXIBLE_FRAME if is_flexible else _FRAME
    return [frame.pack(size, correlation_id), *body], size + SIZE.size
