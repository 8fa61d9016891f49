"""CBOR mode's bytes."""

import struct

import cbor2
import pytest

from handlers.native.cbor import count_values, encode_answer, encode_cancelled, encode_delivery, encode_error
from handlers.native.codec import Decoder, Mode
from handlers.native.command import (
    Delivered,
    Lines,
    Page,
    Publish,
    Settlement,
    Stored,
    Subscribed,
    UnknownCommandError,
)
from portask.errors import MessageTooLargeError, ProtocolError
from tests.native.codec_case import LIMITS, decode
from tests.native.peer import frame

HELLO = b"HELLO cbor\n"


def item(*values):
    """What one request decodes to."""
    hello, found = decode(HELLO + frame(list(values)))
    assert hello[0] == "HELLO"
    return found


def after_hello(data, limits=LIMITS):
    return decode(HELLO + data, limits)[1:]


def value(pieces):
    """The one frame's value in *pieces*."""
    data = b"".join(pieces)
    assert struct.unpack(">I", data[:4])[0] == len(data) - 4
    return cbor2.loads(data[4:])


# -- requests -------------------------------------------------------------------------------------


def test_publish_takes_records_in_every_form():
    records = [b"a", [b"b", b"k"], [None], [b"c", None, ["h", b"v", "n", None], 7, b"p"]]
    assert item("PUBLISH", 5, "t", records) == ("PUBLISH", 5, Publish("t", records, None, 8))


def test_publish_takes_a_partition():
    assert item("PUBLISH", 5, "t", [b"a"], 3)[2].partition == 3


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("t",),
        ("t", [b"a"], 0, 0),
        (1, [b"a"]),
        ("t", []),
        ("t", b"a"),
        ("t", ["a"]),
        ("t", [[b"a", b"b", None, None, None, None]]),
        ("t", [b"a"], -1),
        ("t", [b"a"], "0"),
        ("t", [b"a"], True),
    ],
)
def test_a_malformed_publish_is_refused_with_its_correlation(arguments):
    kind, correlation, _, fatal = item("PUBLISH", 9, *arguments)
    assert (kind, correlation, fatal) == (ProtocolError, 9, False)


def test_a_message_beyond_the_limit_is_refused_in_step():
    kind, correlation, _, fatal = item("PUBLISH", 9, "t", [b"a", b"x" * 1001])
    assert (kind, correlation, fatal) == (MessageTooLargeError, 9, False)


def test_many_messages_may_be_larger_together_than_one_may_be():
    assert item("PUBLISH", 9, "t", [b"x" * 600] * 3)[2].size_bytes == 1800


@pytest.mark.parametrize("verb", ["ACK", "NACK"])
def test_settling_takes_ranges(verb):
    assert item(verb, 1, "t", "g", 2, [[3, 4], [7, 7]]) == (
        verb,
        1,
        Settlement("g", [("t", 2, 3, 4), ("t", 2, 7, 7)]),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("t", "g", 0),
        ("t", "g", 0, []),
        ("t", "g", 0, 5),
        (5, "g", 0, [[1, 1]]),
        ("t", 5, 0, [[1, 1]]),
        ("t", "g", None, [[1, 1]]),
        ("t", "g", 0, [1]),
        ("t", "g", 0, [[1]]),
        ("t", "g", 0, [[-1, 1]]),
        ("t", "g", 0, [[1, "1"]]),
        ("t", "g", 0, [[2, 1]]),
    ],
)
def test_a_malformed_settlement_is_refused(arguments):
    assert item("ACK", 1, *arguments)[0] is ProtocolError


@pytest.mark.parametrize(
    ("request_", "arguments"),
    [
        (("SUBSCRIBE", 1, "t"), ("t", "default", 100, "first")),
        (("SUBSCRIBE", 1, "t", None, 5, 17), ("t", "default", 5, "17")),
        (("SUBSCRIBE", 1, "t", "g", None, "@5"), ("t", "g", 100, "@5")),
        (("READ", 1, "t", 0, 3, 4, 5, 6), ("t", 0, "3", 4, 5, 6)),
        (("CREATE", 1, "t", None, {"a": 1, "b": "c"}), ("t", None, {"a": "1", "b": "c"})),
        (("ALTER", 1, "t", {"a": None}), ("t", {"a": None})),
        (("GROUPS", 1), (None,)),
        (("PING", 1), ()),
    ],
)
def test_missing_and_null_arguments_take_the_default(request_, arguments):
    assert item(*request_)[2] == arguments


@pytest.mark.parametrize(
    "request_",
    [
        ("SUBSCRIBE", 1),
        ("SUBSCRIBE", 1, 5),
        ("SUBSCRIBE", 1, "t", "g", "5"),
        ("SUBSCRIBE", 1, "t", "g", 5, b"first"),
        ("SUBSCRIBE", 1, "t", "g", 5, -1),
        ("ALTER", 1, "t"),
        ("ALTER", 1, "t", ["a"]),
        ("ALTER", 1, "t", {1: "a"}),
        ("ALTER", 1, "t", {"a": 1.5}),
        ("PING", 1, 2),
    ],
)
def test_wrong_arguments_are_refused_with_the_correlation(request_):
    kind, correlation, _, fatal = item(*request_)
    assert (kind, correlation, fatal) == (ProtocolError, 1, False)


@pytest.mark.parametrize("verb", ["PUBLISHB", "MPUBLISH", "ping", "NOTHING", 5, None])
def test_a_verb_that_the_mode_has_not_is_refused(verb):
    assert item(verb, 1)[:2] == (UnknownCommandError, 1)


@pytest.mark.parametrize("correlation", [-1, 1 << 64, "1", None, True, 1.0])
def test_a_correlation_that_is_no_number_is_refused_without_one(correlation):
    if correlation == 1 << 64:
        # cbor2 writes it as a tag, which is refused before.
        assert item("PING", correlation)[:2] == (ProtocolError, None)
    assert item("PING", correlation)[:2] == (ProtocolError, None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x80",
        b"\x81\x64PING",
        b"\x82\x64PING",
        b"\x9f\x64PING\x01\xff",
        b"\xff" * 9,
        b"\x81" * 9 + b"\x00",
    ],
)
def test_a_frame_that_is_no_request_leaves_the_stream_in_step(data):
    broken, good = after_hello(struct.pack(">I", len(data)) + data + frame(["PING", 1]))
    assert (broken[0], broken[1], broken[3]) == (ProtocolError, None, False)
    assert good[:2] == ("PING", 1)


def test_a_frame_beyond_the_limit_ends_the_stream_before_it_is_there():
    ((kind, _, _, fatal),) = after_hello(struct.pack(">I", 4001))
    assert (kind, fatal) == (MessageTooLargeError, True)


def test_a_large_frame_of_too_many_values_is_refused_before_it_is_decoded():
    limits = LIMITS._replace(command_bytes=1 << 20, message_bytes=1 << 20)
    request = ["PUBLISH", 1, "t", [b""] * 60 + [b"x" * 300_000]]
    decoder = Decoder(limits)
    _, refusal = decoder.feed(HELLO + frame(request))
    assert type(refusal.error) is MessageTooLargeError
    assert not refusal.fatal


def test_a_large_frame_of_few_values_is_taken():
    limits = LIMITS._replace(command_bytes=1 << 20, message_bytes=1 << 20)
    _, command = Decoder(limits).feed(HELLO + frame(["PUBLISH", 1, "t", [b"x" * 300_000]]))
    assert command.arguments.size_bytes == 300_000


@pytest.mark.parametrize("values", [[0] * 300, [b"x" * 70_000, "é" * 300], {"a": [1.5, None, 1 << 40]}])
def test_counting_sees_every_value(values):
    data = cbor2.dumps(values)

    def count(value):
        if isinstance(value, dict):
            return 1 + sum(count(part) for pair in value.items() for part in pair)
        return 1 + sum(map(count, value)) if isinstance(value, list) else 1

    count_values(data, count(values))
    with pytest.raises(MessageTooLargeError):
        count_values(data, count(values) - 1)


def test_hello_changes_the_mode_of_the_bytes_behind_it_both_ways():
    data = HELLO + frame(["HELLO", 1, "text"]) + b"PING\n"
    assert [found[0] for found in decode(data)] == ["HELLO", "HELLO", "PING"]


def test_hello_to_an_unknown_mode_stays():
    decoder = Decoder(LIMITS)
    decoder.feed(b"HELLO json\n")
    assert decoder.mode is Mode.TEXT
    decoder.feed(HELLO + frame(["HELLO", 1, "json"]))
    assert decoder.mode is Mode.CBOR


def test_a_frame_in_part_counts_as_unfinished():
    decoder = Decoder(LIMITS)
    decoder.feed(HELLO + b"\0\0")
    assert decoder.unfinished


# -- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "rest"),
    [
        (Stored("t", [(0, 7, 2)]), [[[0, 7, 2]]]),
        (None, []),
        (3, [3]),
        ("PONG", ["PONG"]),
        (Subscribed("t", "g"), ["t", "g"]),
        ({"a": 1}, [{"a": 1}]),
        (Lines([{"a": 1}, "b"]), [[{"a": 1}, "b"]]),
        (Page([Delivered("t", None, 0, 4, 0, 9, [b"x"])], 5, 8, 1), [[[4, 0, 9, b"x"]], 5, 8, 1]),
    ],
)
def test_a_result_follows_ok_and_the_correlation(result, rest):
    assert value(encode_answer(5, result)) == ["OK", 5, *rest]


def test_an_error_has_code_and_text():
    assert value(encode_error(None, "SYNTAX", "text")) == ["ERR", None, "SYNTAX", "text"]


def test_a_cancellation_names_the_subscription():
    assert value(encode_cancelled("t", "g", "C", "text")) == ["CANCELLED", "t", "g", "C", "text"]


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (b"x", [7, 2, 99, b"x"]),
        ([b"x", b"k"], [7, 2, 99, b"x", b"k"]),
        ([None], [7, 2, 99]),
        ([None, b"k", ["h", b"v"]], [7, 2, 99, None, b"k", ["h", b"v"]]),
        ((b"x", None, None, 17), [7, 2, 17, b"x"]),
        ([b"x", None, None, None, b"p"], [7, 2, 99, b"x", None, None, b"p"]),
    ],
)
def test_a_delivery_has_every_record_without_its_trailing_nulls(record, row):
    assert value(encode_delivery(Delivered("t", "g", 1, 7, 2, 99, [record]))) == ["MSG", "t", "g", 1, [row]]
