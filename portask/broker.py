"""The broker: what handlers call, and the owner of everything behind it.

It knows no protocol and no socket. A handler finds topics here, puts appends on the bus, attaches
consumers to subscriptions, and answers its peers from the callbacks that they bring.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from gevent.event import AsyncResult

from portask import __version__
from portask.alarms import Alarms
from portask.batcher import Batcher
from portask.bus import Append, Bus
from portask.catalog import Catalog
from portask.compaction import Compaction
from portask.coordinator.coordinator import Coordinator
from portask.coordinator.reaper import Reaper
from portask.definitions.parameters import Parameters
from portask.definitions.policy import Policies
from portask.errors import StorageError, StorageFailedError
from portask.exchanges.delay import fire
from portask.message import Record
from portask.producer import Producers
from portask.retention import Retention
from portask.schedule.schedule import Schedule
from portask.storage.base import Storage
from portask.subscriptions.subscription import Start, Subscription
from portask.telemetry.loop import LoopMonitor
from portask.users import Users
from portask.virtual_hosts import VirtualHosts
from portask.volatile import VolatileMemory

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.config import ReloadResult, Settings
    from portask.partition import Partition
    from portask.topic import Topic

log = logging.getLogger(__name__)


class Traffic:
    """What one protocol has moved: plain numbers, read by metrics when scraped."""

    __slots__ = ("bytes_in", "bytes_out", "connections", "connections_total", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.messages_in = 0
        self.messages_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.connections = 0
        self.connections_total = 0


class BrokerStats:
    """Counters of all protocols."""

    def __init__(self) -> None:
        self.protocols: dict[str, Traffic] = {}

    def protocol(self, name: str) -> Traffic:
        """The counters of the protocol of that name."""
        return self.protocols.setdefault(name, Traffic())


class Broker:
    """Topics, subscriptions, bus, batcher and storage of one node."""

    def __init__(self, settings: Settings, storage: Storage, clock: Clock) -> None:
        self.settings = settings
        self.storage = storage
        self.clock = clock
        self.stats = BrokerStats()
        self.connections: dict[int, Any] = {}
        """Live connections of all protocols by number; each handler keeps its own up to date."""
        self.bus = Bus(settings.bus_bytes, settings.publish_timeout_ms / 1000)
        self.batcher = Batcher(self.bus, storage, settings, clock)
        self.catalog = Catalog(self.bus, storage, settings, clock)
        self.producers = Producers(self.bus, storage, self.catalog, settings, clock)
        self.coordinator = Coordinator(self.bus, storage, self.catalog, settings, clock)
        self.volatile_memory = VolatileMemory(settings)
        self.queue_reaper = Reaper(clock, "queue")
        self.virtual_hosts = VirtualHosts(self)
        self.schedule = Schedule(
            self.bus, storage, self.catalog, clock, partial(fire, self), self.volatile_memory.directory
        )
        chores = (self.producers.expire,)
        self.retention = Retention(self.catalog.all_topics, self.bus, storage, settings, clock, chores)
        self.compaction = Compaction(self.catalog, self.bus, storage, settings, clock)
        self.users = Users(self.bus, storage, settings)
        self.parameters = Parameters(self.bus, storage)
        self.policies = Policies(self.bus, storage)
        self.alarms = Alarms(settings)
        self.loop = LoopMonitor(clock)
        self.started_at_ms = 0
        self.ready = False
        self.stopping = False

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open storage, restore topics and subscriptions, begin to work. Blocks.

        Raises LockedError, CorruptError or another StorageError when storage can't be used.
        """
        self.storage.open()
        try:
            self.catalog.load()
            self.users.load()
            self.parameters.load()
            self.policies.load()
            self.producers.load()
            self.coordinator.load()
            self.compaction.load()
            self.virtual_hosts.load()
            self.schedule.load()
        except BaseException:
            self.storage.close()
            raise
        self.batcher.start()
        self.retention.start()
        self.compaction.start()
        self.coordinator.start()
        self.schedule.start()
        self.queue_reaper.start()
        self.alarms.start()
        self.started_at_ms = self.clock.now_ms()
        self.ready = True

    def stop(self, timeout_s: float) -> bool:
        """Take nothing new, finish and answer what is there, close storage. Blocks.

        False when *timeout_s* was too short or storage failed: then what wasn't finished was not acknowledged either.
        """
        self.stopping = True
        self.ready = False
        self.alarms.stop()
        self.schedule.stop()
        self.coordinator.stop()
        self.compaction.stop()
        self.retention.stop()
        self.queue_reaper.stop()
        self.virtual_hosts.stop()
        for topic in self.catalog.topics():
            for subscription in topic.subscriptions.values():
                subscription.close()
        self.bus.close()
        finished = self.batcher.join(timeout_s)
        try:
            self.storage.close()
        except StorageError as error:
            # What was answered is durable all the same; the connections are still to be closed in good order.
            log.critical("storage failed while it was closed", extra={"error": str(error)})
            return False
        return finished

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is acknowledged any more, or None."""
        return self.batcher.failure

    @property
    def cluster_id(self) -> str:
        """The name of the store, made once: 22 letters, digits, dashes and underscores."""
        return self.catalog.cluster_id

    # -- topics -----------------------------------------------------------------------------------

    def topics(self) -> list[Topic]:
        """All topics by name."""
        return self.catalog.topics()

    def topic(self, name: str, create: bool = False) -> Topic:
        """The topic of that name; with *create* it is made where `auto_create_topics` allows. Blocks then.

        Raises UnknownTopicError, or InvalidTopicError for a name that no topic can have.
        """
        if create and self.settings.auto_create_topics:
            return self.catalog.find_or_create(name)
        return self.catalog.topic(name)

    def create_topic(self, name: str, partitions: int | None = None, config: Mapping[str, str] | None = None) -> Topic:
        """Make a topic. Blocks until durable. Raises TopicExistsError or InvalidTopicError."""
        topic = self.catalog.create(name, partitions, config or {})
        log.info("topic created", extra={"topic": name, "partitions": len(topic.partitions)})
        return topic

    def add_partitions(self, name: str, total: int) -> Topic:
        """Let a topic have *total* partitions, more than before. Blocks until durable.

        Raises InvalidPartitionsError.
        """
        topic = self.catalog.add_partitions(name, total)
        log.info("partitions added", extra={"topic": name, "partitions": total})
        return topic

    def alter_topic(self, name: str, config: Mapping[str, str | None]) -> Topic:
        """Change settings; None takes one back to the default. Blocks until durable."""
        return self.catalog.alter(name, config)

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its messages and subscriptions. Blocks until durable."""
        self.catalog.delete(name)
        log.info("topic deleted", extra={"topic": name})

    # -- messages ---------------------------------------------------------------------------------

    def append(self, item: Append) -> None:
        """Put *item* on the bus. Blocks while the bus is full.

        Raises StorageFailedError when the log has stopped, UnavailableError when the bus stayed full,
        ShuttingDownError; `done` is not called then.
        """
        if self.batcher.failure is not None:
            self._raise_failure(self.batcher.failure)
        self.bus.put(item)

    def publish(self, partition: Partition, records: list[Record], size_bytes: int) -> int:
        """Append *records* and return the first one's offset. Blocks until they are as safe as configured."""
        answer = AsyncResult()
        self.append(Append(partition, records, size_bytes, answer.set))
        item: Append = answer.get()
        if item.error is not None:
            raise item.error
        return item.base_offset

    def _raise_failure(self, failure: StorageError) -> NoReturn:
        raise StorageFailedError(f"the log has stopped: {failure}; check the disk and restart") from failure

    # -- subscriptions ----------------------------------------------------------------------------

    def subscribe(self, topic: Topic, name: str, start: Start = Start.FIRST) -> Subscription:
        """The subscription of that name, or a new one that begins at *start*. Blocks until it is durable."""
        return self.catalog.subscribe(topic, name, start)

    def unsubscribe(self, topic: Topic, name: str) -> None:
        """Delete a subscription with its state. Blocks. Raises SubscriptionInUseError while it has consumers."""
        self.catalog.unsubscribe(topic, name)

    # -- operation --------------------------------------------------------------------------------

    def reload(self) -> ReloadResult:
        """Read the configuration again and apply what can be. Raises ConfigError and changes nothing."""
        result = self.settings.reload()
        log.info("configuration reloaded", extra={"applied": result.applied, "needs_restart": result.needs_restart})
        return result

    def info(self) -> dict[str, Any]:
        """What the node is and does, ready for JSON."""
        topics = self.catalog.topics()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "node_id": self.settings.node_id,
            "cluster_id": self.cluster_id,
            "state": "failed"
            if self.failure
            else "stopping"
            if self.stopping
            else "ready"
            if self.ready
            else "starting",
            "uptime_ms": self.clock.now_ms() - self.started_at_ms,
            "topics": len(topics),
            "partitions": sum(len(topic.partitions) for topic in topics),
            "subscriptions": sum(len(topic.subscriptions) for topic in topics),
            "connections": len(self.connections),
            "scheduled": len(self.schedule),
            "alarms": sorted(self.alarms.active),
            "bus": {"items": len(self.bus), "bytes": self.bus.used_bytes, "limit_bytes": self.bus.limit_bytes},
            "storage": self.storage.stats(),
            "protocols": {
                name: {field: getattr(traffic, field) for field in Traffic.__slots__}
                for name, traffic in self.stats.protocols.items()
            },
        }
