"""Connections that end: what the peer said meanwhile, what it says then, and when nobody is there any more."""

import pytest

from tests.amqp.peer import frame_of, publish_frames

CLOSE = {"reply_code": 200, "reply_text": "", "class_id": 0, "method_id": 0}
MISTAKE = publish_frames(1, b"one", immediate=True)


def test_both_sides_may_close_at_once(peer):
    peer.send_bytes(MISTAKE + frame_of(0, "connection.close", **CLOSE))
    assert peer.closing()[0] == 540

    peer.expect("connection.close-ok")
    assert peer.is_closed()


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_close_ok_is_understood_behind_a_frame_that_was_cut(peer, cut):
    frames = publish_frames(1, b"two")
    peer.send_bytes(MISTAKE + frames[:cut])
    assert peer.closing()[0] == 540
    peer.send_bytes(frames[cut:] + frame_of(0, "connection.close-ok"))

    assert peer.is_closed()


def test_peer_that_is_gone_without_heartbeats_does_not_wait_for_the_end_of_an_alarm(served, peer, wait_until):
    served.broker.alarms.stop()
    served.broker.alarms.active = frozenset({"memory"})
    peer.publish(1, b"one")
    peer.expect("connection.blocked")
    (connection,) = served.handler.connections
    connection.link.abort()

    wait_until(lambda: not served.handler.connections)
