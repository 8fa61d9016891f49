"""Compression of the records inside a Kafka batch: what clients send, undone within a limit.

    gzip    RFC 1952, one member or several
    snappy  one raw block (librdkafka), or the framing of Java's xerial library, which most others copy:
            (magic:8 version:i32 compatible:i32 (length:i32 block)*)*
    lz4     frames of independent or linked blocks, with or without sizes and checksums
    zstd    frames with or without their content's size

What comes in may be made to swell to thousands of times its size. Every function here allocates for what
the compressed bytes can really hold, never for what they claim, and stops at the limit that it is given;
bytes behind the last frame are refused. Nothing is kept between calls, so any thread may call.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable

import cramjam
import zstandard

from handlers.kafka.record_batch import GZIP, LZ4, NO_COMPRESSION, SNAPPY, ZSTD
from portask.compression import decompress as decompress_frame
from portask.errors import ProtocolError
from portask.storage.base import Buffer

ZSTD_LEVEL = 3
"""Kafka's default, as the levels of the others here."""

_GZIP_WINDOW = 31
"""The largest window, and a gzip header around it (zlib.h)."""
_GZIP_CHUNK = 64 * 1024
"""Behind a member's end zlib copies the rest of its input: small pieces keep many empty members from copying it all."""

_XERIAL_MAGIC = b"\x82SNAPPY\0"
_XERIAL_HEADER = _XERIAL_MAGIC + b"\0\0\0\1\0\0\0\1"
_XERIAL_BLOCK = 32 * 1024
_XERIAL_LENGTH = 4
_SNAPPY_RATIO = 32
"""More than any block swells: its densest element turns 3 bytes into 64."""

_LZ4_RATIO = 255
"""More than any frame swells: a byte adds 255 to the length of a match."""
_LZ4_LEVEL = 1

_ZSTD_BLOCK_HEADER = 3
_ZSTD_BLOCK_MAX = 128 * 1024
_ZSTD_CHECKSUM = 4
_ZSTD_RAW, _ZSTD_RLE, _ZSTD_COMPRESSED = range(3)


def decompress(codec: int, data: Buffer, max_bytes: int) -> bytes:
    """What *data*, compressed with *codec*, holds.

    Raises ProtocolError when it is broken, when it would be more than *max_bytes*, or when nobody knows the codec.
    """
    if codec == NO_COMPRESSION:
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
        return bytes(data)
    decoder = _DECODERS.get(codec)
    if decoder is None:
        raise ProtocolError(f"compression {codec} is not known")
    try:
        return decoder(memoryview(data), max_bytes)
    except (zlib.error, cramjam.DecompressionError, zstandard.ZstdError) as error:
        raise ProtocolError(f"records cannot be decompressed: {error}") from error


def compress(codec: int, data: Buffer) -> bytes:
    """*data* compressed with *codec*, one of those that `decompress` knows, so that every client can read it."""
    if codec == GZIP:
        return zlib.compress(data, wbits=_GZIP_WINDOW)
    if codec == SNAPPY:
        return _compress_snappy(memoryview(data))
    if codec == LZ4:
        # Java and kafkajs read only independent blocks.
        frame = cramjam.lz4.Compressor(level=_LZ4_LEVEL, content_checksum=False, block_linked=False)
        frame.compress(data)
        return bytes(frame.finish())
    if codec == ZSTD:
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
    return bytes(data)


def _too_large(max_bytes: int) -> ProtocolError:
    return ProtocolError(f"the records are more than {max_bytes} bytes")


def _decompress_gzip(data: memoryview, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    left = max_bytes + 1  # zlib takes 0 for no limit
    position = 0
    while True:
        member = zlib.decompressobj(_GZIP_WINDOW)
        while not member.eof:
            if position == len(data):
                raise ProtocolError("a gzip member is cut short")
            chunk = data[position : position + _GZIP_CHUNK]
            piece = member.decompress(chunk, left)
            position += len(chunk) - len(member.unused_data)
            left -= len(piece)
            if not left:
                raise _too_large(max_bytes)
            pieces.append(piece)
        if position == len(data):
            return b"".join(pieces)


def _decompress_snappy(data: memoryview, max_bytes: int) -> bytes:
    if data[: len(_XERIAL_MAGIC)] != _XERIAL_MAGIC:
        return _snappy_block(data, max_bytes)
    pieces: list[bytes] = []
    left = max_bytes
    position = 0
    while position < len(data):
        # Streams may follow one another, header and all (SnappyInputStream.hasNextChunk).
        if data[position : position + len(_XERIAL_MAGIC)] == _XERIAL_MAGIC:
            position += len(_XERIAL_HEADER)
            continue
        start = position + _XERIAL_LENGTH
        position = start + int.from_bytes(data[position:start], "big")
        if position > len(data):
            raise ProtocolError("a snappy block is cut short")
        pieces.append(_snappy_block(data[start:position], left))
        left -= len(pieces[-1])
    if position != len(data):
        raise ProtocolError("a snappy header is cut short")
    return b"".join(pieces)


def _snappy_block(block: memoryview, max_bytes: int) -> bytes:
    size = cramjam.snappy.decompress_raw_len(block)
    if size > max_bytes:
        raise _too_large(max_bytes)
    if size > _SNAPPY_RATIO * len(block):
        raise ProtocolError(f"a snappy block of {len(block)} bytes cannot hold {size}")
    return bytes(cramjam.snappy.decompress_raw(block))


def _compress_snappy(data: memoryview) -> bytes:
    pieces = [_XERIAL_HEADER]
    for start in range(0, len(data), _XERIAL_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + _XERIAL_BLOCK]))
        pieces += (len(block).to_bytes(_XERIAL_LENGTH, "big"), block)
    return b"".join(pieces)


def _decompress_lz4(data: memoryview, max_bytes: int) -> bytes:
    # Few frames say their size. Pages of a mapping take no memory before they are written to, so a mapping for the
    # worst case costs what the frame really holds.
    with mmap.mmap(-1, min(max_bytes, _LZ4_RATIO * len(data)) + 1) as area:
        size = cramjam.lz4.decompress_into(data, area)
        if size > max_bytes:
            raise _too_large(max_bytes)
        return area[:size]


def _decompress_zstd(data: memoryview, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    left = max_bytes
    position = 0
    while True:
        end, size = _measure_zstd(data, position)
        frame = data[position:end]
        most = min(size, left)
        if zstandard.frame_content_size(frame) >= 0:
            plain = decompress_frame(frame, most)
        else:
            # The library takes 0 for no limit.
            plain = zstandard.ZstdDecompressor().decompress(frame, max_output_size=max(1, most))
        pieces.append(plain)
        left -= len(plain)
        if left < 0:
            raise _too_large(max_bytes)
        position = end
        if position == len(data):
            return b"".join(pieces)


def _measure_zstd(data: memoryview, position: int) -> tuple[int, int]:
    """Where the frame at *position* ends, and the most that it can hold (RFC 8878, 3.1.1)."""
    head = data[position:]
    parameters = zstandard.get_frame_parameters(head)
    block_max = min(parameters.window_size, _ZSTD_BLOCK_MAX)
    position += zstandard.frame_header_size(head)
    size = 0
    is_last = False
    while not is_last:
        header = int.from_bytes(data[position : position + _ZSTD_BLOCK_HEADER], "little")
        position += _ZSTD_BLOCK_HEADER
        is_last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        size += min(block_max, length) if kind != _ZSTD_COMPRESSED else block_max
        position += length if kind != _ZSTD_RLE else 1
        if position > len(data):
            raise ProtocolError("a zstd frame is cut short")
    if parameters.has_checksum:
        position += _ZSTD_CHECKSUM
    return position, size


_DECODERS: dict[int, Callable[[memoryview, int], bytes]] = {
    GZIP: _decompress_gzip,
    SNAPPY: _decompress_snappy,
    LZ4: _decompress_lz4,
    ZSTD: _decompress_zstd,
}
