"""Connections: the order of answers, who gets none, and how a connection ends."""

import logging
import select
import struct

import gevent
import pytest

from handlers.kafka import tables
from handlers.kafka.connection import MAX_UNANSWERED
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.served import SERVED
from portask.errors import StorageFullError
from tests.kafka.batches import batch, changed
from tests.kafka.peer import decode, encode, fetch_request, produce_all, produce_request
from tests.native.gated_storage import GatedStorage

PLAIN = batch(b"one")
LONG_MS = 300_000


def is_answered(peer):
    """Whether something has come for *peer*."""
    return bool(select.select([peer.sock], [], [], 0)[0])


def produced(peer, version=9):
    """Error and offset of the next response, which is that to a Produce of one batch."""
    answer = peer.read(tables.PRODUCE, version).responses[0].partition_responses[0]
    return answer.error_code, answer.base_offset


def send(peer, data=PLAIN, acks=-1, topic="t"):
    return peer.send(tables.PRODUCE, 9, produce_request(topic, data, acks=acks))


def reasons(caplog):
    return [record.reason for record in caplog.records if record.message == "connection ended"]


class Gated:
    """A broker whose storage syncs when it is told to, and a peer of it."""

    def __init__(self, serve, wait_until):
        self.storage = GatedStorage()
        self.served = serve(storage=self.storage)
        self.partition = self.served.topic().partitions[0]
        self.peer = self.served.peer()
        self.storage.gate.clear()
        self._wait_until = wait_until

    def wait_for(self, offset):
        """Wait until storage has taken what comes before *offset*."""
        self._wait_until(lambda: self.partition.written_offset == offset)

    def open(self):
        self.storage.gate.set()


@pytest.fixture
def gated(serve, wait_until):
    gated = Gated(serve, wait_until)
    yield gated
    gated.open()


# -- the order of answers --------------------------------------------------------------------------


def test_requests_are_read_while_earlier_ones_wait_for_their_sync(gated):
    for number in range(1, 6):
        send(gated.peer)
        gated.wait_for(number)
    before = is_answered(gated.peer)
    gated.open()

    assert [produced(gated.peer) for _ in range(5)] == [(0, number) for number in range(5)]
    assert not before


def test_answers_keep_the_order_of_their_requests(gated, wait_until):
    peer = gated.peer
    sent = [
        send(peer),
        peer.send(tables.METADATA, 9, topics=[]),
        send(peer, changed(PLAIN, crc=1)),
        send(peer, topic="unknown"),
        peer.send(tables.API_VERSIONS, 0),
        send(peer),
        peer.send(tables.FETCH, 11, fetch_request({("t", 0): 0})),
    ]
    gated.wait_for(2)
    wait_until(lambda: gated.served.handler.links and not len(gated.served.broker.bus))
    before = is_answered(peer)
    gated.open()
    came = [struct.unpack(">i", peer.read_frame()[:4])[0] for _ in sent]

    assert (before, came) == (False, sent)


def test_answers_of_requests_that_come_in_one_piece_keep_their_order(served, peer, topic):
    requests = [produce_request("t", PLAIN)] * 50
    data = [encode(tables.PRODUCE, 9, request, number) for number, request in enumerate(requests)]
    peer.send_bytes(b"".join(data))
    answers = [decode(tables.PRODUCE, 9, peer.read_frame()) for _ in requests]

    assert [(number, answer.responses[0].partition_responses[0].base_offset) for number, answer in answers] == [
        (number, number) for number in range(50)
    ]


def test_a_request_may_come_byte_by_byte(peer, topic):
    for byte in encode(tables.PRODUCE, 9, produce_request("t", PLAIN)):
        peer.send_bytes(bytes([byte]))

    assert produced(peer) == (0, 0)


def test_a_request_larger_than_what_is_read_at_once_is_taken(served, peer):
    served.topic(max_batch_bytes=str(1 << 24))

    assert peer.produce("t", batch(bytes(3 << 20))).error_code == ErrorCode.NONE


def test_a_fetch_that_waits_holds_up_those_behind_it(served, peer, topic, wait_until):
    peer.send(tables.FETCH, 11, fetch_request({("t", 0): 0}, max_wait_ms=LONG_MS))
    peer.send(tables.METADATA, 9, topics=[])
    wait_until(lambda: topic.partitions[0]._watchers)
    before = is_answered(peer)
    served.peer().produce("t", PLAIN)

    assert peer.read(tables.FETCH, 11).responses[0].partitions[0].high_watermark == 1
    assert peer.read(tables.METADATA, 9).controller_id == 1
    assert not before


def test_a_connection_is_not_read_while_very_many_of_its_requests_wait(gated, wait_until):
    total = MAX_UNANSWERED + 200
    peer = gated.peer
    peer.send_bytes(b"".join(encode(tables.PRODUCE, 9, produce_request("t", PLAIN), n) for n in range(total)))
    gated.wait_for(MAX_UNANSWERED + 1)
    gated.served.peer().ask(tables.METADATA, 9, topics=[])
    held = gated.partition.written_offset
    gated.open()

    assert [produced(peer) for _ in range(total)] == [(0, number) for number in range(total)]
    assert held == MAX_UNANSWERED + 1


def test_the_partitions_of_a_request_are_answered_together(gated, wait_until):
    gated.served.broker.bus.limit_bytes = 1 << 30
    peer = gated.peer
    peer.send(tables.PRODUCE, 9, produce_all({("t", 0): PLAIN, ("unknown", 0): PLAIN}))
    gated.wait_for(1)
    before = is_answered(peer)
    gated.open()

    assert [
        part.error_code for topic in peer.read(tables.PRODUCE, 9).responses for part in topic.partition_responses
    ] == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert not before


# -- acks=0 ----------------------------------------------------------------------------------------


def test_without_acks_there_is_no_answer(peer, topic, wait_until):
    for _ in range(3):
        send(peer, acks=0)
    correlation = peer.send(tables.API_VERSIONS, 0)

    assert decode(tables.API_VERSIONS, 0, peer.read_frame())[0] == correlation
    wait_until(lambda: topic.partitions[0].high_watermark == 3)
    assert not is_answered(peer)


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (PLAIN, "unknown", "acks=0 and an error: UNKNOWN_TOPIC_OR_PARTITION"),
        (changed(PLAIN, crc=1), "t", "acks=0 and an error: CORRUPT_MESSAGE, the checksum"),
    ],
    ids=["unknown", "corrupt"],
)
@pytest.mark.usefixtures("topic")
def test_without_acks_an_error_ends_the_connection(peer, caplog, data, place, reason):
    send(peer, data, 0, place)

    assert peer.is_closed()
    (said,) = reasons(caplog)
    assert said.startswith(reason)
    assert "None" not in said


def test_without_acks_an_error_of_storage_ends_the_connection(serve, caplog):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic()
    peer = served.peer()
    storage.failure = StorageFullError("no space")
    send(peer, acks=0)

    assert peer.is_closed()
    assert "KAFKA_STORAGE_ERROR" in reasons(caplog)[0]


def test_one_wrong_partition_of_many_ends_a_connection_without_acks(peer, topic, wait_until):
    peer.send(tables.PRODUCE, 9, produce_all({("t", 0): PLAIN, ("t", 1): PLAIN}, acks=0))

    assert peer.is_closed()
    wait_until(lambda: topic.partitions[0].high_watermark == 1)


def test_what_came_before_an_error_without_acks_is_answered(gated):
    peer = gated.peer
    send(peer)
    send(peer, topic="unknown", acks=0)
    gated.wait_for(1)
    gated.open()

    assert produced(peer) == (0, 0)
    assert peer.is_closed()


def test_what_comes_behind_an_error_without_acks_is_not_looked_at(peer, topic):
    wrong = encode(tables.PRODUCE, 9, produce_request("unknown", PLAIN, acks=0))
    right = encode(tables.PRODUCE, 9, produce_request("t", PLAIN))
    peer.send_bytes(wrong + right)

    assert peer.is_closed()
    assert topic.partitions[0].written_offset == 0


# -- ends ------------------------------------------------------------------------------------------


def test_what_was_asked_is_answered_to_who_says_no_more(gated):
    peer = gated.peer
    send(peer)
    send(peer)
    peer.half_close()
    gated.wait_for(2)
    gated.open()

    assert [produced(peer), produced(peer)] == [(0, 0), (0, 1)]
    assert peer.is_closed()


def test_what_was_appended_is_answered_when_the_listener_closes(gated, wait_until):
    send(gated.peer)
    gated.wait_for(1)
    closing = gevent.spawn(gated.served.handler.close, 10)
    wait_until(lambda: all(link._finishing for link in gated.served.handler.links))
    gated.open()

    assert produced(gated.peer) == (0, 0)
    assert gated.peer.is_closed()
    closing.join()


def test_a_client_that_goes_leaves_nothing_behind(served, peer, topic, wait_until):
    peer.send(tables.FETCH, 11, fetch_request({("t", 0): 0}, max_wait_ms=100))
    wait_until(lambda: topic.partitions[0]._watchers)
    peer.close()

    wait_until(lambda: not served.broker.connections)
    assert topic.partitions[0]._watchers == []


def test_a_client_that_goes_while_it_waits_for_a_sync_leaves_nothing_behind(gated, wait_until):
    send(gated.peer)
    gated.wait_for(1)
    gated.peer.close()
    gated.open()

    wait_until(lambda: not gated.served.broker.connections)
    assert gated.partition.high_watermark == 1


def test_the_client_and_its_software_stand_in_the_log(served, caplog):
    peer = served.peer(client_id="me")
    peer.introduce("librdkafka", "2.15.0")
    peer.send_frame(struct.pack(">hhih", 999, 0, 1, -1))
    assert peer.is_closed()
    (record,) = [record for record in caplog.records if record.message == "connection ended"]

    assert (record.client, record.software, record.protocol) == ("me", "librdkafka 2.15.0", "kafka")
    assert record.levelno == logging.WARNING


def test_a_connection_is_named_after_its_client(served, topic):
    peer = served.peer(client_id="one")
    peer.fetch("t")
    (link,) = served.handler.links
    before = link.name
    peer.client_id = "two"
    peer.fetch("t")

    assert (before, link.name) == ("one", "two")


def test_a_client_without_an_id_has_no_name(served, topic):
    peer = served.peer(client_id=None)
    peer.fetch("t")

    assert next(iter(served.handler.links)).name == ""


@pytest.mark.parametrize("size", range(1, 60, 6))
def test_a_request_that_does_not_go_on_is_given_up(serve, clock, wait_until, size):
    served = serve(clock=clock)
    peer = served.peer()
    peer.send_bytes(encode(tables.METADATA, 9, topics=[], client_id="x" * 80)[:size])
    wait_until(lambda: any(link.bytes_in == size for link in served.handler.links))
    clock.advance(29)
    served.handler.reap()
    before = len(served.handler.links)
    clock.advance(2)
    served.handler.reap()

    assert peer.is_closed()
    assert before == 1


def test_a_client_that_has_nothing_to_say_is_kept(serve, clock):
    served = serve("--idle-timeout-ms", "0", clock=clock)
    peer = served.peer()
    peer.introduce("kgo")
    clock.advance(86_400)
    served.handler.reap()

    peer.introduce("kgo")


# -- what cannot be answered -----------------------------------------------------------------------


@pytest.mark.parametrize("key", [-1, -32768, 4, 5, 6, 7, 17, 24, 36, 68, 71, 76, 501, 32767])
def test_an_api_that_is_not_served_ends_the_connection(peer, caplog, key):
    assert key not in SERVED
    peer.send_frame(struct.pack(">hhih", key, 0, 1, -1) + b"body")

    assert peer.is_closed()
    assert reasons(caplog) == [f"there is no API {key}"]


@pytest.mark.parametrize(
    "served_api", [one for one in SERVED.values() if one.api.key != 18], ids=lambda one: one.api.name
)
def test_a_version_that_is_not_served_ends_the_connection(served, caplog, served_api):
    for version in {served_api.first - 1, served_api.last + 1, -1, 32767, -32768}:
        peer = served.peer()
        peer.send_frame(struct.pack(">hhih", served_api.api.key, version, 1, -1))
        assert peer.is_closed()

    assert "is not served" in reasons(caplog)[-1]


def test_what_came_before_is_answered_when_a_connection_ends(gated):
    send(gated.peer)
    gated.peer.send_frame(struct.pack(">hhih", 999, 0, 1, -1))
    gated.wait_for(1)
    gated.open()

    assert produced(gated.peer) == (0, 0)
    assert gated.peer.is_closed()


def test_a_connection_too_many_is_closed_without_a_word(serve):
    served = serve("--max-connections", "1")
    served.peer().introduce("kgo")

    assert served.peer().is_closed()


def test_requests_that_would_wait_do_not_when_the_listener_closes(served, peer, topic, wait_until):
    request = encode(tables.FETCH, 11, fetch_request({("t", 0): 0}, max_wait_ms=LONG_MS))
    peer.send_bytes(request + request)
    wait_until(lambda: topic.partitions[0]._watchers)
    served.handler.close(5)

    assert [len(peer.read(tables.FETCH, 11).responses), len(peer.read(tables.FETCH, 11).responses)] == [1, 1]
    assert peer.is_closed()
