"""Requests whose answers come straight to the channel."""

from handlers.amqp.codec import FRAME_HEADER, encode_frame
from handlers.amqp.reply_to import REPLY_TO
from portask.properties import Properties, edited, encode_header, encoded
from tests.amqp.peer import body_frame, frame_of

HEADERS = b"\x00\x00\x00\x04\x01ab\x07"
"""One header, an integer of one byte."""


def test_request_keeps_the_types_of_its_headers(peer):
    peer.ask(1, "queue.declare", queue="q")
    peer.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True)
    header = edited(encode_header(Properties(reply_to=REPLY_TO), 3), headers=HEADERS)
    peer.send_bytes(
        frame_of(1, "basic.publish", routing_key="q") + encode_frame(FRAME_HEADER, 1, header) + body_frame(1, b"one")
    )
    peer.send(1, "basic.get", queue="q")
    peer.expect("basic.get-ok")

    assert encoded(peer.read().payload, "headers") == HEADERS
