"""A connection of a Kafka client: requests in, responses in the order of their requests.

A request is dealt with where it stands: one that waits, such as a Fetch for records, holds up those behind
it, as it does in Kafka. Only Produce does not wait: its answer takes its place among the others when its
rounds are safe, and meanwhile the connection goes on reading.

Broken bytes, unknown APIs and unknown versions end the connection, for want of an answer that the peer
could read; all else is answered with an error code.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from handlers.kafka.codec import Framer, Header, encode_response, read_header, read_start
from handlers.kafka.produce import produce
from handlers.kafka.served import API_VERSIONS_KEY, PRODUCE_KEY, SERVED, Served
from handlers.kafka.versions import unsupported_version
from handlers.link import Connection, Link
from portask.errors import ProtocolError
from portask.storage.base import Buffer

if TYPE_CHECKING:
    from handlers.kafka.session import Session

log = logging.getLogger(__name__)

MAX_UNANSWERED = 1000
"""Requests of one connection that may wait for storage; beyond them it is not read."""
MAX_HELD_BYTES = 4 * 1024 * 1024
"""Answers of one connection that may wait behind a Produce that waits for storage."""


class _Slot:
    """The place of a response among those of one connection."""

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[Buffer] | None = None
        self.size = 0


class KafkaConnection(Connection):
    """The protocol side of one connection."""

    def __init__(self, session: Session, link: Link, max_request_bytes: int) -> None:
        self.session = session
        self.link = link
        self._framer = Framer(max_request_bytes)
        self._slots: deque[_Slot] = deque()
        self._held_bytes = 0
        """Of the answers in them."""
        self._fewer = Event()
        self._waiting_for = -1
        self._unfinished_since: float | None = None
        self._is_open = True

    # -- for the link -----------------------------------------------------------------------------

    def room(self) -> memoryview | None:
        """Where the rest of a long request goes."""
        return self._framer.room

    def filled(self, size: int) -> bool:
        """Deal with the request that is complete, if it is. Blocks where it has to wait; False ends the connection."""
        return self._deal(self._framer.fill(size))

    def received(self, data: memoryview) -> bool:
        """Deal with the requests that *data* completes. Blocks where one has to wait; False ends the connection."""
        try:
            frames = self._framer.feed(data)
        except ProtocolError as error:
            self._log_end(str(error))
            return False
        return self._deal(frames)

    def _deal(self, frames: list[memoryview]) -> bool:
        try:
            for frame in frames:
                self._request(frame)
                if not self._is_open or self.link.broken:
                    return False
        except ProtocolError as error:
            self._log_end(str(error))
            return False
        self._unfinished_since = self.session.broker.clock.monotonic() if self._framer.is_unfinished else None
        return True

    def congested(self, full: bool) -> None:
        """Nothing is sent that was not asked for; the link reads no more requests."""

    def ended(self) -> None:
        """Answer what has been appended. Blocks."""
        if not self.link.broken:
            self._wait_for_answers(0)

    def interrupt(self) -> None:
        """End the request that waits."""
        self.session.interrupt()

    def stuck(self, now: float) -> str | None:
        """Why the peer is given up when it does not go on with a request that it has begun."""
        timeout_ms = self.session.settings.kafka_request_timeout_ms
        if self._unfinished_since is None or now - self._unfinished_since < timeout_ms / 1000:
            return None
        return f"nothing came of an unfinished request for {timeout_ms} ms"

    # -- requests ---------------------------------------------------------------------------------

    def _request(self, frame: memoryview) -> None:
        """Deal with one request. Blocks. Raises ProtocolError when the connection is to end."""
        header = read_start(frame)
        served = SERVED.get(header.api_key)
        if served is None:
            raise ProtocolError(f"there is no API {header.api_key}")
        if not served.first <= header.version <= served.last:
            self._refuse_version(served, header)
            return
        api, version = served.api, header.version
        client_id, position = read_header(frame, api.request.is_flexible(version))
        if client_id != self.session.client_id:
            self.session.client_id = self.link.name = client_id
        # Bytes that follow are passed over, as Kafka does: librdkafka sends three of them in a Metadata for all topics.
        request, _ = api.decode_request(version)(frame, position, len(frame))
        if header.api_key == PRODUCE_KEY:
            self._produce(served, header, request)
            self._bound()
            return
        assert served.answer is not None
        # No name here for the response: it would be kept for as long as the peer does not read.
        self._reply(self._slot(), served, header, served.answer(self.session, request, version))
        if self.session.messages_out:
            self.link.count_out(self.session.messages_out)
            self.session.messages_out = 0
        self._bound()
        # One read may bring many requests with large answers.
        self.link.wait_for_room()

    def _produce(self, served: Served, header: Header, request: Any) -> None:
        if request.acks == 0:
            produce(self.session, request, header.version, self._unasked)
        else:
            slot = self._slot()
            produce(self.session, request, header.version, partial(self._produced, slot, served, header))
        self.link.count_in(self.session.messages_in)
        self.session.messages_in = 0

    def _produced(self, slot: _Slot, served: Served, header: Header, response: Any, failed: bool) -> None:
        self._reply(slot, served, header, response)

    def _unasked(self, response: Any, failed: bool) -> None:
        """A producer without acks gets no answer; of an error it is told by the end of the connection."""
        if failed:
            first = next(part for topic in response.responses for part in topic.partition_responses if part.error_code)
            said = f", {first.error_message}" if first.error_message else ""
            self._log_end(f"acks=0 and an error: {first.error_code.name}{said}")
            self._is_open = False
            self.link.finish()

    def _refuse_version(self, served: Served, header: Header) -> None:
        if header.api_key != API_VERSIONS_KEY:
            raise ProtocolError(
                f"{served.api.name} {header.version} is not served, only {served.first} to {served.last}"
            )
        response = unsupported_version(served.first, served.last)
        self._reply(self._slot(), served, Header(header.api_key, 0, header.correlation_id), response)
        self._bound()

    # -- responses --------------------------------------------------------------------------------

    def _slot(self) -> _Slot:
        slot = _Slot()
        self._slots.append(slot)
        return slot

    def _reply(self, slot: _Slot, served: Served, header: Header, response: Any) -> None:
        """Put *response* into its place, and send what is complete. Never blocks."""
        body = served.api.encode_response(header.version)(response)
        is_flexible = served.api.response_header(header.version) == 1
        slot.pieces, slot.size = encode_response(header.correlation_id, is_flexible, body)
        self._held_bytes += slot.size
        slots = self._slots
        pieces: list[Buffer] = []
        size = 0
        while slots and slots[0].pieces is not None:
            done = slots.popleft()
            assert done.pieces is not None
            pieces += done.pieces
            size += done.size
        self._held_bytes -= size
        if pieces:
            self.link.send(pieces, size)
        if len(slots) <= self._waiting_for:
            self._fewer.set()

    def _bound(self) -> None:
        """Return when no more waits for storage than may. Blocks."""
        if len(self._slots) > MAX_UNANSWERED:
            self._wait_for_answers(MAX_UNANSWERED // 2)
        if self._held_bytes > MAX_HELD_BYTES:
            self._wait_for_answers(0)

    def _wait_for_answers(self, left: int) -> None:
        """Return when no more than *left* requests are unanswered. Blocks."""
        while len(self._slots) > left:
            self._fewer.clear()
            self._waiting_for = left
            self._fewer.wait()
        self._waiting_for = -1

    def _log_end(self, reason: str) -> None:
        session = self.session
        log.warning(
            "connection ended",
            extra={
                "protocol": "kafka",
                "connection": self.link.id,
                "peer": self.link.peer,
                "client": session.client_id,
                "software": f"{session.library} {session.software_version}".strip(),
                "reason": reason,
            },
        )
