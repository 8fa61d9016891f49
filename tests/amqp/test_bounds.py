"""What one connection can make the broker keep, and what a slow one can."""

import gevent
import pytest

from handlers.amqp import reply_to
from handlers.amqp.codec import FRAME_START
from handlers.amqp.delivery import MAX_TAILS
from handlers.amqp.publish import MAX_HEADERS, MAX_TARGETS
from handlers.link import HIGH_WATER
from portask.properties import Properties
from tests.amqp.peer import body_frame, frame_of, header_frame, publish_frames
from tests.native.gated_storage import GatedStorage

MIB = 1024 * 1024
LARGE = b"x" * 100_000


def queue_of(served, name="q"):
    return served.broker.virtual_hosts.get("/").queues.get(name)


def connections(served):
    return sorted(served.handler.connections, key=lambda connection: connection.link.id)


@pytest.fixture
def publisher(served):
    """The publishing side of a channel, its peer, and a queue."""
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q")
    return connections(served)[0].channels[1].publisher, peer


def kept_headers(publisher):
    return sum(map(len, publisher._headers.values()))


def test_headers_that_never_come_again_are_forgotten(publisher):
    publisher, peer = publisher
    for number in range(MAX_HEADERS + 50):
        peer.publish(1, b"", ("q", "nowhere")[number % 2], properties=Properties(message_id=str(number)))
    peer.ask(1, "basic.qos")

    assert 0 < kept_headers(publisher) <= MAX_HEADERS


def test_long_headers_are_not_kept(publisher, served):
    publisher, peer = publisher
    for number in range(3):
        peer.publish(1, b"", properties=Properties(headers={"text": "x" * 1000, "number": number}))
    peer.ask(1, "basic.qos")

    assert kept_headers(publisher) == 0
    assert queue_of(served).ready == 3


def test_targets_that_never_come_again_are_forgotten(publisher):
    publisher, peer = publisher
    for number in range(MAX_TARGETS + 50):
        peer.publish(1, b"", str(number))
    peer.ask(1, "basic.qos")

    assert 0 < len(publisher._targets) <= MAX_TARGETS


def test_exchanges_that_never_come_again_are_forgotten(publisher):
    publisher, _ = publisher
    for number in range(MAX_TARGETS + 50):
        publisher.begin(frame_of(1, "basic.publish", exchange=str(number), routing_key="q")[FRAME_START.size : -1])
        publisher.abandon()

    assert 0 < len(publisher._headers) <= MAX_TARGETS


def test_what_a_header_means_is_found_once_for_all_keys_of_an_exchange(publisher):
    publisher, peer = publisher
    for number in range(50):
        peer.publish(1, b"", str(number))
    peer.ask(1, "basic.qos")

    assert kept_headers(publisher) == 1


@pytest.mark.parametrize("text", ["", "x" * 1000])
def test_tails_of_deliveries_are_forgotten(publisher, served, text):
    _, peer = publisher
    peer.ask(1, "basic.consume", queue="q", consumer_tag="c", no_ack=True)
    for number in range(MAX_TAILS + 10):
        peer.publish(1, b"", properties=Properties(message_id=str(number), headers={"text": text}))
    for _ in range(MAX_TAILS + 10):
        peer.expect("basic.deliver")
        peer.read_body()
    consumer = connections(served)[0].channels[1].consumers["c"]

    assert len(consumer._tails) <= (0 if text else MAX_TAILS)


def test_gets_wait_until_the_peer_reads(publisher, served, wait_until):
    _, peer = publisher
    for _ in range(300):
        peer.publish(1, LARGE)
    peer.ask(1, "basic.qos")
    link = connections(served)[0].link
    peer.send_bytes(frame_of(1, "basic.get", queue="q", no_ack=True) * 300)
    wait_until(lambda: link.is_congested)
    gevent.idle()
    assert link.unsent_bytes <= HIGH_WATER + 2 * MIB

    for _ in range(300):
        peer.expect("basic.get-ok")
        assert peer.read_body() == LARGE


def test_answers_to_a_peer_that_does_not_read_are_dropped(served, monkeypatch):
    monkeypatch.setattr(reply_to, "MAX_UNSENT_BYTES", 8 * MIB)
    peer, other = served.peer(), served.peer()
    peer.ask(1, "basic.consume", queue=reply_to.REPLY_TO, consumer_tag="c", no_ack=True)
    (address,) = served.handler.reply_consumers
    link = connections(served)[0].link
    for _ in range(300):
        other.publish(1, LARGE, address)
    other.ask(1, "basic.qos")

    assert link.unsent_bytes <= 9 * MIB
    peer.expect("basic.deliver")
    assert peer.read_body() == LARGE


def test_half_a_message_waits_for_the_end_of_an_alarm(publisher, served):
    _, peer = publisher
    served.broker.alarms.active = frozenset({"memory"})
    peer.send_bytes(frame_of(1, "basic.publish", routing_key="q") + header_frame(1, 20) + body_frame(1, b"half"))

    assert peer.expect("connection.blocked").value.reason == "low on memory"


def test_peer_that_is_waited_for_is_not_without_heartbeats(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    peer = served.connect().login(heartbeat=1).open(1)
    peer.ask(1, "queue.declare", queue="q", durable=True)
    storage.gate.clear()
    peer.send_bytes(publish_frames(1, b"one") + frame_of(1, "basic.get", queue="q"))
    wait_until(lambda: queue_of(served).topic.partitions[0].written_offset == 1)
    (connection,) = connections(served)
    now = served.broker.clock.monotonic()
    for later in (0, 10, 20):
        connection.beat(now + later)
    storage.gate.set()

    peer.expect("basic.get-ok")


def test_peer_that_says_nothing_is_given_up(served):
    peer = served.connect().login(heartbeat=1).open(1)
    (connection,) = connections(served)
    now = served.broker.clock.monotonic()
    connection.beat(now)
    connection.beat(now + 10)

    with pytest.raises(ConnectionResetError):
        peer.closing()


def test_blocked_publisher_whose_link_is_broken_is_given_up(publisher, served, wait_until):
    _, peer = publisher
    served.broker.alarms.active = frozenset({"memory"})
    peer.publish(1, b"one")
    peer.expect("connection.blocked")
    (connection,) = connections(served)
    connection.heartbeat_s = 1
    connection.link.abort()
    connection.beat(served.broker.clock.monotonic())

    wait_until(lambda: not served.handler.connections)
