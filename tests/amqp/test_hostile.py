"""Bytes that are meant to hurt: the exact code, no traceback, memory within bounds, and others are served."""

import struct

import psutil
import pytest

from handlers.amqp.codec import FRAME_BODY, FRAME_HEADER, FRAME_METHOD, FRAME_OVERHEAD, PROTOCOL_HEADER, encode_frame
from portask.field_table import MAX_DEPTH, encode_table
from portask.properties import Properties, encode_header
from tests.amqp.peer import BY_NAME, body_frame, frame_of, header_frame, method, publish_frames

MIB = 1 << 20
FRAME_MAX = 128 * 1024
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))
NASTY = ["%s%n{}{0.__class__}", "a\r\nb", "<img src=x onerror=alert(1)>", "(a+)+$", ".*", "\0", "'; --", "ü" * 60]
DECLARE = BY_NAME["queue.declare"].encode(method("queue.declare", queue="h", exclusive=True))
PUBLISH = frame_of(1, "basic.publish", routing_key="h")
SECRET = "correct-horse-battery"


def deep(letter, depth=580):
    """A field of a table that leads *depth* tables or arrays down; 580 fit into a frame of any size."""
    inner = b"\0\0\0\0"
    for _ in range(depth):
        inner = b"\1k" + b"F" + inner if letter == "F" else b"A" + inner
        inner = struct.pack(">I", len(inner)) + inner
    return inner if letter == "F" else struct.pack(">I", len(inner) + 3) + b"\1kA" + inner


def header(flags=0, properties=b"", size=0, class_id=60):
    return encode_frame(FRAME_HEADER, 1, struct.pack(">HHQH", class_id, 0, size, flags) + properties)


def declare_with(arguments):
    """A queue.declare with these bytes in place of its field table."""
    return encode_frame(FRAME_METHOD, 1, DECLARE[:-4] + arguments)


def resident():
    return psutil.Process().memory_info().rss


def code_of(peer):
    return peer.closing()[0]


@pytest.fixture(autouse=True)
def _no_traceback(caplog):
    yield
    assert [record.message for record in caplog.records if record.exc_info] == []


@pytest.fixture
def others(served):
    """A function that fails unless a connection that was there before is still served."""
    healthy = served.peer()
    healthy.ask(1, "queue.declare", queue="healthy", exclusive=True)

    def are_served():
        healthy.publish(1, b"one", "healthy")
        healthy.send(1, "basic.get", queue="healthy", no_ack=True)
        healthy.expect("basic.get-ok", 1)
        assert healthy.read_body() == b"one"

    return are_served


# -- the greeting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        CLIENT_HELLO,
        b"AMQP\x01\x01\x08\x00",
        b"AMQP\x00\x01\x00\x00",
        b"AMQP\x03\x01\x00\x00",
    ],
    ids=["http", "tls", "0-8", "1.0", "sasl"],
)
def test_another_protocol_is_answered_with_ours_and_closed(served, others, greeting):
    peer = served.connect()
    peer.send_bytes(greeting)

    assert peer.read_exactly(8) == PROTOCOL_HEADER
    assert peer.is_closed()
    others()


def test_greeting_that_never_ends_is_closed(served, others):
    peer = served.connect()
    peer.send_bytes(b"AMQP")
    peer.half_close()

    assert peer.is_closed()
    others()


def test_handshake_byte_by_byte_is_served(served):
    peer = served.connect()
    for byte in PROTOCOL_HEADER:
        peer.send_bytes(bytes((byte,)))
    peer.expect("connection.start")
    for byte in frame_of(0, "connection.start-ok", response=b"\0guest\0guest"):
        peer.send_bytes(bytes((byte,)))

    assert peer.expect("connection.tune").value.channel_max == 2047


# -- the handshake -------------------------------------------------------------------------------


def greeted(served):
    peer = served.connect()
    peer.send_bytes(PROTOCOL_HEADER)
    peer.expect("connection.start")
    return peer


@pytest.mark.parametrize("said", ["nothing", "greeting", "start-ok", "tune-ok", "half a frame"])
def test_handshake_that_takes_too_long_is_ended(serve, said):
    served = serve("--amqp-handshake-timeout-ms", "100")
    peer = served.connect()
    if said != "nothing":
        peer.send_bytes(PROTOCOL_HEADER)
        peer.expect("connection.start")
    if said in {"start-ok", "tune-ok"}:
        peer.send(0, "connection.start-ok", response=b"\0guest\0guest")
        tune = peer.expect("connection.tune").value
    if said == "tune-ok":
        peer.send(0, "connection.tune-ok", channel_max=tune.channel_max, frame_max=tune.frame_max)
    if said == "half a frame":
        peer.send_bytes(frame_of(0, "connection.start-ok", response=b"\0guest\0guest")[:-9])

    assert peer.is_closed()


@pytest.mark.parametrize("letter", ["F", "A"])
def test_deep_client_properties_are_refused(served, others, letter):
    peer = greeted(served)
    start_ok = BY_NAME["connection.start-ok"].encode(method("connection.start-ok"))
    peer.send_frame(FRAME_METHOD, 0, start_ok[:4] + deep(letter) + start_ok[8:])

    assert code_of(peer) == 501
    others()


@pytest.mark.parametrize("letter", ["F", "A"])
def test_deep_credentials_are_refused(served, others, letter):
    peer = served.connect()
    peer.start(mechanism="AMQPLAIN", response=deep(letter)[4:])

    assert code_of(peer) == 403
    others()


@pytest.mark.parametrize("response", [b"", b"\0", b"\0guest", b"guest", b"\0\0", b"\0guest\0guest\0", b"\xff" * 3000])
def test_broken_credentials_are_refused(served, response):
    peer = served.connect()
    peer.start(response=response)

    assert code_of(peer) == 403


@pytest.mark.parametrize("name", NASTY)
def test_nasty_user_is_refused_like_any_other(served, name):
    peer = served.connect()
    peer.start(response=b"\0" + name.replace("\0", "").encode() + b"\0x")

    assert code_of(peer) == 403


def test_secrets_are_in_no_log_line(served, caplog):
    caplog.set_level("DEBUG")
    peer = served.connect()
    peer.start(response=f"\0guest\0{SECRET}".encode())
    assert code_of(peer) == 403
    peer = served.connect()
    peer.start(mechanism="AMQPLAIN", response=encode_table({"LOGIN": "guest", "PASSWORD": SECRET})[4:])
    assert code_of(peer) == 403
    peer = served.connect()
    peer.start(mechanism="EXTERNAL", response=SECRET.encode())
    assert peer.is_closed()

    assert SECRET not in "".join(str(vars(record)) for record in caplog.records)


def test_frame_larger_than_the_handshake_needs_is_refused_before_it_comes(served, others):
    peer = greeted(served)
    peer.send_bytes(struct.pack(">BHI", FRAME_METHOD, 0, 1 << 30))

    assert code_of(peer) == 501
    others()


@pytest.mark.parametrize("name", ["connection.open", "connection.tune-ok", "channel.open", "connection.start"])
def test_method_that_the_handshake_does_not_expect_ends_it(served, name):
    peer = greeted(served)
    peer.send(0, name)

    assert code_of(peer) in {503, 504, 505}


@pytest.mark.parametrize(
    ("frame_max", "channel_max"),
    [
        *((size, 2047) for size in (0, 1, 8, 4095, 4096, 8191, FRAME_MAX + 1, (1 << 32) - 1)),
        *((FRAME_MAX, channels) for channels in (0, 2048, 65535)),
    ],
)
def test_tune_ok_beyond_what_was_offered_is_refused(served, frame_max, channel_max):
    peer = served.connect()
    peer.start()
    peer.expect("connection.tune")
    peer.send(0, "connection.tune-ok", frame_max=frame_max, channel_max=channel_max)

    assert code_of(peer) == 530


@pytest.mark.parametrize("name", NASTY)
def test_nasty_virtual_host_is_refused(served, name):
    peer = served.connect()
    peer.start()
    tune = peer.expect("connection.tune").value
    peer.send(0, "connection.tune-ok", frame_max=tune.frame_max, channel_max=tune.channel_max)
    peer.send(0, "connection.open", virtual_host=name)

    code, text, *_ = peer.closing()
    assert code == 530
    assert text.startswith("NOT_ALLOWED - ")


# -- frames --------------------------------------------------------------------------------------

MISUSES = {
    "frame end": (b"\1\0\1\0\0\0\4\0\x3c\0\x50\xcd", 501),
    "frame type 0": (encode_frame(0, 1, b""), 501),
    "frame type 4": (encode_frame(4, 1, b""), 501),
    "frame type 255": (encode_frame(255, 0, b""), 501),
    "payload beyond frame_max": (struct.pack(">BHI", FRAME_BODY, 1, FRAME_MAX + 1), 501),
    "payload of 4 GiB": (struct.pack(">BHI", FRAME_METHOD, 1, (1 << 32) - 1), 501),
    "method of no bytes": (encode_frame(FRAME_METHOD, 1, b""), 501),
    "method of three bytes": (encode_frame(FRAME_METHOD, 1, b"\0\x3c\0"), 501),
    "unknown method": (encode_frame(FRAME_METHOD, 1, b"\0\x3c\0\xff"), 501),
    "unknown class": (encode_frame(FRAME_METHOD, 1, b"\1\x3c\0\x0a"), 501),
    "arguments cut": (encode_frame(FRAME_METHOD, 1, DECLARE[:-1]), 501),
    "bytes after arguments": (encode_frame(FRAME_METHOD, 1, DECLARE + b"\0"), 501),
    "unknown letter": (declare_with(b"\0\0\0\3\1kZ"), 501),
    "table longer than frame": (declare_with(b"\xff\xff\xff\xff\1kV"), 501),
    "deep tables": (declare_with(deep("F")), 501),
    "deep arrays": (declare_with(deep("A")), 501),
    "tables one too deep": (declare_with(deep("F", MAX_DEPTH)), 501),
    "heartbeat on a channel": (encode_frame(8, 1, b""), 505),
    "header without publish": (header(), 505),
    "body without publish": (body_frame(1, b"x"), 505),
    "body without header": (PUBLISH + body_frame(1, b"x"), 505),
    "header of another class": (PUBLISH + header(class_id=50), 505),
    "header twice": (PUBLISH + header(size=2) + header(size=2), 505),
    "publish inside of a publish": (PUBLISH + PUBLISH, 505),
    "publish inside of a body": (PUBLISH + header(size=2) + body_frame(1, b"a") + PUBLISH, 505),
    "method inside of a body": (PUBLISH + header(size=2) + frame_of(1, "basic.qos"), 505),
    "ack inside of a body": (PUBLISH + header(size=2) + frame_of(1, "basic.ack"), 505),
    "close inside of a body": (PUBLISH + header(size=2) + frame_of(1, "channel.close"), 505),
    "body longer than announced": (PUBLISH + header(size=1) + body_frame(1, b"ab"), 501),
    "last piece longer than announced": (PUBLISH + header(size=3) + body_frame(1, b"ab") + body_frame(1, b"cd"), 501),
    "body after an empty one": (PUBLISH + header() + body_frame(1, b"a"), 505),
    "header cut": (PUBLISH + encode_frame(FRAME_HEADER, 1, b"\0\x3c\0\0"), 501),
    "property cut": (PUBLISH + header(0x8000, b"\5ab"), 501),
    "property missing": (PUBLISH + header(0x0800), 501),
    "bytes after properties": (PUBLISH + header(0, b"ab"), 501),
    "more flags": (PUBLISH + header(1, b"\0\0"), 501),
    "headers with an unknown letter": (PUBLISH + header(0x2000, b"\0\0\0\3\1kZ"), 501),
    "headers too long": (PUBLISH + header(0x2000, b"\0\0\0\xff\1kV"), 501),
    "deep headers": (PUBLISH + header(0x2000, deep("F")), 501),
    "channel not open": (frame_of(7, "basic.qos"), 504),
    "publish on a channel not open": (publish_frames(7, b"x"), 504),
    "channel open": (frame_of(1, "channel.open"), 504),
    "content on channel 0": (body_frame(0, b"x"), 505),
    "header on channel 0": (header_frame(0, 1), 505),
}


@pytest.mark.parametrize("case", MISUSES)
def test_misuse_closes_the_connection_with_its_code(served, others, case):
    data, code = MISUSES[case]
    peer = served.peer()
    peer.send_bytes(data)

    assert code_of(peer) == code
    others()
    peer.send(0, "connection.close-ok")
    assert peer.is_closed()


@pytest.mark.parametrize("case", MISUSES)
def test_misuse_byte_by_byte_gets_the_same(served, case):
    data, code = MISUSES[case]
    peer = served.peer()
    for start in range(0, len(data), 1 + len(data) // 50):
        peer.send_bytes(data[start : start + 1 + len(data) // 50])

    assert code_of(peer) == code


@pytest.mark.parametrize("case", MISUSES)
def test_misuse_behind_a_message_leaves_the_message(served, others, case):
    data, code = MISUSES[case]
    others()
    peer = served.peer()
    reader = served.peer()
    reader.ask(1, "queue.declare", queue="kept")
    peer.send_bytes(publish_frames(1, b"before", "kept") + data)

    assert code_of(peer) == code
    reader.send(1, "basic.get", queue="kept", no_ack=True)
    reader.expect("basic.get-ok", 1)
    assert reader.read_body() == b"before"


def test_tables_as_deep_as_allowed_are_read(peer):
    peer.send_bytes(declare_with(deep("F", MAX_DEPTH - 1)))

    assert peer.expect("queue.declare-ok", 1).value.queue == "h"


def test_frames_behind_an_error_are_passed_over(served):
    peer = served.peer()
    reader = served.peer()
    reader.ask(1, "queue.declare", queue="kept")
    peer.send_bytes(encode_frame(4, 1, b"") + publish_frames(1, b"x", "kept") * 100)
    assert code_of(peer) == 501
    peer.send_bytes(publish_frames(1, b"x", "kept") * 100)
    peer.send(0, "connection.close-ok")

    assert peer.is_closed()
    assert reader.ask(1, "queue.declare", queue="kept", passive=True).message_count == 0


def test_connection_that_breaks_off_inside_of_a_frame_ends(served, others):
    for data in (PUBLISH[:5], PUBLISH, PUBLISH + header(size=9), PUBLISH + header(size=9) + b"\3\0\1\0\0\0\x09abc"):
        peer = served.peer()
        peer.send_bytes(data)
        peer.half_close()
        assert peer.is_closed()
    others()


# -- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16 * MIB + 1, 1 << 31, 1 << 63, (1 << 64) - 1])
def test_message_that_is_announced_too_large_closes_the_channel_alone(served, size):
    peer = served.peer().open(2)
    peer.send_bytes(PUBLISH + header(size=size))

    assert peer.closing("channel.close")[0] == 406
    peer.send(1, "channel.close-ok")
    assert peer.open(1).ask(2, "queue.declare", exclusive=True).message_count == 0


def test_endless_body_of_a_refused_message_takes_no_memory(served, others):
    peer = served.peer()
    before = resident()
    peer.send_bytes(PUBLISH + header(size=1 << 63))
    for _ in range(64):
        peer.send_bytes(body_frame(1, bytes(FRAME_MAX - FRAME_OVERHEAD)) * 8)

    assert peer.closing("channel.close")[0] == 406
    assert resident() - before < 32 * MIB
    others()


def test_body_of_pieces_of_any_size_arrives(peer):
    peer.ask(1, "queue.declare", queue="h", exclusive=True)
    pieces = [b"", b"a", b"", b"bc", bytes(5000), b"", b"d"]
    body = b"".join(pieces)
    peer.send_bytes(PUBLISH + header(size=len(body)) + b"".join(body_frame(1, piece) for piece in pieces))
    peer.send(1, "basic.get", queue="h", no_ack=True)

    peer.expect("basic.get-ok", 1)
    assert peer.read_body() == body


def test_contents_of_two_channels_may_interleave(peer):
    peer.open(2).ask(1, "queue.declare", queue="h", exclusive=True)
    parts = [(frame_of(n, "basic.publish", routing_key="h"), header_frame(n, 2)) for n in (1, 2)]
    bodies = [(body_frame(n, bytes((64 + n,))), body_frame(n, bytes((64 + n,)))) for n in (1, 2)]
    for one, two in [*zip(*parts, strict=True), *zip(*bodies, strict=True)]:
        peer.send_bytes(one + two)

    assert {got(peer), got(peer)} == {b"AA", b"BB"}


def got(peer):
    peer.send(1, "basic.get", queue="h", no_ack=True)
    peer.expect("basic.get-ok", 1)
    return peer.read_body()


def test_frames_sent_are_no_larger_than_agreed(served):
    peer = served.peer(frame_max=8192)
    peer.ask(1, "queue.declare", queue="h", exclusive=True)
    writer = served.peer()
    writer.ask(1, "confirm.select")
    peer.ask(1, "queue.bind", queue="h", exchange="amq.fanout")
    writer.publish(1, bytes(100_000), exchange="amq.fanout")
    writer.expect("basic.ack", 1)
    peer.send(1, "basic.get", queue="h", no_ack=True)
    peer.expect("basic.get-ok", 1)
    peer.read()
    sizes = []
    while sum(sizes) < 100_000:
        sizes.append(len(peer.read().payload))

    assert max(sizes) == 8192 - FRAME_OVERHEAD


def test_frame_larger_than_agreed_is_refused(served):
    peer = served.peer(frame_max=8192)
    peer.send_bytes(PUBLISH + header(size=8193) + body_frame(1, bytes(8193)))

    assert code_of(peer) == 501


def test_channels_beyond_channel_max_end_the_connection(served, others):
    peer = served.peer(channel_max=3)
    peer.open(65535).open(9)
    peer.send(2, "channel.open")

    assert code_of(peer) == 530
    others()


def test_array_of_tiny_items_is_read_in_proportion(served, others):
    peer = served.peer()
    before = resident()
    items = b"V" * (FRAME_MAX - 200)
    array = b"\1kA" + struct.pack(">I", len(items)) + items
    for _ in range(20):
        peer.send_bytes(declare_with(struct.pack(">I", len(array)) + array))
        peer.expect("queue.declare-ok", 1)

    assert resident() - before < 16 * MIB
    others()


def test_channels_opened_and_closed_leave_nothing(peer, served):
    for _ in range(500):
        peer.ask(2, "channel.open")
        peer.ask(2, "channel.close")

    (connection,) = served.handler.connections
    assert set(connection.channels) == {1}


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_come_back_as_they_were(peer, name):
    name = "h" + name.replace("\r", "").replace("\n", "")
    peer.ask(1, "queue.declare", queue=name, exclusive=True)
    consumed = peer.ask(1, "basic.consume", queue=name, consumer_tag=name, no_ack=True)
    peer.publish(1, b"x", name, properties=Properties(type=name, headers={name: name}))
    delivered = peer.expect("basic.deliver", 1).value

    assert (consumed.consumer_tag, delivered.consumer_tag, delivered.routing_key) == (name, name, name)
    assert encode_header(Properties(type=name, headers={name: name}), 1) == peer.read().payload


@pytest.mark.parametrize("name", ["\udcff\udcfe", "x" * 255, "ü" * 127])
def test_text_of_an_error_fits_whatever_is_in_it(peer, name):
    peer.send(1, "queue.declare", queue=name, passive=True)

    code, text, *_ = peer.closing("channel.close")
    assert code == 404
    assert text.startswith("NOT_FOUND - no queue '")
    assert len(text.encode("utf-8", "surrogateescape")) <= 255
