"""Compression of payloads with zstd, and its limits.

One compressor is kept per level: making one costs as much as compressing a small batch. A compressor
must not be used by two threads at once, so `compress` takes large inputs to the thread pool with a
compressor of their own; zstandard releases the GIL while it works. Every thread has a decompressor.
"""

from __future__ import annotations

from functools import cache

import gevent
import zstandard
from gevent.monkey import get_original

from portask.errors import ProtocolError
from portask.storage.base import Buffer

MIN_LEVEL = 1
MAX_LEVEL = 22
POOL_BYTES = 512 * 1024
"""From this size on, compressing takes about a millisecond at level 1 and leaves the loop's thread."""

_thread = get_original("_thread", "_local")()


@cache
def _compressor(level: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=level)


def compress(data: Buffer, level: int) -> bytes:
    """*data* as one zstd frame that says its size. Blocks when large."""
    if len(data) < POOL_BYTES:
        return _compressor(level).compress(data)
    own = zstandard.ZstdCompressor(level=level)
    result: bytes = gevent.get_hub().threadpool.apply(own.compress, (data,))
    return result


def _decompressor() -> zstandard.ZstdDecompressor:
    own: zstandard.ZstdDecompressor | None = getattr(_thread, "decompressor", None)
    if own is None:
        own = _thread.decompressor = zstandard.ZstdDecompressor()
    return own


def decompress(data: Buffer, max_bytes: int) -> bytes:
    """What one zstd frame holds.

    Raises ProtocolError when the frame is broken, does not say its size, or says more than
    *max_bytes*: a bomb is refused before anything is allocated for it.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= max_bytes:
            raise ProtocolError(f"a compressed frame of {size} bytes is not within 0 to {max_bytes}")
        return _decompressor().decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ProtocolError(f"not a zstd frame: {error}") from error
