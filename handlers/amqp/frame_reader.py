"""The frames of a connection as they come: from bytes to the channel that deals with them.

What one read of the socket brought is cut into frames, and all that are whole are dealt with. A publish or
an ack that looks like the one before takes a path of its own; every other frame is one of an open channel, or belongs
to the connection, which is then in one of its states (handlers.amqp.connection).
"""

from __future__ import annotations

import logging
from struct import Struct
from typing import TYPE_CHECKING, Any

from handlers.amqp.channel import Channel
from handlers.amqp.codec import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    FRAME_OVERHEAD,
    FRAME_START,
)
from handlers.amqp.errors import (
    CHANNEL_ERROR,
    COMMAND_INVALID,
    FRAME_ERROR,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    UNEXPECTED_FRAME,
    AmqpError,
    publish_error,
    reply_code,
)
from handlers.amqp.handshake import GREETING_BYTES
from handlers.amqp.methods import METHODS
from handlers.amqp.served import CHANNEL_OPEN, CONNECTION_METHODS
from portask.errors import PortaskError, ProtocolError

if TYPE_CHECKING:
    from handlers.amqp.connection import AmqpConnection

log = logging.getLogger(__name__)

_ACK = b"\x00\x3c\x00\x50"
_ACK_BYTES = 13
_TAG = Struct(">Q?")
_PUBLISH = b"\x00\x3c\x00\x28"
_IDS = Struct(">HH")
_HEAD_BYTES = FRAME_START.size
CLOSE_IDS = (10, 50)
CLOSE_OK_IDS = (10, 51)
CHANNEL_CLOSE_OK_IDS = (20, 41)


class FrameReader:
    """Deals with what the peer of one connection says."""

    def __init__(self, connection: AmqpConnection, limit: int) -> None:
        self._connection = connection
        self.limit = limit
        """The largest payload of a frame."""
        self._pieces: list[bytes] = []
        self._held = 0
        """Bytes in them."""
        self._needed = GREETING_BYTES
        """Bytes that there must be before anything can be done."""

    def received(self, data: memoryview) -> bool:
        """Deal with the frames that *data* completes. May block; False ends the connection."""
        self._pieces.append(bytes(data))
        self._held += len(data)
        if self._held < self._needed:
            return True
        whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        goes_on, position = self._deal(whole)
        self._held = len(whole) - position
        if self._held:
            self._pieces.append(whole[position:])
        return goes_on

    def _deal(self, data: bytes) -> tuple[bool, int]:
        """Deal with the whole frames in *data*; whether to go on, and where what is left begins."""
        connection = self._connection
        position = 0
        try:
            if not connection.handshake.is_greeted:
                position = GREETING_BYTES
                if not connection.handshake.greet(data[:GREETING_BYTES]):
                    return False, position
            self._needed = _HEAD_BYTES
            position, goes_on = self._frames(data, position)
            if goes_on and connection.gathering:
                connection.flush()
        except AmqpError as error:
            connection.fail(error)
        except PortaskError as error:
            connection.fail(AmqpError(reply_code(error), str(error)))
        except Exception:
            log.exception("connection failed", extra=connection.log_fields())
            connection.fail(AmqpError(INTERNAL_ERROR, "an error of the broker; its log has more"))
        else:
            return goes_on, position
        return self._pass_over(data, position)

    def _pass_over(self, data: bytes, position: int) -> tuple[bool, int]:
        """As `_deal` for all from *position* on, now that the connection is closed by this side.

        Frames are counted still: the peer's close-ok may come behind one that has not come whole yet.
        """
        try:
            position, goes_on = self._frames(data, position)
        except AmqpError:
            # What follows a frame that is none means nothing.
            return True, len(data)
        return goes_on, position

    def _frames(self, data: bytes, position: int) -> tuple[int, bool]:
        """Deal with the frames from *position* on; where they end, and whether to go on."""
        size = len(data)
        unpack = FRAME_START.unpack_from
        channels = self._connection.channels
        while size - position >= _HEAD_BYTES:
            kind, number, length = unpack(data, position)
            if length > self.limit:
                raise AmqpError(FRAME_ERROR, f"a frame of {length} bytes is larger than {self.limit}")
            start = position + _HEAD_BYTES
            end = start + length
            if end >= size:
                self._needed = FRAME_OVERHEAD + length
                break
            if data[end] != FRAME_END:
                raise AmqpError(FRAME_ERROR, f"a frame ends with {data[end]}, not with {FRAME_END}")
            channel = channels.get(number)
            if channel is None or not channel.is_open:
                if not self._control(kind, number, data[start:end]):
                    return end + 1, False
            elif kind == FRAME_METHOD:
                if data.startswith(_PUBLISH, start):
                    taken = channel.publisher.take(data, position, size)
                    if taken != position:
                        position = taken
                        continue
                    self._content(channel, channel.begin, data[start:end])
                elif length == _ACK_BYTES and data.startswith(_ACK, start):
                    if not channel.publisher.is_idle:
                        raise channel.publisher.interrupted()
                    tag, is_multiple = _TAG.unpack_from(data, start + 4)
                    self._content(channel, channel.ack, tag, is_multiple)
                else:
                    self._method(channel, data[start:end])
            elif kind == FRAME_BODY:
                self._content(channel, channel.publisher.body, data[start:end])
            elif kind == FRAME_HEADER:
                self._content(channel, channel.publisher.header, data[start:end])
            else:
                self._control(kind, number, data[start:end])
            position = end + 1
        return position, True

    def _content(self, channel: Channel, call: Any, *arguments: Any) -> None:
        """Have *channel* deal with a part of a publish, or with an ack. Errors of its own close it."""
        try:
            call(*arguments)
        except AmqpError as error:
            self._connection.channel_error(channel, error)
        except ProtocolError as error:
            raise AmqpError(FRAME_ERROR, str(error)) from error
        except PortaskError as error:
            self._connection.channel_error(channel, publish_error(error))

    def _method(self, channel: Channel, payload: bytes) -> None:
        """Have *channel* deal with a method. May block."""
        connection = self._connection
        if not channel.publisher.is_idle:
            raise channel.publisher.interrupted()
        if connection.gathering:
            connection.flush()
            if not channel.is_open:
                channel.closing(FRAME_METHOD, payload)
                return
        class_id, method_id, arguments = self._decode(payload)
        try:
            try:
                channel.method(class_id, method_id, arguments)
            except PortaskError as error:
                raise AmqpError(reply_code(error), str(error), class_id, method_id) from error
        except AmqpError as error:
            connection.channel_error(channel, error)

    def _decode(self, payload: bytes) -> tuple[int, int, Any]:
        """Class, method and arguments of a method frame. Raises AmqpError."""
        if len(payload) < _IDS.size:
            raise AmqpError(FRAME_ERROR, "a method frame without a method")
        class_id, method_id = _IDS.unpack_from(payload)
        method = METHODS.get((class_id, method_id))
        if method is None:
            raise AmqpError(FRAME_ERROR, f"there is no method {method_id} of class {class_id}", class_id, method_id)
        try:
            return class_id, method_id, method.decode(payload)
        except ProtocolError as error:
            raise AmqpError(FRAME_ERROR, str(error), class_id, method_id) from error

    def _control(self, kind: int, number: int, payload: bytes) -> bool:
        """Deal with a frame that belongs to no open channel; False ends the connection."""
        connection = self._connection
        if connection.is_closing:
            return self._closing(kind, payload)
        if kind == FRAME_HEARTBEAT:
            if number:
                raise AmqpError(UNEXPECTED_FRAME, "a heartbeat on a channel")
            if payload:
                raise AmqpError(FRAME_ERROR, "a heartbeat with a payload")
            return True
        if kind not in {FRAME_METHOD, FRAME_HEADER, FRAME_BODY}:
            raise AmqpError(FRAME_ERROR, f"there are no frames of type {kind}")
        if number == 0:
            if kind != FRAME_METHOD:
                raise AmqpError(UNEXPECTED_FRAME, "content on channel 0")
            return self._connection_method(payload)
        channel = connection.channels.get(number)
        if channel is not None:
            channel.closing(kind, payload)
        elif not connection.is_running:
            raise AmqpError(COMMAND_INVALID, "a frame on a channel before the connection is open")
        elif kind == FRAME_METHOD and payload[:4] == _IDS.pack(*CHANNEL_OPEN):
            self._open_channel(number)
        elif kind != FRAME_METHOD:
            raise AmqpError(UNEXPECTED_FRAME, "content on a channel that is not open")
        elif payload[:4] != _IDS.pack(*CHANNEL_CLOSE_OK_IDS):
            raise AmqpError(CHANNEL_ERROR, "expected 'channel.open'", *_ids_of(kind, payload))
        return True

    def _closing(self, kind: int, payload: bytes) -> bool:
        """Deal with a frame while this side waits for close-ok; False ends the connection."""
        ids = payload[:4] if kind == FRAME_METHOD else b""
        if ids == _IDS.pack(*CLOSE_IDS):
            self._connection.send_method(CLOSE_OK_IDS)
            return False
        return ids != _IDS.pack(*CLOSE_OK_IDS)

    def _connection_method(self, payload: bytes) -> bool:
        connection = self._connection
        class_id, method_id, arguments = self._decode(payload)
        if connection.gathering:
            connection.flush()
        if (class_id, method_id) == CLOSE_IDS:
            connection.close()
            return False
        if not connection.is_running:
            return connection.handshake.method(class_id, method_id, arguments)
        call = CONNECTION_METHODS.get((class_id, method_id))
        if call is None:
            raise AmqpError(CHANNEL_ERROR, "unexpected method in connection state running", class_id, method_id)
        call(connection, arguments)
        return True

    def _open_channel(self, number: int) -> None:
        connection = self._connection
        if len(connection.channels) >= connection.channel_max:
            raise AmqpError(
                NOT_ALLOWED,
                f"number of channels opened ({len(connection.channels)}) has reached the negotiated channel_max"
                f" ({connection.channel_max})",
                *CHANNEL_OPEN,
            )
        channel = connection.channels[number] = Channel(connection, number)
        if connection.link.is_congested:
            channel.congested(True)
        channel.reply((20, 11))


def _ids_of(kind: int, payload: bytes) -> tuple[int, int]:
    """Class and method that a frame is of."""
    return _IDS.unpack_from(payload) if kind == FRAME_METHOD and len(payload) >= _IDS.size else (0, 0)
