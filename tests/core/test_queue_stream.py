"""Queues of the type stream: they keep what was read, and every consumer reads for itself."""

import pytest

from portask.errors import NotFoundError, NotImplementedHereError
from portask.start import Start
from tests.core.queue_peer import QueuePeer, store


@pytest.fixture
def queues(broker):
    return broker.virtual_hosts.get("/").queues


@pytest.fixture
def stream(queues):
    return queues.declare("s", durable=True, arguments={"x-queue-type": "stream", "x-max-age": "1h"})


def read(stream, start, prefetch=10):
    peer = QueuePeer(stream, prefetch, attach=False)
    stream.consume(peer.consumer, start=start)
    return peer


def test_every_consumer_reads_everything(stream, wait_until):
    store(stream, b"1", b"2")
    peers = [read(stream, Start.FIRST) for _ in range(2)]

    wait_until(lambda: all(peer.got == [b"1", b"2"] for peer in peers))


def test_without_a_start_a_consumer_gets_what_is_new(stream, wait_until):
    store(stream, b"1")
    peer = read(stream, None)
    store(stream, b"2")

    wait_until(lambda: peer.got == [b"2"])


def test_acking_takes_nothing_away(stream, wait_until):
    store(stream, b"1", b"2", b"3")
    peer = read(stream, Start.FIRST, prefetch=2)
    wait_until(lambda: len(peer.got) == 2)
    peer.ack(b"1")
    wait_until(lambda: len(peer.got) == 3)

    assert stream.ready == 3
    assert stream.unacked == 2


@pytest.mark.parametrize("verb", ["requeue", "reject"])
def test_whatever_settles_gives_credit_and_no_more(stream, wait_until, verb):
    store(stream, b"1", b"2")
    peer = read(stream, Start.FIRST, prefetch=1)
    wait_until(lambda: peer.got)
    getattr(peer, verb)(b"1")

    wait_until(lambda: peer.got == [b"1", b"2"])


def test_released_consumer_leaves_nothing_behind(stream, wait_until):
    store(stream, b"1")
    peer = read(stream, Start.FIRST)
    wait_until(lambda: peer.got)
    peer.release()

    assert (stream.unacked, stream.consumer_count) == (0, 0)


def test_stream_can_be_neither_fetched_from_nor_purged(stream):
    with pytest.raises(NotImplementedHereError, match=r"^basic\.get not supported by stream queues queue 's' in vhost"):
        QueuePeer(stream, attach=False).get()
    with pytest.raises(NotImplementedHereError, match=r"^queue\.purge not supported by stream queues queue 's'"):
        stream.purge()


def test_stream_is_a_topic_that_keeps_what_its_arguments_say(stream):
    assert stream.topic.config.retention_ms == 3_600_000
    assert stream.topic.subscriptions == {}


def test_deleted_stream_cancels_its_consumers(queues, stream):
    peer = read(stream, Start.FIRST)
    queues.delete(stream)

    assert len(peer.cancelled) == 1
    with pytest.raises(NotFoundError):
        queues.get("s")


def test_stream_attaches_to_a_topic(broker, queues, wait_until):
    topic = broker.create_topic("t", 2)
    for partition in topic.partitions:
        broker.publish(partition, [b"%d" % partition.number], 1)
    stream = queues.declare("t", durable=True, arguments={"x-queue-type": "stream"})
    peer = read(stream, Start.FIRST)
    wait_until(lambda: sorted(peer.got) == [b"0", b"1"])
    queues.delete(stream)

    assert broker.topic("t") is topic
