"""The catalog: every topic and subscription by name, and the rows that they are stored as.

    table "topics"         topic id (16 bytes)        -> Topic.to_row
    table "subscriptions"  subscription id u64        -> see portask.subscriptions.subscription
    table "settled"        rows of portask.subscriptions.settlement, their keys begin with the subscription id
    table "counters"       "next number"              -> u64, the lowest number never used for a log or subscription
    table "identity"       "cluster id"               -> text that names this store, made once

A topic is *hidden* when it is the log of a queue that has no legal topic name or belongs to another
virtual host: it is in no list and has no name by which anyone could find it.

Numbers are never used twice, so nothing left of a deleted topic can ever be taken for a new one's.
A change is visible when it is durable; until then its name is taken, and whoever wants it waits.
"""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from gevent.event import AsyncResult

from portask.bus import Bus, Change
from portask.claim import Claims
from portask.errors import (
    InvalidPartitionsError,
    SubscriptionInUseError,
    TopicExistsError,
    UnknownSubscriptionError,
    UnknownTopicError,
)
from portask.partition import Partition, TailCache
from portask.storage.base import Round, Storage
from portask.subscriptions.subscription import Start, Subscription, restore_subscriptions
from portask.topic import MAX_PARTITIONS, Topic, TopicConfig, TopicRow, check_name

if TYPE_CHECKING:
    from portask.clock import Clock
    from portask.config import Settings

TOPICS = "topics"
COUNTERS = "counters"
IDENTITY = "identity"
_NEXT_NUMBER = b"next number"
_CLUSTER_ID = b"cluster id"


class Catalog:
    """All topics with their partitions and subscriptions."""

    def __init__(self, bus: Bus, storage: Storage, settings: Settings, clock: Clock) -> None:
        self._bus = bus
        self._storage = storage
        self._settings = settings
        self._clock = clock
        self._cache = TailCache(settings.tail_cache_bytes)
        self._topics: dict[str, Topic] = {}
        self._by_id: dict[str, Topic] = {}
        self._hidden: dict[str, Topic] = {}
        """Hidden topics by id."""
        self._claims = Claims()
        self._next_number = 1
        self.cluster_id = ""
        """22 letters, digits, dashes and underscores; known once loaded."""
        self.on_delete: list[Callable[[Topic, Round], None]] = []
        """Called when the round is made that deletes a topic, to put what else is to go with it; must not block."""

    # -- topics -----------------------------------------------------------------------------------

    def load(self) -> None:
        """Restore everything from storage's tables, before anyone else writes there. Blocks.

        Raises CorruptError when a row is broken.
        """
        self.cluster_id = self._storage.load(IDENTITY).get(_CLUSTER_ID, b"").decode() or self._name_cluster()
        counter = self._storage.load(COUNTERS).get(_NEXT_NUMBER)
        # Should the counter have been lost, a new topic must not take over the log of an old one.
        self._next_number = max(int.from_bytes(counter or b"\x01", "big"), max(self._storage.logs(), default=0) + 1)
        for key, data in self._storage.load(TOPICS).items():
            row = TopicRow.decode(data)
            topic = Topic(row.name, key.hex(), TopicConfig.restore(self._settings, row.config), row.created_at_ms)
            topic.is_hidden = row.is_hidden
            self._open_partitions(topic, row.logs)
            self._keep(topic)
        known = {**self._by_id, **self._hidden}
        for subscription in restore_subscriptions(self._storage.load, known, self._bus.put):
            subscription.topic.subscriptions[subscription.name] = subscription

    def topics(self) -> list[Topic]:
        """All topics by name."""
        return [self._topics[name] for name in sorted(self._topics)]

    def all_topics(self) -> list[Topic]:
        """As `topics`, and those that are hidden."""
        return [*self.topics(), *self._hidden.values()]

    def topic(self, name: str) -> Topic:
        """The topic of that name. Raises UnknownTopicError, or InvalidTopicError for a name that none can have."""
        topic = self._topics.get(name)
        if topic is None:
            check_name(name)
            raise UnknownTopicError(f"there is no topic {name}; create it first")
        return topic

    def topic_by_id(self, topic_id: str) -> Topic:
        """The topic that has *topic_id*, 32 hexadecimal digits. Raises UnknownTopicError."""
        topic = self._by_id.get(topic_id)
        if topic is None:
            raise UnknownTopicError(f"there is no topic with the id {topic_id}")
        return topic

    def find(self, name: str) -> Topic | None:
        """The topic of that name, or None."""
        return self._topics.get(name)

    def log_of_queue(self, topic_id: str) -> Topic | None:
        """The topic that has *topic_id*, hidden or not."""
        return self._hidden.get(topic_id) or self._by_id.get(topic_id)

    def find_or_create(self, name: str) -> Topic:
        """The topic of that name, made with the defaults when there is none. Blocks then."""
        topic = self._topics.get(name)
        while topic is None:
            try:
                topic = self.create(name, None, {})
            except TopicExistsError:
                topic = self._topics.get(name)
        return topic

    def check(self, name: str, partitions: int | None, config: Mapping[str, str]) -> int:
        """How many partitions `create` would make. Raises what it would raise as things are."""
        check_name(name)
        if name in self._topics:
            raise TopicExistsError(f"topic {name} exists already")
        count = self._settings.default_partitions if partitions is None else partitions
        if not 1 <= count <= MAX_PARTITIONS:
            raise InvalidPartitionsError(f"a topic has 1 to {MAX_PARTITIONS} partitions, not {count}")
        TopicConfig(self._settings, config)
        return count

    def create(self, name: str, partitions: int | None, config: Mapping[str, str]) -> Topic:
        """Make a topic. Blocks until it is durable.

        Raises TopicExistsError, InvalidPartitionsError, or InvalidTopicError for a name or a setting that cannot be.
        """
        with self._claims.claim((name, False)):
            topic = self._new_topic(name, self.check(name, partitions, config), config)

            def collect(round_: Round) -> None:
                self._put_topic(round_, topic)
                self._put_next_number(round_)

            self._commit(collect)
            self._keep(topic)
        return topic

    def create_log(
        self,
        name: str,
        partitions: int,
        config: Mapping[str, str],
        subscription_name: str | None,
        also: Callable[[Topic, Round], None],
        *,
        is_hidden: bool,
    ) -> Topic:
        """Make a topic for a queue, in one round with its subscription and with what *also* puts. Blocks until durable.

        A hidden one may have any name. Raises as `create`.
        """
        with self._claims.claim((name, is_hidden)):
            count = partitions if is_hidden else self.check(name, partitions, config)
            topic = self._new_topic(name, count, config)
            topic.is_hidden = is_hidden
            subscription = None
            if subscription_name is not None:
                number = self._take_numbers(1)
                subscription = Subscription.begin(topic, number, subscription_name, Start.FIRST, self._bus.put)

            def collect(round_: Round) -> None:
                self._put_topic(round_, topic)
                if subscription is not None:
                    subscription.collect_creation(round_)
                self._put_next_number(round_)
                also(topic, round_)

            self._commit(collect)
            if subscription is not None:
                topic.add_subscription(subscription)
            self._keep(topic)
        return topic

    def add_partitions(self, name: str, total: int) -> Topic:
        """Let a topic have *total* partitions, more than before. Blocks until durable.

        Existing subscriptions read the new ones from their start. Raises InvalidPartitionsError.
        """
        with self._claims.claim((name, False)):
            topic = self.topic(name)
            count = len(topic.partitions)
            if not count < total <= MAX_PARTITIONS:
                raise InvalidPartitionsError(
                    f"topic {name} has {count} partitions; it can get more, up to {MAX_PARTITIONS}, not {total}"
                )
            logs = range(self._take_numbers(total - count), self._next_number)
            added = [
                Partition(topic, number, log, self._storage, self._cache)
                for number, log in zip(range(count, total), logs, strict=True)
            ]

            def collect(round_: Round) -> None:
                self._put_topic(round_, topic, added)
                self._put_next_number(round_)

            self._commit(collect)
            for partition in added:
                topic.partitions.append(partition)
                for subscription in topic.subscriptions.values():
                    subscription.add_partition(partition)
        return topic

    def alter(self, name: str, config: Mapping[str, str | None]) -> Topic:
        """Change settings of a topic; None takes one back to the default. Blocks until durable."""
        with self._claims.claim((name, False)):
            topic = self.topic(name)
            before, topic.config = topic.config, topic.config.merged(config)
            try:
                self._commit(lambda round_: self._put_topic(round_, topic))
            except BaseException:
                topic.config = before
                raise
        return topic

    def delete(self, name: str) -> None:
        """Delete a topic with all that it holds, its subscriptions and its queue too. Blocks until durable."""
        while (queue := self.topic(name).queue) is not None:
            queue.delete_with_topic()
            if name not in self._topics:
                return
        with self._claims.claim((name, False)):
            topic = self.topic(name)
            self._delete(topic)
        self._end(topic)

    def delete_log(self, topic: Topic, also: Callable[[Round], None]) -> None:
        """Delete the topic of a queue, and what *also* deletes, as `delete`. For Queues only.

        Raises UnknownTopicError when it is gone already.
        """
        with self._claims.claim((topic.name, topic.is_hidden)):
            if topic.closed:
                raise UnknownTopicError(f"topic {topic.name} has been deleted")
            self._delete(topic, also)
        self._end(topic)

    def _delete(self, topic: Topic, also: Callable[[Round], None] | None = None) -> None:
        # From here on the batcher refuses appends, so none can follow the drop into the log.
        self._set_closed(topic, True)

        def collect(round_: Round) -> None:
            round_.puts[TOPICS, bytes.fromhex(topic.id)] = None
            round_.drops += [partition.log for partition in topic.partitions]
            for subscription in topic.subscriptions.values():
                subscription.collect_deletion(round_)
            for call in self.on_delete:
                call(topic, round_)
            if also is not None:
                also(round_)

        try:
            self._commit(collect)
        except BaseException:
            self._set_closed(topic, False)
            raise
        if topic.is_hidden:
            del self._hidden[topic.id]
        else:
            del self._topics[topic.name], self._by_id[topic.id]

    def _end(self, topic: Topic) -> None:
        for partition in topic.partitions:
            partition.close()
        for subscription in list(topic.subscriptions.values()):
            subscription.cancel(UnknownTopicError(f"topic {topic.name} has been deleted"))

    # -- subscriptions ----------------------------------------------------------------------------

    def subscribe(
        self, topic: Topic, name: str, start: Start, also: Callable[[Round], None] | None = None
    ) -> Subscription:
        """The subscription of that name, or a new one that begins at *start*. Blocks until it is durable.

        What *also* puts goes into the round, which is then made in any case.
        """
        check_name(name)
        # The topic's name, not the subscription's: a topic that is deleted meanwhile must know of the rows
        # that are being written for it.
        with self._claims.claim((topic.name, topic.is_hidden)):
            if topic.closed:
                raise UnknownTopicError(f"topic {topic.name} has been deleted")
            subscription = topic.subscriptions.get(name)
            if subscription is None:
                subscription = created = Subscription.begin(topic, self._take_numbers(1), name, start, self._bus.put)

                def collect(round_: Round) -> None:
                    created.collect_creation(round_)
                    self._put_next_number(round_)
                    if also is not None:
                        also(round_)

                self._commit(collect)
                topic.add_subscription(subscription)
            elif also is not None:
                self._commit(also)
        return subscription

    def unsubscribe(self, topic: Topic, name: str) -> None:
        """Delete a subscription with its state. Blocks until durable.

        Raises UnknownSubscriptionError, or SubscriptionInUseError while it has consumers or a queue is made of it.
        """
        with self._claims.claim((topic.name, topic.is_hidden)):
            subscription = topic.subscriptions.get(name)
            if subscription is None:
                raise UnknownSubscriptionError(f"topic {topic.name} has no group {name}")
            if subscription.consumers:
                raise SubscriptionInUseError(
                    f"group {name} of topic {topic.name} has {len(subscription.consumers)} consumers; stop them first"
                )
            if topic.queue is not None and subscription is topic.queue.subscription:
                raise SubscriptionInUseError(f"group {name} of topic {topic.name} is a queue; delete the queue")
            self._commit(subscription.collect_deletion)
            self._forget(subscription)

    def end_subscription(self, subscription: Subscription, also: Callable[[Round], None]) -> None:
        """Delete *subscription*, with its consumers, and what *also* puts, in one round. Blocks until durable."""
        topic = subscription.topic
        with self._claims.claim((topic.name, topic.is_hidden)):
            if subscription.name not in topic.subscriptions:
                raise UnknownTopicError(f"topic {topic.name} has been deleted")

            def collect(round_: Round) -> None:
                subscription.collect_deletion(round_)
                also(round_)

            self._commit(collect)
            self._forget(subscription)

    def _forget(self, subscription: Subscription) -> None:
        topic = subscription.topic
        del topic.subscriptions[subscription.name]
        for partition in topic.partitions:
            partition.subscriptions.remove(subscription)
        subscription.cancel(
            UnknownSubscriptionError(f"group {subscription.name} of topic {topic.name} has been deleted")
        )

    # -- inside -----------------------------------------------------------------------------------

    def _commit(self, collect: Callable[[Round], None]) -> None:
        """Have *collect*'s rows written. Blocks until they are durable; raises what kept them from it."""
        commit(self._bus, collect)

    def _take_numbers(self, count: int) -> int:
        first = self._next_number
        self._next_number += count
        return first

    def _new_topic(self, name: str, partitions: int, config: Mapping[str, str]) -> Topic:
        topic = Topic(name, uuid.uuid4().hex, TopicConfig(self._settings, config), self._clock.now_ms())
        self._open_partitions(topic, range(self._take_numbers(partitions), self._next_number))
        return topic

    def _keep(self, topic: Topic) -> None:
        if topic.is_hidden:
            self._hidden[topic.id] = topic
        else:
            self._topics[topic.name] = self._by_id[topic.id] = topic

    def _open_partitions(self, topic: Topic, logs: list[int] | range) -> None:
        topic.partitions = [
            Partition(topic, number, log, self._storage, self._cache) for number, log in enumerate(logs)
        ]

    def _put_topic(self, round_: Round, topic: Topic, added: Sequence[Partition] = ()) -> None:
        round_.puts[TOPICS, bytes.fromhex(topic.id)] = topic.to_row(added)

    def _put_next_number(self, round_: Round) -> None:
        round_.puts[COUNTERS, _NEXT_NUMBER] = self._next_number.to_bytes(8, "big")

    def _name_cluster(self) -> str:
        name = "-"
        while name.startswith("-"):
            # Tools take a word that begins with a dash for an option.
            name = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        round_ = Round()
        round_.puts[IDENTITY, _CLUSTER_ID] = name.encode()
        self._storage.write(round_)
        self._storage.sync()
        return name

    def _set_closed(self, topic: Topic, closed: bool) -> None:
        topic.closed = closed
        for partition in topic.partitions:
            partition.closed = closed


def commit(bus: Bus, collect: Callable[[Round], None]) -> None:
    """Put a change on *bus* and wait until it is durable. Blocks; raises what kept it from it."""
    answer = AsyncResult()
    bus.put(Change(collect, answer.set))
    change: Change = answer.get()
    if change.error is not None:
        raise change.error
