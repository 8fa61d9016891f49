"""The queues of one virtual host by name: made, compared with what is asked for, removed and restored.

A durable queue's row, its topic and its subscription are made in one round, and go in one round with the
bindings that lead to it (VirtualHost.unbind_queue). Its topic is visible when it is in the virtual host `/` and its
name can be a topic's; then a topic that is there already becomes the queue's, which is attached to it.
A queue that is on its way out cannot be found; who declares its name waits until it is gone.
"""

from __future__ import annotations

import logging
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from portask.catalog import commit
from portask.claim import Claims
from portask.errors import (
    InvalidTopicError,
    NotFoundError,
    PortaskError,
    PreconditionError,
    ShuttingDownError,
    StorageFailedError,
    TopicExistsError,
    UnknownTopicError,
)
from portask.queues.arguments import CLASSIC, QUORUM, STREAM, QueueArguments, check_equivalent, parse_arguments
from portask.queues.expiry import EXPIRY
from portask.queues.queue import SUBSCRIPTION, Queue
from portask.queues.row import QUEUES, QueueRow, queue_key
from portask.resource_name import check_unreserved, clean_name, describe
from portask.start import Start
from portask.subscriptions.subscription import Subscription
from portask.topic import Topic, TopicConfig, check_name
from portask.volatile import VolatilePartition

if TYPE_CHECKING:
    from portask.broker import Broker
    from portask.exchanges.removal import Removal
    from portask.storage.base import Round
    from portask.virtual_host import VirtualHost

log = logging.getLogger(__name__)

DEFAULT_VIRTUAL_HOST = "/"
FOLLOWING = 20
"""Queues that follow a change of policies before others have their turn: about a millisecond."""
KEPT = {"retention_ms": "-1", "retention_bytes": "-1", "cleanup_policy": ""}
"""What a queue's own topic is set to: nothing but settling takes messages away."""
RETRY_S = 1.0
"""How long to wait after storage refused a round."""
MAX_PREFIX_BYTES = 64
"""RabbitMQ's limit for `x-name-prefix`."""


class Queues:
    """All queues of one virtual host."""

    def __init__(self, broker: Broker, virtual_host: VirtualHost) -> None:
        self.broker = broker
        self.virtual_host = virtual_host
        self._queues: dict[str, Queue] = {}
        self._claims = Claims()
        self._exclusive: dict[object, list[Queue]] = {}
        """By the connection that they belong to."""
        self._gone: dict[Queue, Event] = {}
        """Queues on their way out."""

    # -- life -------------------------------------------------------------------------------------

    def load(self) -> None:
        """Restore the durable queues; topics and subscriptions policies must be there. Raises CorruptError."""
        for key, value in self.broker.storage.load(QUEUES).items():
            row = QueueRow.decode(key, value)
            if row.virtual_host != self.virtual_host.name:
                continue
            topic = self.broker.catalog.log_of_queue(row.topic_id)
            if topic is None:
                # Only a damaged store that was repaired has lost what the queue is made of.
                log.error("queue left out: its topic is gone", extra={"queue": row.name})
                continue
            queue_type = row.arguments.get("x-queue-type", CLASSIC)
            settings = self._effective(row.name, queue_type, row.arguments)
            if queue_type == STREAM and not row.is_attached:
                _keep(topic, settings)
            self._queues[row.name] = Queue(
                self,
                row.name,
                durable=True,
                exclusive=None,
                auto_delete=row.auto_delete,
                arguments=row.arguments,
                settings=settings,
                topic=topic,
                is_attached=row.is_attached,
            )

        rows = self.broker.storage.load(EXPIRY)
        for queue in self._queues.values():
            queue.begin_upkeep(rows)

    def follow_policies(self) -> None:
        """Have every queue work by the policies as they are now. Blocks, for the others to have their turn."""
        for number, queue in enumerate(self, 1):
            if number % FOLLOWING == 0:
                gevent.sleep(0)
            if queue.closed:
                continue
            settings = self._effective(queue.name, queue.type, queue.arguments)
            if settings != queue.settings:
                queue.follow(settings)
                if queue.is_stream and not queue.is_attached:
                    _keep(queue.topic, settings)

    def _effective(self, name: str, queue_type: str, arguments: Mapping[str, Any]) -> QueueArguments:
        """What *arguments* mean under the policies as they are now."""
        effective = self.broker.policies.queue_arguments(self.virtual_host.name, name, queue_type, arguments)
        return parse_arguments(effective, describe("queue", name, self.virtual_host.name))

    def stop(self) -> None:
        """Feed nobody any more; a last save is on its way. To be called before the bus is closed."""
        for queue in self._queues.values():
            if queue.upkeep is not None:
                queue.upkeep.close()
            if queue.readers is not None:
                queue.readers.close()
            for subscription in queue.topic.subscriptions.values():
                subscription.close()

    # -- finding ----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Queue]:
        return iter([queue for queue in self._queues.values() if not queue.closed])

    def __len__(self) -> int:
        return len(self._queues)

    def find(self, name: str) -> Queue | None:
        """The queue of that name, or None."""
        queue = self._queues.get(name)
        return None if queue is None or queue.closed else queue

    def get(self, name: str, owner: object | None = None) -> Queue:
        """The queue of that name, for use by *owner*. Raises NotFoundError, LockedQueueError."""
        queue = self.find(name)
        if queue is None:
            raise NotFoundError(f"no {describe('queue', name, self.virtual_host.name)}")
        queue.check_owner(owner)
        return queue

    # -- making -----------------------------------------------------------------------------------

    def declare(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        owner: object | None = None,
    ) -> Queue:
        """The queue of that name, made if it is not there; with *passive* only looked up. Blocks until durable.

        Without a name it gets one. An *exclusive* queue is *owner*'s, and never durable. What was published
        before the call is in its log when this returns.
        Raises NotFoundError (passive), LockedQueueError, AccessRefusedError for a new name with the reserved
        prefix, PreconditionError for arguments that cannot be or differ from the queue that exists.
        """
        arguments = arguments or {}
        name = clean_name(name)
        if passive:
            queue = self.get(name, owner)
            queue.flush()
            queue.touch()
            return queue
        durable = durable and not exclusive
        is_named = bool(name)
        if not is_named:
            queue_type = arguments.get("x-queue-type", CLASSIC)
            if queue_type in (QUORUM, STREAM):
                raise PreconditionError(f"Cannot declare a server-named queue for type rabbit_{queue_type}_queue")
            name = _make_name(arguments)
        with self._claims.claim(name):
            queue_or_none = self._wait_for_end(name)
            if queue_or_none is not None:
                self._check_equivalent(queue_or_none, durable, exclusive, auto_delete, arguments, owner)
                queue = queue_or_none
            else:
                if is_named:
                    check_unreserved("queue", name)
                queue = self._make(name, durable, owner if exclusive else None, auto_delete, arguments)
        queue.flush()
        queue.touch()
        return queue

    def _wait_for_end(self, name: str) -> Queue | None:
        """The queue of that name that is there to stay. Blocks while one is on its way out."""
        while (queue := self._queues.get(name)) is not None and queue.closed:
            self._gone[queue].wait()
        return queue

    def _check_equivalent(
        self,
        queue: Queue,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: Mapping[str, Any],
        owner: object | None,
    ) -> None:
        if queue.exclusive is not (owner if exclusive else None):
            raise queue.locked()
        for name, current, received in (
            ("durable", queue.durable, durable),
            ("auto_delete", queue.auto_delete, auto_delete),
        ):
            if current != received:
                raise PreconditionError(
                    f"inequivalent arg '{name}' for {queue.description}: "
                    f"received '{str(received).lower()}' but current is '{str(current).lower()}'"
                )
        check_equivalent(queue.arguments, arguments, queue.type, queue.description)

    def _make(
        self, name: str, durable: bool, exclusive: object | None, auto_delete: bool, arguments: Mapping[str, Any]
    ) -> Queue:
        described = describe("queue", name, self.virtual_host.name)
        settings = parse_arguments(arguments, described)
        if settings.type != CLASSIC:
            for is_there, what in ((not durable and exclusive is None, "non-durable"), (exclusive, "exclusive-owner")):
                if is_there:
                    raise PreconditionError(f"invalid property '{what}' for {described}")
            if auto_delete:
                raise PreconditionError(f"invalid property 'auto-delete' for {described}")
        topic, is_attached = (
            self._make_log(name, auto_delete, arguments, settings)
            if durable
            else (
                self._make_volatile_log(name, settings),
                False,
            )
        )
        settings = self._effective(name, settings.type, arguments)
        if settings.type == STREAM and not is_attached:
            _keep(topic, settings)
        queue = Queue(
            self,
            name,
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            arguments=arguments,
            settings=settings,
            topic=topic,
            is_attached=is_attached,
        )
        self._queues[name] = queue
        if exclusive is not None:
            self._exclusive.setdefault(exclusive, []).append(queue)
        queue.begin_upkeep()
        self.virtual_host.topology_changed()
        return queue

    def _make_log(
        self, name: str, auto_delete: bool, arguments: Mapping[str, Any], settings: QueueArguments
    ) -> tuple[Topic, bool]:
        """The topic of a durable queue, and whether it was there before. Blocks until durable, the queue's row too."""
        catalog = self.broker.catalog
        is_visible = self.virtual_host.name == DEFAULT_VIRTUAL_HOST and _can_be_topic(name)
        is_stream = settings.type == STREAM
        subscription_name = None if is_stream else SUBSCRIPTION

        def put_row(topic: Topic, is_attached: bool, round_: Round) -> None:
            row = QueueRow(self.virtual_host.name, name, topic.id, is_attached, auto_delete, dict(arguments))
            row.collect(round_)

        while True:
            found = catalog.find(name) if is_visible else None
            try:
                if found is None:
                    shown = name if is_visible else f"{self.virtual_host.name}/{name}"
                    return (
                        catalog.create_log(
                            shown.encode("utf-8", "backslashreplace").decode(),
                            settings.partitions,
                            _stream_config(settings) if is_stream else KEPT,
                            subscription_name,
                            lambda topic, round_: put_row(topic, False, round_),
                            is_hidden=not is_visible,
                        ),
                        False,
                    )
                put = partial(put_row, found, True)
                if is_stream:
                    commit(self.broker.bus, put)
                else:
                    catalog.subscribe(found, SUBSCRIPTION, Start.FIRST, put)
                return found, True
            except (TopicExistsError, UnknownTopicError):
                # It was made or deleted meanwhile.
                continue

    def _make_volatile_log(self, name: str, settings: QueueArguments) -> Topic:
        broker = self.broker
        topic = Topic(name, uuid.uuid4().hex, TopicConfig(broker.settings, {}), broker.clock.now_ms())
        topic.is_hidden = True
        topic.partitions = [
            VolatilePartition(topic, number, broker.volatile_memory)  # type: ignore[misc]  # read like a Partition
            for number in range(settings.partitions)
        ]
        topic.add_subscription(Subscription.volatile(topic, SUBSCRIPTION))
        return topic

    # -- removing ---------------------------------------------------------------------------------

    def delete(
        self, queue: Queue, *, if_unused: bool = False, if_empty: bool = False, owner: object | None = None
    ) -> int:
        """Remove *queue* with its messages and bindings; return how many messages were ready. Blocks until durable.

        Raises LockedQueueError; PreconditionError when it is in use or not empty and must be.
        """
        queue.check_owner(owner)
        with self._claims.claim(queue.name):
            queue.flush()
            # Meanwhile its last consumer may have gone, and the queue with it.
            if self._wait_for_end(queue.name) is not queue:
                return 0
            if if_unused and queue.consumer_count:
                raise PreconditionError(f"{queue.description} in use")
            count = queue.ready
            if if_empty and count:
                raise PreconditionError(f"{queue.description} not empty")
            self._remove(queue, with_topic=not queue.is_attached)
        return count

    def delete_left(self, queue: Queue) -> None:
        """Remove an auto-delete queue that has lost its last consumer, unless there is a new one. Blocks."""
        with self._claims.claim(queue.name):
            if self._wait_for_end(queue.name) is queue and not queue.consumer_count:
                self._remove(queue, with_topic=not queue.is_attached)

    def delete_later(self, queue: Queue) -> None:
        """Remove *queue* as soon as possible: nobody finds it any more. Does not block."""
        if not queue.closed:
            removal = self._begin_removal(queue)
            if not queue.durable and not removal.is_durable:
                self._end_removal(queue, removal)
            else:
                greenlet = gevent.spawn(self._remove_by_itself, queue, removal)
                greenlet.name = f"deletion of {queue.description}"

    def delete_with_topic(self, queue: Queue) -> None:
        """Remove *queue* together with its topic, which somebody has asked for. Blocks until durable."""
        with self._claims.claim(queue.name):
            if self._wait_for_end(queue.name) is queue:
                self._remove(queue, with_topic=True)

    def release(self, owner: object) -> None:
        """Remove all queues that are *owner*'s alone. They are gone when this returns. May block.

        One that storage cannot let go of, for an exchange that goes with it, is gone as soon as it can.
        """
        for queue in self._exclusive.pop(owner, ()):
            self._release(queue)

    def _release(self, queue: Queue) -> None:
        if self._wait_for_end(queue.name) is not queue:
            return
        try:
            self._remove(queue, with_topic=True)
        except (ShuttingDownError, StorageFailedError):
            log.info("exclusive queue goes with the broker", extra={"queue": queue.name})
        except PortaskError:
            # Nobody else may use or delete it.
            gevent.spawn_later(RETRY_S, self._release, queue).name = f"release of {queue.description}"

    def _remove(self, queue: Queue, with_topic: bool) -> None:
        self._finish_removal(queue, self._begin_removal(queue), with_topic)

    def _remove_by_itself(self, queue: Queue, removal: Removal) -> None:
        """The greenlet of a removal that nobody waits for."""
        with suppress(PortaskError):
            self._finish_removal(queue, removal, with_topic=not queue.is_attached)

    def _begin_removal(self, queue: Queue) -> Removal:
        queue.closed = True
        self._gone[queue] = Event()
        return self.virtual_host.unbind_queue(queue.name)

    def _finish_removal(self, queue: Queue, removal: Removal, with_topic: bool) -> None:
        """Have the removal written, and make it so. Blocks."""

        def collect(round_: Round) -> None:
            removal.collect(round_)
            if queue.upkeep is not None:
                queue.upkeep.collect_deletion(round_)
            if queue.durable:
                round_.puts[QUEUES, queue_key(self.virtual_host.name, queue.name)] = None

        catalog = self.broker.catalog
        try:
            if not queue.durable:
                if removal.is_durable:
                    commit(self.broker.bus, collect)
            elif with_topic:
                catalog.delete_log(queue.topic, collect)
            elif queue.is_stream:
                commit(self.broker.bus, collect)
            else:
                catalog.end_subscription(queue.subscription, collect)
        except BaseException as error:
            removal.cancel()
            queue.closed = False
            self._gone.pop(queue).set()
            if isinstance(error, PortaskError):
                log.error("queue not deleted", extra={"queue": queue.name, "error": str(error)})  # noqa: TRY400
            raise
        self._end_removal(queue, removal)

    def _end_removal(self, queue: Queue, removal: Removal) -> None:
        """It is durable."""
        topic = queue.topic
        topic.queue = None
        if queue.upkeep is not None:
            queue.upkeep.close()
        del self._queues[queue.name]
        if queue in self._exclusive.get(queue.exclusive, ()):
            self._exclusive[queue.exclusive].remove(queue)
        removal.finish()
        error = UnknownTopicError(f"{queue.description} has been deleted")
        if queue.readers is not None:
            queue.readers.cancel(error)
        if not queue.durable:
            topic.closed = True
            for partition in topic.partitions:
                partition.close()
            queue.subscription.cancel(error)
        self._gone.pop(queue).set()


def _make_name(arguments: Mapping[str, Any]) -> str:
    """A new name that nobody has."""
    prefix = arguments.get("x-name-prefix")
    if not isinstance(prefix, str) or not prefix or len(prefix.encode()) > MAX_PREFIX_BYTES:
        prefix = "amq.gen-"
    return prefix + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _can_be_topic(name: str) -> bool:
    try:
        check_name(name)
    except InvalidTopicError:
        return False
    return True


def _keep(topic: Topic, settings: QueueArguments) -> None:
    """Have a stream's own topic keep what *settings* say; what is stored of it stays what the arguments say."""
    topic.config = topic.config.merged(_stream_config(settings))


def _stream_config(settings: QueueArguments) -> dict[str, str]:
    """The settings of a stream's topic: it keeps what its arguments say."""
    return {
        "retention_ms": str(-1 if settings.max_age_ms is None else settings.max_age_ms),
        "retention_bytes": str(-1 if settings.max_length_bytes is None else settings.max_length_bytes),
        "cleanup_policy": "delete",
    }
