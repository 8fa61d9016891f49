"""Kafka batches as the core's records and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.kafka.conversion import PROPERTIES_HEADER, KafkaEncoding, encode
from handlers.kafka.record_batch import (
    CONTROL,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    ZSTD,
    StoredBatch,
    read_header,
)
from handlers.kafka.record_compression import compress
from handlers.kafka.records import decode_records, encode_records
from portask.encoding import CODEC_ZSTD
from portask.message import Message, check_records, to_message, to_record
from portask.properties import Properties, encode_header, pack
from tests.kafka.record_samples import (
    APPENDED,
    BASE,
    BUILDERS,
    NOW,
    SAMPLES,
    build,
    client_records,
    headers,
    patched,
    read_by_aiokafka,
    read_by_kafka_python,
    shown,
    stored,
    values,
    with_checksum,
)

KAFKA = KafkaEncoding()

every_codec = pytest.mark.parametrize("compression", range(5), ids=["none", "gzip", "snappy", "lz4", "zstd"])
both_clients = pytest.mark.parametrize("read", [read_by_kafka_python, read_by_aiokafka])


# From Kafka to the core.


@every_codec
@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS.keys())
def test_what_a_client_sends_is_shown_to_other_protocols(builder, compression):
    assert shown(stored(build(SAMPLES, compression, builder))) == SAMPLES


@given(client_records, st.integers(0, 4))
def test_any_records_are_shown_as_they_were_sent(records, compression):
    assert shown(stored(build(records, compression))) == records


@given(client_records)
def test_what_is_shown_is_what_the_core_allows(records):
    assert check_records(KAFKA.decode(stored(build(records))).records, 1 << 20) >= 0


@pytest.mark.parametrize("count", [1, 10_000])
def test_a_batch_of_any_count_is_shown(count):
    records = [(NOW + number // 7, b"%d" % number, b"value %d" % number, []) for number in range(count)]

    assert shown(stored(build(records, ZSTD))) == records


def test_what_the_broker_compressed_is_shown_as_what_was_sent():
    sent = build(SAMPLES)
    draft = StoredBatch(memoryview(sent), read_header(sent))
    draft.compressed(compress(ZSTD, sent[HEADER_BYTES:]))
    payload = b"".join(draft.encode(BASE, 3))

    assert shown(stored(payload, CODEC_ZSTD)) == SAMPLES


def test_a_plain_record_of_its_batch_s_time_is_nothing_but_bytes():
    batch = stored(build([(NOW, None, b"value", [])]), timestamp=NOW)

    assert KAFKA.decode(batch).records == [b"value"]


@pytest.mark.parametrize(
    ("record", "form"),
    [
        ((NOW, b"key", b"value", []), (b"value", b"key")),
        ((NOW, None, None, []), (None, None)),
        ((NOW, None, b"value", [("name", None)]), (b"value", None, ["name", None])),
        ((NOW + 1, None, b"value", []), (b"value", None, None, NOW + 1)),
        ((NOW + 1, None, b"value", [("name", b"1")]), (b"value", None, ["name", b"1"], NOW + 1)),
        ((NOW, None, b"value", [(PROPERTIES_HEADER, b"p")]), (b"value", None, None, None, b"p")),
    ],
)
def test_a_record_is_no_longer_than_it_has_to_be(record, form):
    assert KAFKA.decode(stored(build([record]), timestamp=NOW)).records == [form]


def test_records_of_a_batch_with_its_append_s_time_all_have_that():
    payload = patched(build(SAMPLES), attributes=LOG_APPEND_TIME, max_timestamp=APPENDED)

    assert {timestamp for timestamp, _, _, _ in shown(stored(payload))} == {APPENDED}


def test_a_record_without_a_timestamp_has_that_of_its_batch():
    assert shown(stored(build([(-1, b"key", b"value", [])]))) == [(APPENDED, b"key", b"value", [])]


def test_a_header_name_that_is_not_text_is_replaced():
    payload = build(SAMPLES[:1])[:HEADER_BYTES] + encode_records([(0, 0, b"k", b"v", [b"\xffname", b"\xff"])])

    assert shown(stored(with_checksum(payload)))[0][3] == [("\ufffdname", b"\xff")]


def test_only_the_first_header_of_properties_becomes_them():
    carried = [(PROPERTIES_HEADER, None), (PROPERTIES_HEADER, b"1"), (PROPERTIES_HEADER, b"2"), ("a", b"b")]

    message = to_message(KAFKA.decode(stored(build([(NOW, None, b"v", carried)]))).records[0])

    assert message.properties == b"1"
    assert message.headers == ((PROPERTIES_HEADER, None), (PROPERTIES_HEADER, b"2"), ("a", b"b"))


def test_offsets_of_a_whole_batch_follow_one_another():
    assert KAFKA.decode(stored(build(SAMPLES))).offsets is None


def test_offsets_of_a_compacted_batch_are_those_that_are_left():
    payload = KAFKA.keep(stored(build(SAMPLES)), {BASE + 2, BASE + 5}, None)

    decoded = KAFKA.decode(stored(payload))

    assert decoded.offsets == [BASE + 2, BASE + 5]
    assert [to_message(record).payload for record in decoded.records] == [None, SAMPLES[5][2]]


def test_a_control_batch_has_no_records_to_show():
    payload = patched(build([(NOW, b"\0\0\0\1", b"\0\0\0\0\0\0", [])]), attributes=CONTROL)

    assert KAFKA.decode(stored(payload)) == ([], [])


# From the core to Kafka.


messages = st.lists(
    st.builds(
        lambda payload, key, headers, timestamp, properties: (payload, key, tuple(headers), timestamp, properties),
        values,
        values,
        headers,
        st.integers(0, NOW * 2),
        st.none() | st.binary(max_size=50),
    ),
    min_size=1,
    max_size=20,
)


def forms(messages):
    return [to_record(Message(*message)) for message in messages]


@given(messages)
def test_what_goes_to_kafka_and_back_is_the_same(messages):
    batch = stored(encode(forms(messages), BASE, APPENDED))

    assert [tuple(to_message(r, APPENDED)) for r in KAFKA.decode(batch).records] == messages


RECORDS = [
    b"plain",
    (b"with a key", b"key"),
    [None, b"tombstone"],
    (b"with headers", None, ["name", b"1", "name", None]),
    (b"with empty headers", None, None, NOW - 50),
    (b"with a time", None, [], NOW + 50, None),
    (b"with properties", b"key", ["a", b"b"], None, b"p"),
]
EXPECTED = [
    (BASE, NOW, None, b"plain", []),
    (BASE + 1, NOW, b"key", b"with a key", []),
    (BASE + 2, NOW, b"tombstone", None, []),
    (BASE + 3, NOW, None, b"with headers", [("name", b"1"), ("name", None)]),
    (BASE + 4, NOW - 50, None, b"with empty headers", []),
    (BASE + 5, NOW + 50, None, b"with a time", []),
    (BASE + 6, NOW, b"key", b"with properties", [("a", b"b"), (PROPERTIES_HEADER, b"p")]),
]


@both_clients
@every_codec
def test_clients_read_what_another_protocol_wrote(read, compression):
    assert read(encode(RECORDS, BASE, NOW, 4, compression=compression)) == EXPECTED


@pytest.mark.parametrize(("body", "value"), [(b"", None), (b"full", b"full")])
def test_empty_body_that_was_a_tombstone_is_one(body, value):
    properties = pack("", encode_header(Properties(headers={"kafka.tombstone": True}), len(body)))
    ((_, _, _, found, headers),) = decode_records(
        encode([(body, b"key", None, None, properties)], BASE, NOW)[HEADER_BYTES:], 1, 0
    )

    assert found == value
    assert headers == [b"kafka.tombstone", b"true", PROPERTIES_HEADER.encode(), properties]


@pytest.mark.parametrize(("seconds", "timestamp"), [(5, 5000), (0, 0), (253_402_300_800, NOW)])
def test_timestamp_property_is_the_timestamp_unless_it_cannot_be_seconds(seconds, timestamp):
    properties = pack("", encode_header(Properties(timestamp=seconds), 5))
    batch = stored(encode([(b"hello", b"key", None, None, properties)], BASE, NOW))

    assert to_message(KAFKA.decode(batch).records[0], APPENDED).timestamp == timestamp


def test_header_of_the_record_counts_more_than_that_of_its_properties():
    properties = pack("", encode_header(Properties(headers={"a": 1}, type="note"), 0))
    ((*_, headers),) = decode_records(
        encode([(b"", b"key", ["a", b"2"], None, properties)], BASE, NOW)[HEADER_BYTES:], 1, 0
    )

    assert headers[:4] == [b"a", b"2", b"amqp.type", b"note"]


@both_clients
def test_clients_read_plain_records(read):
    plain = [b"%d" % number for number in range(300)]

    assert read(encode(plain, BASE, NOW)) == [(BASE + n, NOW, None, value, []) for n, value in enumerate(plain)]


@both_clients
@pytest.mark.parametrize("records", [[b"one", b"two"], [b"one", (b"two", b"key")]])
def test_clients_read_what_is_left_of_a_compacted_batch(read, records):
    payload = encode(records, BASE, NOW, offsets=[BASE + 3, BASE + 8])

    assert [record[0] for record in read(payload)] == [BASE + 3, BASE + 8]
    assert read_header(payload).last_offset_delta == 8


def test_a_batch_may_end_behind_its_last_record():
    assert read_header(encode([b"1"], BASE, NOW, offsets=[BASE + 3], last_offset=BASE + 9)).last_offset_delta == 9


def test_a_batch_may_have_lost_all_its_records():
    header = read_header(encode([], BASE, NOW, offsets=[], last_offset=BASE + 9))

    assert (header.count, header.last_offset_delta, header.max_timestamp) == (0, 9, NOW)


def test_the_header_says_what_the_batch_is():
    header = read_header(encode(RECORDS, BASE, NOW, 7))

    assert header._replace(length=0, crc=0) == (BASE, 0, 7, 2, 0, 0, 6, NOW, NOW + 50, -1, -1, -1, 7)


def test_the_leader_epoch_is_unknown_unless_given():
    assert read_header(encode([b"1"], BASE, NOW)).leader_epoch == -1


def test_a_header_name_that_cannot_be_written_is_replaced():
    assert read_by_kafka_python(encode([(b"1", None, ["\ud800", b""])], BASE, NOW))[0][4] == [("?", b"")]
