"""Records of every protocol as AMQP's consumers get them."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.amqp.record import is_own, to_delivered, to_own
from portask.properties import Properties, body_size_of, encode_header, is_packed, pack, properties_of, unpack
from portask.subscriptions.consumer import Delivery

NOW = 1_700_000_000_999
SECONDS = 1_700_000_000
OFFSET = 17


class Topic(NamedTuple):
    name: str


class Partition(NamedTuple):
    topic: Topic
    number: int


class Queue(NamedTuple):
    name: str = "orders"
    is_stream: bool = False
    counts_deliveries: bool = False


def delivery(failures=0):
    return Delivery(Partition(Topic("sales"), 2), OFFSET, NOW, [], 0, failures)


def packed(size=5, exchange="shop", **properties):
    """The properties of a record whose body has *size* bytes."""
    return pack(exchange, encode_header(Properties(**properties), size))


def own(record):
    """*record* for a consumer of queue orders: body, routing key, exchange, properties."""
    body, key, headers, timestamp, properties = to_own(record, delivery(), OFFSET, "orders")
    exchange, header = unpack(properties)
    assert (headers, timestamp, body_size_of(header)) == (None, None, len(body))
    return body, key, exchange, properties_of(properties)


ORIGIN = {"kafka.topic": "sales", "kafka.partition": 2, "kafka.offset": OFFSET}
OWN = (b"hello", b"key", None, None, packed(headers={"a": 1}))


def test_own_record_is_left_as_it_is():
    assert to_own(OWN, delivery(), OFFSET, "orders") is OWN


@pytest.mark.parametrize(
    "record",
    [
        b"hello",
        (b"hello", b"key"),
        (b"hello", b"key", ["a", b"b"], None, packed()),
        (b"hello", None, None, None, packed()),
        (b"hello", b"k" * 256, None, None, packed()),
        (b"hello", b"key", None, None, None),
        (None, b"key", None, None, packed()),
        (b"hello", b"key", None, None, b"anything"),
        (b"hello", b"key", None, None, packed(6)),
        (b"hello", b"key", None, None, packed() + b"rest"),
    ],
)
def test_record_of_another_protocol_becomes_own(record):
    assert not is_own(record)
    assert is_own(to_own(record, delivery(), OFFSET, "orders"))


def test_plain_payload_has_the_queue_as_its_key_and_says_where_it_came_from():
    assert own(b"hello") == (b"hello", b"orders", "", Properties(headers=ORIGIN, timestamp=SECONDS))


def test_key_and_headers_are_taken_over():
    body, key, _, properties = own((b"hello", b"\xff", ["a", b"b", "raw", b"\xff"], None))

    assert (body, key, properties.headers) == (b"hello", b"\xff", {"a": "b", "raw": b"\xff", **ORIGIN})


def test_own_timestamp_of_the_record_counts():
    assert own((b"hello", None, None, 5999))[3].timestamp == 5


def test_time_before_1970_is_none():
    assert to_own((b"hello", b"key", ["a", b"b"], -5), delivery(), OFFSET, "orders")
    assert own((b"hello", None, None, -5000))[3].timestamp == 0


def test_timestamp_property_counts_most():
    record = (b"hello", b"key", ["a", b"b"], 5999, packed(timestamp=7))

    assert own(record)[3].timestamp == 7


def test_tombstone_is_an_empty_body_that_says_so():
    body, _, _, properties = own((None, b"key"))

    assert (body, properties.headers) == (b"", {**ORIGIN, "kafka.tombstone": True})


def test_long_key_is_cut():
    assert own((b"hello", b"k" * 300))[1] == b"k" * 255


def test_exchange_and_types_are_those_of_the_properties():
    record = (b"hello", b"key", ["a", b"1"], None, packed(99, headers={"a": 1}, type="note"))
    _, _, exchange, properties = own(record)

    assert (exchange, properties.type, properties.headers["a"]) == ("shop", "note", 1)


@given(
    st.none() | st.binary(max_size=9),
    st.none() | st.binary(max_size=300),
    st.none() | st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
    st.none() | st.integers(0, (1 << 63) - 1),
    st.none() | st.binary(max_size=40),
)
def test_any_record_can_be_delivered(payload, key, headers, timestamp, properties):
    flat = None if headers is None else [part for header in headers for part in header]
    record = to_delivered((payload, key, flat, timestamp, properties), delivery(), OFFSET, Queue())

    assert is_own(record)
    assert is_packed(record[4])


def test_delivery_from_a_stream_tells_the_offset():
    record = to_delivered(OWN, delivery(), OFFSET, Queue(is_stream=True))

    assert properties_of(record[4]).headers == {"a": 1, "x-stream-offset": OFFSET}


def test_delivery_that_failed_tells_how_often():
    record = to_delivered(OWN, delivery(failures=3), OFFSET, Queue(counts_deliveries=True))

    assert properties_of(record[4]).headers == {"a": 1, "x-delivery-count": 3}


@pytest.mark.parametrize(("failures", "counts"), [(0, True), (3, False)])
def test_delivery_tells_no_count_that_nobody_keeps(failures, counts):
    assert to_delivered(OWN, delivery(failures), OFFSET, Queue(counts_deliveries=counts)) is OWN


def test_header_of_a_delivery_is_added_to_a_message_without_headers():
    record = (b"hello", b"key", None, None, packed())
    delivered = to_delivered(record, delivery(), OFFSET, Queue(is_stream=True))

    assert properties_of(delivered[4]).headers == {"x-stream-offset": OFFSET}
