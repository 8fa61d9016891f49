"""The Python clients and kcat on one topic at once, and in one group."""

import asyncio
import itertools
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaConsumer, KafkaProducer

from tests.clients.kafka.child import in_child
from tests.clients.kafka.confluent import await_value, consumer, create, take, write
from tests.clients.kafka.kcat import Kcat

COUNT = 500
PARTITIONS = 4
LONGEST_S = 60


def numbered(name):
    return [b"%s %d" % (name.encode(), number) for number in range(COUNT)]


def confluent_writes(bootstrap, topic):
    write(bootstrap, topic, [{"value": value} for value in numbered("confluent")], compression_type="lz4")


def confluent_reads(bootstrap, topic, group, count):
    reader = consumer(bootstrap, group)
    reader.subscribe([topic])
    try:
        return [message.value() for message in take(reader, count)]
    finally:
        reader.close()


def kafka_python_writes(bootstrap, topic):
    with KafkaProducer(bootstrap_servers=bootstrap, compression_type="gzip") as producer:
        for future in [producer.send(topic, value) for value in numbered("kafka-python")]:
            future.get(LONGEST_S)


def kafka_python_reads(bootstrap, topic, group, count):
    with KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        consumer_timeout_ms=LONGEST_S * 1000,
    ) as reader:
        return [record.value for record in itertools.islice(reader, count)]


def aiokafka_writes(bootstrap, topic):
    async def body():
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="snappy") as producer:
            await asyncio.gather(*[await producer.send(topic, value) for value in numbered("aiokafka")])

    asyncio.run(asyncio.wait_for(body(), LONGEST_S))


def aiokafka_reads(bootstrap, topic, group, count):
    async def body():
        reader = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest")
        async with reader:
            return [(await reader.getone()).value for _ in range(count)]

    return asyncio.run(asyncio.wait_for(body(), LONGEST_S))


def kcat_writes(bootstrap, topic):
    Kcat(bootstrap)("-P", "-t", topic, "-z", "zstd", data=b"\n".join(numbered("kcat")) + b"\n")


def kcat_reads(bootstrap, topic, group, count):
    words = ("-G", group, "-q", "-X", "auto.offset.reset=earliest", "-c", str(count))
    return Kcat(bootstrap)(*words, topic).splitlines()


WRITERS = (confluent_writes, kafka_python_writes, aiokafka_writes, kcat_writes)
READERS = (confluent_reads, kafka_python_reads, aiokafka_reads, kcat_reads)
SENT = sorted(value for name in ("confluent", "kafka-python", "aiokafka", "kcat") for value in numbered(name))


def in_threads(calls):
    """What the functions return that are called at once, each in a thread; raises what one of them raised."""
    results, errors = [None] * len(calls), []

    def run(place, function, arguments):
        try:
            results[place] = function(*arguments)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(place, *call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


@in_child
def test_all_clients_write_and_read_one_topic_at_once(bootstrap, topic, group):
    create(bootstrap, topic, PARTITIONS)
    calls = [(write_all, (bootstrap, topic)) for write_all in WRITERS]
    calls += [(read, (bootstrap, topic, f"{group}-{read.__name__}", len(SENT))) for read in READERS]
    results = in_threads(calls)[len(WRITERS) :]
    assert [sorted(values) == SENT for values in results] == [True] * len(READERS)


@in_child
def test_consumers_of_different_clients_share_a_group(bootstrap, topic, group):
    create(bootstrap, topic, PARTITIONS)
    seen, stopped, errors = set(), threading.Event(), []
    starts = [threading.Event() for _ in range(3)]

    def confluent_member():
        reader = consumer(bootstrap, group, partition_assignment_strategy="roundrobin", heartbeat_interval_ms=200)
        reader.subscribe([topic])
        while not stopped.is_set():
            message = reader.poll(0.05)
            if message is not None and message.error() is None:
                seen.add(message.value())
                reader.commit(message, asynchronous=True)
            note(0, reader.assignment())
        reader.close()

    def kafka_python_member():
        with KafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", heartbeat_interval_ms=200
        ) as reader:
            while not stopped.is_set():
                for records in reader.poll(50).values():
                    seen.update(record.value for record in records)
                note(1, reader.assignment())

    def aiokafka_member():
        async def body():
            reader = AIOKafkaConsumer(
                topic,
                bootstrap_servers=bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                heartbeat_interval_ms=200,
            )
            async with reader:
                while not stopped.is_set():
                    for records in (await reader.getmany(timeout_ms=50)).values():
                        seen.update(record.value for record in records)
                    note(2, reader.assignment())

        asyncio.run(body())

    def note(place, assignment):
        if 0 < len(assignment) < PARTITIONS - 1:
            starts[place].set()

    def guarded(member):
        try:
            member()
        except BaseException as error:
            errors.append(error)
            stopped.set()

    members = (confluent_member, kafka_python_member, aiokafka_member)
    threads = [threading.Thread(target=guarded, args=[member]) for member in members]
    for thread in threads:
        thread.start()
    joined = [start.wait(LONGEST_S) for start in starts]
    in_threads([(write_all, (bootstrap, topic)) for write_all in WRITERS])
    await_value(lambda: stopped.is_set() or len(seen) == len(SENT), expected=True)
    stopped.set()
    for thread in threads:
        thread.join(LONGEST_S)
    assert errors == []
    assert joined == [True] * 3
    assert sorted(seen) == SENT
