"""A session: what a connection may do besides publishing, and the subscriptions that it holds.

`COMMANDS` has one function for each verb, called with the arguments of the verb's table. Each returns
what follows OK, and what is to be done when that is on its way, if anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
from gevent.event import Event

from handlers.native.codec import ENCODINGS, Mode
from handlers.native.command import Delivered, Lines, Page, Result, Subscribed
from handlers.native.errors import code_of
from handlers.native.verbs import help_lines
from portask import __version__
from portask.definitions.definitions import describe_policy, export_definitions
from portask.definitions.definitions_import import import_definitions
from portask.errors import (
    NotFoundError,
    NotInFlightError,
    PortaskError,
    SubscriptionInUseError,
    UnknownSubscriptionError,
    UnknownTopicError,
    UsageError,
)
from portask.exchanges.delay import describe_scheduled
from portask.partition import cut_runs
from portask.subscriptions.subscription import Consumer, Delivery, Start, Subscription

if TYPE_CHECKING:
    from handlers.native.connection import NativeConnection
    from portask.bus import Change
    from portask.partition import Partition
    from portask.topic import Topic

MAX_READ_MESSAGES = 100_000
MAX_READ_BYTES = 64 * 1024 * 1024
MAX_WAIT_MS = 60_000
MAX_SCHEDULED_MESSAGES = 10_000
MAX_NAME = 200
OPERATOR = "operator"
"""The kind of operator policies, where policies are listed and deleted."""


class _Attached(NamedTuple):
    subscription: Subscription
    consumer: Consumer


class Session:
    """What one connection has agreed with the broker."""

    def __init__(self, connection: NativeConnection) -> None:
        self.connection = connection
        self.broker = connection.broker
        self._attached: dict[str, dict[str, _Attached]] = {}
        """Topic -> group -> what this connection consumes."""
        self._paused = False
        self._interrupted = Event()

    def interrupt(self) -> None:
        """Let a wait end now, and every later one at once."""
        self._interrupted.set()

    def wait(self, partition: Partition, offset: int, timeout_s: float) -> None:
        """Return when *partition* has something at *offset*, at `interrupt`, or after *timeout_s*. Blocks."""
        arrived = Event()
        partition.notify(offset, arrived.set)
        gevent.wait((arrived, self._interrupted), timeout_s, 1)
        partition.forget(arrived.set)

    def close(self) -> None:
        """End all subscriptions of this connection; what is in flight goes back."""
        attached, self._attached = self._attached, {}
        for groups in attached.values():
            for subscription, consumer in groups.values():
                subscription.detach(consumer)

    def pause(self, paused: bool) -> None:
        """Hold back deliveries, or let them go on."""
        self._paused = paused
        for groups in self._attached.values():
            for _, consumer in groups.values():
                if paused:
                    consumer.pause()
                else:
                    consumer.resume()

    # -- subscriptions ----------------------------------------------------------------------------

    def attach(self, topic: Topic, group: str, prefetch: int, start: Start) -> None:
        """Consume *group* of *topic* from here on. Blocks while the group is created."""
        if group in self._attached.get(topic.name, ()):
            raise SubscriptionInUseError(f"this connection is subscribed to {topic.name} as {group} already")
        subscription = self.broker.subscribe(topic, group, start)
        name, connection = topic.name, self.connection

        def deliver(deliveries: list[Delivery]) -> None:
            encode = connection.encoding.delivery
            for delivery in deliveries:
                records = delivery.records
                connection.send(
                    encode(
                        Delivered(
                            name,
                            group,
                            delivery.partition.number,
                            delivery.base_offset,
                            delivery.redeliveries,
                            delivery.timestamp,
                            records,
                        )
                    )
                )
                connection.link.count_out(len(records))

        def cancelled(error: PortaskError | None) -> None:
            self._forget(name, group)
            if error is not None:
                connection.send(connection.encoding.cancelled(name, group, code_of(error), str(error)))

        consumer = Consumer(deliver, prefetch, cancelled)
        consumer.paused = self._paused
        subscription.attach(consumer)
        self._attached.setdefault(name, {})[group] = _Attached(subscription, consumer)

    def detach(self, topic: str, group: str) -> None:
        """Consume that group no more; what is in flight goes back. Raises UnknownSubscriptionError."""
        subscription, consumer = self._find(topic, group)
        self._forget(topic, group)
        subscription.detach(consumer)

    def settle(
        self,
        topic: str,
        group: str | None,
        partition: int,
        first: int,
        last: int,
        ack: bool,
        done: Callable[[Change], None],
    ) -> None:
        """Ack or nack what was delivered here. Raises NotInFlightError or UnknownSubscriptionError."""
        subscription, consumer = self._find(topic, group)
        if last - first >= consumer.in_flight:
            raise NotInFlightError(
                f"{first} to {last} of partition {partition} of {topic} are not all in flight on this connection"
            )
        settle = subscription.ack if ack else subscription.nack
        settle(consumer, partition, first, last, done)

    def _find(self, topic: str, group: str | None) -> _Attached:
        groups = self._attached.get(topic)
        if not groups:
            raise UnknownSubscriptionError(f"this connection is not subscribed to {topic[:249]}; SUBSCRIBE first")
        if group is None:
            if len(groups) > 1:
                raise UsageError(f"this connection has several groups of {topic}: {', '.join(groups)}; say group=NAME")
            return next(iter(groups.values()))
        if group not in groups:
            raise UnknownSubscriptionError(
                f"this connection is not subscribed to {topic} as {group[:249]}, only as {', '.join(groups)}"
            )
        return groups[group]

    def _forget(self, topic: str, group: str) -> None:
        groups = self._attached.get(topic, {})
        groups.pop(group, None)
        if not groups:
            self._attached.pop(topic, None)


Then = Callable[[], None] | None
Outcome = tuple[Result, Then]


def _subscribe(session: Session, topic: str, group: str, prefetch: int, start: str) -> Outcome:
    begin = Start.parse(start)
    session.attach(session.broker.topic(topic, create=True), group, prefetch, begin)
    return Subscribed(topic, group), None


def _unsubscribe(session: Session, topic: str, group: str) -> Outcome:
    session.detach(topic, group)
    return None, None


def _read(
    session: Session, topic: str, partition: int, offset: str, most: int, wait_ms: int, max_bytes: int
) -> Outcome:
    if not 1 <= most <= MAX_READ_MESSAGES or not 1 <= max_bytes <= MAX_READ_BYTES or wait_ms > MAX_WAIT_MS:
        raise UsageError(
            f"READ takes max up to {MAX_READ_MESSAGES}, max_bytes up to {MAX_READ_BYTES} and wait up to {MAX_WAIT_MS}"
        )
    log = session.broker.topic(topic).partition(partition)
    position = _position(log, Start.parse(offset))
    if wait_ms and position == log.high_watermark:
        session.wait(log, position, wait_ms / 1000)
    if log.closed:
        raise UnknownTopicError(f"topic {topic} has been deleted")
    page = _page(log, position, most, max_bytes)
    session.connection.link.count_out(sum(len(run.records) for run in page.runs))
    return page, None


def _position(log: Partition, start: Start) -> int:
    """The offset that a reader means: only what is durable counts. May block."""
    if start.kind == "offset":
        return start.value
    if start.kind == "last":
        return max(log.log_start_offset, log.high_watermark - 1)
    return min(start.offset_in(log), log.high_watermark)


def _page(log: Partition, position: int, most: int, max_bytes: int) -> Page:
    runs: list[Delivered] = []
    reached = position
    while not runs and (batches := log.read(reached, max_bytes)):
        # Compaction may have left nothing but empty batches: then it goes on behind them.
        reached = batches[-1].next_offset
        for run in chain.from_iterable(cut_runs(batch, position) for batch in batches):
            records = run.records[:most]
            most -= len(records)
            reached = run.base_offset + len(records)
            runs.append(Delivered(log.topic.name, None, log.number, run.base_offset, 0, run.timestamp, records))
            if not most:
                break
    # Nothing below the high watermark: what was there is gone, so reading goes on behind the gap.
    reached = reached if runs else max(reached, log.high_watermark)
    return Page(runs, reached, log.high_watermark, log.log_start_offset)


def _create(session: Session, topic: str, partitions: int | None, settings: dict[str, str | None]) -> Outcome:
    chosen = {name: value for name, value in settings.items() if value is not None}
    session.broker.create_topic(topic, partitions, chosen)
    return None, None


def _alter(session: Session, topic: str, settings: dict[str, str | None]) -> Outcome:
    session.broker.alter_topic(topic, settings)
    return None, None


def _delete(session: Session, topic: str) -> Outcome:
    session.broker.delete_topic(topic)
    return None, None


def _topics(session: Session) -> Outcome:
    return Lines([_describe(topic) for topic in session.broker.topics()]), None


def _topic(session: Session, topic: str) -> Outcome:
    return _describe(session.broker.topic(topic)), None


def _groups(session: Session, topic: str | None) -> Outcome:
    topics = session.broker.topics() if topic is None else [session.broker.topic(topic)]
    return Lines([group.describe() for found in topics for _, group in sorted(found.subscriptions.items())]), None


def _group(session: Session, topic: str, group: str) -> Outcome:
    subscription = session.broker.topic(topic).subscriptions.get(group)
    if subscription is None:
        raise UnknownSubscriptionError(f"topic {topic} has no group {group[:249]}")
    return subscription.describe(), None


def _drop(session: Session, topic: str, group: str) -> Outcome:
    session.broker.unsubscribe(session.broker.topic(topic), group)
    return None, None


def _definitions(session: Session, virtual_host: str | None) -> Outcome:
    # As text in both modes: names need not be UTF-8, and numbers may be larger than CBOR's.
    return json.dumps(export_definitions(session.broker, virtual_host)), None


def _define(session: Session, definitions: str, virtual_host: str | None) -> Outcome:
    try:
        value = json.loads(definitions)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"definitions are not JSON: {error}") from None
    return json.dumps(import_definitions(session.broker, value, virtual_host).as_json()), None


def _policies(session: Session) -> Outcome:
    policies = session.broker.policies
    return Lines(
        [
            json.dumps({**describe_policy(policy), "kind": kind})
            for kind, known in (("policy", policies.policies()), (OPERATOR, policies.policies(operator=True)))
            for policy in known
        ]
    ), None


def _drop_policy(session: Session, name: str, virtual_host: str, kind: str) -> Outcome:
    if kind not in ("policy", OPERATOR):
        raise UsageError(f"kind must be policy or {OPERATOR}, not {kind[:40]!r}")
    session.broker.policies.delete(virtual_host, name, operator=kind == OPERATOR)
    return None, None


def _scheduled(session: Session, after: str, most: int) -> Outcome:
    if not 1 <= most <= MAX_SCHEDULED_MESSAGES:
        raise UsageError(f"SCHEDULED takes max from 1 to {MAX_SCHEDULED_MESSAGES}")
    page = session.broker.schedule.page(after, most)
    return Lines([json.dumps(describe_scheduled(scheduled)) for scheduled in page]), None


def _cancel(session: Session, message_id: str) -> Outcome:
    if not session.broker.schedule.cancel(message_id):
        raise NotFoundError(f"no delayed message {message_id[:100]!r} waits: it was fired or cancelled, or never was")
    return None, None


def _info(session: Session) -> Outcome:
    return session.broker.info(), None


def _reload(session: Session) -> Outcome:
    result = session.broker.reload()
    return {"applied": list(result.applied), "needs_restart": list(result.needs_restart)}, None


def _help(_: Session) -> Outcome:
    return Lines(list(help_lines())), None


def _hello(session: Session, mode: str, name: str) -> Outcome:
    wanted = next((known for known in Mode if known.value == mode), None)
    if wanted is None:
        raise UsageError(
            f"there is no mode {mode[:40]!r}; say HELLO {' or HELLO '.join(known.value for known in Mode)}"
        )
    connection = session.connection
    connection.link.name = name[:MAX_NAME] or connection.link.name
    answer = {
        "server": "portask",
        "version": __version__,
        "mode": mode,
        "connection": connection.link.id,
        "max_message_bytes": session.broker.settings.max_message_bytes,
    }

    def switch() -> None:
        connection.encoding = ENCODINGS[wanted]

    return answer, switch


def _describe(topic: Topic) -> dict[str, Any]:
    return {
        "name": topic.name,
        "id": topic.id,
        "created_at_ms": topic.created_at_ms,
        "settings": topic.config.items(),
        "groups": sorted(topic.subscriptions),
        "partitions": [
            {
                "partition": partition.number,
                "log_start_offset": partition.log_start_offset,
                "high_watermark": partition.high_watermark,
            }
            for partition in topic.partitions
        ],
    }


COMMANDS: dict[str, Callable[..., Outcome]] = {
    "SUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _unsubscribe,
    "READ": _read,
    "CREATE": _create,
    "ALTER": _alter,
    "DELETE": _delete,
    "TOPICS": _topics,
    "TOPIC": _topic,
    "GROUPS": _groups,
    "GROUP": _group,
    "DROP": _drop,
    "DEFINITIONS": _definitions,
    "DEFINE": _define,
    "POLICIES": _policies,
    "DROPPOLICY": _drop_policy,
    "SCHEDULED": _scheduled,
    "CANCEL": _cancel,
    "INFO": _info,
    "RELOAD": _reload,
    "HELP": _help,
    "HELLO": _hello,
}
