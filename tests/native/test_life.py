"""Connections that are slow, stuck, rude, too many or gone; and what the others notice of it: nothing."""

import socket

import gevent
import pytest

from handlers.link import HIGH_WATER, RECEIVE_BYTES
from handlers.native.connection import MAX_UNANSWERED
from portask.errors import StorageFailedError, StorageFullError
from tests.native.gated_storage import GatedStorage
from tests.native.peer import TextPeer, frame

SLACK_BYTES = 2 * 1024 * 1024
"""One read's worth of deliveries and answers may come on top of the limit."""


def only_link(served):
    (link,) = served.handler.links
    return link


# -- peers that go ---------------------------------------------------------------------------------


def test_messages_of_a_peer_that_vanished_are_delivered_to_another(served):
    gone, other = served.text(), served.text()
    gone.ask(b"PUBLISH t one\n")
    gone.ask(b"SUBSCRIBE t\n")
    gone.message()
    other.ask(b"SUBSCRIBE t\n")
    gone.close()
    assert other.message().fields["redelivered"] == "1"


def test_a_peer_that_resets_its_connection_loses_nothing_for_the_group(served):
    gone, other = served.text(), served.text()
    gone.ask(b"PUBLISH t one\n")
    gone.ask(b"SUBSCRIBE t\n")
    gone.message()
    gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gone.close()
    other.ask(b"SUBSCRIBE t\n")
    assert other.message().payload == b"one"


def test_connections_that_ended_are_forgotten(served, wait_until):
    peers = [served.text() for _ in range(5)]
    for peer in peers:
        peer.ask(b"PING\n")
    assert len(served.broker.connections) == 5
    assert served.broker.stats.protocol("native").connections == 5
    for peer in peers:
        peer.close()
    wait_until(lambda: not served.broker.connections)
    assert served.broker.stats.protocol("native").connections == 0
    assert served.broker.stats.protocol("native").connections_total == 5


def test_a_peer_that_goes_in_the_middle_of_a_message_leaves_nothing_behind(served, wait_until):
    peer, other = served.text(), served.text()
    peer.send(b"PUBLISHB t 1000\nabc")
    peer.close()
    wait_until(lambda: len(served.broker.connections) == 1)
    assert other.ask(b"TOPICS\n") == "OK 0"


# -- peers that are stuck -------------------------------------------------------------------------


def test_a_command_that_is_not_finished_in_time_ends_the_connection(serve, clock, wait_until):
    served = serve(clock=clock)
    peer, other = served.text(), served.text()
    other.ask(b"PING\n")
    peer.send(b"PUBLISHB t 5\nab")
    wait_until(lambda: any(link.bytes_in == 15 for link in served.handler.links))
    clock.advance(29)
    served.handler.reap()
    peer.send(b"c")
    wait_until(lambda: any(link.bytes_in == 16 for link in served.handler.links))
    clock.advance(2)
    served.handler.reap()
    assert peer.answer().startswith("ERR TIMEOUT ")
    assert peer.is_closed()
    assert other.ask(b"PING\n") == "OK PONG"


def test_a_command_that_was_finished_does_not_count_against_the_next(serve, clock, wait_until):
    served = serve(clock=clock)
    peer = served.text()
    peer.send(b"PIN")
    wait_until(lambda: served.handler.links and only_link(served).bytes_in == 3)
    clock.advance(20)
    peer.send(b"G\nPIN")
    assert peer.answer() == "OK PONG"
    clock.advance(20)
    served.handler.reap()
    peer.send(b"G\n")
    assert peer.answer() == "OK PONG"


def test_a_quiet_connection_is_closed_after_the_idle_timeout_only(serve, clock, wait_until):
    served = serve("--idle-timeout-ms", "5000", clock=clock)
    peer = served.text()
    peer.ask(b"PING\n")
    clock.advance(4)
    served.handler.reap()
    assert peer.ask(b"PING\n") == "OK PONG"
    link = only_link(served)
    wait_until(lambda: link.overdue(clock.monotonic(), 1e-9) is None)
    clock.advance(6)
    served.handler.reap()
    assert peer.is_closed()


def test_a_quiet_connection_lives_without_an_idle_timeout(serve, clock):
    served = serve("--idle-timeout-ms", "0", clock=clock)
    peer = served.text()
    peer.ask(b"PING\n")
    clock.advance(1_000_000)
    served.handler.reap()
    assert peer.ask(b"PING\n") == "OK PONG"


def test_the_reaper_works_by_itself(serve):
    peer = serve("--native-command-timeout-ms", "100").text()
    peer.send(b"PING")
    assert peer.answer().startswith("ERR TIMEOUT ")


def test_a_command_that_could_not_be_read_is_given_its_time(serve, clock, wait_until):
    served = serve("--idle-timeout-ms", "0", clock=clock)
    slow, other = served.text(), served.cbor()
    slow.ask(b"SUBSCRIBE t g prefetch=0\n")
    slow.send(b"PUBLISHB t 5\nab")
    (consumer,) = served.broker.topic("t").subscriptions["g"].consumers
    count = 0
    while not consumer.paused:
        other.ask("PUBLISH", "t", [b"x" * 10_000] * 50)
        count += 50
    clock.advance(40)
    slow.take(count)
    wait_until(lambda: not consumer.paused)
    served.handler.reap()
    slow.send(b"cde")
    assert slow.answer() == f"OK t/0/{count}"


# -- peers that are rude --------------------------------------------------------------------------


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come(served):
    peer = served.text()
    peer.send(b"PUBLISHB t 99999999\n")
    assert peer.answer().startswith("ERR TOO_LARGE ")
    assert peer.is_closed()


def test_the_refusal_arrives_although_the_peer_goes_on_sending(served):
    peer = served.text()
    peer.send(b"PUBLISHB t 99999999\n" + b"x" * 3_000_000)
    assert peer.answer().startswith("ERR TOO_LARGE ")


def test_an_endless_line_is_refused(served):
    peer = served.text()
    peer.send(b"x" * 100_000)
    assert peer.answer().startswith("ERR TOO_LARGE ")
    assert peer.is_closed()


def test_a_frame_beyond_the_limit_is_refused(served):
    peer = served.cbor()
    peer.send_bytes(b"\xff\xff\xff\xff")
    assert peer.answer()[2] == "TOO_LARGE"
    assert peer.is_closed()


def test_nesting_bombs_are_refused_and_the_connection_goes_on(served):
    peer = served.cbor()
    bomb = b"\x82\x67PUBLISH\x01" + b"\x81" * 100_000
    peer.send_bytes(len(bomb).to_bytes(4, "big") + bomb)
    assert peer.answer()[2] == "SYNTAX"
    assert peer.ask("PING") == ["PONG"]


def test_binary_rubbish_is_answered_with_errors_and_others_go_on(served):
    peer, other = served.text(), served.text()
    peer.send(bytes(range(256)) * 10 + b"\n")
    assert peer.answer().startswith("ERR UNKNOWN_COMMAND ")
    assert other.ask(b"PUBLISH t x\n") == "OK t/0/0"


def test_a_connection_too_many_is_told_so(serve, wait_until):
    served = serve("--max-connections", "1")
    first = served.text()
    first.ask(b"PING\n")
    second = served.text()
    assert second.answer().startswith("ERR TOO_MANY_CONNECTIONS ")
    assert second.is_closed()
    first.close()
    wait_until(lambda: not served.broker.connections)
    assert served.text().ask(b"PING\n") == "OK PONG"


# -- peers that do not read -----------------------------------------------------------------------


def test_a_consumer_that_does_not_read_is_fed_only_up_to_a_bound_and_gets_all_later(served, wait_until):
    slow, other = served.cbor(), served.cbor()
    slow.ask("SUBSCRIBE", "t", "g", 0)
    count = 0
    link = served.broker.connections[min(served.broker.connections)]
    (consumer,) = served.broker.topic("t").subscriptions["g"].consumers
    while not consumer.paused:
        other.ask("PUBLISH", "t", [b"x" * 10_000] * 50)
        count += 50
        assert count < 10_000
    for _ in range(10):
        other.ask("PUBLISH", "t", [b"x" * 10_000] * 50)
        count += 50
    assert HIGH_WATER < link.unsent_bytes < HIGH_WATER + SLACK_BYTES
    got = 0
    while got < count:
        got += len(slow.push()[4])
    assert got == count


def test_a_peer_that_asks_and_does_not_read_is_not_read_either(served, wait_until):
    rude, other = served.cbor(), served.cbor()
    rude.ask("PUBLISH", "t", [b"x" * 100_000] * 10)
    rude.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        fill(rude.sock, frame(["READ", 1, "t", 0, 0]) * 1000)
    rude.sock.settimeout(20)
    link = served.broker.connections[min(served.broker.connections)]
    wait_until(lambda: link.unsent_bytes > HIGH_WATER)
    for _ in range(10):
        assert other.ask("PING") == ["PONG"]
    assert link.unsent_bytes < HIGH_WATER + SLACK_BYTES
    assert len(rude.answer()[2]) == 10


def fill(sock, data):
    """Send *data* until the socket takes no more."""
    for _ in range(10_000):
        sock.send(data)


# -- storage that waits or fails ------------------------------------------------------------------


def test_a_publish_is_answered_when_it_is_synced_and_delivered_before(serve):
    storage = GatedStorage()
    served = serve(storage=storage)
    producer, consumer = served.text(), served.text()
    consumer.ask(b"SUBSCRIBE t\n")
    storage.gate.clear()
    producer.send(b"PUBLISH t one\nPING\n")
    assert consumer.message().payload == b"one"
    producer.sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        producer.sock.recv(1)
    producer.sock.settimeout(20)
    storage.gate.set()
    assert producer.answer() == "OK t/0/0"
    assert producer.answer() == "OK PONG"


def test_many_publishes_of_one_read_cost_few_rounds(served):
    peer = served.text()
    peer.ask(b"CREATE t\n")
    before = served.broker.storage.stats()["rounds"]
    peer.send(b"PUBLISH t x\n" * 1000)
    assert [peer.answer() for _ in range(1000)] == [f"OK t/0/{number}" for number in range(1000)]
    assert served.broker.storage.stats()["rounds"] - before < 20


def test_no_more_than_a_bounded_number_of_commands_wait_for_storage(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    peer = served.text()
    peer.ask(b"CREATE t\n")
    storage.gate.clear()
    sender = gevent.spawn(peer.send, b"PUBLISH t \n" * 100_000)
    link = only_link(served)
    wait_until(lambda: len(link._connection._slots) > MAX_UNANSWERED)
    for _ in range(100):
        gevent.sleep(0)
    assert len(link._connection._slots) < MAX_UNANSWERED + RECEIVE_BYTES / len("PUBLISH t \n") + 1
    storage.gate.set()
    for number in range(100_000):
        assert peer.answer() == f"OK t/0/{number}"
    sender.join()


def test_an_ack_that_could_not_be_stored_is_refused(serve):
    storage = GatedStorage()
    peer = serve(storage=storage).text()
    peer.ask(b"PUBLISH t one\n")
    peer.ask(b"SUBSCRIBE t\n")
    peer.message()
    storage.failure = StorageFailedError("the disk is gone")
    assert peer.ask(b"ACK t/0/0\n").startswith("ERR STOPPED ")


def test_a_full_disk_is_told_and_publishing_works_again_when_there_is_room(serve):
    storage = GatedStorage()
    peer = serve("--publish-timeout-ms", "100", storage=storage).text()
    peer.ask(b"PUBLISH t one\n")
    storage.failure = StorageFullError("no space left")
    assert peer.ask(b"PUBLISH t two\n").startswith("ERR FULL ")
    storage.failure = None
    assert peer.ask(b"PUBLISH t three\n") == "OK t/0/1"


def test_a_failed_log_is_told_and_reading_goes_on(serve):
    storage = GatedStorage()
    peer = serve(storage=storage).text()
    peer.ask(b"PUBLISH t one\n")
    storage.failure = StorageFailedError("the disk is gone")
    assert peer.ask(b"PUBLISH t two\n").startswith("ERR STOPPED ")
    assert peer.ask(b"PUBLISH t three\n").startswith("ERR STOPPED ")
    assert peer.ask(b"READ t 0 0\n").startswith("OK 1 ")


# -- the listener ---------------------------------------------------------------------------------


def test_a_port_of_zero_listens_nowhere(serve):
    served = serve("--native-port", "0")
    assert served.handler.address is None


def test_a_port_that_is_taken_is_named_with_its_flag(served, serve):
    with pytest.raises(OSError, match="--native-port"):
        serve("--native-port", str(served.port))


def test_closing_answers_what_was_received(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    peer = served.text()
    peer.ask(b"CREATE t\n")
    storage.gate.clear()
    peer.send(b"PUBLISH t one\n")
    wait_until(lambda: served.broker.topic("t").partition(0).written_offset == 1)
    served.handler.stop_accepting()
    gevent.spawn_later(0.01, storage.gate.set)
    served.handler.close(5)
    assert peer.answer() == "OK t/0/0"
    assert peer.is_closed()


def test_closing_ends_a_read_that_waits(served, wait_until):
    peer = served.text()
    peer.ask(b"CREATE t\n")
    peer.send(b"READ t 0 0 wait=60000\n")
    wait_until(lambda: served.broker.topic("t").partition(0)._waiters)
    served.handler.close(60)
    assert peer.answer().startswith("OK 0 ")
    assert peer.is_closed()


def test_closing_ends_connections_that_do_not_end_by_themselves(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    peer = served.text()
    peer.ask(b"CREATE t\n")
    storage.gate.clear()
    peer.send(b"PUBLISH t one\n")
    wait_until(lambda: served.broker.topic("t").partition(0).written_offset == 1)
    served.handler.close(0)
    assert peer.is_closed()
    assert not served.broker.connections
    storage.gate.set()


def test_a_stopping_broker_refuses_publishes(served):
    peer = served.text()
    peer.ask(b"PUBLISH t one\n")
    served.handler.stop_accepting()
    served.broker.stop(5)
    assert peer.ask(b"PUBLISH t two\n").startswith("ERR SHUTTING_DOWN ")


def test_traffic_is_counted(served):
    peer = served.text()
    peer.ask(b"PUBLISH t one\n")
    peer.ask(b"SUBSCRIBE t\n")
    peer.message()
    peer.ask(b"PING\n")
    traffic = served.broker.stats.protocol("native")
    assert (traffic.messages_in, traffic.messages_out) == (1, 1)
    assert traffic.bytes_in == len(b"PUBLISH t one\nSUBSCRIBE t\nPING\n")
    link = only_link(served)
    assert (link.messages_in, link.bytes_in) == (1, traffic.bytes_in)


def test_a_new_connection_finds_the_others_still_served_after_one_failed(served):
    peers = [TextPeer(served.port) for _ in range(20)]
    for peer in peers[::2]:
        peer.send(b"PUBLISHB t x\n")
    for peer in peers[1::2]:
        assert peer.ask(b"PING\n") == "OK PONG"
    for peer in peers:
        peer.close()
