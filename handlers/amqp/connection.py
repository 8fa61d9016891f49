"""A connection of an AMQP client: frames in, frames out.

The link hands over what one read brought; all frames that are whole are dealt with before more is read. What
was published and acknowledged meanwhile is gathered by its channel and handed over together, at the latest
when the bytes are used up, and before any other method is dealt with.

    states      greeting -> starting -> tuning -> opening -> running -> closing
    greeting    the protocol header is to come; the next three are portask's handshake (handshake.py)
    closing     this side has closed: all but close-ok, and a close of the peer's own, is passed over
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from handlers.amqp.codec import (
    HEARTBEAT,
    REPLIES,
    encode_method_frame,
    reply_text,
)
from handlers.amqp.errors import (
    CONNECTION_FORCED,
    AmqpError,
    publish_error,
)
from handlers.amqp.frame_reader import CLOSE_IDS, CLOSE_OK_IDS, FrameReader
from handlers.amqp.handshake import Handshake
from handlers.amqp.methods import METHODS
from handlers.link import Connection, Link
from portask.errors import PortaskError

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from handlers.amqp.handler import AmqpHandler
    from handlers.amqp.reply_to import ReplyConsumer
    from portask.storage.base import Buffer
    from portask.virtual_host import VirtualHost

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0
"""Time that a peer has to say close-ok."""
REFUSED_LOGIN_S = 3.0
"""Time that a peer waits whose login was refused."""


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
        self._reader = FrameReader(self, handler.initial_frame_max)
        self.gathering: dict[Channel, None] = {}
        """Channels that have gathered something since the last flush, in order."""
        self._since = self.broker.clock.monotonic()
        self._closing_since: float | None = None
        self._last_out = (0, self._since)
        self._last_in = (0, self._since)
        self._is_busy = False
        """Whether what has come is being dealt with, which may take any time."""
        self._released = Event()
        self._has_ended = False

    # -- for the link -----------------------------------------------------------------------------

    def received(self, data: memoryview) -> bool:
        """Deal with the frames that *data* completes. May block; False ends the connection."""
        self._is_busy = True
        goes_on = self._reader.received(data)
        self._is_busy = False
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

    # -- what was gathered ------------------------------------------------------------------------

    def gathers(self, channel: Channel) -> None:
        """*channel* has something for the next flush."""
        self.gathering[channel] = None

    def flush(self) -> None:
        """Hand over what the channels have gathered. May block. Raises AmqpError, some of it may be left then."""
        published = False
        while self.gathering:
            channel = next(iter(self.gathering))
            del self.gathering[channel]
            try:
                published |= channel.flush()
            except AmqpError as error:
                self.channel_error(channel, error)
            except PortaskError as error:
                self.channel_error(channel, publish_error(error))
        if published and self.broker.alarms.active:
            self._wait_for_alarms()

    def _wait_for_alarms(self) -> None:
        """Read nothing from a publisher while memory or disk is short. Blocks."""
        alarms = self.broker.alarms
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
        if tells and not self._has_ended:
            self.send_method((10, 61))

    def _alarms_changed(self, active: frozenset[str]) -> None:
        self._released.set()

    # -- ends -------------------------------------------------------------------------------------

    def channel_error(self, channel: Channel, error: AmqpError) -> None:
        """Close *channel*, or raise *error* again when it is one that closes the connection."""
        if REPLIES[error.code].closes_connection:
            raise error
        if not channel.is_open:
            return
        log.info("channel closed", extra={**self.log_fields(), "channel": channel.number, "reason": error.text})
        channel.close(error)

    def fail(self, error: AmqpError) -> None:
        """Tell the peer why the connection ends, and pass over all that it still says."""
        # What came before the mistake counts.
        gathering, self.gathering = self.gathering, {}
        for channel in gathering:
            try:
                channel.flush()
            except (AmqpError, PortaskError) as more:
                log.info("not taken either", extra={**self.log_fields(), "reason": str(more)})
        if not self.is_closing:
            log.warning("connection closed", extra={**self.log_fields(), "code": error.code, "reason": error.text})
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

    def close(self) -> None:
        """The peer closes: what was its own is gone before it is told so. Blocks."""
        for channel in list(self.channels.values()):
            channel.release()
        self.channels.clear()
        self._drop_own()
        self.send_method(CLOSE_OK_IDS)

    def _drop_own(self) -> None:
        if self.is_running:
            self.virtual_host.queues.release(self)

    @property
    def is_closing(self) -> bool:
        """Whether this side has closed it."""
        return self._closing_since is not None

    # -- for everyone -----------------------------------------------------------------------------

    def tuned(self, frame_max: int, channel_max: int, heartbeat_s: int) -> None:
        """Keep what was negotiated."""
        self.frame_max = self._reader.limit = frame_max
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
        link = self.link
        if link.broken:
            # Who waits for the end of an alarm does not see that.
            self._released.set()
        if not self.heartbeat_s or not self.is_running:
            return
        if link.bytes_out != self._last_out[0]:
            self._last_out = (link.bytes_out, now)
        elif now - self._last_out[1] >= self.heartbeat_s / 2 and not link.unsent_bytes:
            link.send([HEARTBEAT], len(HEARTBEAT))
            self._last_out = (link.bytes_out + len(HEARTBEAT), now)
        if link.bytes_in != self._last_in[0] or self._is_busy or link.is_congested:
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
