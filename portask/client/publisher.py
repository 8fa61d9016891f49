"""Publishing many messages with the client: frames that are sent ahead of their confirms."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from portask.client.wire import RETRIED_CODES, ClientError, ConnectionLostError, Patience, Wire
from portask.message import Message, Record, to_record

FRAME_MESSAGES = 100
FRAME_BYTES = 256 * 1024
_MESSAGE_OVERHEAD_BYTES = 16


class _Frame:
    """Messages that go together, and where they are once that is known."""

    __slots__ = ("correlation", "records", "runs", "waits")

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.correlation = -1
        self.runs: list[list[int]] | None = None
        self.waits = 0
        """How often the publisher had waited when this was last sent."""


class Publisher:
    """One pipelined publish, on a connection of its own."""

    def __init__(
        self,
        connect: Callable[[], Wire],
        topic: str,
        partition: int | None,
        window: int,
        timeout_s: float,
        retry_s: float,
    ) -> None:
        self._connect = connect
        self._topic = topic
        self._partition = partition
        self._window = window
        self._timeout_s = timeout_s
        self._patience = Patience(retry_s)
        self._wire: Wire | None = None
        self._frames: deque[_Frame] = deque()
        """In the order of the messages: what is not yet reported to the caller."""
        self._sent: deque[_Frame] = deque()
        """In the order in which they were sent: what is not answered."""
        self._waits = 0

    def publish(self, frames: Iterator[list[Record]]) -> Iterator[str]:
        """Send *frames* and yield the ids of their messages, in order. Blocks. Raises ClientError."""
        unconfirmed, more = 0, True
        try:
            while more or self._frames:
                if more and (not self._frames or unconfirmed < self._window):
                    records = next(frames, None)
                    more = records is not None
                    if records is not None:
                        unconfirmed += len(records)
                        self._frames.append(_Frame(records))
                        self._try(self._send_newest)
                    continue
                self._try(self._receive)
                while self._frames and self._frames[0].runs is not None:
                    frame = self._frames.popleft()
                    unconfirmed -= len(frame.records)
                    yield from self._ids(frame)
        finally:
            self._drop()

    def _ids(self, frame: _Frame) -> Iterator[str]:
        for number, base_offset, count in frame.runs or ():
            start = f"{self._topic}/{number}/"
            for offset in range(base_offset, base_offset + count):
                yield f"{start}{offset}"

    def _try(self, step: Callable[[Wire], None]) -> None:
        """Do *step* on a working connection; after a failure it is for the caller's loop to go on."""
        try:
            if self._wire is None:
                self._wire = self._connect()
                self._sent.clear()
                for frame in self._frames:
                    if frame.runs is None:
                        self._send(self._wire, frame)
            else:
                step(self._wire)
        except ClientError as error:
            if isinstance(error, ConnectionLostError):
                self._drop()
            self._patience.wait(error)

    def _send_newest(self, wire: Wire) -> None:
        self._send(wire, self._frames[-1])

    def _send(self, wire: Wire, frame: _Frame) -> None:
        # Noted first: a frame that was sent in part counts as sent.
        self._sent.append(frame)
        frame.waits = self._waits
        frame.correlation = wire.request("PUBLISH", self._topic, frame.records, self._partition)

    def _receive(self, wire: Wire) -> None:
        frame = self._sent.popleft()
        try:
            (frame.runs,) = wire.answer(frame.correlation, self._timeout_s)
        except ConnectionLostError:
            raise
        except ClientError as error:
            # Only this frame was refused; those behind it are on their way. Of all that are refused
            # for one reason only the first is waited for.
            if error.code not in RETRIED_CODES or frame.waits == self._waits:
                self._patience.wait(error)
                self._waits += 1
            self._send(wire, frame)
        else:
            self._patience.reset()

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()


def split(messages: Iterable[Message | bytes | str], most: int) -> Iterator[list[Record]]:
    """*messages* as records, in lists that are fit for one frame."""
    records: list[Record] = []
    size = 0
    for item in messages:
        if isinstance(item, Message):
            record = to_record(item)
            size += len(item.payload or b"") + sum(len(value or b"") for _, value in item.headers)
        else:
            record = item.encode() if isinstance(item, str) else item
            size += len(record)
        records.append(record)
        size += _MESSAGE_OVERHEAD_BYTES
        if len(records) >= most or size >= FRAME_BYTES:
            yield records
            records, size = [], 0
    if records:
        yield records
