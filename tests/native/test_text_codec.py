"""Text mode's bytes."""

import pytest

from handlers.native.codec import Decoder
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
from handlers.native.text_encoder import encode_answer, encode_cancelled, encode_delivery, encode_error
from portask.errors import MessageTooLargeError, ProtocolError
from tests.native.codec_case import LIMITS, decode, one, refused


def encoded(pieces):
    return b"".join(pieces)


# -- publishing -----------------------------------------------------------------------------------


def test_publish_takes_the_rest_of_the_line_verbatim():
    assert one(b"PUBLISH t  a b=c %20\t\xff \n") == (
        "PUBLISH",
        None,
        Publish("t", [b" a b=c %20\t\xff "], None, 13),
    )


def test_a_line_may_end_in_carriage_return_and_newline():
    assert one(b"PUBLISH t x\r\n")[2].records == [b"x"]


def test_a_payload_may_be_empty_after_the_space():
    assert one(b"PUBLISH t \n")[2].records == [b""]


def test_publish_without_a_space_after_the_topic_is_refused_and_the_stream_stays_in_step():
    first, second = decode(b"PUBLISH t\nPING\n")
    assert first[0] is ProtocolError
    assert not first[3]
    assert second[0] == "PING"


def test_verbs_are_read_in_any_case_and_after_spaces():
    assert [item[0] for item in decode(b"  publish t x\npInG\n")] == ["PUBLISH", "PING"]


def test_empty_lines_are_ignored():
    assert [item[0] for item in decode(b"\n\r\n   \nPING\n\n")] == ["PING"]


def test_publishb_takes_exactly_its_bytes():
    first, second = decode(b"PUBLISHB t 4\n\n\r\n PING\n")
    assert first[2] == Publish("t", [b"\n\r\n "], None, 4)
    assert second[0] == "PING"


def test_publishb_takes_key_headers_timestamp_and_properties():
    line = b"PUBLISHB t 1 key=%00k h.a=1 h.a=%C3%A9 h.n h.e= timestamp=17 properties=p partition=3\nx"
    record = (b"x", b"\0k", ["a", b"1", "a", "é".encode(), "n", None, "e", b""], 17, b"p")
    assert one(line)[2] == Publish("t", [record], 3, 1 + 2 + 2 + 3 + 1 + 1 + 1)


def test_publishb_with_a_dash_is_a_null_payload_without_bytes():
    first, second = decode(b"PUBLISHB t - key=k\nPING\n")
    assert first[2].records == [(None, b"k")]
    assert second[0] == "PING"


def test_publishb_of_length_zero_is_an_empty_payload():
    assert one(b"PUBLISHB t 0\n")[2].records == [b""]


@pytest.mark.parametrize("length", [b"x", b"-1", b"", b"99999999999999999999", b"9223372036854775808"])
def test_publishb_with_an_unsound_length_ends_the_stream(length):
    kind, _, fatal = refused(b"PUBLISHB t " + length + b"\nPING\n")
    assert (kind, fatal) == (ProtocolError, True)


def test_publishb_with_a_length_beyond_the_limit_ends_the_stream_at_once():
    assert refused(b"PUBLISHB t 1001\n")[::2] == (MessageTooLargeError, True)


@pytest.mark.parametrize(
    "word", [b"key", b"what=x", b"timestamp=x", b"key=%zz", b"h.%ff=x", b"partition=x", b"timestamp"]
)
def test_publishb_with_a_wrong_option_is_refused_and_its_bytes_are_skipped(word):
    first, second = decode(b"PUBLISHB t 5 " + word + b"\nPING\nPING\n")
    assert (first[0], first[3]) == (ProtocolError, False)
    assert second[0] == "PING"


def test_a_message_with_key_and_headers_beyond_the_limit_is_refused_in_step():
    first, second = decode(b"PUBLISHB t 990 key=kkkkkkkkkkk\n" + b"x" * 990 + b"PING\n")
    assert (first[0], first[3]) == (MessageTooLargeError, False)
    assert second[0] == "PING"


def test_more_headers_than_allowed_are_refused():
    limits = LIMITS._replace(line_bytes=10_000)
    kind, text, fatal = refused(b"PUBLISHB t 0" + b" h.a" * 1001 + b"\n", limits)
    assert (kind, fatal) == (ProtocolError, False)
    assert "1001 headers" in text


def test_mpublish_takes_count_entries():
    item = one(b"MPUBLISH t 3 partition=1\n1 key=k\nx\n-\n\n2\nyz")
    assert item[2] == Publish("t", [(b"x", b"k"), (None,), b"yz"], 1, 4)


def test_mpublish_with_one_wrong_entry_is_refused_as_a_whole_and_in_step():
    first, second = decode(b"MPUBLISH t 2\n1 nonsense\nx1 key=%z\nyPING\n")
    assert (first[0], first[3]) == (ProtocolError, False)
    assert "nonsense" in first[2]
    assert second[0] == "PING"


def test_mpublish_to_a_topic_that_is_no_text_is_refused_in_step():
    first, second = decode(b"MPUBLISH %ff 1\n1\nxPING\n")
    assert (first[0], first[3]) == (ProtocolError, False)
    assert second[0] == "PING"


@pytest.mark.parametrize(
    "line", [b"MPUBLISH t", b"MPUBLISH t x", b"MPUBLISH t 1 2", b"MPUBLISH t 1 partition=1 x", b"PUBLISHB t"]
)
def test_a_publish_whose_extent_is_unknown_ends_the_stream(line):
    assert refused(line + b"\nPING\n")[::2] == (ProtocolError, True)


@pytest.mark.parametrize("count", [b"0", b"51"])
def test_mpublish_beyond_the_count_limit_ends_the_stream(count):
    assert refused(b"MPUBLISH t " + count + b"\n")[::2] == (MessageTooLargeError, True)


def test_mpublish_beyond_the_total_limit_ends_the_stream():
    entry = b"1000\n" + b"x" * 1000
    assert refused(b"MPUBLISH t 5\n" + entry * 5)[::2] == (MessageTooLargeError, True)


def test_an_mpublish_entry_without_a_length_ends_the_stream():
    assert refused(b"MPUBLISH t 1\n \n")[::2] == (ProtocolError, True)


# -- other commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        (b"SUBSCRIBE t", ("t", "default", 100, "first")),
        (b"SUBSCRIBE t g%20h 5 start=@17", ("t", "g h", 5, "@17")),
        (b"SUBSCRIBE prefetch=7 t start=last group=g", ("t", "g", 7, "last")),
        (b"READ t 0 first", ("t", 0, "first", 1000, 0, 1 << 20)),
        (b"READ t 0 17 5 wait=100 max_bytes=9", ("t", 0, "17", 5, 100, 9)),
        (b"CREATE t", ("t", None, {})),
        (b"CREATE t partitions=2 a=b c=%20", ("t", 2, {"a": "b", "c": " "})),
        (b"ALTER t a=", ("t", {"a": None})),
        (b"GROUPS", (None,)),
        (b"HELLO other name=x", ("other", "x")),
    ],
)
def test_arguments_come_by_place_or_by_name(line, arguments):
    assert one(line + b"\n")[2] == arguments


@pytest.mark.parametrize(
    "line",
    [
        b"SUBSCRIBE",
        b"SUBSCRIBE t g 5 6",
        b"SUBSCRIBE t topic=t",
        b"SUBSCRIBE t g x",
        b"SUBSCRIBE t g 99999999999999999999",
        b"SUBSCRIBE t nothing=1",
        b"ALTER t",
        b"PING x",
        b"TOPIC \xff",
        b"ACK",
        b"ACK group=g",
        b"ACK t/0",
        b"ACK t/0/5-4",
        b"ACK t/0/1-9999999999999999999",
        b"ACK t/x/1",
    ],
)
def test_wrong_arguments_are_refused_in_step(line):
    first, second = decode(line + b"\nPING\n")
    assert (first[0], first[3]) == (ProtocolError, False)
    assert second[0] == "PING"


def test_ack_takes_ids_and_ranges():
    assert one(b"ACK a/0/1 b/2/3-5 group=g\n")[2] == Settlement("g", [("a", 0, 1, 1), ("b", 2, 3, 5)])


def test_an_unknown_verb_is_refused_in_step():
    first, second = decode(b"\x00\xfeGET / HTTP/1.1\nPING\n")
    assert (first[0], first[3]) == (UnknownCommandError, False)
    assert second[0] == "PING"


def test_an_error_shows_a_long_word_cut_and_on_one_line():
    text = one(b"x" * 100 + b"\n")[2]
    assert "'" + "x" * 40 + "'..." in text


def test_a_line_beyond_the_limit_ends_the_stream_before_it_is_complete():
    assert refused(b"PUBLISH t " + b"x" * 191)[::2] == (MessageTooLargeError, True)
    assert refused(b"PUBLISH t " + b"x" * 191 + b"\nPING\n")[::2] == (MessageTooLargeError, True)


def test_a_line_of_exactly_the_limit_is_taken():
    assert one(b"PUBLISH t " + b"x" * 190 + b"\n")[0] == "PUBLISH"


def test_after_the_end_of_the_stream_nothing_is_taken():
    decoder = Decoder(LIMITS)
    decoder.feed(b"PUBLISHB t x\n")
    assert decoder.feed(b"PING\n") == []


@pytest.mark.parametrize(
    "data", [b"PI", b"PUBLISHB t 5\n", b"PUBLISHB t 5\nab", b"MPUBLISH t 1\n", b"MPUBLISH t 1\n5\n"]
)
def test_a_begun_command_counts_as_unfinished(data):
    decoder = Decoder(LIMITS)
    decoder.feed(data)
    assert decoder.unfinished


def test_a_complete_command_leaves_nothing_unfinished():
    decoder = Decoder(LIMITS)
    decoder.feed(b"PUBLISHB t 5\nabcde")
    assert not decoder.unfinished


# -- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (Stored("t", [(0, 7, 1)]), b"OK t/0/7\n"),
        (Stored("t", [(0, 7, 2), (1, 0, 1)]), b"OK t/0/7-8 t/1/0\n"),
        (None, b"OK\n"),
        (3, b"OK 3\n"),
        ("PONG", b"OK PONG\n"),
        (Subscribed("t", "a b"), b"OK t a%20b\n"),
        ({"a": "é\n"}, 'OK {"a":"é\\n"}\n'.encode()),
        (Lines([{"a": 1}, "b"]), b'OK 2\n{"a":1}\nb\n'),
        (Lines([]), b"OK 0\n"),
    ],
)
def test_a_result_is_one_line_or_counted_lines(result, line):
    assert encoded(encode_answer(None, result)) == line


def test_an_error_is_one_line():
    assert encoded(encode_error(None, "SYNTAX", "a\nb  c")) == b"ERR SYNTAX a b c\n"


def test_a_cancellation_is_one_line():
    assert encoded(encode_cancelled("t", "g h", "UNKNOWN_TOPIC", "gone")) == b"CANCELLED t g%20h UNKNOWN_TOPIC gone\n"


def test_a_message_is_a_line_and_its_bytes():
    pieces = encode_delivery(Delivered("t", "g", 1, 5, 0, 99, [b"a\nb", b""]))
    assert encoded(pieces) == b"MSG t/1/5 t 3 group=g timestamp=99\na\nb\nMSG t/1/6 t 0 group=g timestamp=99\n\n"


def test_a_message_shows_all_that_it_has():
    record = [b"x", b"a b", ["h=", b"%", "n", None], 17, b"\x80"]
    pieces = encode_delivery(Delivered("t", "g", 0, 0, 2, 99, [record]))
    assert encoded(pieces) == (
        b"MSG t/0/0 t 1 group=g redelivered=2 timestamp=17 key=a%20b h.h%3D=%25 h.n properties=%80\nx\n"
    )


def test_a_null_payload_has_a_dash_for_its_length():
    assert encoded(encode_delivery(Delivered("t", None, 0, 0, 0, 99, [[None]]))) == b"MSG t/0/0 t - timestamp=99\n\n"


def test_a_page_is_its_line_and_its_messages():
    page = Page([Delivered("t", None, 0, 4, 0, 9, [b"x"])], 5, 8, 1)
    assert encoded(encode_answer(None, page)) == (
        b"OK 1 next_offset=5 high_watermark=8 log_start_offset=1\nMSG t/0/4 t 1 timestamp=9\nx\n"
    )
