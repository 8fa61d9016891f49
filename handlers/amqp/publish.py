"""Publishing on one channel: from frames to groups of records for the same queues.

A basic.publish frame for the same exchange and routing key is the same bytes, so what it means is kept by
them, as a `Target`; so is what a content header means to an exchange. Messages that one read of the socket brought are
gathered in groups by the queues that they go to and handed over together, in `flush`. No queue is in two
groups of one flush, so each gets its messages in the order in which they were published.

`take` deals with messages that are whole, one body frame each, of targets that need no care; every other
frame goes through `begin`, `header` and `body`, one message at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from handlers.amqp.codec import FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD, FRAME_OVERHEAD, FRAME_START
from handlers.amqp.confirm import Group
from handlers.amqp.errors import FRAME_ERROR, UNEXPECTED_FRAME, AmqpError
from handlers.amqp.target import NO_HEADER, PUBLISH_IDS, Header, Target
from portask.errors import PortaskError

if TYPE_CHECKING:
    from handlers.amqp.channel import Channel
    from portask.exchanges.exchange import Destination
    from portask.message import Record

_HEAD_BYTES = FRAME_START.size
MAX_TARGETS = 4000
"""Of one channel, about 700 bytes each; when there are more, all are forgotten. Where a client goes through more keys
than that in turn, each message costs as much as a first one."""
MAX_HEADERS = 1000
"""Of one channel; when there are more, all are forgotten."""
NO_BODY = "expected content body, got non content body frame instead"
_NOTHING = b"\xff"
"""Begins no frame."""


class Publisher:
    """The publishing side of a channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._head = FRAME_START.pack(FRAME_METHOD, channel.number, 0)[:3]
        """What every method frame on the channel begins with."""
        self._targets: dict[bytes, Target] = {}
        self._headers: dict[str, dict[bytes, Header]] = {}
        """What their headers mean, by the exchange's name: it is among a message's properties."""
        self._header_count = 0
        self._groups: dict[tuple[Destination, ...], Group] = {}
        self._taken: dict[Destination, Group] = {}
        """The group that each queue is in."""
        self._runs: list[tuple[Group, int]] = []
        self._count = 0
        """Messages in groups and not flushed."""
        self._target: Target | None = None
        self._header: Header | None = None
        self._body = bytearray()
        self._missing = 0
        """Bytes of the body that are still to come."""

    @property
    def is_idle(self) -> bool:
        """Whether no content is half received."""
        return self._target is None

    # -- many at once -----------------------------------------------------------------------------

    def take(self, data: bytes, position: int, size: int) -> int:
        """Deal with the messages that are whole from *position* on; return where something else begins. May block."""
        if self._target is not None:
            return position
        started = position
        targets = self._targets
        unpack = FRAME_START.unpack_from
        head = self._head
        limit = self._channel.connection.frame_max
        prefix, prefix_size, body_size, key, properties = _NOTHING, 0, 0, b"", b""
        records: list[Record] = []
        group: Group | None = None
        length = 0
        try:
            while True:
                if data.startswith(prefix, position):
                    # Same exchange, routing key, properties and size as the last one.
                    start = position + prefix_size
                    end = start + body_size
                    if end >= size:
                        return position
                    if data[end] != FRAME_END:
                        return position
                    records.append((data[start:end], key, None, None, properties))
                    length += body_size
                    position = end + 1
                    continue
                if size - position < FRAME_OVERHEAD or not data.startswith(head, position):
                    return position
                _, number, method_bytes = unpack(data, position)
                start = position + FRAME_OVERHEAD + method_bytes
                if size - start < FRAME_OVERHEAD:
                    return position
                target = targets.get(data[position + _HEAD_BYTES : start - 1])
                if target is None or not target.is_simple(self._channel):
                    return position
                kind, other, header_bytes = unpack(data, start)
                middle = start + FRAME_OVERHEAD + header_bytes
                if kind != FRAME_HEADER or other != number or middle > size or header_bytes > limit:
                    return position
                header = target.headers.get(data[start + _HEAD_BYTES : middle - 1])
                if header is None:
                    header = target.learn(self._channel, data[start + _HEAD_BYTES : middle - 1])
                body_size = header.body_size
                end = middle
                if body_size:
                    end += FRAME_OVERHEAD + body_size
                    if end > size:
                        prefix = _NOTHING
                        return position
                    kind, other, body_bytes = unpack(data, middle)
                    if kind != FRAME_BODY or other != number or body_bytes != body_size or body_bytes > limit:
                        return position
                    if data[end - 1] != FRAME_END:
                        return position
                if not header.is_simple or data[start - 1] != FRAME_END or data[middle - 1] != FRAME_END:
                    return position
                if group is None or group.destinations is not target.destinations:
                    if group is not None:
                        self._put(group, records, length)
                        records, length = [], 0
                    group = self._group(target.destinations)
                key, properties = target.key, header.properties
                if header.expiring:
                    group.expiring = True
                if body_size:
                    prefix_size = middle + _HEAD_BYTES - position
                    prefix = data[position : position + prefix_size]
                    records.append((data[middle + _HEAD_BYTES : end - 1], key, None, None, properties))
                    length += body_size
                else:
                    prefix = _NOTHING
                    records.append((b"", key, None, None, properties))
                position = end
        finally:
            if group is not None and records:
                self._put(group, records, length)
            if position != started:
                self._channel.published()

    # -- one frame at a time ----------------------------------------------------------------------

    def begin(self, payload: bytes) -> None:
        """A basic.publish: its content follows. Raises AmqpError in the middle of another."""
        if self._target is not None:
            raise self.interrupted()
        target = self._targets.get(payload)
        if target is None:
            if len(self._targets) >= MAX_TARGETS:
                self._targets.clear()
                self._forget_headers()
                self._headers.clear()
            target = self._targets[payload] = Target(payload, self._headers)
        self._target = target
        self._header = None

    def header(self, payload: bytes) -> None:
        """A content header. Raises AmqpError when none can be here, or when it cannot be."""
        target = self._target
        if target is None:
            raise AmqpError(UNEXPECTED_FRAME, "expected method frame, got non method frame instead")
        if self._header is not None:
            raise AmqpError(UNEXPECTED_FRAME, NO_BODY, *PUBLISH_IDS)
        header = target.learn(self._channel, payload)
        size = header.body_size
        if header.is_too_large:
            # The rest of it is passed over with all that comes before the channel is closed.
            self._target = None
            assert header.error is not None
            raise header.error
        self._header = header
        self._missing = size
        if not size:
            self._complete(b"")

    def body(self, data: bytes) -> None:
        """A body frame. Raises AmqpError when none can be here, or when it says more than was announced."""
        if self._header is None:
            if self._target is None:
                raise AmqpError(UNEXPECTED_FRAME, "expected method frame, got non method frame instead")
            raise AmqpError(UNEXPECTED_FRAME, NO_HEADER, *PUBLISH_IDS)
        if len(data) > self._missing:
            raise AmqpError(FRAME_ERROR, "the body is longer than its header says", *PUBLISH_IDS)
        self._missing -= len(data)
        if self._missing or self._body:
            # Frames may have a byte each, or none: kept as they come they would take sixty times that.
            self._body += data
            # It counts before it is whole: one that waits for the end of an alarm brings no more of it.
            self._channel.published()
        if not self._missing:
            body, self._body = bytes(self._body) or data, bytearray()
            self._complete(body)

    def interrupted(self) -> AmqpError:
        """What a method in the middle of a message is told."""
        return AmqpError(UNEXPECTED_FRAME, NO_HEADER if self._header is None else NO_BODY, *PUBLISH_IDS)

    def release(self) -> None:
        """The channel has gone: forget what was gathered, and a content that is half received."""
        self.abandon()
        for group in self._groups.values():
            group.withdraw()

    def abandon(self) -> None:
        """Forget a content that is half received."""
        self._target = self._header = None
        self._body = bytearray()

    def _complete(self, body: bytes) -> None:
        """The content is whole: route it and put it to its group. May block."""
        target, header = self._target, self._header
        assert target is not None
        assert header is not None
        self._target = self._header = None
        channel = self._channel
        routed = target.route(channel, header, body)
        group = self._group(routed.destinations)
        group.expiring |= header.expiring
        self._put(group, [(body, target.key, None, None, routed.properties)], len(body))
        channel.published()
        if not all(destination.takes_many for destination in routed.destinations):
            self.flush()

    def keeps_header(self) -> None:
        """One of the targets is about to keep a header."""
        if self._header_count >= MAX_HEADERS:
            self._forget_headers()
        self._header_count += 1

    def _forget_headers(self) -> None:
        # The targets share these dictionaries, so they are emptied and not replaced.
        for headers in self._headers.values():
            headers.clear()
        self._header_count = 0

    # -- groups -----------------------------------------------------------------------------------

    def _group(self, destinations: tuple[Destination, ...]) -> Group:
        """The group for *destinations*. Blocks when what was gathered has to go first to keep the order."""
        group = self._groups.get(destinations)
        if group is not None:
            return group
        if not self._taken.keys().isdisjoint(destinations):
            self.flush()
        group = self._groups[destinations] = Group(destinations)
        for destination in destinations:
            self._taken[destination] = group
        return group

    def _put(self, group: Group, records: list[Record], body_bytes: int) -> None:
        # The properties of a group's messages are about as long as those of its last one.
        last: Any = records[-1]
        group.size_bytes += body_bytes + len(records) * (len(last[1]) + len(last[4]))
        if group.records:
            group.records += records
        else:
            group.records = records
        self._runs.append((group, len(records)))
        self._count += len(records)

    def flush(self) -> None:
        """Hand over what was gathered. Blocks while the bus is full.

        Raises PortaskError when it cannot be taken and the publisher has asked for no confirms.
        """
        if not self._count:
            return
        runs, groups = self._runs, self._groups
        count, self._count = self._count, 0
        self._runs, self._groups = [], {}
        self._taken.clear()
        channel = self._channel
        channel.connection.link.count_in(count)
        if channel.transaction is not None:
            channel.transaction.publish(groups.values())
            return
        try:
            self._hand_over(runs, groups.values())
        except BaseException:
            for group in groups.values():
                group.withdraw()
            raise

    def _hand_over(self, runs: list[tuple[Group, int]], groups: Collection[Group]) -> None:
        confirms = self._channel.confirms
        if confirms is None:
            for group in groups:
                for destination in group.destinations:
                    destination.publish(group.records, group.size_bytes, None, expiring=group.expiring)
            return
        for group in groups:
            group.open = len(group.destinations)
        confirms.add(runs)
        for group in groups:
            for destination in group.destinations:
                try:
                    destination.publish(group.records, group.size_bytes, group.done, expiring=group.expiring)
                except PortaskError as error:
                    group.done(error)
