"""A connection of an AMQP client: frames in, frames out.

The link hands over what one read brought; all frames that are whole are dealt with before more is read. What
was published and acknowledged meanwhile is gathered by its channel and handed over together, at the latest
when the bytes are used up, and before any other method is dealt with.

    states      greeting -> starting -> tuning -> opening -> running -> closing
    greeting    the protocol header is to come; the next three are portask's handshake (handshake.py)
    closing     this side has closed: all but close-ok is passed over
"""

from __future__ import annotations

import logging
from struct import Struct
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from handlers.amqp.channel import Channel
from handlers.amqp.codec import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    FRAME_OVERHEAD,
    FRAME_START,
    HEARTBEAT,
    REPLIES,
    encode_method_frame,
    reply_text,
)
from handlers.amqp.errors import (
    CHANNEL_ERROR,
    COMMAND_INVALID,
    CONNECTION_FORCED,
    FRAME_ERROR,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    UNEXPECTED_FRAME,
    AmqpError,
    reply_code,
)
from handlers.amqp.handshake import GREETING_BYTES, Handshake
from handlers.amqp.methods import METHODS
from handlers.amqp.served import CHANNEL_OPEN, CONNECTION_METHODS
from handlers.link import Connection, Link
from portask.errors import PortaskError, ProtocolError

if TYPE_CHECKING:
    from handlers.amqp.handler import AmqpHandler
    from handlers.amqp.reply_to import ReplyConsumer
    from portask.storage.base import Buffer
    from portask.virtual_host import VirtualHost

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0
"""Time that a peer has to say close-ok."""
REFUSED_LOGIN_S = 3.0
"""Time that a peer waits whose login was refused."""
_ACK = b"\x00\x3c\x00\x50"
_ACK_BYTES = 13
_TAG = Struct(">Q?")
_PUBLISH = b"\x00\x3c\x00\x28"
_IDS = Struct(">HH")
_HEAD_BYTES = FRAME_START.size
CONNECTION_CLASS = 10
CLOSE_IDS = (10, 50)
CLOSE_OK_IDS = (10, 51)


class AmqpConnection(Connection):
    """The protocol side of one connection."""

    def __init__(self, handler: AmqpHandler, link: Link) -> None:
        self.handler = handler
        self.broker = handler.broker
        self.settings = handler.broker.settings
        self.link = link
        self.channels: dict[int, Channel] = {}
        self.handshake = Handshake(self)
        self.virtual_host: VirtualHost
        """Known once the connection is open."""
        self.user = ""
        self.may_impersonate = False
        self.client_capabilities: dict[str, Any] = {}
        self.frame_max = self.settings.amqp_frame_max
        self.channel_max = self.settings.amqp_channel_max
        self.heartbeat_s = 0
        self.is_running = False
        """Whether the handshake is over."""
        self._frame_limit = handler.initial_frame_max
        self._pieces: list[bytes] = []
        self._held = 0
        """Bytes in them."""
        self._needed = GREETING_BYTES
        """Bytes that there must be before anything can be done."""
        self._gathering: dict[int, Channel] = {}
        """Channels that have gathered something since the last flush."""
        self._since = self.broker.clock.monotonic()
        self._closing_since: float | None = None
        self._last_out = (0, self._since)
        self._last_in = (0, self._since)
        self._is_blocked = False
        self._released = Event()
        self._has_ended = False

    # -- for the link -----------------------------------------------------------------------------

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
        return goes_on and not self.link.broken

    def congested(self, full: bool) -> None:
        """Stop or go on to deliver."""
        for channel in self.channels.values():
            channel.congested(full)

    def ended(self) -> None:
        """Give back what the peer held, delete what was its own. May block."""
        self._has_ended = True
        self._released.set()
        self.handler.connection_ended(self)
        for channel in list(self.channels.values()):
            channel.release()
        self.channels.clear()
        self._drop_own()

    def interrupt(self) -> None:
        """The connection is to end: tell the peer, and wait for nothing more."""
        if self.is_running and self._closing_since is None:
            self._send_close(AmqpError(CONNECTION_FORCED, "broker forced connection closure with reason 'shutdown'"))
        self._has_ended = True
        self._released.set()

    def stuck(self, now: float) -> str | None:
        """Why the peer is given up."""
        if self._closing_since is not None:
            return "no answer to connection.close" if now - self._closing_since > CLOSE_TIMEOUT_S else None
        timeout_ms = self.settings.amqp_handshake_timeout_ms
        if not self.is_running and now - self._since > timeout_ms / 1000:
            return f"the handshake took longer than {timeout_ms} ms"
        return None

    # -- frames -----------------------------------------------------------------------------------

    def _deal(self, data: bytes) -> tuple[bool, int]:
        """Deal with the whole frames in *data*; whether to go on, and where what is left begins."""
        position = 0
        try:
            if not self.handshake.is_greeted:
                position = GREETING_BYTES
                if not self.handshake.greet(data[:GREETING_BYTES]):
                    return False, position
            self._needed = _HEAD_BYTES
            try:
                position, goes_on = self._frames(data, position)
            except AmqpError as error:
                self.fail(error)
                return self.handshake.is_started, len(data)
            if goes_on and self._gathering:
                self._flush()
        except AmqpError as error:
            self.fail(error)
            return True, len(data)
        except PortaskError as error:
            self.fail(AmqpError(reply_code(error), str(error)))
            return True, len(data)
        except Exception:
            log.exception("connection failed", extra=self.log_fields())
            self.fail(AmqpError(INTERNAL_ERROR, "an error of the broker; its log has more"))
            return True, len(data)
        return goes_on, position

    def _frames(self, data: bytes, position: int) -> tuple[int, bool]:
        """Deal with the frames from *position* on; where they end, and whether to go on."""
        size = len(data)
        unpack = FRAME_START.unpack_from
        channels = self.channels
        while size - position >= _HEAD_BYTES:
            kind, number, length = unpack(data, position)
            if length > self._frame_limit:
                raise AmqpError(FRAME_ERROR, f"a frame of {length} bytes is larger than {self._frame_limit}")
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
            self._channel_error(channel, error)
        except ProtocolError as error:
            raise AmqpError(FRAME_ERROR, str(error)) from error

    def _method(self, channel: Channel, payload: bytes) -> None:
        """Have *channel* deal with a method. May block."""
        if not channel.publisher.is_idle:
            raise channel.publisher.interrupted()
        if self._gathering:
            self._flush()
            if not channel.is_open:
                return
        class_id, method_id, arguments = self.decode(payload)
        try:
            try:
                channel.method(class_id, method_id, arguments)
            except PortaskError as error:
                raise AmqpError(reply_code(error), str(error), class_id, method_id) from error
        except AmqpError as error:
            self._channel_error(channel, error)

    def decode(self, payload: bytes) -> tuple[int, int, Any]:
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
        if kind == FRAME_HEARTBEAT:
            if number:
                raise AmqpError(UNEXPECTED_FRAME, "a heartbeat on a channel")
            if payload:
                raise AmqpError(FRAME_ERROR, "a heartbeat with a payload")
            return True
        if kind not in {FRAME_METHOD, FRAME_HEADER, FRAME_BODY}:
            raise AmqpError(FRAME_ERROR, f"there are no frames of type {kind}")
        if self._closing_since is not None:
            return not (kind == FRAME_METHOD and payload[:4] == _IDS.pack(*CLOSE_OK_IDS))
        if number == 0:
            if kind != FRAME_METHOD:
                raise AmqpError(UNEXPECTED_FRAME, "content on channel 0")
            return self._connection_method(payload)
        channel = self.channels.get(number)
        if channel is not None:
            channel.closing(kind, payload)
        elif not self.is_running:
            raise AmqpError(COMMAND_INVALID, "a frame on a channel before the connection is open")
        elif kind == FRAME_METHOD and payload[:4] == _IDS.pack(*CHANNEL_OPEN):
            self._open_channel(number)
        elif kind != FRAME_METHOD:
            raise AmqpError(UNEXPECTED_FRAME, "content on a channel that is not open")
        elif payload[:4] != _IDS.pack(20, 41):
            raise AmqpError(CHANNEL_ERROR, "expected 'channel.open'", *_ids_of(kind, payload))
        return True

    def _connection_method(self, payload: bytes) -> bool:
        class_id, method_id, arguments = self.decode(payload)
        if self._gathering:
            self._flush()
        if (class_id, method_id) == CLOSE_IDS:
            self._close()
            return False
        if not self.is_running:
            return self.handshake.method(class_id, method_id, arguments)
        call = CONNECTION_METHODS.get((class_id, method_id))
        if call is None:
            raise AmqpError(CHANNEL_ERROR, "unexpected method in connection state running", class_id, method_id)
        call(self, arguments)
        return True

    def _open_channel(self, number: int) -> None:
        if len(self.channels) >= self.channel_max:
            raise AmqpError(
                NOT_ALLOWED,
                f"number of channels opened ({len(self.channels)}) has reached the negotiated channel_max"
                f" ({self.channel_max})",
                *CHANNEL_OPEN,
            )
        channel = self.channels[number] = Channel(self, number)
        if self.link.unsent_bytes and self.link.is_congested:
            channel.congested(True)
        channel.reply((20, 11))

    # -- what was gathered ------------------------------------------------------------------------

    def gathers(self, channel: Channel) -> None:
        """*channel* has something for the next flush."""
        self._gathering[channel.number] = channel

    def _flush(self) -> None:
        """Hand over what the channels have gathered. May block."""
        gathering, self._gathering = self._gathering, {}
        published = False
        for channel in gathering.values():
            try:
                published |= channel.flush()
            except AmqpError as error:
                self._channel_error(channel, error)
            except PortaskError as error:
                raise AmqpError(reply_code(error), str(error), 60, 40) from error
        if published and self.broker.alarms.active:
            self._wait_for_alarms()

    def _wait_for_alarms(self) -> None:
        """Read nothing from a publisher while memory or disk is short. Blocks."""
        alarms = self.broker.alarms
        self._is_blocked = True
        tells = self.client_capabilities.get("connection.blocked") is True
        if tells:
            reason = " & ".join(f"low on {name}" for name in sorted(alarms.active))
            self.send_method((10, 60), reason=reason)
        log.warning("publisher blocked", extra={**self.log_fields(), "alarms": sorted(alarms.active)})
        alarms.watch(self._alarms_changed)
        try:
            while alarms.active and not self._has_ended and not self.link.broken:
                self._released.clear()
                self._released.wait()
        finally:
            alarms.unwatch(self._alarms_changed)
            self._is_blocked = False
        if tells:
            self.send_method((10, 61))

    def _alarms_changed(self, active: frozenset[str]) -> None:
        self._released.set()

    # -- ends -------------------------------------------------------------------------------------

    def _channel_error(self, channel: Channel, error: AmqpError) -> None:
        """Close *channel*, or raise *error* again when it is one that closes the connection."""
        if REPLIES[error.code].closes_connection:
            raise error
        log.info("channel closed", extra={**self.log_fields(), "channel": channel.number, "reason": error.text})
        channel.close(error)

    def fail(self, error: AmqpError) -> None:
        """Tell the peer why the connection ends, and pass over all that it still says."""
        log.warning("connection closed", extra={**self.log_fields(), "code": error.code, "reason": error.text})
        # What came before the mistake counts.
        gathering, self._gathering = self._gathering, {}
        for channel in gathering.values():
            try:
                channel.flush()
            except (AmqpError, PortaskError) as more:
                log.info("not taken either", extra={**self.log_fields(), "reason": str(more)})
        if self.handshake.is_started and self._closing_since is None:
            self._send_close(error)
        for channel in list(self.channels.values()):
            channel.release()
        self.channels.clear()
        self._drop_own()

    def _send_close(self, error: AmqpError) -> None:
        self._closing_since = self.broker.clock.monotonic()
        self.send_method(
            CLOSE_IDS,
            reply_code=error.code,
            reply_text=reply_text(error.code, error.text),
            class_id=error.class_id,
            method_id=error.method_id,
        )

    def _close(self) -> None:
        """The peer closes: what was its own is gone before it is told so. Blocks."""
        for channel in list(self.channels.values()):
            channel.release()
        self.channels.clear()
        self._drop_own()
        self.send_method(CLOSE_OK_IDS)

    def _drop_own(self) -> None:
        if self.is_running:
            self.virtual_host.queues.release(self)

    # -- for everyone -----------------------------------------------------------------------------

    def tuned(self, frame_max: int, channel_max: int, heartbeat_s: int) -> None:
        """Keep what was negotiated."""
        self.frame_max = self._frame_limit = frame_max
        self.channel_max = channel_max
        self.heartbeat_s = heartbeat_s

    def send_method(self, ids: tuple[int, int], channel: int = 0, **arguments: Any) -> None:
        """Send a method. Never blocks."""
        frame = encode_method_frame(channel, METHODS[ids].value(**arguments))
        self.link.send([frame], len(frame))

    def send(self, pieces: list[Buffer]) -> None:
        """Send *pieces* of frames. Never blocks."""
        self.link.send(pieces, sum(map(len, pieces)))

    def reply_consumer(self, address: str) -> ReplyConsumer | None:
        """Who waits for answers at *address*."""
        return self.handler.reply_consumers.get(address)

    def beat(self, now: float) -> None:
        """Send a heartbeat when nothing else was sent lately; give up a peer that sends none. Never blocks."""
        if not self.heartbeat_s or not self.is_running:
            return
        link = self.link
        if link.bytes_out != self._last_out[0]:
            self._last_out = (link.bytes_out, now)
        elif now - self._last_out[1] >= self.heartbeat_s / 2 and not link.unsent_bytes:
            link.send([HEARTBEAT], len(HEARTBEAT))
            self._last_out = (link.bytes_out + len(HEARTBEAT), now)
        if link.bytes_in != self._last_in[0] or self._is_blocked or link.is_congested:
            self._last_in = (link.bytes_in, now)
        elif now - self._last_in[1] > 2.5 * self.heartbeat_s:
            log.warning("missed heartbeats from client", extra={**self.log_fields(), "heartbeat_s": self.heartbeat_s})
            link.abort()

    def log_refused(self, mechanism: str) -> None:
        """Note a login that was refused; never the credentials."""
        log.warning("login refused", extra={**self.log_fields(), "mechanism": mechanism[:60]})

    def drop_later(self) -> None:
        """Leave a peer whose login was refused without a word, but not so soon that it could try many."""
        self._closing_since = self.broker.clock.monotonic() - CLOSE_TIMEOUT_S + REFUSED_LOGIN_S

    def log_fields(self) -> dict[str, Any]:
        """What names this connection in a log line."""
        return {"protocol": "amqp", "connection": self.link.id, "peer": self.link.peer, "client": self.link.name}


def _ids_of(kind: int, payload: bytes) -> tuple[int, int]:
    """Class and method that a frame is of."""
    return _IDS.unpack_from(payload) if kind == FRAME_METHOD and len(payload) >= _IDS.size else (0, 0)
