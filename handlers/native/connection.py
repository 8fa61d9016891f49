"""A connection of Portask's own protocol: commands in, answers in their order, messages between them.

All publishes that one read brings for one partition go to the bus as one append, whose callback answers
all of them. What cannot be answered at once leaves a *slot*; slots are answered from the head, so
answers keep the order of their commands whatever is ready first. PUBLISH, ACK, NACK and PING go on
behind unanswered ones; every other command waits until all before it are answered, so it finds what
they did.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from handlers.link import Connection, Link
from handlers.native.codec import ENCODINGS, Decoder, Mode
from handlers.native.command import Command, CommandTimeoutError, Limits, Publish, Refusal, Settlement
from handlers.native.errors import code_of
from handlers.native.session import COMMANDS, Session
from handlers.native.slots import Answered, Gather, Publishing, Settling, Slot
from handlers.native.verbs import MAX_NUMBER
from portask.bus import Append
from portask.errors import MessageTooLargeError, PortaskError
from portask.message import check_records
from portask.storage.base import Buffer

if TYPE_CHECKING:
    from portask.broker import Broker
    from portask.message import Record
    from portask.partition import Partition
    from portask.topic import Topic

MAX_UNANSWERED = 20_000
"""Commands of one connection that may wait for storage; beyond them it is not read."""


class _Target:
    """A topic that one read publishes to."""

    __slots__ = ("keyless", "max_message_bytes", "topic")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.max_message_bytes: int = topic.config.max_message_bytes
        self.keyless = topic.partition_for(None)
        """Where all messages without a key go that come in one read, so that they stay together and in order."""


class NativeConnection(Connection):
    """The protocol side of one connection."""

    def __init__(self, broker: Broker, link: Link, limits: Limits) -> None:
        self.broker = broker
        self.link = link
        self.encoding = ENCODINGS[Mode.TEXT]
        """Of what goes to the peer; follows the decoder's mode when HELLO has been answered."""
        self._decoder = Decoder(limits)
        self._session = Session(self)
        self._slots: deque[Slot] = deque()
        self._fewer = Event()
        self._waiting_for = -1
        self._targets: dict[str, _Target] = {}
        self._gathers: dict[Partition, Gather] = {}
        self._unfinished_since: float | None = None

    # -- for the link -----------------------------------------------------------------------------

    def received(self, data: memoryview) -> bool:
        """Do what the commands in *data* say. Blocks where one of them has to wait; False ends the connection."""
        items = self._decoder.feed(data)
        open_ = True
        for item in items:
            open_ = self._do(item) and not self.link.broken
            if not open_:
                break
        self._submit()
        self.flush()
        if not self._decoder.unfinished:
            self._unfinished_since = None
        elif items or self._unfinished_since is None:
            self._unfinished_since = self.broker.clock.monotonic()
        if len(self._slots) > MAX_UNANSWERED:
            self._wait_for_answers(MAX_UNANSWERED // 2)
        return open_

    def congested(self, full: bool) -> None:
        """Pause the consumers while the peer does not take what they send."""
        self._session.pause(full)
        if self._unfinished_since is not None:
            # Meanwhile nothing is read, so the rest of the command couldn't arrive.
            self._unfinished_since = self.broker.clock.monotonic()

    def ended(self) -> None:
        """Give back what is in flight, answer what has come. Blocks."""
        self._session.close()
        if not self.link.broken:
            self._submit()
            self.flush()
            self._wait_for_answers(0)

    def interrupt(self) -> None:
        """End a READ that waits."""
        self._session.interrupt()

    def stuck(self, now: float) -> str | None:
        """Tell a peer that does not finish its command that its time is over."""
        timeout_ms = self.broker.settings.native_command_timeout_ms
        if self._unfinished_since is None or now - self._unfinished_since < timeout_ms / 1000:
            return None
        reason = f"a command was not complete after {timeout_ms} ms"
        self.send(self.encoding.error(None, code_of(CommandTimeoutError(reason)), reason))
        return reason

    # -- for the session --------------------------------------------------------------------------

    def send(self, pieces: list[Buffer]) -> None:
        """Have *pieces* sent. Never blocks."""
        self.link.send(pieces, sum(map(len, pieces)))

    def flush(self) -> None:
        """Send the answers that are known, up to the first that is not."""
        slots = self._slots
        pieces: list[Buffer] = []
        while slots:
            answer = slots[0].encode(self.encoding)
            if answer is None:
                break
            slots.popleft()
            pieces += answer
        if pieces:
            self.send(pieces)
        if len(slots) <= self._waiting_for:
            self._fewer.set()

    # -- commands ---------------------------------------------------------------------------------

    def _do(self, item: Command | Refusal) -> bool:
        """Begin one command; False after the last one."""
        if isinstance(item, Refusal):
            self._slots.append(Answered(item.correlation, None, item.error))
            return not item.fatal
        verb, correlation, arguments = item.verb, item.correlation, item.arguments
        try:
            if isinstance(arguments, Publish):
                self._publish(correlation, arguments)
            elif isinstance(arguments, Settlement):
                self._settle(correlation, arguments, verb == "ACK")
            elif verb == "PING":
                self._slots.append(Answered(correlation, "PONG"))
            elif verb == "QUIT":
                self._slots.append(Answered(correlation, "BYE"))
                return False
            else:
                self._run(verb, correlation, arguments)
        except PortaskError as error:
            self._slots.append(Answered(correlation, None, error))
        return True

    def _run(self, verb: str, correlation: int | None, arguments: tuple[Any, ...]) -> None:
        """Do what cannot be done behind others. Blocks."""
        self._submit()
        self.flush()
        self._wait_for_answers(0)
        result, then = COMMANDS[verb](self._session, *arguments)
        self.send(self.encoding.answer(correlation, result))
        if then is not None:
            then()
        # One read may bring thousands of commands with large answers.
        self.link.wait_for_room()

    def _publish(self, correlation: int | None, publish: Publish) -> None:
        target = self._targets.get(publish.topic)
        if target is None:
            target = self._targets[publish.topic] = _Target(self.broker.topic(publish.topic, create=True))
        records = publish.records
        if publish.size_bytes > target.max_message_bytes:
            _check_sizes(records, target)
        parts: list[tuple[Gather, int, int]] = []
        if publish.partition is not None:
            parts.append(self._gather(target.topic.partition(publish.partition), records, publish.size_bytes))
        elif len(target.topic.partitions) == 1 or not any(map(_key, records)):
            parts.append(self._gather(target.keyless, records, publish.size_bytes))
        else:
            for record in records:
                self._gather_keyed(target, record, parts)
        self._slots.append(Publishing(correlation, publish.topic, parts))
        self.link.count_in(len(records))

    def _gather(self, partition: Partition, records: list[Record], size_bytes: int) -> tuple[Gather, int, int]:
        """Add *records* to what goes to *partition*; where they are in it."""
        gather = self._gathers.get(partition)
        if gather is None:
            gather = self._gathers[partition] = Gather(partition)
        index = len(gather.records)
        gather.records += records
        # Payloads may be empty, but each message takes memory while it waits.
        gather.size_bytes += size_bytes + len(records)
        return gather, index, len(records)

    def _gather_keyed(self, target: _Target, record: Record, parts: list[tuple[Gather, int, int]]) -> None:
        key = _key(record)
        partition = target.keyless if key is None else target.topic.partition_for(key)
        gather, index, count = self._gather(partition, [record], _size(record))
        if parts and parts[-1][0] is gather:
            parts[-1] = (gather, parts[-1][1], parts[-1][2] + count)
        else:
            parts.append((gather, index, count))

    def _settle(self, correlation: int | None, settlement: Settlement, ack: bool) -> None:
        slot = Settling(self.flush, correlation, len(settlement.ranges))
        for topic, partition, first, last in settlement.ranges:
            self._session.settle(topic, settlement.group, partition, first, last, ack, slot.done)
            slot.count += last - first + 1
        self._slots.append(slot)

    # -- inside -----------------------------------------------------------------------------------

    def _submit(self) -> None:
        """Put on the bus what was gathered. Blocks while the bus is full."""
        self._targets.clear()
        gathers, self._gathers = self._gathers, {}
        for gather in gathers.values():
            try:
                self.broker.append(_append(self, gather))
            except PortaskError as error:
                gather.finished, gather.error = True, error

    def _wait_for_answers(self, left: int) -> None:
        """Return when no more than *left* commands are unanswered. Blocks."""
        while len(self._slots) > left:
            self._fewer.clear()
            self._waiting_for = left
            self._fewer.wait()
        self._waiting_for = -1


def _append(connection: NativeConnection, gather: Gather) -> Append:
    def done(item: Append) -> None:
        gather.finished, gather.error, gather.base_offset = True, item.error, item.base_offset
        connection.flush()

    return Append(gather.partition, gather.records, gather.size_bytes, done)


def _key(record: Record) -> bytes | None:
    return None if isinstance(record, bytes) or len(record) < 2 else record[1]


def _size(record: Record) -> int:
    return check_records([record], MAX_NUMBER)


def _check_sizes(records: list[Record], target: _Target) -> None:
    for record in records:
        size = _size(record)
        if size > target.max_message_bytes:
            raise MessageTooLargeError(
                f"a message of {size} bytes is larger than max_message_bytes of topic {target.topic.name},"
                f" {target.max_message_bytes}"
            )
