"""What one read brings is gathered: nothing of it may be lost, or done twice, by what comes behind it."""

from handlers.amqp.errors import PRECONDITION_FAILED, AmqpError
from tests.amqp.peer import frame_of, publish_frames
from tests.native.gated_storage import GatedStorage

CLOSE = {"reply_code": 200, "reply_text": "", "class_id": 0, "method_id": 0}


def declare(peer, queue="q", **options):
    return peer.ask(1, "queue.declare", queue=queue, **options)


def ready(peer, queue="q"):
    return declare(peer, queue, passive=True).message_count


def queue_of(served, name="q"):
    return served.broker.virtual_hosts.get("/").queues.get(name)


def channel_of(served, number=1):
    (connection,) = served.handler.connections
    return connection.channels[number]


def test_message_before_an_error_survives_the_next_channel_of_that_number(peer):
    declare(peer)
    peer.send_bytes(
        publish_frames(1, b"one")
        + publish_frames(1, b"lost", exchange="missing")
        + frame_of(1, "channel.close", **CLOSE)
        + frame_of(1, "channel.open")
        + publish_frames(1, b"two")
    )
    for name in ("channel.close", "channel.close-ok", "channel.open-ok"):
        peer.expect(name)

    assert ready(peer) == 2


def test_message_before_a_wrong_ack_is_published(peer):
    declare(peer)
    peer.send_bytes(publish_frames(1, b"one") + frame_of(1, "basic.ack", delivery_tag=9))
    assert peer.closing("channel.close")[:2] == (406, "PRECONDITION_FAILED - unknown delivery tag 9")
    peer.send(1, "channel.close-ok")
    peer.open()

    assert ready(peer) == 1


def test_close_behind_a_wrong_ack_is_answered(peer):
    peer.send_bytes(frame_of(1, "basic.ack", delivery_tag=9) + frame_of(1, "channel.close", **CLOSE))
    peer.expect("channel.close")
    peer.expect("channel.close-ok")

    peer.open()


def test_messages_of_other_channels_survive_one_that_storage_has_no_room_for(serve):
    storage = GatedStorage()
    served = serve("--publish-timeout-ms", "100", "--bus-bytes", "65536", storage=storage)
    peer, other = served.peer().open(2), served.peer()
    declare(peer, "durable", durable=True)
    declare(peer, "transient")
    storage.gate.clear()
    other.publish(1, b"x" * 65536, "durable")
    other.ask(1, "basic.qos")
    peer.send_bytes(publish_frames(1, b"one", "durable") + publish_frames(2, b"two", "transient"))

    assert peer.closing()[0] == 506
    assert ready(other, "transient") == 1
    storage.gate.set()


def test_acks_that_are_gathered_count_when_the_channel_ends(served):
    peer = served.peer()
    declare(peer)
    peer.publish(1, b"one")
    peer.ask(1, "basic.get", queue="q")
    channel = channel_of(served)
    channel.ack(1, False)
    channel.close(AmqpError(PRECONDITION_FAILED, "too late"))

    assert queue_of(served).ready == queue_of(served).unacked == 0


def test_channel_is_closed_once(served):
    peer = served.peer().open(2)
    channel = channel_of(served)
    channel.ack(9, False)
    channel.close(AmqpError(PRECONDITION_FAILED, "too late"))
    peer.send(2, "basic.qos")

    assert peer.expect("channel.close").value.reply_text.endswith("too late")
    peer.expect("basic.qos-ok")


def test_nothing_is_sent_on_a_channel_that_was_closed_meanwhile(served):
    peer = served.peer().open(2)
    channel = channel_of(served)
    channel.close(AmqpError(PRECONDITION_FAILED, "too late"))
    channel.reply((60, 11))
    channel.send([b"anything"])
    peer.expect("channel.close")
    peer.send(2, "basic.qos")

    peer.expect("basic.qos-ok", 2)


def test_message_that_was_fetched_for_a_closed_channel_goes_back(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    peer = served.peer()
    declare(peer, durable=True)
    channel = channel_of(served)
    storage.gate.clear()
    peer.send_bytes(publish_frames(1, b"one") + frame_of(1, "basic.get", queue="q"))
    queue = queue_of(served)
    wait_until(lambda: queue.topic.partitions[0].written_offset == 1)
    channel.close(AmqpError(PRECONDITION_FAILED, "too late"))
    storage.gate.set()
    peer.expect("channel.close")
    peer.send(1, "channel.close-ok")
    peer.open()

    assert ready(peer) == 1


def test_frame_that_is_too_large_is_refused_behind_small_ones(served):
    peer = served.connect().login(frame_max=8192).open(1)
    declare(peer)
    peer.send_bytes(publish_frames(1, b"small") + publish_frames(1, b"x" * 9000))

    assert peer.closing()[0] == 501
