"""Properties as headers, and back."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.properties import Properties, body_size_of, encode_header, pack, properties_of, unpack
from portask.property_headers import from_headers, to_headers, with_headers

EVERY = Properties(
    content_type="text/plain",
    content_encoding="gzip",
    headers={"a": "b"},
    delivery_mode=2,
    priority=7,
    correlation_id="c-1",
    reply_to="answers",
    expiration="60000",
    message_id="m-1",
    timestamp=1_700_000_000,
    type="note",
    user_id="guest",
    app_id="shop",
    cluster_id="",
)
TYPED = {
    "number": 5,
    "flag": True,
    "nothing": None,
    "fraction": 0.5,
    "price": Decimal("1.25"),
    "time": datetime(2026, 11, 23, tzinfo=UTC),
    "bytes": b"\xff\x00",
    "text": b"looks like text",
    "words": ["one", b"\xfe", None],
    "single": ["one"],
    "empty": [],
    "table": {"a": [1, {"b": b"c"}]},
}


def packed(exchange="shop", **properties):
    """The properties of a record."""
    return pack(exchange, encode_header(Properties(**properties), 5))


def headers_of(**headers):
    """What is shown of a message with nothing but these headers."""
    return to_headers(packed("", headers=headers))


def read(properties, *, exchange="shop"):
    """The decoded properties, after a look at the exchange."""
    assert unpack(properties)[0] == exchange
    return properties_of(properties)


# -- as headers -------------------------------------------------------------------------------------------------------


def test_every_property_is_shown_as_text():
    shown = dict(to_headers(packed(**EVERY._asdict())))

    assert shown == {
        "a": b"b",
        "amqp.exchange": b"shop",
        "amqp.content_type": b"text/plain",
        "amqp.content_encoding": b"gzip",
        "amqp.delivery_mode": b"2",
        "amqp.priority": b"7",
        "amqp.correlation_id": b"c-1",
        "amqp.reply_to": b"answers",
        "amqp.expiration": b"60000",
        "amqp.message_id": b"m-1",
        "amqp.timestamp": b"1700000000",
        "amqp.type": b"note",
        "amqp.user_id": b"guest",
        "amqp.app_id": b"shop",
        "amqp.cluster_id": b"",
    }


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("ü", "ü".encode()),
        ("\udcff", b"\xff"),
        (b"\xff", b"\xff"),
        (None, None),
        (5, b"5"),
        (True, b"true"),
        (0.5, b"0.5"),
        (Decimal("1.25"), b'"1.25"'),
        (datetime(2026, 11, 23, tzinfo=UTC), b'"2026-11-23T00:00:00+00:00"'),
        ({"a": [b"\xff", None]}, b'{"a": ["/w==", null]}'),
        (["one"], b'["one"]'),
        ([], b"[]"),
        ([1, "one"], b'[1, "one"]'),
    ],
)
def test_entry_is_shown_as(value, content):
    assert headers_of(name=value) == [("name", content)]


def test_array_of_texts_is_shown_as_a_repeated_header():
    assert headers_of(name=["one", b"\xff", None]) == [("name", b"one"), ("name", b"\xff"), ("name", None)]


def test_name_that_is_no_text_is_replaced():
    assert headers_of(**{"\udcff": "a"}) == [("?", b"a")]


@pytest.mark.parametrize(
    "properties",
    [None, b"", b"\x00", b"anything", packed() + b"rest", pack("", encode_header(Properties(type="a"), 0)[:-1])],
)
def test_nothing_is_shown_of_what_cannot_be_read(properties):
    assert to_headers(properties) == []


def test_default_exchange_is_not_shown():
    assert to_headers(packed("")) == []


# -- and back ---------------------------------------------------------------------------------------------------------


def test_headers_as_shown_leave_every_type_as_it_is():
    properties = packed(headers=TYPED, priority=3)

    assert from_headers(properties, tuple(to_headers(properties)), 5) == properties


def test_headers_alone_bring_properties_back():
    properties = packed(**EVERY._asdict())

    assert read(from_headers(None, tuple(to_headers(properties)), 5)) == EVERY


def test_body_size_is_that_of_the_body():
    assert body_size_of(unpack(from_headers(packed(), (), 70_000))[1]) == 70_000


def test_no_headers_take_nothing_away():
    properties = packed(**EVERY._asdict())

    assert read(from_headers(properties, (), 5)) == EVERY


def test_header_that_says_something_else_counts():
    properties = packed(headers={"a": 1, "b": 2}, type="note")
    changed = from_headers(properties, (("a", b"one"), ("b", b"2"), ("amqp.type", b"order")), 5)

    assert read(changed) == Properties(headers={"a": "one", "b": 2}, type="order")


def test_exchange_may_be_another():
    assert read(from_headers(packed(), (("amqp.exchange", b"other"),), 5), exchange="other") == Properties()


@pytest.mark.parametrize("content", [None, b"", b"x" * 256])
def test_exchange_that_cannot_be_one_is_left(content):
    assert read(from_headers(packed(), (("amqp.exchange", content),), 5)) == Properties()


def test_repeated_header_becomes_an_array():
    assert read(from_headers(packed(), (("a", b"1"), ("b", None), ("a", b"\xff")), 5)).headers == {
        "a": ["1", b"\xff"],
        "b": None,
    }


def test_repeated_header_that_is_changed_is_changed_whole():
    properties = packed(headers={"a": ["1", "2"]})

    assert read(from_headers(properties, (("a", b"1"), ("a", b"3")), 5)).headers == {"a": ["1", "3"]}


def test_last_of_several_properties_counts():
    assert read(from_headers(packed(), (("amqp.type", b"a"), ("amqp.type", b"b")), 5)).type == "b"


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("amqp.type", None, None),
        ("amqp.type", b"x" * 256, "x" * 256),
        ("amqp.priority", b"high", "high"),
        ("amqp.priority", b"256", "256"),
        ("amqp.priority", b"-1", "-1"),
        ("amqp.priority", "\u0663".encode(), "\u0663"),
        ("amqp.timestamp", str(1 << 64).encode(), str(1 << 64)),
        ("amqp.headers", b"{}", "{}"),
        ("amqp.color", b"red", "red"),
    ],
)
def test_property_that_cannot_be_one_is_an_entry(name, content, value):
    assert read(from_headers(packed(), ((name, content),), 5)) == Properties(headers={name: value})


def test_entry_that_is_named_like_a_property_stays_beside_it():
    properties = packed(headers={"amqp.type": "a"}, type="b")

    assert from_headers(properties, tuple(to_headers(properties)), 5) == properties


def test_long_name_is_cut_to_whole_letters():
    assert read(from_headers(packed(), (("x" + "ü" * 200, b"a"),), 5)).headers == {"x" + "ü" * 127: "a"}


def test_what_cannot_be_read_is_no_property():
    assert read(from_headers(b"anything", (("a", b"b"),), 5), exchange="").headers == {"a": "b"}


def test_properties_that_break_off_leave_the_exchange():
    broken = pack("shop", encode_header(Properties(type="note"), 5)[:-1])

    assert read(from_headers(broken, (("a", b"b"),), 5)) == Properties(headers={"a": "b"})


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
PROPERTIES = st.builds(
    Properties,
    content_type=st.none() | TEXTS,
    headers=st.none() | st.dictionaries(TEXTS, VALUES, max_size=5),
    delivery_mode=st.none() | st.integers(0, 255),
    priority=st.none() | st.integers(0, 255),
    correlation_id=st.none() | TEXTS,
    timestamp=st.none() | st.integers(0, 2**64 - 1),
    app_id=st.none() | TEXTS,
)
HEADERS = st.lists(st.tuples(TEXTS, st.none() | st.binary(max_size=20)), max_size=8).map(tuple)


@given(PROPERTIES, TEXTS)
def test_any_properties_read_and_written_again_are_the_same(properties, exchange):
    before = pack(exchange, encode_header(properties, 5))

    assert from_headers(before, tuple(to_headers(before)), 5) == before


@given(HEADERS)
def test_any_headers_read_by_amqp_and_written_again_are_the_same_but_for_their_places(headers):
    named = tuple((f"x{name}", content) for name, content in headers)
    shown = to_headers(from_headers(None, named, 5))

    assert sorted(shown, key=repr) == sorted(named, key=repr)


@given(st.none() | st.binary(), HEADERS)
def test_anything_makes_properties_that_can_be_read(properties, headers):
    made = from_headers(properties, headers, 5)

    assert to_headers(made) == to_headers(pack(unpack(made)[0], encode_header(properties_of(made), 5)))


# -- in a record ------------------------------------------------------------------------------------------------------


def test_record_is_shown_with_the_entries_only():
    properties = packed(headers={"a": ["1", "2"], "b": 3}, type="note")

    assert with_headers((b"body", b"key", None, 5, properties)) == (
        *(b"body", b"key"),
        ["a", b"1", "a", b"2", "b", b"3"],
        *(5, properties),
    )


@pytest.mark.parametrize("properties", [packed(type="note"), packed(headers={}), b"anything"])
def test_record_without_entries_is_shown_as_it_is(properties):
    record = (b"body", b"key", None, None, properties)

    assert tuple(with_headers(record)) == record
