"""Deliveries whose frames are made from what was remembered of the ones before."""

from portask.properties import Properties, body_size_of, encode_header, pack
from tests.native.gated_storage import GatedStorage


def queue_of(served, name="q"):
    return served.broker.virtual_hosts.get("/").queues.get(name)


def test_body_that_its_properties_do_not_announce_is_delivered_whole(serve):
    served = serve(storage=GatedStorage())
    peer = served.peer()
    peer.ask(1, "queue.declare", queue="q", durable=True)
    peer.ask(1, "basic.consume", queue="q", no_ack=True)
    properties = pack("", encode_header(Properties(type="note"), 3))
    (partition,) = queue_of(served).topic.partitions
    # A client of another protocol may take over the properties of a message and give it another body.
    for body in (b"one", b"three"):
        served.broker.publish(partition, [(body, b"q", None, None, properties)], 10)

    for body in (b"one", b"three"):
        peer.expect("basic.deliver")
        assert body_size_of(peer.read().payload) == len(body)
        assert peer.read().payload == body
