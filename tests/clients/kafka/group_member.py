"""One consumer of a group as a process that may be killed.

    python -m tests.clients.kafka.group_member BOOTSTRAP GROUP TOPIC ASSIGNOR [INSTANCE]

It prints a JSON line for each thing that happens to it: {"assigned": [partition]}, {"revoked": [partition]},
{"lost": [partition]}, {"got": [partition, offset]} and, after the answer of the broker,
{"committed": [[partition, offset]]}, each with the time by the clock that all processes share. SIGTERM ends it;
then it commits and leaves, unless it has an instance id.
"""

import json
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException


def main(bootstrap, group, topic, assignor, instance=None):
    """Consume until SIGTERM."""
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "partition.assignment.strategy": assignor,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 200,
            **({"group.instance.id": instance} if instance else {}),
        }
    )

    def note(what):
        return lambda _, partitions: say({what: sorted(partition.partition for partition in partitions)})

    consumer.subscribe([topic], on_assign=note("assigned"), on_revoke=note("revoked"), on_lost=note("lost"))
    while not ending:
        messages = consumer.consume(20, timeout=0.1)
        for message in messages:
            assert message.error() is None, message.error()
            say({"got": [message.partition(), message.offset()]})
        if messages:
            commit(consumer)
    consumer.close()


def commit(consumer):
    """Commit where the consumer is; a member that has fallen out of the group may not."""
    try:
        places = consumer.commit(asynchronous=False)
    except KafkaException:
        return
    say({"committed": [[place.partition, place.offset] for place in places if place.error is None]})


def say(event):
    """Print one line."""
    print(json.dumps({**event, "at": time.monotonic()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
