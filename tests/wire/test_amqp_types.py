"""The types that only AMQP has: bits that share bytes, short and long strings, field tables."""

import pytest

from portask.errors import ProtocolError
from tests.wire.tables import decoded, encoded, table


def test_neighbouring_bits_share_a_byte_from_the_lowest_on():
    message = table("a bit\nb bit\nc bit\nd int8\ne bit")
    value = message.value(a=True, c=True, d=7, e=True)

    assert encoded(message, 0, value) == b"\x05\x07\x01"
    assert decoded(message, 0, b"\x05\x07\x01") == value


def test_a_ninth_bit_begins_another_byte():
    message = table("\n".join(f"b{number} bit" for number in range(9)))
    value = message.value(b7=True, b8=True)

    assert encoded(message, 0, value) == b"\x80\x01"
    assert decoded(message, 0, b"\x80\x01") == value


def test_bits_that_nobody_knows_are_passed_over():
    message = table("a bit")

    assert decoded(message, 0, b"\xff") == message.value(a=True)


def test_bits_that_a_version_lacks_leave_no_gap():
    message = table("a bit\nb bit 1+\nc bit")
    value = message.value(a=True, c=True)

    assert (encoded(message, 0, value), encoded(message, 1, value)) == (b"\x03", b"\x05")
    assert decoded(message, 0, b"\x03") == value


def test_short_string_that_is_not_utf8_survives():
    message = table("a short_string")

    assert encoded(message, 0, decoded(message, 0, b"\x02\xff\xfe")) == b"\x02\xff\xfe"


@pytest.mark.parametrize("size", [0, 1, 255])
def test_short_string_has_one_byte_of_length(size):
    message = table("a short_string")
    data = bytes((size,)) + b"x" * size

    assert decoded(message, 0, data).a == "x" * size
    assert encoded(message, 0, message.value(a="x" * size)) == data


def test_long_string_is_bytes():
    message = table("a long_string")

    assert decoded(message, 0, b"\0\0\0\1\xff").a == b"\xff"
    assert encoded(message, 0, message.value(a=b"\xff")) == b"\0\0\0\1\xff"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("short_string", b"\x05abcd"),
        ("long_string", b"\xff\xff\xff\xffabcd"),
        ("table", b"\0\0\0\x05\1kV"),
        ("table", b"\xff\xff\xff\xff"),
        ("bit", b""),
    ],
)
def test_what_is_cut_short_is_refused(kind, data):
    message = table(f"a {kind}")

    with pytest.raises(ProtocolError):
        message.decode(0)(data, 0, len(data))


def test_table_that_goes_beyond_the_end_is_refused():
    message = table("a table")

    with pytest.raises(ProtocolError):
        message.decode(0)(b"\0\0\0\3\1kV", 0, 5)


def test_table_between_other_fields():
    message = table("a uint8\nb table\nc uint64")
    value = message.value(a=1, b={"k": [1, None]}, c=(1 << 64) - 1)

    assert decoded(message, 0, encoded(message, 0, value)) == value


def test_table_that_a_version_lacks_is_empty_and_not_shared():
    message = table("a int8\nb table 1+")
    first, second = decoded(message, 0, b"\1"), decoded(message, 0, b"\1")
    first.b["k"] = 1

    assert second.b == {}


def test_elements_of_an_array_can_have_tables_and_bits():
    message = table("a [S]\n    b bit\n    c table", flexible=1)
    value = message.value(a=[message.value.S(b=True), message.value.S(c={"k": 1})])

    for version in (0, 1):
        assert decoded(message, version, encoded(message, version, value)) == value
        with pytest.raises(ProtocolError):
            message.decode(version)(b"\0\0\1\0" + bytes(9), 0, 13)


@pytest.mark.parametrize("field", ["[bit]", "[table]", "bit?", "table?", "bit tag=0", "table tag=0"])
def test_bits_and_tables_stand_alone(field):
    with pytest.raises(ValueError, match="stands alone"):
        assert table(f"a {field}", flexible=0).value
