"""Bytes that are meant to hurt: memory stays within what was sent, the loop goes on, the connection ends."""

import random
import select
import struct
import tracemalloc
from contextlib import suppress

import gevent
import psutil
import pytest

from handlers.kafka import tables
from handlers.kafka.connection import MAX_HELD_BYTES, MAX_UNANSWERED
from handlers.kafka.error_codes import ErrorCode
from handlers.kafka.record_batch import HEADER_BYTES, LZ4, SNAPPY, ZSTD
from handlers.kafka.record_compression import compress
from handlers.kafka.served import SERVED
from handlers.wire.decoder import MAX_ELEMENTS
from portask.errors import ProtocolError
from tests.kafka.batches import batch, changed
from tests.kafka.peer import encode, fetch_request, produce_request
from tests.kafka.record_samples import with_checksum
from tests.native.gated_storage import GatedStorage

MIB = 1 << 20
MAX_INT32 = (1 << 31) - 1
HUGE = [b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x07", b"\x80\x80\x80\x80\x08"]
"""Compact lengths of 2^32 - 2, 2^31 - 2 and 2^31 - 1."""
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))
FLEXIBLE = [one.api for one in SERVED.values() if one.api.flexible is not None]
EVERY = [(one.api, version) for one in SERVED.values() for version in range(one.first, one.last + 1)]
"""Every API in every version that is served."""


def name_of(case):
    return f"{case[0].name} {case[1]}"


def is_alive(served):
    """Whether another client is served."""
    served.peer().introduce("kgo")
    return True


def resident():
    return psutil.Process().memory_info().rss


# -- counts and lengths ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", HUGE)
@pytest.mark.parametrize("api", FLEXIBLE, ids=lambda api: api.name)
def test_a_count_of_tagged_fields_in_the_header_is_checked(served, api, count):
    peer = served.peer()
    version = SERVED[api.key].last
    peer.send_frame(struct.pack(">hhih", api.key, version, 1, -1) + count + bytes(1000))

    assert peer.is_closed()


def test_many_tagged_fields_are_not_walked_through(peer, wait_until, caplog):
    tags = bytearray()
    for tag in range(1 << 14, (1 << 14) + MAX_ELEMENTS + 1):
        tags += bytes((tag & 127 | 128, tag >> 7 & 127 | 128, tag >> 14, 0))
    count = MAX_ELEMENTS + 1
    head = struct.pack(">hhih", 18, 3, 1, -1)
    peer.send_frame(head + bytes((count & 127 | 128, count >> 7 & 127 | 128, count >> 14)) + tags)

    assert peer.is_closed()
    assert "tagged fields are too many" in caplog.records[-1].reason


def test_some_tagged_fields_that_nobody_knows_are_passed_over(peer):
    tags = b"".join(bytes((tag, 1, tag)) for tag in range(100))
    peer.send_frame(struct.pack(">hhih", 18, 3, 1, -1) + b"\x64" + tags + b"\x02a\x02b" + b"\x64" + tags)

    assert struct.unpack(">ih", peer.read_frame()[:6]) == (1, ErrorCode.NONE)


def one_of_each(message, structure, version):
    """A value that has an element in every array."""
    value = message.classes[structure.name]()
    for field in structure.fields_of(version):
        element = "a" if field.type == "string" else getattr(value, field.name)
        if field.structure is not None:
            element = one_of_each(message, field.structure, version)
        elif field.is_array and field.type != "string":
            element = bytes(16) if field.type == "uuid" else 1
        setattr(value, field.name, [element] if field.is_array else element)
    return value


@pytest.mark.parametrize("case", EVERY, ids=name_of)
def test_every_length_and_count_of_every_request_is_checked_before_anything_is_made_of_it(case):
    api, version = case
    message = api.request
    request = b"".join(api.encode_request(version)(one_of_each(message, message.structure, version)))
    decode = api.decode_request(version)
    tracemalloc.start()
    for position in range(len(request)):
        for wrong in (*HUGE, struct.pack(">i", MAX_INT32), struct.pack(">i", -2), b"\x7f\xff", b"\x80\x00"):
            data = request[:position] + wrong + request[position + len(wrong) - (wrong in HUGE) * 4 :]
            with suppress(ProtocolError):
                decode(data, 0, len(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < MIB


@pytest.mark.parametrize("api", [tables.METADATA, tables.FETCH, tables.LIST_OFFSETS, tables.PRODUCE], ids=repr)
def test_a_count_without_elements_ends_the_connection(served, api):
    version = SERVED[api.key].first
    head = {
        0: struct.pack(">hhi", -1, 1, 0),
        1: struct.pack(">iiiib", -1, 0, 0, 0, 0),
        2: struct.pack(">i", -1),
        3: b"",
    }
    peer = served.peer()
    peer.send_frame(struct.pack(">hhih", api.key, version, 1, -1) + head[api.key] + struct.pack(">i", MAX_INT32))

    assert peer.is_closed()
    assert is_alive(served)


def test_a_request_of_very_many_elements_is_refused_before_they_are_made(served):
    before = resident()
    peer = served.peer()
    count = 20 * MIB
    body = struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", count) + bytes(2 * count)
    peer.send_frame(body)

    assert peer.is_closed()
    assert resident() - before < 4 * len(body)


# -- sizes of requests -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 9, -1, -(1 << 31), MAX_INT32, 100 * MIB + 1])
def test_a_size_that_no_request_has_ends_the_connection(served, size):
    peer = served.peer()
    peer.send_bytes(struct.pack(">i", size) + bytes(100))

    assert peer.is_closed()
    assert is_alive(served)


def test_the_largest_size_is_configured(serve):
    served = serve("--kafka-max-request-bytes", "64KiB")
    peer = served.peer()
    peer.send_bytes(struct.pack(">i", 64 * 1024 + 1))

    assert peer.is_closed()


@pytest.mark.parametrize(
    "hello", [CLIENT_HELLO, b"GET / HTTP/1.1\r\n\r\n", b"AMQP\0\0\x09\x01", b"\x15\x03\x01\0\x02\x02\x46"]
)
def test_a_client_of_another_protocol_is_hung_up_on(served, hello):
    peer = served.peer()
    peer.send_bytes(hello)

    assert peer.is_closed()
    assert is_alive(served)


@pytest.mark.parametrize("size", [100 * MIB, 4 * MIB - 100, MIB, 100_000])
def test_promises_of_much_that_are_not_kept_cost_nothing(served, wait_until, size):
    before = resident()
    peers = [served.peer() for _ in range(200)]
    for peer in peers:
        peer.send_bytes(struct.pack(">i", size) + b"begun")
    wait_until(lambda: sum(link.bytes_in for link in served.handler.links) == 200 * 9)

    assert resident() - before < 200 * 128 * 1024
    assert is_alive(served)


@pytest.mark.parametrize("size", range(10, 40))
def test_half_a_header_ends_the_connection(served, size):
    peer = served.peer()
    peer.send_frame(struct.pack(">hhih", 3, 9, 1, 20_000) + bytes(size - 10))

    assert peer.is_closed()


@pytest.mark.parametrize("case", EVERY, ids=name_of)
def test_a_request_that_is_cut_short_ends_the_connection(served, case, caplog):
    api, version = case
    if api.key == 18:
        version = 3
    frame = encode(api, version)[4:]
    body = b"".join(api.encode_request(version)(api.Request()))
    peer = served.peer()
    peer.send_frame(frame[: len(frame) - len(body)] if len(body) > 1 else frame[:9])

    assert peer.is_closed() or len(body) <= 1
    assert "connection failed" not in caplog.text


# -- bombs -----------------------------------------------------------------------------------------


def bomb(codec, size):
    """A batch of one record whose records swell to *size* bytes."""
    packed = compress(codec, bytes(size))
    made = changed(batch(key=None), attributes=codec)[:HEADER_BYTES] + packed
    return with_checksum(made)


@pytest.mark.parametrize("codec", [1, SNAPPY, LZ4, ZSTD])
def test_a_decompression_bomb_is_given_up_on_in_time(served, codec):
    served.topic(cleanup_policy="compact", max_batch_bytes=str(64 * MIB))
    made = bomb(codec, 200 * MIB)
    peer = served.peer()
    before = resident()
    answer = peer.produce("t", made)

    assert answer.error_code == ErrorCode.INVALID_RECORD
    assert resident() - before < 150 * MIB
    assert is_alive(served)


@pytest.mark.parametrize("codec", [1, SNAPPY, LZ4, ZSTD])
def test_a_bomb_that_nobody_opens_is_stored_as_it_is(served, codec):
    topic = served.topic(max_batch_bytes=str(64 * MIB))
    made = bomb(codec, 8 * MIB)
    peer = served.peer()
    before = resident()
    answer = peer.produce("t", made)

    assert (answer.error_code, bytes(peer.fetch("t").records)[HEADER_BYTES:]) == (0, made[HEADER_BYTES:])
    assert resident() - before < 8 * MIB
    assert topic.partitions[0].high_watermark == 1


# -- clients that do not read, and those that ask too much -------------------------------------------


def test_a_client_that_does_not_read_is_not_read_either(served, topic, wait_until):
    producer = served.peer()
    for _ in range(4):
        producer.produce("t", batch(random.Random(1).randbytes(900_000)))
    peer = served.peer()
    peer.introduce("sarama")
    link = max(served.handler.links, key=lambda one: one.id)
    sending = gevent.spawn(
        peer.send_bytes, encode(tables.FETCH, 11, fetch_request({("t", 0): 0}, partition_max_bytes=1 << 30)) * 20_000
    )
    wait_until(lambda: link.unsent_bytes > 3 * MIB)
    highest = 0
    for _ in range(20):
        producer.produce("t", batch())
        highest = max(highest, link.unsent_bytes)

    assert highest < 12 * MIB
    assert link.bytes_in < 2 * MIB
    sending.kill()
    peer.close()
    wait_until(lambda: len(served.handler.links) == 1)


def test_answers_behind_a_produce_that_waits_are_bounded_in_bytes(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic()
    filled = served.topic("filled").partitions[0]
    peer = served.peer()
    peer.produce("filled", batch(random.Random(1).randbytes(900_000)))
    storage.gate.clear()
    peer.send(tables.PRODUCE, 9, produce_request("t", batch()))
    for _ in range(20):
        peer.send(tables.FETCH, 11, fetch_request({("filled", 0): 0}))
    wait_until(lambda: served.broker.stats.protocol("kafka").messages_out >= MAX_HELD_BYTES // 900_000)
    served.peer().introduce("kgo")
    held = served.broker.stats.protocol("kafka").messages_out
    before = select.select([peer.sock], [], [], 0)[0]
    storage.gate.set()
    peer.read(tables.PRODUCE, 9)
    answers = [peer.read(tables.FETCH, 11).responses[0].partitions[0].high_watermark for _ in range(20)]

    assert (held, before) == (MAX_HELD_BYTES // 900_000 + 1, [])
    assert answers == [filled.high_watermark] * 20


def test_answers_behind_a_produce_that_waits_are_bounded_in_number(serve, wait_until):
    storage = GatedStorage()
    served = serve(storage=storage)
    served.topic()
    peer = served.peer()
    peer.introduce("kgo")
    storage.gate.clear()
    peer.send(tables.PRODUCE, 9, produce_request("t", batch()))
    peer.send_bytes(encode(tables.METADATA, 9, topics=[]) * 3000)
    peer.send_frame(struct.pack(">hhih", 18, 99, 1, -1))
    (link,) = served.handler.links
    wait_until(lambda: len(link._connection._slots) > MAX_UNANSWERED)
    served.peer().introduce("kgo")
    held = len(link._connection._slots)
    storage.gate.set()
    peer.read(tables.PRODUCE, 9)
    for _ in range(3000):
        peer.read(tables.METADATA, 9)

    assert held == MAX_UNANSWERED + 1
    assert len(peer.read_frame()) == 16


def test_a_topic_that_is_asked_for_very_often_is_told_once(served, peer):
    served.topic(partitions=1000)
    asked = [tables.METADATA.Request.MetadataRequestTopic(name="t")] * 10_000
    peer.send(tables.METADATA, 9, topics=asked)

    assert len(peer.read_frame()) < 100_000


def test_a_partition_that_is_fetched_very_often_is_given_once(served, peer, topic):
    peer.produce("t", batch())
    request = fetch_request({("t", 0): 0})
    request.topics = request.topics * 10_000

    assert len(peer.ask(tables.FETCH, 11, request).responses[0].partitions) == 1


def test_large_records_that_cannot_be_read_leave_no_traceback(serve, capfd):
    served = serve()
    served.topic(cleanup_policy="compact", max_batch_bytes=str(1 << 22))
    whole = batch(*[bytes(200)] * 2000)
    broken = changed(whole[:HEADER_BYTES] + b"\xff" * (len(whole) - HEADER_BYTES))

    assert served.peer().produce("t", broken).error_code == ErrorCode.INVALID_RECORD
    assert "Traceback" not in capfd.readouterr().err
