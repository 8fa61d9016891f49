"""Field tables: every letter, both ways, and what broken or hostile ones get."""

import struct
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.errors import ProtocolError
from portask.field_table import MAX_DEPTH, Timestamp, decode_fields, decode_table, encode_table

PEAK_BYTES = 50_000
FRAME_BYTES = 128 * 1024

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
    | st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=0)
    )
    | st.builds(
        lambda unscaled, scale: Decimal(unscaled).scaleb(-scale),
        st.integers(-(1 << 31), (1 << 31) - 1),
        st.integers(0, 255),
    )
)
names = st.text(st.characters(codec="utf-8"), max_size=60)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=20
)
tables = st.dictionaries(names, values, max_size=6)


def sized(fields):
    return struct.pack(">I", len(fields)) + fields


def one(letter, data=b""):
    """A table of one field of this type."""
    return sized(b"\1k" + letter + data)


def nested(letter, depth):
    """A table whose one field leads *depth* tables or arrays down, itself counted."""
    inner = sized(b"")
    for _ in range(depth - 1):
        inner = one(b"F", inner) if letter == "F" else sized(b"A" + inner)
    return inner if letter == "F" else one(b"A", inner)


# -- values --------------------------------------------------------------------------------------


@given(tables)
def test_values_survive(table):
    data = encode_table(table)

    assert decode_table(data) == (table, len(data))
    assert decode_table(memoryview(b"x" + data + b"x"), 1) == (table, len(data) + 1)
    assert decode_fields(data[4:]) == table


@pytest.mark.parametrize(
    ("letter", "data", "value"),
    [
        (b"t", b"\1", True),
        (b"t", b"\0", False),
        (b"t", b"\2", True),
        (b"b", b"\xff", -1),
        (b"B", b"\xff", 255),
        (b"s", b"\xff\xfe", -2),
        (b"u", b"\xff\xfe", 65534),
        (b"I", b"\xff\xff\xff\xfd", -3),
        (b"i", b"\xff\xff\xff\xfd", (1 << 32) - 3),
        (b"l", b"\xff" * 8, -1),
        (b"L", b"\xff" * 8, -1),
        (b"f", struct.pack(">f", 0.5), 0.5),
        (b"d", struct.pack(">d", 0.1), 0.1),
        (b"D", b"\2\0\0\1\0", Decimal("2.56")),
        (b"D", b"\1\xff\xff\xff\xff", Decimal("-0.1")),
        (b"S", b"\0\0\0\2\xc3\xa9", "é"),
        (b"S", b"\0\0\0\1\xff", b"\xff"),
        (b"x", b"\0\0\0\2ab", b"ab"),
        (b"T", b"\0\0\0\0\0\0\0\1", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (b"T", struct.pack(">Q", 253_402_300_799), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"T", b"\xff" * 8, (1 << 64) - 1),
        (b"A", sized(b"tI")[:4] + b"t\1", [True]),
        (b"F", one(b"V"), {"k": None}),
        (b"V", b"", None),
    ],
)
def test_letter_is_read(letter, data, value):
    table, _ = decode_table(one(letter, data))

    assert table == {"k": value}
    assert type(table["k"]) is type(value) or isinstance(table["k"], Timestamp)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (True, b"t\1"),
        (False, b"t\0"),
        ((1 << 31) - 1, b"I\x7f\xff\xff\xff"),
        (-(1 << 31), b"I\x80\0\0\0"),
        (1 << 31, b"l\0\0\0\0\x80\0\0\0"),
        (0.5, b"d" + struct.pack(">d", 0.5)),
        (Decimal("1E+3"), b"D\0\0\0\3\xe8"),
        ("é", b"S\0\0\0\2\xc3\xa9"),
        ("\udcff", b"S\0\0\0\1\xff"),
        (b"\0", b"x\0\0\0\1\0"),
        (bytearray(b"\0"), b"x\0\0\0\1\0"),
        (memoryview(b"\0"), b"x\0\0\0\1\0"),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), b"T" + bytes(8)),
        (datetime(1970, 1, 1), b"T" + bytes(8)),
        (Timestamp((1 << 64) - 1), b"T" + b"\xff" * 8),
        ((1,), b"A\0\0\0\5I\0\0\0\1"),
        (MappingProxyType({}), b"F\0\0\0\0"),
        (None, b"V"),
    ],
)
def test_value_is_written_as_its_letter(value, data):
    assert encode_table({"k": value}) == sized(b"\1k" + data)


def test_name_that_is_not_utf8_survives():
    data = sized(b"\1\xff" + b"V")

    assert encode_table(decode_table(data)[0]) == data


def test_of_equal_names_the_last_counts():
    assert decode_table(sized(b"\1kt\0\1kt\1"))[0] == {"k": True}


@pytest.mark.parametrize(
    "value",
    [
        1 << 63,
        -(1 << 63) - 1,
        Decimal("NaN"),
        Decimal("1E+11"),
        Decimal(12345678901),
        Decimal(1 << 31),
        Decimal("1E-256"),
        datetime(1969, 12, 31, tzinfo=UTC),
        object(),
        "\ud800",
    ],
    ids=repr,
)
def test_value_that_no_table_can_hold_is_refused(value):
    with pytest.raises(ValueError):
        encode_table({"k": value})


def test_name_longer_than_255_bytes_is_refused():
    with pytest.raises(ValueError):
        encode_table({"k" * 256: None})


# -- depth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["F", "A"])
def test_nesting_is_bounded(letter):
    deepest = MAX_DEPTH if letter == "F" else MAX_DEPTH - 1
    decode_table(nested(letter, deepest))

    with pytest.raises(ProtocolError, match="nested more than"):
        decode_table(nested(letter, deepest + 1))
    with pytest.raises(ProtocolError, match="nested more than"):
        decode_table(nested(letter, 20_000))


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}])
def test_nesting_is_bounded_when_encoding(wrap):
    value = []
    for _ in range(MAX_DEPTH - 2):
        value = wrap(value)
    assert decode_table(encode_table({"k": value}))[0] == {"k": value}

    with pytest.raises(ValueError, match="nested more than"):
        encode_table({"k": wrap(value)})


# -- broken bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\1",
        b"\xff\xff\xff\xff" + b"\1kV",
        sized(b"\1k"),
        sized(b"\1"),
        sized(b"\5kV"),
        sized(b"\1kI\0\0\0"),
        sized(b"\1kt") + b"\1",
        sized(b"\1kS\0\0\0\2a"),
        sized(b"\1kS\xff\xff\xff\xffa"),
        sized(b"\1kx\0\0\0\2a"),
        sized(b"\1kF\0\0\0\3\1k"),
        sized(b"\1kA\0\0\0\1t"),
        sized(b"\1kA\0\0\0\1t\1"),
        sized(b"\1kA\0\0\0\2V"),
        sized(b"\1kT\0"),
        sized(b"\1kD\0"),
        sized(b"\1kZ"),
        sized(b"\1k\xff"),
    ],
    ids=bytes.hex,
)
def test_broken_table_is_refused(data):
    with pytest.raises(ProtocolError):
        decode_table(data)


def test_broken_fields_are_refused():
    with pytest.raises(ProtocolError):
        decode_fields(b"\1kI")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_refused(data):
    for letter in (b"F", b"A"):
        for case in (data, one(letter, sized(data))):
            try:
                table, position = decode_table(case)
            except ProtocolError:
                continue
            assert position <= len(case)
            assert decode_table(encode_table(table))[0].keys() == table.keys()


@pytest.mark.parametrize("letter", [b"S", b"x", b"A", b"F"])
def test_size_beyond_the_bytes_that_are_left_takes_no_memory(letter):
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode_table(one(letter, b"\x7f\xff\xff\xff" + bytes(100)))
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("item", [b"V", b"F\0\0\0\0", b"A\0\0\0\0", b"t\0"])
def test_tiny_items_take_memory_in_proportion(item):
    data = one(b"A", sized(item * (FRAME_BYTES // len(item))))
    tracemalloc.start()
    try:
        decode_table(data)
        assert tracemalloc.get_traced_memory()[1] < 20 * FRAME_BYTES
    finally:
        tracemalloc.stop()
