"""The client's side of a subscription: messages in, acks out, on a connection of its own.

Acks are sent at once and not waited for; their answers are looked at when the next messages are
received, and `flush` waits for them. After a broken connection the subscription is made again by the
next `receive`, and whatever was not acknowledged comes again: acks of messages that came on the old
connection are dropped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from portask.client.wire import ClientError, ConnectionLostError, Patience, Wire
from portask.message import Headers


class ReceivedMessage:
    """One message from the server."""

    __slots__ = (
        "connection",
        "key",
        "offset",
        "partition",
        "payload",
        "properties",
        "raw_headers",
        "redeliveries",
        "subscription",
        "timestamp",
        "topic",
    )

    topic: str
    partition: int
    offset: int
    payload: bytes | None
    key: bytes | None
    raw_headers: list[Any] | None
    """Names and values in turn, as they came."""
    timestamp: int
    """Milliseconds since 1970."""
    redeliveries: int
    """How often it may have been delivered before."""
    properties: bytes | None
    subscription: Subscription | None
    """What delivered it; None when it was read."""
    connection: int
    """Which of the subscription's connections it came on."""

    @property
    def id(self) -> str:
        """topic/partition/offset."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def headers(self) -> Headers:
        """Names and values, in order; names may repeat."""
        flat = self.raw_headers or ()
        return tuple(zip(flat[::2], flat[1::2], strict=True))

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before."""
        return self.redeliveries > 0

    def ack(self) -> None:
        """Settle it. Raises ClientError when it was not delivered by a subscription."""
        self._owner().ack_many((self,))

    def nack(self) -> None:
        """Give it back, to be delivered again."""
        self._owner().nack_many((self,))

    def _owner(self) -> Subscription:
        if self.subscription is None:
            raise ClientError("NOT_IN_FLIGHT", f"{self.id} was read, not delivered: there is nothing to settle")
        return self.subscription

    def __repr__(self) -> str:
        return f"<ReceivedMessage {self.id}>"


def received(
    topic: str, partition: int, row: list[Any], subscription: Subscription | None, connection: int
) -> ReceivedMessage:
    """The message that *row*, as the protocol has it, stands for."""
    message = ReceivedMessage()
    message.topic = topic
    message.partition = partition
    message.subscription = subscription
    message.connection = connection
    if len(row) == 4:
        message.offset, message.redeliveries, message.timestamp, message.payload = row
        message.key = message.raw_headers = message.properties = None
    else:
        fields = (*row, *(None,) * (7 - len(row)))
        message.offset, message.redeliveries, message.timestamp, message.payload = fields[:4]
        message.key, message.raw_headers, message.properties = fields[4:]
    return message


class Subscription:
    """An endless iterable of messages. Close it to give back what is not acknowledged."""

    def __init__(
        self,
        connect: Callable[[], Wire],
        topic: str,
        group: str,
        prefetch: int,
        start: str,
        timeout: float,
        retry: float,
    ) -> None:
        """Made by `Client.subscribe`. Blocks until the server has agreed."""
        self.topic = topic
        self.group = group
        self._connect = connect
        self._prefetch = prefetch
        self._start = start
        self._timeout = timeout
        self._retry = retry
        self._ready: deque[ReceivedMessage] = deque()
        self._unanswered: set[int] = set()
        self._acks_lost = False
        """Acks went with a broken connection, and the subscription was not made again since."""
        self._failure: ClientError | None = None
        self._connections = 0
        """Numbers the connections, so that a message knows whether its own is still there."""
        self._closed = False
        self._wire: Wire | None = None
        self._subscribe()

    # -- receiving --------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[ReceivedMessage]:
        return self

    def __next__(self) -> ReceivedMessage:
        message = self.receive()
        if message is None:
            raise StopIteration
        return message

    def receive(self, timeout: float | None = None) -> ReceivedMessage | None:
        """The next message; None when there is none within *timeout* seconds, or after close. Blocks.

        Raises ClientError when the subscription has ended, when an ack was refused, or when the server
        could not be reached again in time.
        """
        if not self._ready:
            self._wait(timeout)
        return self._ready.popleft() if self._ready else None

    def receive_many(self, most: int = 1000, timeout: float | None = None) -> list[ReceivedMessage]:
        """The next messages, as many as are there, at least one unless there is none within *timeout*. Blocks."""
        if not self._ready:
            self._wait(timeout)
        ready = self._ready
        if len(ready) <= most:
            messages = list(ready)
            ready.clear()
            return messages
        return [ready.popleft() for _ in range(most)]

    # -- settling ---------------------------------------------------------------------------------

    def ack_many(self, messages: Iterable[ReceivedMessage]) -> None:
        """Settle *messages*, in as few ranges as they make. Does not wait for the answer, see `flush`."""
        self._settle("ACK", messages)

    def nack_many(self, messages: Iterable[ReceivedMessage]) -> None:
        """Give *messages* back, to be delivered again. Does not wait for the answer."""
        self._settle("NACK", messages)

    def flush(self) -> None:
        """Return when every ack is durable. Blocks.

        Raises ClientError when one was refused, ConnectionLostError when the connection broke: some
        messages may then come again.
        """
        deadline = time.monotonic() + self._timeout
        while self._unanswered and self._wire is not None:
            try:
                if not self._take(self._wire, max(0.0, deadline - time.monotonic())):
                    raise ConnectionLostError(f"acks were not answered within {self._timeout:g} s")
            except ClientError:
                self._drop()
                raise
        if self._acks_lost:
            raise ConnectionLostError("the connection broke before acks were answered; their messages come again")
        self._raise_failure()

    def close(self) -> None:
        """End the subscription once its acks are durable. Blocks. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        finally:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except ClientError:
            if kind is None:
                raise

    # -- inside -----------------------------------------------------------------------------------

    def _settle(self, verb: str, messages: Iterable[ReceivedMessage]) -> None:
        offsets: dict[int, list[int]] = {}
        for message in messages:
            if message.connection == self._connections:
                offsets.setdefault(message.partition, []).append(message.offset)
        wire = self._wire
        if wire is None:
            self._acks_lost = self._acks_lost or bool(offsets)
            return
        try:
            for partition, wanted in offsets.items():
                correlation = wire.request(verb, self.topic, self.group, partition, _ranges(wanted))
                self._unanswered.add(correlation)
        except ConnectionLostError:
            self._acks_lost = True
            self._drop()

    def _wait(self, timeout: float | None) -> None:
        """Return when something is ready, or after *timeout*."""
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = Patience(self._retry)
        while not self._ready and not self._closed:
            self._raise_failure()
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                if self._wire is None:
                    self._subscribe()
                elif not self._take(self._wire, left):
                    return
            except ClientError as error:
                self._drop()
                if self._closed:
                    raise
                if left == 0.0 and isinstance(error, ConnectionLostError):
                    return
                patience.wait(error)

    def _take(self, wire: Wire, timeout: float | None) -> bool:
        """Deal with one frame; False when none came within *timeout*."""
        frame = wire.receive(timeout)
        if frame is None:
            return False
        kind = frame[0]
        if kind == "MSG":
            _, topic, _, partition, rows = frame
            connection = self._connections
            self._ready.extend([received(topic, partition, row, self, connection) for row in rows])
        elif kind == "CANCELLED":
            self._closed = True
            raise ClientError(frame[3], frame[4])
        else:
            self._unanswered.discard(frame[1])
            if kind == "ERR":
                self._failure = ClientError(frame[2], frame[3])
        return True

    def _subscribe(self) -> None:
        wire = self._connect()
        try:
            correlation = wire.request("SUBSCRIBE", self.topic, self.group, self._prefetch, self._start)
            answer = wire.receive(self._timeout)
            if answer is None:
                raise ConnectionLostError(f"{wire.address} gave no answer within {self._timeout:g} s")
            if answer[0] != "OK" or answer[1] != correlation:
                raise ClientError(*answer[2:4])
        except BaseException:
            wire.close()
            raise
        self._connections += 1
        self._acks_lost = False
        self._wire = wire

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        self._acks_lost = self._acks_lost or bool(self._unanswered)
        self._ready.clear()
        self._unanswered.clear()
        if wire is not None:
            wire.close()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def _ranges(offsets: list[int]) -> list[list[int]]:
    """*offsets* as ranges of first and last, ascending."""
    offsets.sort()
    ranges: list[list[int]] = []
    last = None
    for offset in offsets:
        if last is not None and offset == last + 1:
            ranges[-1][1] = offset
        else:
            ranges.append([offset, offset])
        last = offset
    return ranges
