"""One server with all its protocols, and sessions with a client of each."""

from contextlib import contextmanager
from typing import NamedTuple

import pika

from portask.client import Client
from tests.clients.amqp.broker import Portask
from tests.clients.amqp.session import LONGEST_S, eventually, parameters
from tests.clients.kafka.confluent import read
from tests.server_process import free_port


class Ports(NamedTuple):
    """Where a server listens; may be handed to another process."""

    amqp: int
    kafka: int
    native: int

    @property
    def bootstrap(self):
        """Where Kafka's clients begin."""
        return f"127.0.0.1:{self.kafka}"

    @contextmanager
    def channel(self, **settings):
        """A channel with confirms of a connection by pika."""
        with pika.BlockingConnection(parameters(("127.0.0.1", self.amqp), **settings)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel

    def client(self):
        """Portask's own client."""
        return Client(f"127.0.0.1:{self.native}")

    def seen_by_kafka(self, topic, count, partitions=(0,)):
        """The first *count* messages by confluent-kafka, and their headers as a list."""
        return [(message, message.headers() or []) for message in read(self.bootstrap, topic, count, partitions)]

    def seen_by_native(self, topic, count, partition=0):
        """The first *count* messages by Portask's own client."""
        with self.client() as client:
            return eventually(lambda: found if len(found := client.read(topic, partition).messages) >= count else None)


class AllPorts(Portask):
    """`portask serve` with AMQP, Kafka and its own protocol."""

    def __init__(self, directory, *flags):
        self.kafka_port = free_port()
        super().__init__(directory, "--kafka-port", str(self.kafka_port), *flags)

    @property
    def ports(self):
        """Where it listens."""
        return Ports(self.amqp_port, self.kafka_port, self.port)


__all__ = ["LONGEST_S", "AllPorts", "Ports"]
