"""Field tables and properties against those of pamqp and pika: values, letters and bytes."""

from datetime import UTC, datetime
from decimal import Decimal

import pika.data
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, decode, encode, header

from portask.field_table import decode_table, encode_table
from portask.properties import Properties, decode_header, encode_header

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
# Larger ones are milliseconds to pamqp.
dates = st.integers(0, (1 << 32) - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
decimals = st.builds(
    lambda unscaled, scale: Decimal(unscaled).scaleb(-scale), st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, 20)
)
scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | words | dates
values = st.recursive(
    scalars | decimals | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)
tables = st.dictionaries(words, values, max_size=5)
pamqp_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=20
)
OTHER_NAMES = {"type": "message_type"}
octets = st.none() | st.integers(0, 255)
all_properties = st.builds(
    Properties,
    *(st.none() | words.filter(bool) for _ in range(2)),
    headers=st.none() | st.dictionaries(words, pamqp_values, min_size=1, max_size=4),
    delivery_mode=st.none() | st.sampled_from([1, 2]),
    priority=octets,
    **dict.fromkeys(
        ["correlation_id", "reply_to", "expiration", "message_id", "type", "user_id", "app_id"],
        st.none() | words.filter(bool),
    ),
    timestamp=st.none() | st.integers(1, (1 << 32) - 1),
    cluster_id=st.none(),  # pamqp allows no other
)


# -- field tables --------------------------------------------------------------------------------


@given(tables)
def test_pika_reads_our_tables(table):
    data = encode_table(table)

    assert pika.data.decode_table(data, 0) == (table, len(data))


@given(tables)
def test_we_read_the_tables_of_pika(table):
    pieces = []
    size = pika.data.encode_table(pieces, table)

    assert decode_table(b"".join(pieces)) == (table, size)


@given(st.dictionaries(words, st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=9)))
def test_letters_are_those_of_pika(table):
    pieces = []
    pika.data.encode_table(pieces, table)

    assert encode_table(table) == b"".join(pieces)


@given(st.dictionaries(words, pamqp_values, max_size=5))
def test_pamqp_reads_our_tables(table):
    data = encode_table(table)

    assert decode.field_table(data) == (len(data), table)


@given(st.dictionaries(words, pamqp_values | decimals | st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_we_read_the_tables_of_pamqp(table):
    data = encode.field_table(table)

    assert decode_table(data) == (table, len(data))


@pytest.mark.parametrize("letter", list("tbBsuIilLfdDSxTV"))
@given(data=st.binary(min_size=8, max_size=8))
def test_letter_means_what_it_means_to_pamqp(letter, data):
    if letter in "Sx":
        data = b"\0\0\0\x04" + data[:4]
    if letter == "T":
        data = bytes(4) + data[:4]
    size, theirs = decode.TABLE_MAPPING[letter.encode()](data)
    field = b"\1k" + letter.encode() + data[:size]
    ours = decode_table(len(field).to_bytes(4, "big") + field)[0]["k"]

    assert repr(ours) == repr(bytes(theirs) if letter == "x" else theirs)


# -- properties ----------------------------------------------------------------------------------


@given(all_properties, st.integers(0, 1 << 40))
def test_pika_reads_our_properties_and_writes_the_same(properties, size):
    data = encode_header(properties, size)
    theirs = pika.spec.BasicProperties()
    theirs.decode(data, 12)

    assert {name: getattr(theirs, name) for name in Properties._fields} == properties._asdict()
    assert b"".join(theirs.encode()) == data[12:]


@given(all_properties)
def test_we_read_the_properties_of_pika(properties):
    theirs = pika.spec.BasicProperties(**properties._asdict())

    assert decode_header(encode_header(Properties(), 0)[:12] + b"".join(theirs.encode())) == properties


@given(all_properties, st.integers(0, 1 << 40))
def test_pamqp_reads_our_properties(properties, size):
    theirs = header.ContentHeader()
    theirs.unmarshal(encode_header(properties, size))
    found = {name: getattr(theirs.properties, OTHER_NAMES.get(name, name)) for name in Properties._fields}
    if found["timestamp"] is not None:
        found["timestamp"] = int(found["timestamp"].timestamp())

    assert (theirs.class_id, theirs.body_size) == (60, size)
    assert found == properties._asdict() | {"cluster_id": ""}


@given(all_properties, st.integers(0, 1 << 40))
def test_we_read_the_properties_of_pamqp(properties, size):
    fields = {OTHER_NAMES.get(name, name): value for name, value in properties._asdict().items() if value is not None}
    if "timestamp" in fields:
        fields["timestamp"] = datetime.fromtimestamp(fields["timestamp"], UTC)
    theirs = header.ContentHeader(0, size, commands.Basic.Properties(**fields))

    assert decode_header(theirs.marshal()) == properties
