"""Properties: content headers both ways, changes in them, and what is read from packed ones without decoding."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.errors import ProtocolError
from portask.properties import (
    CLASS_BASIC,
    EMPTY_HEADER,
    FLAG_EXPIRATION,
    FLAG_HEADERS,
    FLAG_PRIORITY,
    Properties,
    body_size_of,
    decode_header,
    edited,
    encode_header,
    encoded,
    expiration_of,
    flags_of,
    is_packed,
    items_of,
    pack,
    priority_of,
    properties_of,
    repacked,
    unpack,
    with_body_size,
)

strings = st.none() | st.text(st.characters(codec="utf-8"), max_size=60)
octets = st.none() | st.integers(0, 255)
tables = st.none() | st.dictionaries(
    st.text("ab", max_size=3), st.integers(0, 9) | st.text("xy", max_size=5), max_size=3
)
all_properties = st.builds(
    Properties,
    content_type=strings,
    content_encoding=strings,
    headers=tables,
    delivery_mode=octets,
    priority=octets,
    correlation_id=strings,
    reply_to=strings,
    expiration=strings | st.integers(0, 1 << 33).map(str),
    message_id=strings,
    timestamp=st.none() | st.integers(0, (1 << 64) - 1),
    type=strings,
    user_id=strings,
    app_id=strings,
    cluster_id=strings,
)
FULL = Properties("a", "b", {"h": 1}, 2, 9, "c", "r", "60000", "m", 1, "t", "u", "a", "k")
FOREIGN = [None, b"", b"\0", b"\xff", b"\x05hello", b"\0" + bytes(14), b"\0" + EMPTY_HEADER[:13], bytes(range(256))]


def header(flags, properties=b"", class_id=CLASS_BASIC):
    return struct.pack(">HHQH", class_id, 0, 5, flags) + properties


# -- content headers -----------------------------------------------------------------------------


@given(all_properties, st.integers(0, (1 << 64) - 1))
def test_properties_survive(properties, size):
    encoded = encode_header(properties, size)

    assert decode_header(encoded) == properties
    assert decode_header(memoryview(b"xx" + encoded), 2) == properties
    assert body_size_of(encoded) == size


@given(all_properties)
def test_items_are_the_properties_that_are_there_in_order(properties):
    present = [(name, value) for name, value in properties._asdict().items() if value is not None]

    assert list(items_of(encode_header(properties, 0))) == present


def test_string_that_is_not_utf8_survives():
    encoded = header(0x8000, b"\2\xff\xfe")

    assert encode_header(decode_header(encoded), 5) == encoded


@pytest.mark.parametrize(
    "data",
    [
        b"",
        EMPTY_HEADER[:13],
        header(0, b"x"),
        header(0, class_id=50),
        header(1, b"\0\0"),
        header(0x8000),
        header(0x8000, b"\3ab"),
        header(FLAG_HEADERS, b"\0\0\0"),
        header(FLAG_HEADERS, b"\0\0\0\1"),
        header(FLAG_HEADERS, b"\xff\xff\xff\xff" + bytes(20)),
        header(FLAG_HEADERS, b"\0\0\0\3\1aZ"),
        header(FLAG_PRIORITY),
        header(0x0040, b"1234567"),
    ],
    ids=bytes.hex,
)
def test_broken_header_is_refused(data):
    with pytest.raises(ProtocolError):
        decode_header(data)


@given(st.integers(0, 0xFFFF), st.binary(max_size=40))
def test_any_header_is_decoded_or_refused(flags, data):
    packed = pack("x", header(flags, data))
    try:
        properties = decode_header(header(flags, data))
    except ProtocolError:
        assert not is_packed(packed)
        assert properties_of(packed) == Properties()
    else:
        assert is_packed(packed)
        assert properties_of(packed) == properties
        assert priority_of(packed) == (properties.priority or 0)
    assert flags_of(packed) == flags
    expiration_of(packed)
    priority_of(packed)


def test_body_size_is_changed_alone():
    changed = with_body_size(encode_header(FULL, 5), 7)

    assert changed == encode_header(FULL, 7)


@given(all_properties, all_properties, st.sets(st.sampled_from(Properties._fields)))
def test_edited_header_has_the_changes_and_all_else_as_it_was(properties, others, names):
    changes = {name: getattr(others, name) for name in names}

    assert edited(encode_header(properties, 5), **changes) == encode_header(properties._replace(**changes), 5)


def test_what_is_not_edited_keeps_its_bytes():
    before = header(FLAG_HEADERS | FLAG_EXPIRATION, b"\0\0\0\4\1aB\7" + b"\0011")

    assert edited(before, expiration=None) == header(FLAG_HEADERS, b"\0\0\0\4\1aB\7")


def test_encoded_property_is_the_bytes_of_one():
    assert encoded(encode_header(FULL, 5), "priority") == b"\x09"
    assert encoded(EMPTY_HEADER, "priority") == b""


def test_property_can_be_edited_as_it_is_encoded():
    assert edited(EMPTY_HEADER, priority=b"\x09") == encode_header(Properties(priority=9), 0)


def test_only_properties_are_edited():
    with pytest.raises(KeyError):
        edited(EMPTY_HEADER, colour="red")


@pytest.mark.parametrize("changes", [{"message_id": "x" * 256}, {"priority": 256}, {"headers": {"k": object()}}])
def test_value_that_a_header_can_not_hold_is_refused(changes):
    with pytest.raises(ValueError):
        edited(EMPTY_HEADER, **changes)


# -- packed --------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8"), max_size=60), all_properties)
def test_packed_properties_are_read_without_decoding(exchange, properties):
    encoded = encode_header(properties, 5)
    packed = pack(exchange, encoded)
    expiration = properties.expiration

    assert unpack(packed) == (exchange, encoded)
    assert is_packed(packed)
    assert properties_of(packed) == properties
    assert flags_of(packed) == struct.unpack(">H", encoded[12:14])[0]
    assert priority_of(packed) == (properties.priority or 0)
    assert expiration_of(packed) == (int(expiration) if expiration and expiration.encode().isdigit() else None)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "+1", " 1", "1_000", "²"])
def test_expiration_that_is_not_a_number_is_none(text):
    assert expiration_of(pack("", encode_header(Properties(expiration=text), 0))) is None


@pytest.mark.parametrize("foreign", FOREIGN, ids=repr)
def test_foreign_properties_are_none(foreign):
    assert unpack(foreign) == ("", EMPTY_HEADER)
    assert not is_packed(foreign)
    assert properties_of(foreign) == Properties()
    assert (flags_of(foreign), expiration_of(foreign), priority_of(foreign)) == (0, None, 0)


@pytest.mark.parametrize("flags", [0x8000, 0x4000, FLAG_HEADERS, 0x0400, 0x0200, 0])
def test_packed_properties_that_are_cut_short_are_none(flags):
    packed = pack("", header(flags | FLAG_EXPIRATION | FLAG_PRIORITY))

    assert (expiration_of(packed), priority_of(packed)) == (None, 0)


def test_exchange_that_is_not_utf8_survives():
    packed = b"\1\xff" + EMPTY_HEADER

    assert pack(*unpack(packed)) == packed


def test_repacked_properties_have_the_changes():
    packed = repacked(pack("first", encode_header(FULL, 5)), "dlx", headers={"x-death": []}, expiration=None)

    assert packed == pack("dlx", encode_header(FULL._replace(headers={"x-death": []}, expiration=None), 5))


@pytest.mark.parametrize("foreign", [*FOREIGN, pack("x", header(0x8000))], ids=repr)
def test_repacked_foreign_properties_are_the_changes_alone(foreign):
    assert repacked(foreign, "dlx", priority=3) == pack("dlx", encode_header(Properties(priority=3), 0))
