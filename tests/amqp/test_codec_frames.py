"""Frames, replies and credentials."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.amqp.codec import (
    FRAME_OVERHEAD,
    HEARTBEAT,
    MAX_REPLY_TEXT_BYTES,
    PROTOCOL_HEADER,
    REPLIES,
    Credentials,
    encode_content,
    encode_frame,
    encode_method_frame,
    parse_amqplain,
    parse_plain,
    reply_text,
)
from handlers.amqp.tables import QUEUE_DELETE_OK
from portask.errors import ProtocolError
from portask.field_table import encode_table

FRAME_MAX = 4096
HEADER = b"header"


def frames_of(data):
    """Type, channel and payload of each frame."""
    found = []
    while data:
        size = int.from_bytes(data[3:7], "big")
        assert data[7 + size] == 0xCE
        found.append((data[0], int.from_bytes(data[1:3], "big"), data[7 : 7 + size]))
        data = data[8 + size :]
    return found


# -- frames --------------------------------------------------------------------------------------


def test_method_frame():
    frame = encode_method_frame(258, QUEUE_DELETE_OK.value(message_count=7))

    assert frame == b"\1\1\2\0\0\0\x08" + b"\0\x32\0\x29\0\0\0\7" + b"\xce"


def test_heartbeat():
    assert HEARTBEAT == b"\x08\0\0\0\0\0\0\xce"


def test_protocol_header():
    assert PROTOCOL_HEADER == b"AMQP\0\0\x09\1"


def test_content_without_body_has_no_body_frame():
    assert b"".join(encode_content(3, HEADER, b"", FRAME_MAX)) == encode_frame(2, 3, HEADER)


@pytest.mark.parametrize(
    ("size", "frame_max", "sizes"),
    [
        (1, FRAME_MAX, [1]),
        (FRAME_MAX - FRAME_OVERHEAD, FRAME_MAX, [FRAME_MAX - FRAME_OVERHEAD]),
        (FRAME_MAX - FRAME_OVERHEAD + 1, FRAME_MAX, [FRAME_MAX - FRAME_OVERHEAD, 1]),
        (3 * FRAME_MAX, FRAME_MAX, [4088, 4088, 4088, 24]),
        (3 * FRAME_MAX, 0, [3 * FRAME_MAX]),
    ],
)
def test_body_is_cut_into_frames_of_at_most_frame_max(size, frame_max, sizes):
    body = bytes(index % 251 for index in range(size))
    header, *bodies = frames_of(b"".join(encode_content(3, HEADER, body, frame_max)))

    assert header == (2, 3, HEADER)
    assert [(kind, channel, len(payload)) for kind, channel, payload in bodies] == [(3, 3, size) for size in sizes]
    assert b"".join(payload for _, _, payload in bodies) == body


# -- replies -------------------------------------------------------------------------------------


def test_reply_text_is_the_name_and_the_explanation():
    assert reply_text(404, "no queue 'q' in vhost '/'") == "NOT_FOUND - no queue 'q' in vhost '/'"


def test_reply_text_without_explanation_is_the_name():
    assert reply_text(320) == "CONNECTION_FORCED"


@given(st.sampled_from(sorted(REPLIES)), st.text(st.characters(codec="utf-8") | st.sampled_from("é€😀"), max_size=300))
def test_long_reply_text_is_cut_between_characters(code, explanation):
    whole = f"{REPLIES[code].name} - {explanation}" if explanation else REPLIES[code].name
    said = reply_text(code, explanation)
    size = len(said.encode())

    assert whole.startswith(said)
    assert size <= MAX_REPLY_TEXT_BYTES
    assert said == whole or size > MAX_REPLY_TEXT_BYTES - 4


@pytest.mark.parametrize("character", ["a", "é", "€", "😀", "\udcff"])
@pytest.mark.parametrize("shift", range(4))
def test_reply_text_is_as_long_as_its_characters_allow(character, shift):
    said = reply_text(404, "x" * shift + character * 300)
    encoded = said.encode("utf-8", "surrogateescape")

    assert len(encoded) <= MAX_REPLY_TEXT_BYTES
    assert len(encoded) > MAX_REPLY_TEXT_BYTES - 4
    assert set(said.removeprefix("NOT_FOUND - " + "x" * shift)) == {character}


# -- credentials ---------------------------------------------------------------------------------


def test_plain_response():
    assert parse_plain(b"\0guest\0p\xffss") == Credentials("guest", b"p\xffss")


@pytest.mark.parametrize("response", [b"", b"guest", b"\0guest", b"guest\0guest", b"a\0b\0c", b"\0a\0b\0c"], ids=repr)
def test_broken_plain_response_is_refused(response):
    with pytest.raises(ProtocolError):
        parse_plain(response)


@pytest.mark.parametrize("password", ["secret", b"secret"])
def test_amqplain_response_is_a_table_without_its_size(password):
    response = encode_table({"LOGIN": "guest", "PASSWORD": password})[4:]

    assert parse_amqplain(response) == Credentials("guest", b"secret")


@pytest.mark.parametrize(
    "table",
    [{}, {"LOGIN": "guest"}, {"PASSWORD": "guest"}, {"LOGIN": 1, "PASSWORD": "x"}, {"LOGIN": "x", "PASSWORD": None}],
)
def test_incomplete_amqplain_response_is_refused(table):
    with pytest.raises(ProtocolError, match="missing LOGIN or PASSWORD"):
        parse_amqplain(encode_table(table)[4:])


def test_broken_amqplain_response_is_refused():
    with pytest.raises(ProtocolError):
        parse_amqplain(b"\5LOGINS\0\0\0\x09guest")


def test_credentials_do_not_show_the_password():
    assert "secret" not in repr(Credentials("guest", b"secret"))
