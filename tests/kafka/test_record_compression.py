"""Compression of records: what clients send is read, what is written is read by clients, and bombs stay small."""

import contextlib
import gzip
import random
import struct
import subprocess
import sys
import tracemalloc
import zlib

import aiokafka.codec
import cramjam
import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from handlers.kafka.record_batch import GZIP, LZ4, NO_COMPRESSION, SNAPPY, ZSTD
from handlers.kafka.record_compression import compress, decompress
from portask.errors import ProtocolError
from tests.kafka.record_samples import kafka_codec

MIB = 1 << 20

PLAIN = b"".join(b'{"number": %d, "text": "one of many lines"}' % number for number in range(6_000))
"""More than two snappy blocks, lz4 blocks and zstd blocks, each."""

CODECS = {"gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())


def zstd_stream(data, **options):
    """*data* as zstd when it is not known how much will come."""
    writer = zstandard.ZstdCompressor(**options).compressobj()
    return b"".join(writer.compress(data[at : at + 10_000]) for at in range(0, len(data), 10_000)) + writer.flush()


def xerial(*blocks, version=1):
    """*blocks* framed as Java's library does."""
    framed = [struct.pack(">i", len(block)) + block for block in map(snappy, blocks)]
    return b"\x82SNAPPY\0" + struct.pack(">ii", version, 1) + b"".join(framed)


def snappy(data):
    return bytes(cramjam.snappy.compress_raw(data))


def lz4_frames():
    """What there is of lz4 frames."""
    for linked in (False, True):
        for checksum in (False, True):
            for block_checksum in (False, True):
                for size in (False, True):
                    for block in (4, 5, 6, 7):
                        yield lz4.frame.compress(
                            PLAIN,
                            block_linked=linked,
                            content_checksum=checksum,
                            block_checksum=block_checksum,
                            store_size=size,
                            block_size=block,
                        )


CLIENT_MADE = {
    "gzip of kafka-python": (GZIP, kafka_codec.gzip_encode(PLAIN)),
    "gzip of aiokafka": (GZIP, aiokafka.codec.gzip_encode(PLAIN)),
    "gzip with a name and a time": (GZIP, b"\x1f\x8b\x08\x08abcd\0\3name\0" + gzip.compress(PLAIN, mtime=0)[10:]),
    "snappy of kafka-python": (SNAPPY, kafka_codec.snappy_encode(PLAIN)),
    "snappy of aiokafka": (SNAPPY, aiokafka.codec.snappy_encode(PLAIN)),
    "snappy of librdkafka": (SNAPPY, snappy(PLAIN)),
    "snappy of a client that writes the version the other way round": (SNAPPY, xerial(PLAIN, version=1 << 24)),
    "snappy of two streams": (SNAPPY, xerial(PLAIN[:9]) + xerial(PLAIN[9:])),
    "lz4 of kafka-python": (LZ4, kafka_codec.lz4_encode(PLAIN)),
    "lz4 of aiokafka": (LZ4, aiokafka.codec.lz4_encode(PLAIN)),
    "zstd of kafka-python": (ZSTD, kafka_codec.zstd_encode(PLAIN)),
    "zstd of aiokafka": (ZSTD, aiokafka.codec.zstd_encode(PLAIN)),
    "zstd of a stream": (ZSTD, zstd_stream(PLAIN)),
    "zstd of a stream with a checksum": (ZSTD, zstd_stream(PLAIN, write_checksum=True)),
    "zstd with a checksum": (ZSTD, zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN)),
    "zstd with the largest window": (ZSTD, zstd_stream(PLAIN, level=22)),
}


@pytest.mark.parametrize(("codec", "data"), CLIENT_MADE.values(), ids=CLIENT_MADE.keys())
def test_what_clients_compress_is_read(codec, data):
    assert decompress(codec, memoryview(data), len(PLAIN)) == PLAIN


def test_every_variant_of_an_lz4_frame_is_read():
    assert {decompress(LZ4, frame, len(PLAIN)) == PLAIN for frame in lz4_frames()} == {True}


def test_what_is_not_compressed_is_given_back():
    assert decompress(NO_COMPRESSION, memoryview(PLAIN), len(PLAIN)) == PLAIN
    assert compress(NO_COMPRESSION, memoryview(PLAIN)) == PLAIN


def test_more_uncompressed_bytes_than_allowed_are_refused():
    with pytest.raises(ProtocolError, match="more than"):
        decompress(NO_COMPRESSION, PLAIN, len(PLAIN) - 1)


@pytest.mark.parametrize("codec", [-1, 5, 7])
def test_a_codec_that_nobody_knows_is_refused(codec):
    with pytest.raises(ProtocolError, match="is not known"):
        decompress(codec, b"", 1)


@every_codec
@given(st.binary(max_size=2_000), st.integers(1, 200))
def test_whatever_is_compressed_is_read_back(codec, data, times):
    assert decompress(codec, compress(codec, data * times), len(data) * times) == data * times


READERS = {
    "gzip": (GZIP, [kafka_codec.gzip_decode, aiokafka.codec.gzip_decode]),
    "snappy": (SNAPPY, [kafka_codec.snappy_decode, aiokafka.codec.snappy_decode]),
    "lz4": (LZ4, [kafka_codec.lz4_decode, aiokafka.codec.lz4_decode]),
    "zstd": (ZSTD, [kafka_codec.zstd_decode, aiokafka.codec.zstd_decode]),
}


@pytest.mark.parametrize(("codec", "readers"), READERS.values(), ids=READERS.keys())
def test_clients_read_what_is_compressed(codec, readers):
    assert [read(compress(codec, PLAIN)) == PLAIN for read in readers] == [True, True]


def test_lz4_is_written_in_independent_blocks():
    assert not lz4.frame.get_frame_info(compress(LZ4, PLAIN))["block_linked"]


def test_zstd_says_its_size():
    assert zstandard.frame_content_size(compress(ZSTD, PLAIN)) == len(PLAIN)


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_frames_that_follow_one_another_are_read_as_one(codec):
    assert decompress(codec, compress(codec, b"one ") + compress(codec, b"") + compress(codec, b"two"), 7) == b"one two"


@every_codec
def test_exactly_the_limit_is_allowed(codec):
    assert len(decompress(codec, compress(codec, PLAIN), len(PLAIN))) == len(PLAIN)


@every_codec
@pytest.mark.parametrize("limit", [0, 1, len(PLAIN) // 2, len(PLAIN) - 1])
def test_more_than_the_limit_is_refused(codec, limit):
    with pytest.raises(ProtocolError):
        decompress(codec, compress(codec, PLAIN), limit)


@every_codec
def test_a_second_frame_that_passes_the_limit_is_refused(codec):
    frame = compress(codec, PLAIN)
    with pytest.raises(ProtocolError):
        decompress(codec, frame + frame, len(PLAIN))


@every_codec
def test_a_frame_that_passes_the_limit_by_one_byte_is_refused(codec):
    with pytest.raises(ProtocolError):
        decompress(codec, compress(codec, b"1"), 0)


@pytest.mark.parametrize(("data", "limit"), [(PLAIN, len(PLAIN) - 1), (b"1", 0)])
def test_a_zstd_stream_that_passes_the_limit_is_refused(data, limit):
    with pytest.raises(ProtocolError):
        decompress(ZSTD, zstd_stream(data), limit)


def test_raw_snappy_that_passes_the_limit_is_refused():
    with pytest.raises(ProtocolError, match="more than"):
        decompress(SNAPPY, snappy(PLAIN), len(PLAIN) - 1)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("garbage", [b"\0", b"garbage that is no frame", b"\0" * 100])
def test_bytes_behind_the_last_frame_are_refused(codec, garbage):
    with pytest.raises(ProtocolError):
        decompress(codec, compress(codec, PLAIN) + garbage, 2 * len(PLAIN))


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        *((codec, compress(codec, PLAIN[:300])) for codec in (GZIP, LZ4, ZSTD)),
        (SNAPPY, snappy(PLAIN[:300])),
        (ZSTD, zstd_stream(PLAIN[:300], write_checksum=True)),
    ],
)
def test_frames_cut_short_anywhere_are_refused(codec, data):
    for length in range(len(data)):
        with pytest.raises(ProtocolError):
            decompress(codec, data[:length], MIB)


def test_framed_snappy_cut_short_is_refused_unless_whole_blocks_are_left():
    data = compress(SNAPPY, PLAIN[:40_000])
    second = len(compress(SNAPPY, PLAIN[:32_768]))
    for length in set(range(len(data))) - {16, second}:
        with pytest.raises(ProtocolError):
            decompress(SNAPPY, data[:length], MIB)


def test_a_snappy_block_of_less_than_no_bytes_is_refused():
    with pytest.raises(ProtocolError, match="cut short"):
        decompress(SNAPPY, xerial() + struct.pack(">i", -1), MIB)


def zstd_head(window=0x70, flags=0):
    """The beginning of a frame that does not say its size; its window is 16 MiB."""
    return b"\x28\xb5\x2f\xfd" + bytes([flags, window])


def zstd_block(kind, length, *, is_last=False):
    return (length << 3 | kind << 1 | is_last).to_bytes(3, "little")


RUNS = zstd_head() + (zstd_block(1, 128 * 1024) + b"\0") * 100_000 + zstd_block(0, 0, is_last=True)
"""13 GB in 400 KB."""

ZEROS = bytes(64 * MIB)
SNAPPY_RUNS = b"\x80\x80\x80\x0a" + b"\0\0" + b"\xfe\1\0" * (20 * MIB // 64)
"""20 MiB of copies, 64 bytes in three."""

BOMBS = {
    "gzip": (GZIP, gzip.compress(bytes(256 * MIB), 6)),
    "gzip of many members": (GZIP, gzip.compress(ZEROS) * 16),
    "gzip of many empty members": (GZIP, gzip.compress(b"") * 20_000 + gzip.compress(ZEROS)),
    "snappy": (SNAPPY, SNAPPY_RUNS),
    "snappy that claims much": (SNAPPY, b"\xff\xff\xff\xff\x0f" + b"\0\0"),
    "snappy of many blocks": (SNAPPY, xerial(*[ZEROS[:MIB]] * 20)),
    "snappy of many blocks that claim much": (SNAPPY, xerial() + (b"\0\0\0\5" + b"\xff\xff\xff\x7f\0") * 1_000),
    "lz4": (LZ4, lz4.frame.compress(bytes(256 * MIB), block_size=7)),
    "lz4 that says its size": (LZ4, lz4.frame.compress(ZEROS, store_size=True)),
    "lz4 of many frames": (LZ4, lz4.frame.compress(ZEROS[:MIB]) * 200),
    "zstd": (ZSTD, RUNS),
    "zstd that says its size": (ZSTD, zstandard.ZstdCompressor().compress(bytes(256 * MIB))),
    "zstd of many frames": (ZSTD, zstandard.ZstdCompressor().compress(ZEROS[:MIB]) * 1_000),
    "zstd of many empty frames": (ZSTD, (zstd_head() + zstd_block(0, 0, is_last=True)) * 10_000 + RUNS),
    "zstd that claims much": (ZSTD, b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 3 * MIB) + zstd_block(0, 1) + b"\0"),
    "zstd with a huge window": (ZSTD, zstd_head(0xF8) + RUNS[6:]),
}
LIMIT = 4 * MIB

CHILD = """
import sys
from pathlib import Path
from portask.errors import ProtocolError
from handlers.kafka.record_compression import compress, decompress
def peak():
    return int(next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM")).split()[1])
codec, limit = map(int, sys.argv[1:])
data = sys.stdin.buffer.read()
decompress(codec, compress(codec, b"warm"), 4)
before = peak()
try:
    decompress(codec, data, limit)
except ProtocolError:
    print(peak() - before)
"""


@pytest.mark.parametrize(("codec", "data"), BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_takes_no_more_memory_than_the_limit_allows(codec, data):
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(codec), str(LIMIT)], input=data, capture_output=True, check=True
    )

    # The output, once more in pieces or on its way to bytes, and what a decoder needs for itself.
    assert int(child.stdout) * 1024 < 2 * LIMIT + 8 * MIB


@pytest.mark.parametrize(("codec", "data"), BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_allocates_no_more_than_the_limit_allows(codec, data):
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        decompress(codec, data, LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2 * LIMIT + MIB


def test_a_zstd_frame_of_runs_is_read():
    data = zstd_head() + zstd_block(1, 1_000) + b"a" + zstd_block(0, 3) + b"bcd" + zstd_block(1, 2, is_last=True) + b"e"

    assert decompress(ZSTD, data, 1_005) == b"a" * 1_000 + b"bcd" + b"ee"


def test_a_block_of_an_unknown_kind_is_refused():
    with pytest.raises(ProtocolError):
        decompress(ZSTD, zstd_head() + zstd_block(3, 0, is_last=True), 10)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
@pytest.mark.parametrize("seed", range(3))
def test_damaged_frames_are_read_or_refused(codec, seed):
    rng = random.Random(seed)
    good = compress(codec, PLAIN[:5_000])
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ProtocolError):
            assert len(decompress(codec, data, MIB)) <= MIB


@every_codec
@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(codec, data):
    with contextlib.suppress(ProtocolError):
        assert len(decompress(codec, data, MIB)) <= MIB


def test_a_checksum_that_does_not_fit_is_refused():
    with pytest.raises(ProtocolError, match="cannot be decompressed"):
        decompress(GZIP, zlib.compress(PLAIN, wbits=31)[:-8] + bytes(8), MIB)
