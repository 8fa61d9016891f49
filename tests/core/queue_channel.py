"""A peer of queues as an AMQP channel is one, without the protocol."""

from copy import deepcopy

from gevent.event import AsyncResult

from portask.properties import Properties, encode_header, pack, properties_of
from portask.subscriptions.consumer import Consumer
from tests.core.subscription.peer import AwkwardStorage


def crashed(storage):
    """A storage that has what *storage* has written so far, for a broker that finds it after a crash."""
    copy = AwkwardStorage()
    copy._logs = deepcopy(storage._logs)
    copy._tables = deepcopy(storage._tables)
    return copy


class Got:
    """One message that was handed out."""

    def __init__(self, queue, holder, delivery, position=0):
        self.queue = queue
        self.holder = holder
        self.record = delivery.records[position]
        self.partition = delivery.partition.number
        self.offset = delivery.base_offset + position
        self.failures = delivery.failures

    @property
    def body(self):
        return self.record if isinstance(self.record, bytes) else self.record[0]

    @property
    def key(self):
        return self.record[1].decode()

    @property
    def properties(self):
        return properties_of(self.record[4])

    @property
    def headers(self):
        return self.properties.headers or {}

    def ack(self):
        self.queue.ack(self.holder, self.partition, self.offset, self.offset)

    def reject(self):
        self.queue.reject(self.holder, self.partition, self.offset, self.offset)

    def requeue(self, counted=False):
        self.queue.requeue(self.holder, self.partition, self.offset, self.offset, counted)


class Eater(Consumer):
    """A consumer that keeps what it gets, and why it was cancelled."""

    def __init__(self, queue, prefetch=0, **options):
        super().__init__(self._keep, prefetch, self._gone, **options)
        self.queue = queue
        self.got = []
        self.error = None

    def _keep(self, deliveries):
        self.got += [
            Got(self.queue, self, delivery, position)
            for delivery in deliveries
            for position in range(len(delivery.records))
        ]

    def _gone(self, error):
        self.error = error

    @property
    def bodies(self):
        return [got.body for got in self.got]


class QueueChannel:
    """Declares, publishes and gets in the default virtual host of *broker*."""

    def __init__(self, broker, is_durable=True):
        self.broker = broker
        self.host = broker.virtual_hosts.get("/")
        self.is_durable = is_durable

    def declare(self, name, **arguments):
        """A queue; `message_ttl=5` is the argument x-message-ttl, and so on."""
        arguments = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
        return self.host.queues.declare(name, durable=self.is_durable, arguments=arguments)

    def queue(self, name):
        return self.host.queues.get(name)

    def exchange(self, name, kind="direct"):
        return self.host.declare_exchange(name, kind, durable=self.is_durable)

    def bind(self, exchange, queue, key="", arguments=None):
        self.host.bind(exchange, "queue", queue, key, arguments)

    def send(self, key, *bodies, exchange="", **properties):
        """Publish *bodies* in one go, with *properties*; return the answers that are to come."""
        copies = (properties.get("headers") or {}).get("CC", ())
        header = encode_header(Properties(**properties), 0)
        records = [
            (body, key.encode(), None, None, pack(exchange, encode_header(Properties(**properties), len(body))))
            for body in bodies
        ]
        answers = []
        for destination in self.host.route(self.host.exchanges[exchange], (key, *copies), header).destinations:
            for group in [records] if destination.takes_many else [[record] for record in records]:
                answers.append(AsyncResult())
                size = sum(len(record[0]) + len(record[1]) + len(record[4]) for record in group)
                destination.publish(group, size, answers[-1].set, expiring="expiration" in properties)
        return answers

    def publish(self, key, *bodies, **options):
        """As `send`; blocks until all is answered and raises what was refused first."""
        errors = [answer.get(timeout=10) for answer in self.send(key, *bodies, **options)]
        for error in errors:
            if error is not None:
                raise error

    def get(self, name):
        """The next message, or None."""
        queue = self.queue(name)
        holder = Eater(queue)
        found = queue.get(holder)
        return None if found is None else Got(queue, holder, found[0])

    def bodies(self, name):
        """The bodies of all messages that wait, which are in flight then."""
        bodies = []
        while (got := self.get(name)) is not None:
            bodies.append(got.body)
        return bodies

    def consume(self, name, prefetch=0, **options):
        consumer = Eater(self.queue(name), prefetch, **options)
        self.queue(name).consume(consumer)
        return consumer
