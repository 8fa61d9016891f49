"""Batches: records in, the body of a frame out, and back."""

import cbor2
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from portask import batch as batches
from portask.batch import (
    ENCODING_MESSAGES,
    Batch,
    Envelope,
    Strategy,
    decode,
    decode_batch,
    decode_records,
    encode_batch,
    encode_records,
    register_encoding,
)
from portask.compression import POOL_BYTES, compress, decompress
from portask.encoding import CODEC_NONE, CODEC_ZSTD, CODEC_ZSTD_EACH, MAX_PAYLOAD_BYTES, Decoded
from portask.errors import CorruptError, ProtocolError
from portask.storage.base import Frame

LINE = b'{"level":"INFO","service":"checkout","path":"/api/v1/orders/1234567","ms":17}'


def frame_of(records, strategy=Strategy.BULK, level=1):
    return Frame(5, len(records), 9, b"".join(encode_records(records, 7, strategy, level, 3)))


def frame_with(envelope, payload, count=1):
    return Frame(5, count, 9, b"".join(encode_batch(envelope, [payload])))


@pytest.mark.parametrize("strategy", list(Strategy))
@given(records=st.lists(st.binary(max_size=300), min_size=1, max_size=20), level=st.sampled_from([1, 3, 22]))
def test_records_come_back_as_they_were(strategy, records, level):
    assert decode_records(decode_batch(frame_of(records, strategy, level))) == records


def test_records_compressed_one_by_one_come_back_as_they_were():
    frame = frame_of([LINE * 5, (LINE * 5, b"key")], Strategy.SINGLE)

    assert decode_batch(frame).envelope.codec == CODEC_ZSTD_EACH
    assert decode_records(decode_batch(frame)) == [LINE * 5, [LINE * 5, b"key"]]


def test_the_envelope_says_what_is_inside():
    batch = decode_batch(frame_of([LINE] * 10))

    assert batch[:3] == (5, 10, 9)
    assert batch.envelope == Envelope(ENCODING_MESSAGES, CODEC_ZSTD, 0, 3, 7, len(cbor2.dumps([LINE] * 10)))


def test_bulk_compresses_what_messages_have_in_common():
    single = frame_of([LINE] * 100, Strategy.SINGLE)
    bulk = frame_of([LINE] * 100, Strategy.BULK)

    assert len(bulk.body) * 20 < len(single.body)


def test_what_would_grow_is_kept_as_it_is():
    noise = bytes(range(256))
    for strategy in Strategy:
        assert decode_batch(frame_of([noise], strategy)).envelope.codec == CODEC_NONE


def test_a_short_payload_is_not_compressed():
    assert decode_batch(frame_of([b"short"])).envelope.codec == CODEC_NONE


def test_a_large_payload_is_compressed_off_the_loop():
    data = LINE * (POOL_BYTES // len(LINE) + 1)

    assert decompress(compress(data, 1), len(data)) == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\x00\x05\x01",
        b"\x00\x01\x01",
        b"\x00\x02\x81\x01",
        b"\x00\x07\x86\x61a\x00\x00\x00\x00\x00"[:9],
        b"\x00\x08\x86\x61a\x00\x00\x00\x00\x00",
    ],
)
def test_a_broken_envelope_is_corrupt(body):
    with pytest.raises(CorruptError, match="offset 5"):
        decode_batch(Frame(5, 1, 9, body))


def test_a_payload_that_claims_too_much_is_corrupt():
    with pytest.raises(CorruptError):
        decode_batch(frame_with(Envelope(0, CODEC_ZSTD, 0, 0, 0, MAX_PAYLOAD_BYTES + 1), b""))


def test_a_bomb_is_refused_before_it_goes_off():
    bomb = zstandard.compress(bytes(100_000_000))

    with pytest.raises(CorruptError, match="100000000"):
        decode_records(decode_batch(frame_with(Envelope(0, CODEC_ZSTD, 0, 0, 0, 1000), bomb)))
    with pytest.raises(CorruptError, match="100000000"):
        decode_records(decode_batch(frame_with(Envelope(0, CODEC_ZSTD_EACH, 0, 0, 0, 1000), cbor2.dumps([bomb]))))


def test_a_frame_that_hides_its_size_is_refused():
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 1000)

    with pytest.raises(ProtocolError):
        decompress(frame, 10_000)


@pytest.mark.parametrize("data", [b"", b"rubbish", zstandard.compress(LINE)[:-3], zstandard.compress(LINE) + b"more"])
def test_what_is_no_zstd_frame_is_refused(data):
    with pytest.raises(ProtocolError):
        decompress(data, 10_000)


@pytest.mark.parametrize(
    ("envelope", "payload"),
    [
        (Envelope(0, 9, 0, 0, 0, 1), b""),
        (Envelope(99, 0, 0, 0, 0, 1), b""),
        (Envelope(0, CODEC_NONE, 0, 0, 0, 1), b"\xff"),
        (Envelope(0, CODEC_NONE, 0, 0, 0, 1), cbor2.dumps([b"a", b"b"])),
        (Envelope(0, CODEC_NONE, 0, 0, 0, 1), cbor2.dumps(["text"])),
        (Envelope(0, CODEC_ZSTD_EACH, 0, 0, 0, 1), cbor2.dumps([5])),
        (Envelope(0, CODEC_ZSTD_EACH, 0, 0, 0, 1), cbor2.dumps(["text"])),
    ],
    ids=["codec", "encoding", "cbor", "count", "record", "gap", "piece"],
)
def test_a_payload_that_is_not_what_the_envelope_says_is_corrupt(envelope, payload):
    with pytest.raises(CorruptError, match="offset 5"):
        decode_records(decode_batch(frame_with(envelope, payload)))


class RawEncoding:
    """One record, which is the payload."""

    def decode(self, batch):
        return Decoded([bytes(batch.payload)], None)


def test_a_handler_can_bring_an_encoding(monkeypatch):
    monkeypatch.setattr(batches, "_encodings", {0: batches.encoding_of(batch_of([b"a"]))})
    raw = RawEncoding()
    register_encoding(7, raw)
    register_encoding(7, raw)

    assert decode_records(decode_batch(frame_with(Envelope(7, 0, 0, 0, 0, 3), b"raw"))) == [b"raw"]
    with pytest.raises(ValueError, match="taken"):
        register_encoding(7, RawEncoding())
    with pytest.raises(ValueError, match="taken"):
        register_encoding(ENCODING_MESSAGES, raw)


def batch_of(records, strategy=Strategy.BULK, base_offset=5):
    body = b"".join(encode_records(records, 1000, strategy, 1))
    return decode_batch(Frame(base_offset, len(records), 1000, body))


RECORDS = [[LINE, b"a"], LINE, [None, b"b"], [LINE, b"c", None, 77], [LINE, b"a"]]


def thinned(batch, offsets):
    return batch._replace(payload=memoryview(batches.encoding_of(batch).keep(batch, offsets)))


LONG = [[LINE * 3, b"a"], LINE * 3, [None, b"b"], [LINE * 3, b"c", None, 77]] * 9
FULL = {
    CODEC_NONE: (Strategy.BULK, [[b"1"], [None, b"b"], b"3"]),
    CODEC_ZSTD: (Strategy.BULK, LONG),
    CODEC_ZSTD_EACH: (Strategy.SINGLE, [LINE * 9, [None, b"b"], LINE * 9, LINE * 9]),
}


@pytest.fixture(params=FULL, ids=["plain", "bulk", "single"])
def full(request):
    """A batch at offset 5 of that codec, and its records."""
    strategy, records = FULL[request.param]
    batch = batch_of(records, strategy)
    assert batch.envelope.codec == request.param
    return batch, decode_records(batch)


@pytest.mark.parametrize("kept", [[5], [7], [6, 7], [5, 7]])
def test_what_is_kept_of_a_batch_is_decoded_at_its_offsets(full, kept):
    batch, records = full

    assert decode(thinned(batch, set(kept))) == ([records[offset - 5] for offset in kept], kept)


def test_a_batch_can_be_thinned_again_and_again(full):
    batch, records = full
    thin = thinned(thinned(thinned(batch, {5, 6, 7}), {5, 7}), {7})

    assert decode(thin) == ([records[2]], [7])
    assert batches.encoding_of(thin).keep(thin, {5}) is None


def test_a_thinned_batch_is_not_taken_for_a_dense_one(full):
    batch, _ = full

    with pytest.raises(CorruptError, match="offset 5: 1 records instead of"):
        decode_records(thinned(batch, {6}))


def test_entries_say_what_compaction_must_know():
    assert batches.encoding_of(batch_of(RECORDS)).entries(batch_of(RECORDS)) == [
        (5, b"a", False, 1000),
        (6, None, False, 1000),
        (7, b"b", True, 1000),
        (8, b"c", False, 77),
        (9, b"a", False, 1000),
    ]
    batch = thinned(batch_of(RECORDS), {7, 9})
    assert batches.encoding_of(batch).entries(batch) == [(7, b"b", True, 1000), (9, b"a", False, 1000)]


def test_entries_of_a_short_batch_are_refused():
    batch = batch_of(RECORDS)._replace(count=9)

    with pytest.raises(ProtocolError, match="5 records instead of 9"):
        batches.encoding_of(batch).entries(batch)


@pytest.mark.parametrize(
    ("codec", "items"),
    [
        (CODEC_NONE, [0, b"a", b"b"]),
        (CODEC_NONE, [-1, b"a", b"b", b"c"]),
        (CODEC_NONE, [2, b"a", 1]),
        (CODEC_NONE, [1, "text"]),
        (CODEC_ZSTD_EACH, [compress(cbor2.dumps(2), 1)]),
    ],
    ids=["empty gap", "negative gap", "too many offsets", "record", "compressed gap"],
)
def test_gaps_that_make_no_sense_are_corrupt(codec, items):
    batch = Batch(5, 2, 0, Envelope(0, codec, 0, 0, 0, 100), memoryview(cbor2.dumps(items)))

    with pytest.raises(CorruptError, match="offset 5"):
        decode(batch)
