"""Who holds deliveries of a channel: consumers, those that were cancelled, and those of basic.get."""

from datetime import UTC, datetime

import pytest

from handlers.amqp.errors import PRECONDITION_FAILED, AmqpError
from portask.clock import ManualClock
from tests.amqp.peer import frame_of, publish_frames


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def served(serve, clock):
    return serve(clock=clock)


def queue_of(served, name="q"):
    return served.broker.virtual_hosts.get("/").queues.get(name)


def channel_of(served, number=1):
    (connection,) = served.handler.connections
    return connection.channels[number]


def late(served, clock, name="q"):
    """Let the consumer timeout of 1 s of a queue pass."""
    upkeep = queue_of(served, name).upkeep
    clock.advance(2)
    upkeep.tick(clock.monotonic())


def consume(peer, tag, queue="q", **options):
    peer.ask(1, "basic.consume", queue=queue, consumer_tag=tag, **options)


def test_consumers_that_come_and_go_leave_nothing(served):
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q")
    for number in range(20):
        consume(peer, f"c{number}")
        peer.ask(1, "basic.cancel", consumer_tag=f"c{number}")

    assert channel_of(served).holders == set()
    assert queue_of(served).subscription._holders == set()


def test_cancelled_consumer_is_known_until_it_holds_nothing(served):
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q")
    consume(peer, "c")
    peer.publish(1, b"one")
    peer.expect("basic.deliver")
    peer.read_body()
    peer.ask(1, "basic.cancel", consumer_tag="c")
    assert len(channel_of(served).holders) == 1
    peer.send(1, "basic.ack", delivery_tag=1)
    peer.ask(1, "basic.qos")

    assert channel_of(served).holders == set()


def test_queues_that_were_asked_and_deleted_leave_nothing(served):
    peer = served.peer()
    for number in range(5):
        peer.ask(1, "queue.declare", queue=f"q{number}")
        peer.publish(1, b"one", f"q{number}")
        peer.send(1, "basic.get", queue=f"q{number}", no_ack=True)
        peer.expect("basic.get-ok")
        peer.read_body()
        peer.send(1, "basic.get", queue=f"q{number}")
        peer.expect("basic.get-empty")
        peer.publish(1, b"two", f"q{number}")
        peer.send(1, "basic.get", queue=f"q{number}")
        tag = peer.expect("basic.get-ok").value.delivery_tag
        peer.read_body()
        peer.send(1, "basic.ack", delivery_tag=tag)
        peer.ask(1, "queue.delete", queue=f"q{number}")

    assert channel_of(served).getters == {}


def test_consumer_is_not_confused_with_a_late_one_that_had_its_tag(served, clock):
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q", arguments={"x-consumer-timeout": 1000})
    peer.ask(1, "queue.declare", queue="other")
    consume(peer, "c")
    peer.publish(1, b"one")
    peer.expect("basic.deliver")
    peer.read_body()
    peer.ask(1, "basic.cancel", consumer_tag="c")
    consume(peer, "c", "other")
    late(served, clock)
    code, text, _, _ = peer.closing("channel.close")

    assert (code, "delivery acknowledgement on channel 1 timed out" in text) == (406, True)
    assert queue_of(served, "other").consumer_count == 0
    assert (queue_of(served).ready, queue_of(served).unacked) == (1, 0)


def test_message_that_was_fetched_has_to_be_settled_in_time_too(served, clock):
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q", arguments={"x-consumer-timeout": 1000})
    peer.publish(1, b"one")
    peer.send(1, "basic.get", queue="q")
    peer.expect("basic.get-ok")
    peer.read_body()
    late(served, clock)

    assert peer.closing("channel.close")[0] == 406
    assert (queue_of(served).ready, queue_of(served).unacked) == (1, 0)


def test_deleted_queue_takes_its_unsettled_messages_along(served):
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q")
    consume(peer, "c")
    peer.publish(1, b"one")
    peer.expect("basic.deliver")
    peer.read_body()
    peer.ask(1, "queue.delete", queue="q")
    assert peer.expect("basic.cancel").value.consumer_tag == "c"
    peer.send(1, "basic.ack", delivery_tag=1)

    peer.ask(1, "basic.qos")


def test_cancelled_tag_that_is_in_use_again_is_not_told_of(peer):
    peer.ask(1, "queue.declare", queue="other")
    peer.ask(1, "queue.declare", queue="q")
    consume(peer, "c")
    peer.send_bytes(
        frame_of(1, "queue.delete", queue="q") + frame_of(1, "basic.consume", queue="other", consumer_tag="c")
    )
    peer.expect("queue.delete-ok")
    peer.expect("basic.consume-ok")

    peer.ask(1, "basic.qos")


def test_stopping_broker_closes_connections_and_cancels_nobody(served):
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q")
    consume(peer, "c")
    served.broker.stop(5)
    served.handler.close(1)

    assert peer.expect("connection.close").value.reply_code == 320


def test_consumer_without_acks_gets_nothing_more_on_a_broken_link(served):
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q")
    consume(peer, "c", no_ack=True)
    channel_of(served).connection.link.broken = True
    other = served.peer()
    other.send_bytes(publish_frames(1, b"one"))
    other.ask(1, "basic.qos")
    other.send_bytes(publish_frames(1, b"two") * 10)
    other.ask(1, "basic.qos")

    assert queue_of(served).ready == 10


def test_stream_is_not_read_for_a_channel_that_was_closed_meanwhile(served):
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="s", durable=True, arguments={"x-queue-type": "stream"})
    peer.ask(1, "basic.qos", prefetch_count=10)
    channel, partition = channel_of(served), queue_of(served, "s").topic.partitions[0]
    find_time = partition.find_time

    def close_and_find(timestamp):
        channel.close(AmqpError(PRECONDITION_FAILED, "too late"))
        return find_time(timestamp)

    partition.find_time = close_and_find
    start = datetime.fromtimestamp(0, UTC)
    peer.send(1, "basic.consume", queue="s", consumer_tag="c", arguments={"x-stream-offset": start})
    peer.expect("basic.consume-ok")
    assert peer.closing("channel.close")[0] == 406
    peer.send(1, "channel.close-ok")
    peer.open()

    assert queue_of(served, "s").consumer_count == 0
