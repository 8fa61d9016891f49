"""The headers exchange: what a binding's arguments ask of a message's headers."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.errors import PreconditionError
from portask.exchanges.headers import Wanted, comparable

NAMES = st.sampled_from(["a", "b", "x-c", "x-d"])
VALUES = st.sampled_from([None, 1, 2, 1.0, True, False, "1", "t", b"t"])
HEADERS = st.dictionaries(NAMES, VALUES)


def fits(arguments, headers):
    return Wanted(arguments).fits({name: comparable(value) for name, value in headers.items()})


def same(wanted, given_):
    """Equality as RabbitMQ has it, for the values above."""
    if isinstance(wanted, bool) or isinstance(given_, bool) or wanted is None or given_ is None:
        return wanted is given_
    texts = [value.encode() if isinstance(value, str) else value for value in (wanted, given_)]
    return texts[0] == texts[1]


@given(HEADERS, st.sampled_from([None, "all", "any", "all-with-x", "any-with-x"]), HEADERS)
def test_a_binding_fits_as_the_rules_say_header_by_header(wanted, kind, headers):
    counted = {name: value for name, value in wanted.items() if "with-x" in (kind or "") or not name.startswith("x-")}
    hits = [name in headers and (value is None or same(value, headers[name])) for name, value in counted.items()]
    expected = any(hits) if kind in ("any", "any-with-x") else all(hits)

    assert fits(wanted if kind is None else {**wanted, "x-match": kind}, headers) == expected


@pytest.mark.parametrize(
    ("wanted", "given_", "is_same"),
    [
        (1, 1.0, True),
        (1, True, False),
        ("true", True, False),
        ("text", b"text", True),
        ("1", 1, False),
        (Decimal("1.5"), Decimal("1.5"), True),
        (Decimal(1), 1, False),
        (datetime(2020, 1, 1, tzinfo=UTC), 1577836800, True),
        ([1, "a"], [1, b"a"], True),
        ([1, "a"], ["a", 1], False),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, True),
        ({"a": 1}, {"a": 2}, False),
    ],
)
def test_values_are_compared_and_types_are_not(wanted, given_, is_same):
    assert fits({"h": wanted}, {"h": given_}) == is_same


def test_an_argument_without_value_wants_the_header_to_be_there(host, queue, destinations):
    queue("q")
    host.bind("amq.headers", "queue", "q", "", {"here": None})

    assert destinations("amq.headers", headers={"here": "anything"}) == ["q"]
    assert destinations("amq.headers", headers={"here": None}) == ["q"]
    assert destinations("amq.headers", headers={"elsewhere": 1}) == []


def test_a_binding_without_arguments_takes_everything(host, queue, destinations):
    queue("q")
    host.bind("amq.headers", "queue", "q", "")

    assert destinations("amq.headers", headers=None) == ["q"]


def test_any_of_nothing_takes_nothing(host, queue, destinations):
    queue("q")
    host.bind("amq.headers", "queue", "q", "", {"x-match": "any"})

    assert destinations("amq.headers", headers={"a": 1}) == []


def test_the_routing_key_says_nothing(host, queue, destinations):
    queue("q")
    host.bind("amq.headers", "queue", "q", "key", {"a": 1})

    assert destinations("amq.headers", "other", headers={"a": 1}) == ["q"]


def test_an_unbound_queue_gets_nothing_more(host, queue, destinations):
    queue("q")
    host.bind("amq.headers", "queue", "q", "", {"a": 1, "b": 2})
    host.unbind("amq.headers", "queue", "q", "", {"b": 2, "a": 1})

    assert destinations("amq.headers", headers={"a": 1, "b": 2}) == []


def test_a_header_that_cannot_be_decoded_is_none(host, queue):
    queue("q")
    host.bind("amq.headers", "queue", "q", "", {"a": 1})

    assert not host.route(host.exchange("amq.headers"), ("",), b"\x00\x3c broken").is_routed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("foo", 'Invalid x-match field value <<"foo">>; expected all, any, all-with-x, or any-with-x'),
        (5, "Invalid x-match field type signedint (value 5); expected longstr"),
        (True, "Invalid x-match field type bool (value true); expected longstr"),
    ],
)
def test_an_x_match_that_cannot_be_is_refused(host, queue, value, text):
    queue("q")

    with pytest.raises(PreconditionError) as refusal:
        host.bind("amq.headers", "queue", "q", "", {"x-match": value})
    assert str(refusal.value) == text
