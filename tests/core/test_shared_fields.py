"""The encoding for records that share what goes with their payloads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portask.batch import Envelope, Strategy, decode, decode_batch, encode_batch, encode_records, encoding_of
from portask.encoding import CODEC_NONE, CODEC_ZSTD
from portask.errors import CorruptError
from portask.message import encode_cbor
from portask.shared_fields import ENCODING_SHARED, encode_shared
from portask.storage.base import Frame

PAYLOADS = st.one_of(st.none(), st.binary(max_size=20))
FIELDS = st.tuples(
    st.one_of(st.none(), st.binary(max_size=3)),
    st.none(),
    st.one_of(st.none(), st.integers(0, 5)),
    st.one_of(st.none(), st.binary(max_size=3)),
)
KINDS = st.lists(FIELDS, min_size=1, max_size=3)
RECORDS = st.tuples(KINDS, st.lists(st.tuples(PAYLOADS, st.integers(0, 2)), min_size=12, max_size=40)).map(
    lambda both: [(payload, *both[0][kind % len(both[0])]) for payload, kind in both[1]]
)


def stored(records, timestamp=7):
    return decode_batch(Frame(100, len(records), 9, b"".join(encode_records(records, timestamp, Strategy.BULK, 1))))


def broken(content, count=2):
    plain = encode_cbor(content)
    body = b"".join(encode_batch(Envelope(ENCODING_SHARED, CODEC_NONE, 0, 0, 7, len(plain)), [plain]))
    return decode_batch(Frame(100, count, 9, body))


@given(RECORDS)
def test_records_come_back_as_they_were(records):
    batch = stored(records)

    assert batch.envelope.encoding == ENCODING_SHARED
    assert decode(batch) == (records, None)


@given(RECORDS, st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)))
def test_compaction_keeps_what_it_is_told_again_and_again(records, first, second):
    batch = stored(records)
    kept = {100 + place for place in first if place < len(records)}
    for offsets in (kept, kept & {100 + place for place in second}):
        payload = encoding_of(batch).keep(batch, offsets)
        if not offsets:
            assert payload is None
            return
        batch = batch._replace(payload=memoryview(payload))
        found, places = decode(batch)
        assert found == [records[offset - 100] for offset in sorted(offsets)]
        assert (places or list(range(100, 100 + len(records)))) == sorted(offsets)


def test_compaction_sees_keys_tombstones_and_times():
    records = [(b"a", b"k", None, None, b"p")] * 6 + [(None, b"k", None, 3, b"p")]
    batch = stored(records)

    entries = encoding_of(batch).entries(batch)

    assert entries[0] == (100, b"k", False, 7)
    assert entries[-1] == (106, b"k", True, 3)


@pytest.mark.parametrize(
    "records",
    [
        [b"plain"] * 9,
        [(b"a", b"k", None, None, b"p")] * 8 + [b"plain"],
        [(b"a", b"k", None, None, b"p")] * 8 + [(b"a", b"k")],
        [(b"a", b"k", ["name", b"v"], None, b"p")] * 9,
        [(b"a", b"%d" % number, None, None, b"p") for number in range(20)],
    ],
)
def test_records_with_little_in_common_are_stored_as_they_are(records):
    assert encode_shared(records) is None
    assert decode(stored(records)).records == [record if type(record) is bytes else list(record) for record in records]


def test_large_batches_are_compressed():
    batch = stored([(b"payload %d" % number, b"key", None, None, b"properties") for number in range(300)])

    assert batch.envelope.codec == CODEC_ZSTD
    assert len(decode(batch).records) == 300


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("text", "not items"),
        ([1, 2], "not items"),
        ([[b"a", b"b"], 5, None], "not items"),
        ([[b"a", b"b"], [], None], "at least one"),
        ([[b"a", b"b"], [[1, 2]], None], "at least one"),
        ([[b"a", b"b"], [["key", None, None]], None], "key must be bytes"),
        ([[b"a", b"b"], [[None, None, None]], 5], "two bytes for each"),
        ([[b"a", b"b"], [[None, None, None]], b"abc"], "two bytes for each"),
        ([[b"a", b"b"], [[None, None, None]], b"\0\0\1\0"], "beyond the shared"),
        ([[b"a", b"b"], [[None, None, None]], b"\0\0"], "1 picks for 2"),
        ([[b"a", "b"], [[None, None, None]], None], "an item is"),
        ([[b"a", 0], [[None, None, None]], None], "an item is"),
        ([[b"a"], [[None, None, None]], None], "1 offsets instead of 2"),
        ([[b"a", 5], [[None, None, None]], None], "6 offsets instead of 2"),
    ],
)
def test_what_breaks_the_format_is_named(content, complaint):
    with pytest.raises(CorruptError, match=complaint):
        decode(broken(content))
