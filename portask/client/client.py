"""The client: requests and their answers, taking turns on one connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from portask.client.definitions import parts
from portask.client.publisher import FRAME_MESSAGES, Publisher, split
from portask.client.subscription import ReceivedMessage, Subscription, received
from portask.client.wire import ClientError, ConnectionLostError, Patience, Wire
from portask.message import NO_TIMESTAMP, Message, to_record

DEFINITIONS_S = 60.0
"""How much longer than others the answer may take that imports or exports definitions."""

Headers = Mapping[str, bytes | str | None] | Iterable[tuple[str, bytes | str | None]]


class Page(NamedTuple):
    """What `Client.read` found."""

    messages: list[ReceivedMessage]
    next_offset: int
    """Where to read on."""
    high_watermark: int
    log_start_offset: int


class Client:
    """A connection to a server, opened at once and again whenever it breaks."""

    def __init__(
        self, address: str = "127.0.0.1:7672", timeout: float = 10.0, retry: float = 30.0, name: str = ""
    ) -> None:
        """*timeout*: seconds that an answer may take. *retry*: seconds for which requests are tried again.

        Raises ConnectionLostError when the server can't be reached now, without trying again.
        """
        self.address = address
        self.timeout = timeout
        self.retry = retry
        self.name = name
        self._lock = threading.RLock()
        self._closed = False
        self._wire: Wire | None = self._connect()

    # -- publishing -------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        payload: bytes | str | None,
        key: bytes | str | None = None,
        headers: Headers = (),
        timestamp: int | None = None,
        properties: bytes | None = None,
        partition: int | None = None,
    ) -> str:
        """Store one message and return its id, topic/partition/offset, when it is safe. Blocks.

        *payload* None is a tombstone; text is sent as UTF-8; *timestamp* is in ms since 1970. Tried
        again over broken connections and while the server is busy, so it may be stored twice. Raises
        ClientError.
        """
        record = to_record(message(payload, key, headers, timestamp, properties))
        ((number, base_offset, _),) = self._request("PUBLISH", topic, [record], partition)[0]
        return f"{topic}/{number}/{base_offset}"

    def publish_many(
        self,
        topic: str,
        messages: Iterable[Message | bytes | str],
        window: int = 10_000,
        partition: int | None = None,
        frame_messages: int = FRAME_MESSAGES,
    ) -> Iterator[str]:
        """Store *messages* and yield their ids in order, each when it is safe. Blocks.

        On a connection of its own. At most *window* messages are sent and not confirmed; nothing is
        sent unless ids are taken. The messages of one frame that have no key go to one partition.
        Messages keep their order as long as nothing has to be sent again. Raises ClientError; then all
        before the ids that were yielded are safe, and of the others some may be.
        """
        frames = split(messages, max(1, min(frame_messages, window)))
        return Publisher(self._connect, topic, partition, window, self.timeout, self.retry).publish(frames)

    # -- consuming --------------------------------------------------------------------------------

    def subscribe(
        self, topic: str, group: str = "default", prefetch: int = 100, start: str | int = "first"
    ) -> Subscription:
        """Consume *topic* as one of *group*'s consumers, on a connection of its own. Blocks.

        At most *prefetch* messages are delivered and not acknowledged. *start* counts when the group is
        new: first, last, next, an offset, @milliseconds or @2026-11-23T10:00:00Z.
        """
        return Subscription(self._connect, topic, group, prefetch, str(start), self.timeout, self.retry)

    def read(
        self,
        topic: str,
        partition: int = 0,
        offset: str | int = "first",
        max: int = 1000,  # noqa: A002  # the protocol's word
        wait: float = 0.0,
        max_bytes: int = 1024 * 1024,
    ) -> Page:
        """Up to *max* messages from *offset* on, settling nothing. Blocks.

        *offset* as *start* of `subscribe`. At the end of the log it waits up to *wait* seconds for more.
        """
        arguments = (topic, partition, str(offset), max, round(wait * 1000), max_bytes)
        rows, *positions = self._request("READ", *arguments, wait=wait)
        return Page([received(topic, partition, row, None, 0) for row in rows], *positions)

    # -- topics and groups ------------------------------------------------------------------------

    def create_topic(
        self, topic: str, partitions: int | None = None, settings: Mapping[str, str | int] | None = None
    ) -> None:
        """Make a topic; without *partitions* it gets as many as the server is configured to give."""
        self._request("CREATE", topic, partitions, dict(settings or {}), again=False)

    def alter_topic(self, topic: str, settings: Mapping[str, str | int | None]) -> None:
        """Change settings of a topic; None takes one back to the server's."""
        self._request("ALTER", topic, dict(settings))

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with its messages and groups."""
        self._request("DELETE", topic, again=False)

    def topics(self) -> list[dict[str, Any]]:
        """All topics."""
        return list(self._request("TOPICS")[0])

    def topic(self, topic: str) -> dict[str, Any]:
        """One topic."""
        return dict(self._request("TOPIC", topic)[0])

    def groups(self, topic: str | None = None) -> list[dict[str, Any]]:
        """The groups of one topic, or of all."""
        return list(self._request("GROUPS", topic)[0])

    def group(self, topic: str, group: str) -> dict[str, Any]:
        """One group."""
        return dict(self._request("GROUP", topic, group)[0])

    def drop_group(self, topic: str, group: str) -> None:
        """Delete a group with its position."""
        self._request("DROP", topic, group, again=False)

    # -- definitions ------------------------------------------------------------------------------

    def definitions(self, virtual_host: str | None = None) -> dict[str, Any]:
        """RabbitMQ's definitions of all that is declared, or of one virtual host."""
        return dict(json.loads(self._request("DEFINITIONS", virtual_host, wait=DEFINITIONS_S)[0]))

    def define(self, definitions: Mapping[str, Any], virtual_host: str | None = None) -> dict[str, Any]:
        """Have all that *definitions* declare, and change nothing else; in parts, when there is much.

        How many of each list are `imported`, which entries `failed` and why, what is `ignored`.
        """
        outcome: dict[str, Any] = {"imported": {}, "failed": [], "ignored": []}
        for part in parts(definitions):
            result = json.loads(
                self._request("DEFINE", json.dumps(part.definitions), virtual_host, wait=DEFINITIONS_S)[0]
            )
            part.add(result, outcome)
        return outcome

    def policies(self) -> list[dict[str, Any]]:
        """All policies, and with the `kind` "operator" all operator policies."""
        return [json.loads(line) for line in self._request("POLICIES")[0]]

    def drop_policy(self, name: str, virtual_host: str = "/", kind: str = "policy") -> None:
        """Delete a policy, or an "operator" policy."""
        self._request("DROPPOLICY", name, virtual_host, kind, again=False)

    # -- delayed messages -------------------------------------------------------------------------

    def scheduled(self, after: str = "", max: int = 1000) -> list[dict[str, Any]]:  # noqa: A002  # the protocol's word
        """Up to *max* delayed messages that wait, those that follow the one with the id *after*.

        Each with `id`, `due_ms` (since 1970), `virtual_host`, `exchange`, `routing_keys` and `size_bytes` of its
        payload; about in the order of their times. Empty at the end.
        """
        return [json.loads(line) for line in self._request("SCHEDULED", after, max)[0]]

    def cancel_scheduled(self, message_id: str) -> None:
        """Take a delayed message away; when this returns it will never be fired.

        Raises ClientError NOT_FOUND when it does not wait: it was fired or cancelled, or never was.
        """
        self._request("CANCEL", message_id, again=False)

    # -- the server -------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What the server is and does."""
        return dict(self._request("INFO")[0])

    def reload(self) -> dict[str, list[str]]:
        """Have the server read its configuration again: which options were applied, which need a restart."""
        return dict(self._request("RELOAD")[0])

    def ping(self) -> None:
        """Return when the server has answered."""
        self._request("PING")

    # -- life -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection. Subscriptions stay open."""
        self._closed = True
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside -----------------------------------------------------------------------------------

    def _connect(self) -> Wire:
        if self._closed:
            raise ClientError("CLOSED", "this client has been closed")
        return Wire(self.address, self.timeout, self.name)

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _request(self, verb: str, *arguments: Any, wait: float = 0.0, again: bool = True) -> list[Any]:
        """The result of a request; *again* says that doing it twice does no harm."""
        patience = Patience(self.retry)
        with self._lock:
            while True:
                sent = False
                try:
                    wire = self._wire = self._wire or self._connect()
                    sent = True
                    return wire.answer(wire.request(verb, *arguments), self.timeout + wait)
                except ClientError as error:
                    if isinstance(error, ConnectionLostError):
                        self._drop()
                    if sent and not again:
                        raise
                    patience.wait(error)
                except BaseException:
                    # An answer that nobody waits for any more would be taken for the next request's.
                    self._drop()
                    raise


def message(
    payload: bytes | str | None,
    key: bytes | str | None = None,
    headers: Headers = (),
    timestamp: int | None = None,
    properties: bytes | None = None,
) -> Message:
    """A message of these parts, its texts as UTF-8."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return Message(
        _encoded(payload),
        _encoded(key),
        tuple((name, _encoded(value)) for name, value in pairs),
        NO_TIMESTAMP if timestamp is None else timestamp,
        properties,
    )


def _encoded(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
