"""What most tests do with confluent-kafka: make a topic, write records, read a log, wait for a future."""

import functools
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

LONGEST_S = 60


@functools.lru_cache(maxsize=1)
def admin_of(bootstrap):
    """An AdminClient. It is kept: with the last reference its unfinished requests would go too."""
    return AdminClient({"bootstrap.servers": bootstrap})


def create(bootstrap, topic, partitions=1, **config):
    """Make *topic*; the settings' dots are underscores."""
    settings = {name.replace("_", "."): value for name, value in config.items()}
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=settings)
    one(admin_of(bootstrap).create_topics([new]))


def one(futures):
    """The only result of an admin call."""
    (future,) = futures.values()
    return future.result(LONGEST_S)


def producer(bootstrap, **config):
    """A producer; the settings' dots are underscores."""
    settings = {name.replace("_", "."): value for name, value in config.items()}
    return Producer({"bootstrap.servers": bootstrap, **settings})


def consumer(bootstrap, group="nobody", **config):
    """A consumer that commits nothing by itself and begins at the beginning."""
    settings = {name.replace("_", "."): value for name, value in config.items()}
    defaults = {"enable.auto.commit": False, "auto.offset.reset": "earliest"}
    return Consumer({"bootstrap.servers": bootstrap, "group.id": group, **defaults, **settings})


def write(bootstrap, topic, records, **config):
    """Produce *records*, each the arguments of `produce` in a dict, and return their (partition, offset)s."""
    places = [None] * len(records)
    sender = producer(bootstrap, **config)
    for number, record in enumerate(records):

        def note(error, message, number=number):
            assert error is None, error
            places[number] = (message.partition(), message.offset())

        while True:
            try:
                sender.produce(topic, on_delivery=note, **record)
                break
            except BufferError:
                sender.poll(1)
    assert sender.flush(LONGEST_S) == 0
    return places


def values(count, start=0):
    """*count* records that are told apart by their value."""
    return [{"value": b"message %d" % number} for number in range(start, start + count)]


def read(bootstrap, topic, count, partitions=(0,), offset=OFFSET_BEGINNING, **config):
    """The first *count* messages of *partitions* from *offset* on."""
    reader = consumer(bootstrap, **config)
    reader.assign([TopicPartition(topic, number, offset) for number in partitions])
    try:
        return take(reader, count)
    finally:
        reader.close()


def take(reader, count, longest_s=LONGEST_S):
    """The next *count* messages of a consumer."""
    messages, deadline = [], time.monotonic() + longest_s
    while len(messages) < count:
        left = deadline - time.monotonic()
        assert left > 0, f"{len(messages)} of {count} messages came"
        for message in reader.consume(count - len(messages), timeout=min(left, 1)):
            assert message.error() is None, message.error()
            messages.append(message)
    return messages


def error_of(reader, longest_s=LONGEST_S):
    """The code of the next error that a consumer reports."""
    deadline = time.monotonic() + longest_s
    while time.monotonic() < deadline:
        message = reader.poll(1)
        if message is not None and message.error() is not None:
            return message.error().code()
    raise AssertionError("no error came")


def await_value(function, expected, longest_s=LONGEST_S):
    """Return when *function* returns *expected*: a cluster's nodes hear of a change one after the other."""
    deadline, last = time.monotonic() + longest_s, None
    while time.monotonic() < deadline:
        try:
            last = function()
        except KafkaException as error:
            last = error
        if last == expected:
            return
        time.sleep(0.01)
    raise AssertionError(f"still {last!r}, not {expected!r}")
