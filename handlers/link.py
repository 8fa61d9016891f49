"""A link: the socket side of one connection, the same for every protocol on TCP.

The connection's own greenlet reads: large reads into one buffer, handed to the protocol side in pieces; it
has dealt with a piece when the call returns. A peer that always has more to say takes turns with all
other greenlets. A writer greenlet sends what has gathered, joined. `send`
never blocks, so that anyone may answer or deliver; in return the link says when too much is unsent:
the protocol side is told to stop producing (`congested`), and the reader stops reading.

    unsent > HIGH_WATER: connection.congested(True), no reading
    unsent < LOW_WATER:  connection.congested(False), reading goes on
"""

from __future__ import annotations

import logging
import socket
from abc import ABC, abstractmethod
from itertools import count
from mmap import mmap
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from portask.storage.base import Buffer

if TYPE_CHECKING:
    from portask.broker import Traffic
    from portask.clock import Clock

log = logging.getLogger(__name__)

RECEIVE_BYTES = 256 * 1024
PIECE_BYTES = 16 * 1024
"""What the protocol side gets at once: the shortest commands keep all others waiting for less than 0.1 s."""
TURN_S = 0.005
"""Time after which a reader that never had to wait lets others have their turn."""
_MAX_PRIORITY = 2
"""The highest that libev has."""
HIGH_WATER = 4 * 1024 * 1024
LOW_WATER = 1024 * 1024
FLUSH_TIMEOUT_S = 5.0
"""Time that a peer has to take what is unsent when its connection ends."""
LINGER_S = 1.0
"""Time that is waited for the peer to close after the last answer."""
KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 10),
    (socket.TCP_KEEPCNT, 6),
    (socket.TCP_USER_TIMEOUT, 120_000),
)
"""A peer whose machine vanished, or that takes nothing of what was sent, is noticed within two minutes."""

_numbers = count(1)


class Connection(ABC):
    """The protocol side of a connection. All its methods are called by the link."""

    def room(self) -> memoryview | None:
        """Where the next bytes are to be received, `filled` being told of them; None: they come by `received`."""
        return None

    def filled(self, size: int) -> bool:
        """Deal with the *size* bytes that have come into `room`, as `received` does with its own. May block.

        A connection that makes no room is never told of any: then it ends.
        """
        return False

    @abstractmethod
    def received(self, data: memoryview) -> bool:
        """Deal with *data*, which is only valid during the call. May block; False ends the connection."""

    @abstractmethod
    def congested(self, full: bool) -> None:
        """Stop (True) or go on (False) to send what nobody asked for."""

    @abstractmethod
    def ended(self) -> None:
        """The peer says no more: answer what it has said and give back what it holds. May block."""

    @abstractmethod
    def interrupt(self) -> None:
        """Wait no longer for what may never come: the connection is to end. Must not block."""

    @abstractmethod
    def stuck(self, now: float) -> str | None:
        """Why the peer has waited too long in the middle of a command, at monotonic time *now*, or None."""


class Link:
    """One peer's socket, its reader and its writer."""

    def __init__(self, sock: socket.socket, peer: str, protocol: str, traffic: Traffic, clock: Clock) -> None:
        self.id = next(_numbers)
        self.peer = peer
        self.protocol = protocol
        self.name = ""
        """What the peer calls itself, if it does."""
        self.since_ms = clock.now_ms()
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_in = 0
        self.messages_out = 0
        self.unsent_bytes = 0
        self.broken = False
        """The peer can't be reached any more."""
        self._traffic = traffic
        self._clock = clock
        self._sock = sock
        self._out: list[Buffer] = []
        self._wake = Event()
        self._room = Event()
        self._room.set()
        self._finishing = False
        """Nothing more is to be read."""
        self._complete = False
        """Nothing more will be sent."""
        self._at_end = False
        self._reading_since: float | None = None
        self._connection: Connection | None = None

    # -- for the protocol side --------------------------------------------------------------------

    def send(self, pieces: list[Buffer], size_bytes: int) -> None:
        """Have *pieces* sent after what was given before. Never blocks; dropped when the peer is gone."""
        if self.broken:
            return
        self._out += pieces
        self.unsent_bytes += size_bytes
        if not self._wake.is_set():
            self._wake.set()
        if self.unsent_bytes > HIGH_WATER and self._room.is_set():
            self._room.clear()
            if self._connection is not None:
                self._connection.congested(True)

    def wait_for_room(self) -> None:
        """Return when no more is unsent than may be, or the peer is gone. Blocks."""
        if not self._room.is_set():
            self._room.wait()

    def count_in(self, messages: int) -> None:
        """Count *messages* that came from the peer."""
        self.messages_in += messages
        self._traffic.messages_in += messages

    def count_out(self, messages: int) -> None:
        """Count *messages* that went to the peer."""
        self.messages_out += messages
        self._traffic.messages_out += messages

    @property
    def is_congested(self) -> bool:
        """Whether so much is unsent that nothing is read."""
        return not self._room.is_set()

    @property
    def peer_host(self) -> str:
        """The peer's address without its port."""
        return self.peer.rpartition(":")[0]

    @property
    def local_address(self) -> tuple[str, int]:
        """The address and port at which the peer has reached this broker."""
        address = self._sock.getsockname()
        return address[0], address[1]

    # -- for the handler --------------------------------------------------------------------------

    def serve(self, connection: Connection) -> None:
        """Read and write until the connection ends. Blocks."""
        self._connection = connection
        self._configure()
        writer = gevent.spawn(self._write)
        writer.name = f"{self.protocol} {self.peer} writer"
        try:
            self._read(connection)
        finally:
            try:
                connection.ended()
            finally:
                self._complete = True
                self._wake.set()
                writer.join(FLUSH_TIMEOUT_S)
                writer.kill()
                self._linger()

    def finish(self) -> None:
        """Read nothing more; what was received is answered before the connection ends."""
        self._finishing = True
        self._room.set()
        if self._connection is not None:
            self._connection.interrupt()
        self._shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """End the connection at once; what is unsent is lost."""
        self._finishing = True
        self._give_up()
        self._shutdown(socket.SHUT_RDWR)

    def overdue(self, now: float, idle_s: float) -> str | None:
        """Why the connection should be closed at monotonic time *now*, or None; *idle_s* 0 allows any silence."""
        if self._reading_since is None or self._connection is None:
            return None
        if idle_s and now - self._reading_since > idle_s:
            return f"idle for {idle_s:g} s"
        return self._connection.stuck(now)

    def close(self) -> None:
        """Release the socket."""
        self._sock.close()

    # -- inside -----------------------------------------------------------------------------------

    def _configure(self) -> None:
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            self._sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def _read(self, connection: Connection) -> None:
        # A map has only the pages that were once filled: an idle connection costs 25 KB, with a bytearray 280 KB.
        buffer = memoryview(mmap(-1, RECEIVE_BYTES))
        receive = self._sock.recv_into
        traffic = self._traffic
        turn_ends = 0.0
        while True:
            self.wait_for_room()
            if self._finishing:
                return
            self._reading_since = self._clock.monotonic()
            room = connection.room()
            try:
                size = receive(buffer if room is None else room)
            except OSError as error:
                self._reading_since = None
                # gevent ends a wait for a socket that `finish` shut down with an error of its own.
                if not self._finishing:
                    self._lost(error)
                return
            self._reading_since = None
            if not size:
                self._at_end = True
                return
            self.bytes_in += size
            traffic.bytes_in += size
            if room is not None:
                room = None
                if not connection.filled(size):
                    return
                turn_ends = self._take_turns(turn_ends)
                continue
            for start in range(0, size, PIECE_BYTES):
                if not connection.received(buffer[start : min(start + PIECE_BYTES, size)]):
                    return
                turn_ends = self._take_turns(turn_ends)

    def _take_turns(self, turn_ends: float) -> float:
        """Let others have their turn if this one's ends, and return when the next one does. Blocks."""
        if self._clock.monotonic() <= turn_ends:
            return turn_ends
        # Unlike sleep(0) this has the loop look at all sockets; at this priority it waits for none.
        gevent.idle(_MAX_PRIORITY)
        return self._clock.monotonic() + TURN_S

    def _linger(self) -> None:
        # Closing with unread bytes sends a reset, which may overtake the last answer: read until the
        # peer closes, for a moment.
        if self.broken or self._at_end:
            return
        try:
            with gevent.Timeout(LINGER_S, False):
                self._sock.shutdown(socket.SHUT_WR)
                while self._sock.recv(RECEIVE_BYTES):
                    pass
        except OSError as error:
            log.debug("connection lost", extra={"connection": self.id, "peer": self.peer, "error": str(error)})

    def _write(self) -> None:
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                while self._out:
                    self._send_all()
                if self._complete:
                    return
        except Exception as error:
            if isinstance(error, OSError):
                self._lost(error)
            else:
                log.exception("writer failed", extra={"connection": self.id, "peer": self.peer})
                self._give_up()
            # The reader may be waiting for a peer that will never say anything.
            self._shutdown(socket.SHUT_RDWR)

    def _send_all(self) -> None:
        out, self._out = self._out, []
        data = out[0] if len(out) == 1 else b"".join(out)
        del out  # while the peer does not read, the pieces would be a second copy
        size = len(data)
        # Nearly always one call is enough, and sendall would ask for the size of the socket's buffer first.
        sent = self._sock.send(data)
        if sent < size:
            self._sock.sendall(memoryview(data)[sent:])
        self.bytes_out += size
        self._traffic.bytes_out += size
        self.unsent_bytes -= size
        if self.unsent_bytes < LOW_WATER and not self._room.is_set() and not self.broken:
            self._room.set()
            if self._connection is not None:
                self._connection.congested(False)

    def _lost(self, error: OSError) -> None:
        log.debug("connection lost", extra={"connection": self.id, "peer": self.peer, "error": str(error)})
        self._give_up()

    def _give_up(self) -> None:
        """The peer can't be reached: drop what is unsent and whatever follows."""
        self.broken = True
        self._out.clear()
        self.unsent_bytes = 0
        self._room.set()

    def _shutdown(self, how: int) -> None:
        try:
            self._sock.shutdown(how)
        except OSError:
            log.debug("already disconnected", extra={"connection": self.id, "peer": self.peer})
